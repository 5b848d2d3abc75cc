"""PyTorch's own ways of differentiating: gradcheck, torch.func, double backward, compile."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from marks import slow
from matrices import SPECTRA, hermitian, random, sample, with_spectrum
from operations import OPERATIONS, SECOND

import spectralgrad as sg

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings(
    "ignore:<class 'torch.autograd.function.Function'> should not be:DeprecationWarning",
    "ignore:Dynamo does not know how to trace the builtin:UserWarning",
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
)
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])


@pytest.fixture
def device(request):
    return request.config.getoption("device")


def tensor(shape, is_complex, device, seed=0, **options):
    return torch.asarray(random(shape, seed=seed, is_complex=is_complex), device=device, **options)


def blind_svd(x):
    """What a loss may use of thin factors: moduli, values, a truncation."""
    U, S, Vh = sg.svd(x, full_matrices=False)
    return U.abs(), S, Vh.abs(), (U * S[..., None, :])[..., :2] @ Vh[..., :2, :]


def blind_full_svd(x):
    U, S, Vh = sg.svd(x)
    k = S.shape[-1]
    U3, V3 = U[..., k:], Vh[..., k:, :].mH
    return U3 @ U3.mH, V3 @ V3.mH, S, U[..., :1] @ Vh[..., :1, :]


def blind_eigh(x):
    w, Q = sg.eigh(x)
    return w, Q.abs()


def blind_truncated(x):
    U, S, Vh = sg.truncated_svd(x, 2, solver="krylov", adjoint="krylov")
    return U.abs(), S, (U * S[..., None, :]) @ Vh


def bare(x):
    return sg.svd_function(x, lambda s: s**3 / (1 + s * s))


def blind_truncated_eigh(x):
    w, Q = sg.truncated_eigh(x, 2, solver="krylov")
    return w, Q.abs()


GAUGED = ("svd", "svd_full", "eigh", "truncated_svd", "truncated_eigh")
BY_NAME = {op.name: op for op in OPERATIONS if op.name not in GAUGED}
FUNCTIONS = {name: op.call for name, op in BY_NAME.items()}
FUNCTIONS |= {
    "svd": blind_svd,
    "truncated_svd": blind_truncated,
    "truncated_eigh": blind_truncated_eigh,
    "eigh": blind_eigh,
    "svd_function:bare": bare,
}
SQUARE = {op.name for op in OPERATIONS if op.square}
by_function = pytest.mark.parametrize("name", FUNCTIONS)
# one of each way of being made, for what is slow and the same for all
KINDS = (
    "svd", "eigh", "svdvals", "orthogonalize", "polar_P", "left_projector", "pinv", "schatten_3",
    "ky_fan_norm", "singular_value_threshold", "svd_function:tanh", "svd_function:bare", "logm",
)  # fmt: skip


def input_of(name, shape, is_complex, device, seed=0, **options):
    """A random matrix that the function is defined for."""
    if name not in BY_NAME:
        return tensor(shape, is_complex, device, seed, **options)
    values = sample(BY_NAME[name], shape, seed=seed, is_complex=is_complex)
    return torch.asarray(values, device=device, **options)


def shapes(name):
    return ((3, 3),) if name in SQUARE else ((3, 3), (4, 2), (2, 3), (2, 3, 2))


@by_function
@by_dtype
def test_gradcheck(name, is_complex, device):
    for shape in shapes(name)[:: 3 if is_complex else 1]:
        x = input_of(name, shape, is_complex, device, requires_grad=True)
        assert torch.autograd.gradcheck(
            FUNCTIONS[name],
            (x,),
            check_forward_ad=True,
            check_batched_grad=True,
            check_batched_forward_grad=True,
            fast_mode=True,
        )


@pytest.mark.parametrize("ties", ["drop", "split"])
def test_gradcheck_of_policies(ties, device):
    """Batched gradients by PyTorch's older vmap, which has rules for fewer operations."""

    def truncated(x):
        U, S, Vh = sg.truncated_svd(x, 2, ties=ties)
        return U.abs(), S, (U * S[..., None, :]) @ Vh

    assert torch.autograd.gradcheck(
        truncated,
        (tensor((4, 3), False, device, requires_grad=True),),
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        fast_mode=True,
    )


@by_dtype
def test_gradcheck_full_matrices(is_complex, device):
    for shape in ((4, 2), (2, 4)):
        x = tensor(shape, is_complex, device, requires_grad=True)
        assert torch.autograd.gradcheck(blind_full_svd, (x,), check_forward_ad=True)
        out, pullback = torch.func.vjp(blind_full_svd, x)
        bars = [torch.stack([torch.full_like(y, c) for c in (1, 2, 3)]) for y in out]
        (batched,) = torch.func.vmap(pullback)(tuple(bars))
        for i in range(3):
            torch.testing.assert_close(batched[i], pullback(tuple(bar[i] for bar in bars))[0])


