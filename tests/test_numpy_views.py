"""PyTorch tensors that NumPy computes: the same numbers, and nothing shared or hidden."""

from __future__ import annotations

from importlib import import_module

import pytest
from matrices import random, sample
from operations import OPERATIONS

import spectralgrad as sg

torch = pytest.importorskip("torch")
make_fx = import_module("torch.fx.experimental.proxy_tensor").make_fx
FlopCounterMode = import_module("torch.utils.flop_counter").FlopCounterMode
numpy_views = import_module("spectralgrad._bindings.numpy_views")

pytestmark = pytest.mark.numpy_views
F = sg.functions
BLIND = {"svd": lambda out: out.S, "svd_full": lambda out: out.S, "eigh": lambda out: out[0]}
BLIND |= {"truncated_svd": BLIND["svd"], "truncated_eigh": BLIND["eigh"]}
BLIND |= {"polar_left": lambda out: out.U}


def moved(x):
    """Numbers that no loss is blind to, of the shape of x."""
    return torch.asarray(random(tuple(x.shape), seed=7, is_complex=x.is_complex()))


def derivatives(operation, x):
    """Value, gradient, tangent and, where there is one, the gradient of a product with it."""
    fun = operation.call
    if operation.name in BLIND:
        fun = lambda x: BLIND[operation.name](operation.call(x))
    x, dx = x.clone().requires_grad_(), moved(x)
    y = fun(x)
    (x_bar,) = torch.autograd.grad((y * moved(y).conj()).real.sum(), x, create_graph=True)
    found = [y, x_bar, torch.func.jvp(fun, (x.detach(),), (dx,))[1]]
    if operation.second:
        found += torch.autograd.grad((x_bar * dx.conj()).real.sum(), x)
    return [array.detach() for array in found]


@pytest.mark.parametrize(
    "is_complex",
    [pytest.param(False, id="real"), pytest.param(True, id="complex", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.name)
def test_both_ways_agree(operation, is_complex, monkeypatch):
    shape = (2, 3, 3) if operation.square else (2, 4, 3)
    x = torch.asarray(sample(operation, shape, is_complex=is_complex and not operation.real))
    small = derivatives(operation, x)
    for limit in ("SMALL", "SMALL_FOR_LAPACK", "ITERATED"):
        monkeypatch.setattr(numpy_views, limit, -1)
    for a, b in zip(small, derivatives(operation, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def views(monkeypatch):
    """A list to which each use of NumPy adds the name of what is computed."""
    used, forward, vjp = [], numpy_views.forward, numpy_views.vjp

    def noted(name, function):
        def call(of, *known, **options):
            with monkeypatch.context() as context:
                tensor = numpy_views._tensor
                context.setattr(numpy_views, "_tensor", lambda y: used.append(name) or tensor(y))
                return function(of, *known, **options)

        return call

    monkeypatch.setattr(numpy_views, "forward", noted("forward", forward))
    monkeypatch.setattr(numpy_views, "vjp", noted("vjp", vjp))
    return used


def own_solver(x, k):
    assert isinstance(x, torch.Tensor)
    U, S, Vh = torch.linalg.svd(x, full_matrices=False)
    return U[:, :k], S[:k], Vh[:k]


def test_which_tensors_go_there(monkeypatch):
    used = views(monkeypatch)

    def ways(x, fun=sg.orthogonalize):
        used.clear()
        x = x.requires_grad_()
        fun(x).abs().sum().backward()
        return set(used)

    x = torch.asarray(random((3, 3)))
    assert ways(x.clone()) == {"forward", "vjp"}
    for n in (3, 6, 64):  # ways of its own
        assert ways(torch.asarray(random((100, n, n)))) == {"forward", "vjp"}
    assert ways(torch.asarray(random((3, 129, 129)))) == set()
    assert ways(x.clone(), lambda x: sg.svd_function(x, torch.tanh)) == {"forward"}  # of factors
    large = torch.asarray(random((300, 280)))
    assert ways(large, lambda x: sg.truncated_svd(x, 2).S) == {"forward", "vjp"}
    assert ways(large, lambda x: sg.truncated_svd(x, 2, solver=own_solver).S) == set()
    with FlopCounterMode(display=False) as counter:
        assert ways(x.clone()) == set()
    assert counter.get_total_flops() > 0
    used.clear()
    torch.func.vmap(torch.func.grad(sg.nuclear_norm))(x.expand(2, 3, 3))
    assert "vjp" not in used


@pytest.mark.parametrize("fun", [sg.orthogonalize, sg.nuclear_norm, sg.pinv])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_traces_see_the_operations(fun):
    x, other = (torch.asarray(random((4, 3), seed=seed)) for seed in (0, 5))
    traced = torch.jit.trace(fun, x, check_trace=False)
    torch.testing.assert_close(traced(other), fun(other))
    graph = make_fx(lambda x: fun(x), pre_dispatch=True)(x)
    torch.testing.assert_close(graph(other), fun(other))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_dtypes(dtype):
    x = torch.asarray(random((3, 3))).to(getattr(torch, dtype)).requires_grad_()
    y = sg.orthogonalize(x)
    y.real[0, 1].backward()
    assert y.dtype == x.grad.dtype == x.dtype
    assert not x.grad.isnan().any()


def test_lazy_conjugates():
    z = torch.asarray(random((3, 3), is_complex=True))
    torch.testing.assert_close(sg.nuclear_norm(z.mH), sg.nuclear_norm(z))
    bars = [torch.func.grad(sg.nuclear_norm)(x) for x in (z.mH, z.mH.resolve_conj(), z.mT.conj())]
    torch.testing.assert_close(bars[0], bars[1])
    torch.testing.assert_close(bars[0], bars[2])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.name)
def test_results_share_no_memory_with_the_input(operation):
    x = torch.asarray(sample(operation, (3, 3)))
    before = x.clone()
    with torch.no_grad():
        out = operation.call(x)
        for array in out if isinstance(out, tuple) else (out,):
            array.mul_(0)
    assert torch.equal(x, before)
    leaf = x.clone().requires_grad_()
    y = operation.call(leaf)
    y = y[0] if isinstance(y, tuple) else y
    y_bar = torch.ones_like(y)
    (x_bar,) = torch.autograd.grad(y, leaf, y_bar)
    x_bar.mul_(0)
    assert torch.equal(leaf, before)
    assert torch.equal(y_bar, torch.ones_like(y))