@pytest.mark.parametrize(
    "name",
    [
        "svd", "truncated_svd", "truncated_eigh", "truncation_error", "eigh", "svdvals",
        "eigvalsh",
        "svd_function:bare",
    ],
)  # fmt: skip
@by_dtype
def test_second_order_where_values_are_simple(name, is_complex, device):
    shape = shapes(name)[0]
    x = torch.asarray(with_spectrum(*shape, (2.0, 1.4, 0.4), is_complex=is_complex), device=device)
    assert torch.autograd.gradgradcheck(FUNCTIONS[name], (x.requires_grad_(),))


@by_dtype
@pytest.mark.parametrize("operation", SECOND, ids=lambda op: op.name)
def test_second_order_at_ties_and_zeros(operation, is_complex, device):
    is_complex = is_complex and not operation.real
    shapes = ((3, 3),) if operation.square else ((4, 3), (3, 3), (2, 3))
    for spectrum in ("pair", "all_equal", "rank_deficient", "zero"):
        if not operation.exists_at(spectrum, twice=True):
            continue
        for shape in shapes[:1] if is_complex else shapes:
            values = SPECTRA[spectrum][:3]
            if operation.square:
                x = hermitian(values, is_complex=is_complex)
            else:
                x = with_spectrum(*shape, values, is_complex=is_complex)
            x = torch.asarray(x, device=device, requires_grad=True)
            assert torch.autograd.gradgradcheck(operation.call, (x,), fast_mode=True)


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.parametrize("name", ["svdvals", "svd_function:log1p", "nuclear_norm", "orthogonalize"])
@by_dtype
def test_second_order_at_zeros_is_nan(name, is_complex, device):
    """Where the first derivative is a subgradient or f'' jumps, the second is not guessed."""
    for shape in ((4, 4), (4, 3)):
        values = with_spectrum(
            *shape, (2.0, 1.0, 0.5 * (shape == (4, 4)), 0.0), is_complex=is_complex
        )
        x = torch.asarray(values, device=device, requires_grad=True)
        loss = FUNCTIONS[name](x).abs().square().sum()
        (x_bar,) = torch.autograd.grad(loss, x, create_graph=True)
        weights = tensor(shape, is_complex, device, seed=1)
        (second,) = torch.autograd.grad((x_bar * weights).sum().real, x)
        assert torch.all(torch.isnan(second))


def test_hessians_of_alignment(device):
    P, Q = (tensor((4, 3), False, device, seed=seed) for seed in (1, 2))
    dP, one = tensor((4, 3), False, device, seed=3), torch.ones((), dtype=P.dtype, device=device)
    for part in (
        lambda P, Q: sg.kabsch(P, Q).rmsd,
        lambda P, Q: sg.kabsch(P, Q, scale=True).scale,
        lambda P, Q: sg.procrustes(P, Q).scale,
    ):
        hessian = torch.func.hessian(part)(P, Q)
        product, _ = sg.hvp(part, (P, Q), (dP, None), one)
        torch.testing.assert_close(torch.tensordot(hessian, dP), product)


@pytest.mark.parametrize("name", ["svd_function:tanh", "orthogonalize", "expm"])
def test_third_order_is_nan_where_no_rule_has_it(name, device):
    x = torch.diag(torch.tensor([2.0, 2.0, 1.0], dtype=torch.float64, device=device))
    x.requires_grad_()
    value = FUNCTIONS[name](x).square().sum()
    weights = tensor((3, 3), False, device, seed=1)
    for _ in range(2):
        (gradient,) = torch.autograd.grad(value, x, create_graph=True)
        value = (gradient * weights).sum()
    said = pytest.warns(sg.DerivativeUndefinedWarning, match="the third derivative is undefined")
    with said if device == "cpu" else nullcontext():
        (gradient,) = torch.autograd.grad(value, x)
    assert torch.all(torch.isnan(gradient))


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.parametrize("ties", ["nan", "drop", "split"])
@pytest.mark.parametrize("values", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0)])
def test_second_order_through_policies_is_nan_at_ties(ties, values, device):
    x = torch.asarray(with_spectrum(3, 3, values), device=device, requires_grad=True)
    weights, C = (tensor((3, 3), False, device, seed=seed) for seed in (1, 2))
    for call in (sg.svd, sg.eigh):

        def loss(x, call=call):
            W = call(x @ x.mT if call is sg.eigh else x, ties=ties)[call is sg.eigh]
            return (C * (W[:, 1:] @ W[:, 1:].mT)).sum()

        (x_bar,) = torch.autograd.grad(loss(x), x, create_graph=True)
        (second,) = torch.autograd.grad((x_bar * weights).sum(), x)
        assert torch.all(torch.isnan(second))


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.parametrize("call", [sg.svd, sg.eigh])
def test_tangents_by_double_backward_are_nan_at_ties(call, device):
    x = torch.eye(3, dtype=torch.float64, device=device)
    fun = lambda x: call(x)[call is sg.eigh]
    dx = tensor((3, 3), False, device)
    _, tangent = torch.autograd.functional.jvp(fun, x, dx)
    assert torch.all(torch.isnan(tangent))


def test_nested_forward_mode_is_refused(device):
    x = tensor((3, 3), False, device)
    with pytest.raises(NotImplementedError, match="reverse mode for one"):
        torch.func.jacfwd(torch.func.jacfwd(sg.orthogonalize))(x)
    mixed = torch.func.jacfwd(torch.func.jacrev(sg.nuclear_norm))(x)
    torch.testing.assert_close(mixed, torch.func.jacrev(torch.func.jacfwd(sg.nuclear_norm))(x))
    torch.testing.assert_close(mixed, torch.func.hessian(sg.nuclear_norm)(x))


@by_function
@by_dtype
def test_functional_transforms(name, is_complex, device):
    fun = FUNCTIONS[name]

    def loss(x):
        out = fun(x)
        leaves = out if isinstance(out, tuple) else (out,)
        return sum(leaf.abs().square().sum() for leaf in leaves)

    stack = input_of(name, (3, *shapes(name)[0]), is_complex, device)
    is_complex = stack.is_complex()
    looped = torch.stack([torch.func.grad(loss)(x) for x in stack])
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(stack), looped)
    of_sum = torch.func.grad(lambda s: torch.func.vmap(loss)(s).sum())(stack)
    torch.testing.assert_close(of_sum, looped)
    leaf = stack.clone().requires_grad_()
    sum(loss(x) for x in leaf).backward()
    torch.testing.assert_close(leaf.grad, looped)

    def moduli(parts):  # Jacobians are of real arguments and values
        out = fun(torch.complex(parts[0], parts[1]) if is_complex else parts[0])
        return tuple(leaf.abs() for leaf in (out if isinstance(out, tuple) else (out,)))

    x = stack[0]
    parts = torch.stack([x.real, x.imag]) if is_complex else x[None]
    for a, b in zip(
        torch.func.jacrev(moduli)(parts), torch.func.jacfwd(moduli)(parts), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("name", "is_complex"),
    [
        ("svd", False),
        ("eigh", True),
        ("orthogonalize", True),
        *(slow(name, False) for name in KINDS),
    ],
)
def test_compile(name, is_complex, device):
    check_compiled(
        FUNCTIONS[name], input_of(name, shapes(name)[0], is_complex, device), "aot_eager"
    )


@pytest.mark.parametrize(
    "name", ["orthogonalize", *map(slow, ("singular_value_threshold", "logm"))]
)
def test_compile_stacks_and_constants(name, device):
    shape = (2, *shapes(name)[0])
    check_compiled(FUNCTIONS[name], input_of(name, shape, False, device), "aot_eager")
    constant = input_of(name, shape, False, device)
    compiled = torch.compile(FUNCTIONS[name], fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(constant), FUNCTIONS[name](constant))


@pytest.mark.slow
def test_compile_alignment_to_a_constant(device):
    P, Q = (tensor((5, 3), False, device, seed=seed) for seed in (1, 2))
    check_compiled(lambda P: sg.kabsch(P, Q, scale=True), P, "aot_eager")


@pytest.mark.parametrize("ties", [slow("raise"), "drop", "split"])
def test_compile_policies(ties, device):
    check_compiled(
        lambda x: sg.svd(x, full_matrices=False, ties=ties),
        tensor((4, 3), True, device),
        "aot_eager",
    )


@pytest.mark.parametrize("name", ["svd", slow("svd_function:expm1")])
def test_compile_inductor(name, device):
    check_compiled(FUNCTIONS[name], tensor((4, 3), False, device), "inductor")


def check_compiled(fun, x, backend):
    torch._dynamo.reset()

    def gradient(fun):
        leaf = x.clone().requires_grad_()
        out = fun(leaf)
        leaves = out if isinstance(out, tuple) else (out,)
        weights = [torch.arange(1, y.numel() + 1, device=y.device).reshape(y.shape) for y in leaves]
        loss = sum((w * y.abs().square()).sum() for w, y in zip(weights, leaves, strict=True))
        return torch.autograd.grad(loss, leaf)[0]

    compiled = torch.compile(fun, fullgraph=True, backend=backend)
    torch.testing.assert_close(gradient(compiled), gradient(fun))


@pytest.mark.parametrize(
    "make", [lambda p: lambda s: s * p, lambda p: (lambda s: s * p, lambda s: p)]
)
def test_a_trainable_value_in_f_is_refused(make, device):
    p = torch.tensor(2.0, requires_grad=True, dtype=torch.float64, device=device)
    x = tensor((3, 3), False, device)
    with pytest.raises(TypeError, match="closes over"):
        sg.svd_function(x, make(p))
    with pytest.raises(TypeError, match="closes over"):
        torch.func.grad(lambda p: sg.svd_function(x, make(p)).sum())(p.detach())
    with pytest.raises(TypeError, match="closes over"):
        torch.func.jvp(lambda p: sg.svd_function(x, make(p)), (p.detach(),), (p.detach(),))
    out = sg.svd_function(x, make(p.detach()))
    torch.testing.assert_close(out, 2 * x)


def test_eager_values_need_no_factors(device, monkeypatch):
    from spectralgrad._spectrum import factorizations

    monkeypatch.setattr(factorizations, "svd", None)
    x = tensor((4, 4), False, device)
    assert sg.svdvals(x).shape == (4,)
    with torch.no_grad():
        assert sg.nuclear_norm(x.requires_grad_()).shape == ()


def test_warning_reaches_a_backward_user(device):
    if device != "cpu":
        pytest.skip("arrays on a device are not read")
    x = torch.asarray(with_spectrum(4, 4, SPECTRA["triple"]), requires_grad=True)
    with pytest.warns(sg.DerivativeUndefinedWarning, match=r"S\[0\] = .* count as equal"):
        sg.svd(x).U.sum().backward()
    assert torch.all(torch.isnan(x.grad))


@pytest.mark.parametrize("transform", ["jvp", pytest.param("jacfwd", marks=pytest.mark.slow)])
def test_forward_mode_inside_compile(transform):
    """Dynamo asks no Function for its jvp, and would differentiate PyTorch's own SVD."""
    x, dx = torch.eye(3, dtype=torch.float64), torch.asarray(random((3, 3)))
    fun = sg.nearest_rotation
    if transform == "jvp":
        tangent = lambda x: torch.func.jvp(fun, (x,), (dx,))[1]
    else:
        tangent = torch.func.jacfwd(fun)
    torch.testing.assert_close(torch.compile(tangent, backend="eager")(x), tangent(x))
    compiled = torch.compile(fun, backend="aot_eager")
    torch.testing.assert_close(
        torch.func.jvp(compiled, (x,), (dx,))[1], torch.func.jvp(fun, (x,), (dx,))[1]
    )
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="Compile inside"):
        torch.compile(tangent, backend="eager", fullgraph=True)(x)


INSIDE_COMPILE = {
    "grad": lambda fun: torch.func.grad(lambda x: fun(x).sum()),
    "vjp": lambda fun: lambda x: torch.func.vjp(fun, x)[1](torch.ones_like(fun(x)))[0],
    "jacrev": torch.func.jacrev,
    "vmap": lambda fun: lambda x: torch.func.vmap(fun)(torch.stack([x, 2 * x])),
}
NESTED = {
    "hessian": torch.func.hessian,
    "vmap of grad": lambda fun: lambda x: torch.func.vmap(torch.func.grad(fun))(x[None]),
    "grad of vmap": lambda fun: torch.func.grad(lambda x: torch.func.vmap(fun)(x[None]).sum()),
}


@pytest.mark.parametrize(
    "transform",
    ["grad", "vmap", *(pytest.param(t, marks=pytest.mark.slow) for t in ("vjp", "jacrev"))],
)
@pytest.mark.parametrize(
    "name",
    [
        "orthogonalize",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("schatten_3", "svdvals")),
    ],
)
def test_transforms_inside_compile(name, transform, device):
    """Dynamo says of no input that it needs a gradient, and lost what is computed on demand."""
    if transform != "vmap" and torch.__version__ < "2.10":
        pytest.skip("Dynamo of 2.9 asks a Function inside of torch.func.grad for setup_context")
    fun, x = FUNCTIONS[name], tensor((3, 3), False, device)
    torch._dynamo.reset()
    transformed = INSIDE_COMPILE[transform](fun)
    compiled = torch.compile(lambda x: transformed(x), backend="eager")
    torch.testing.assert_close(compiled(x), transformed(x))


@pytest.mark.parametrize("transform", NESTED)
def test_nested_transforms_inside_compile_are_refused(transform, device):
    torch._dynamo.reset()
    nested = NESTED[transform](sg.nuclear_norm)
    with pytest.raises(
        torch._dynamo.exc.InternalTorchDynamoError, match=r"Leave torch\.compile out"
    ):
        torch.compile(lambda x: nested(x), backend="eager")(tensor((3, 3), False, device))
