"""Zero in, zero out: a batch element without a cotangent has none to give, whatever it holds."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import SPECTRA, hermitian, random, sample, with_spectrum
from operations import OPERATIONS, SECOND
from test_second_order import native_hvp, own_hvp

import spectralgrad as sg
from spectralgrad.testing import inner, random_cotangent

pytestmark = pytest.mark.filterwarnings("ignore:.*the value is NaN:UserWarning")
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
by_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.name)
GOOD = 1  # the only batch element with a derivative throughout, among
HARD = ("all_equal", "spread", "rank_deficient", "zero", "nan")


def stack(operation, *, is_complex=False):
    """Matrices at which derivatives do not exist, one NaN among them, and a good one."""
    is_complex = is_complex and not operation.real

    def of(values):
        if operation.square:
            return hermitian(values, is_complex=is_complex)
        return with_spectrum(5, 4, values, is_complex=is_complex)

    good = sample(operation, (4, 4) if operation.square else (5, 4), is_complex=is_complex)
    elements = [of(SPECTRA["zero"] if name == "nan" else SPECTRA[name]) for name in HARD]
    elements[GOOD] = good
    elements[-1] = elements[-1] + np.nan
    return np.stack(elements)


def only_good(library, tree):
    """The tree's arrays, zero but in the good batch element."""
    if isinstance(tree, tuple):
        return type(tree)(*(only_good(library, part) for part in tree))
    values = library.numpy(tree)
    mask = np.zeros(len(values), dtype=bool)
    mask[GOOD] = True
    return library.array(np.where(mask.reshape(-1, *(1,) * (values.ndim - 1)), values, 0))


def finite_cotangent(library, out):
    """One of the outputs' structure, which may be NaN."""
    if isinstance(out, tuple):
        return type(out)(*(finite_cotangent(library, part) for part in out))
    values = library.numpy(out)
    return library.array(random(values.shape, seed=7, is_complex=np.iscomplexobj(values)))


def check_zeros(library, result, alone):
    for part, one in zip(result, alone, strict=True):
        part, one = library.numpy(part), library.numpy(one)
        others = np.arange(len(part)) != GOOD
        assert np.all(part[others] == 0)
        np.testing.assert_allclose(part[GOOD], one[0], rtol=1e-9, atol=1e-11)
        assert np.any(part[GOOD] != 0)


def as_tuple(tree):
    return tree if isinstance(tree, tuple) else (tree,)


@pytest.mark.thinned
@by_dtype
@by_operation
def test_cotangents(library, operation, is_complex):
    x = library.array(stack(operation, is_complex=is_complex))
    out, pullback = library.vjp(operation.call, x)
    bar = only_good(library, invariant(library, operation, finite_cotangent(library, out), out))
    _, alone = library.vjp(operation.call, x[GOOD : GOOD + 1, ...])
    check_zeros(library, pullback(bar), alone(part_of(bar)))


@pytest.mark.thinned
@by_dtype
@by_operation
def test_tangents(library, operation, is_complex):
    x = library.array(stack(operation, is_complex=is_complex))
    dx = only_good(library, finite_cotangent(library, x))
    _, tangent = library.jvp(operation.call, (x,), (dx,))
    one = slice(GOOD, GOOD + 1)
    _, alone = library.jvp(operation.call, (x[one, ...],), (dx[one, ...],))
    check_zeros(library, as_tuple(tangent), as_tuple(alone))


def invariant(library, operation, bar, out):
    """A cotangent that the function determines: of a value only, where vectors have phases."""
    factors = ("svd", "eigh", "truncated_svd", "truncated_eigh")
    if not (operation.name.startswith(factors) and isinstance(bar, tuple)):
        return bar
    zero = lambda a: library.xp.zeros_like(a)
    return type(bar)(*(b if b.ndim == 2 else zero(b) for b in bar))


def part_of(bar):
    if isinstance(bar, tuple):
        return type(bar)(*map(part_of, bar))
    return bar[GOOD : GOOD + 1, ...]


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.thinned
@pytest.mark.parametrize("operation", SECOND, ids=lambda op: op.name)
def test_second_order(library, operation):
    x = library.array(stack(operation))
    out = operation.call(x)
    bar, dx = finite_cotangent(library, out), finite_cotangent(library, x)
    for given in ((only_good(library, bar), dx), (bar, only_good(library, dx))):
        products = [own_hvp(library, operation.call)(x, given[1], given[0])]
        if library.name in ("torch", "jax"):
            products.append(native_hvp(library, operation.call, x, given[1], given[0]))
        for product in products:
            values = library.numpy(product)
            assert np.all(np.isfinite(values[GOOD]))
            assert np.all(values[np.arange(len(values)) != GOOD] == 0)


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.thinned
@by_operation
def test_the_derivative_by_a_zero_cotangent_is_the_tangent(native, operation):
    """A pullback is linear: what it does to a change of the cotangent does not depend on that."""
    x = native.array(stack(operation)[: len(HARD) - 1])
    out = operation.call(x)
    zero = zeros_like(native, out)
    dx = native.array(random(tuple(x.shape), seed=5))
    if native.name == "torch":
        import torch

        leaf = x.detach().clone().requires_grad_()
        bars = tuple(z.clone().requires_grad_() for z in as_tuple(zero))
        outs = as_tuple(operation.call(leaf))
        (x_bar,) = torch.autograd.grad(outs, leaf, bars, create_graph=True)
        found = torch.autograd.grad(x_bar, bars, dx, allow_unused=True)
    else:
        import jax

        def pulled(bar):
            return jax.vjp(operation.call, x)[1](bar)[0]

        found = as_tuple(jax.jit(lambda dx: jax.vjp(pulled, zero)[1](dx)[0])(dx))
    _, tangent = native.jvp(operation.call, (x,), (dx,))
    for got, wanted in zip(found, as_tuple(tangent), strict=True):
        if got is not None:
            got, wanted = native.numpy(got), native.numpy(wanted)
            np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-10)


def zeros_like(library, tree):
    if isinstance(tree, tuple):
        return type(tree)(*(zeros_like(library, part) for part in tree))
    return library.xp.zeros_like(tree)


@pytest.mark.parametrize(
    "fun",
    [sg.orthogonalize, sg.polar, sg.pinv, sg.inv_sqrtm, sg.logm, lambda x: sg.low_rank(x, 2)],
    ids=["orthogonalize", "polar", "pinv", "inv_sqrtm", "logm", "low_rank"],
)
def test_where_shields_shared_weights(fun):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = torch.nn.Linear(9, 9, bias=False).double()
    features = torch.randn(4, 9, dtype=torch.float64)
    features[2] = 0.0  # a matrix of zeros, where none of these is differentiable
    matrices = layer(features).reshape(4, 3, 3)
    out = fun(matrices @ matrices.mT)
    losses = (out[0] if isinstance(out, tuple) else out).sum((-2, -1))
    ok = torch.tensor([True, True, False, True])
    torch.where(ok, losses, 0.0).sum().backward()
    assert torch.isfinite(layer.weight.grad).all()
    assert layer.weight.grad.abs().max() > 0


@pytest.mark.parametrize("kind", ["line", "mirror", "nan"])
def test_alignment(library, kind):
    P, Q = random((2, 6, 3), seed=1), random((2, 6, 3), seed=2)
    if kind == "line":
        P[1], Q[1] = (np.linspace(-1, 1, 6)[:, None] * v for v in random((2, 1, 3), seed=3))
    elif kind == "mirror":
        P[1] = Q[1] = 0.0
    else:
        P[1, 2, 0] = np.nan
    given = tuple(map(library.array, (P, Q)))
    out, pullback = library.vjp(lambda P, Q: sg.kabsch(P, Q, scale=True), *given)
    bars = finite_cotangent(library, out)
    keep = lambda a: library.array(np.stack([library.numpy(a)[0], 0 * library.numpy(a)[0]]))
    found = pullback(type(out)(*map(keep, bars)))
    for bar in found:
        bar = library.numpy(bar)
        assert np.all(np.isfinite(bar[0]))
        assert np.all(bar[1] == 0)


def test_a_cotangent_of_low_rank():
    """Of a sparse matrix whose cut splits a tie."""
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.diags_array([3.0, *[2.0] * 5, 1.0, 1.0], format="csr")
    (U, S, Vh), pullback = sg.vjp(sg.truncated_svd, x, k=2)
    (x_bar,) = pullback((0 * U, 0 * S, 0 * Vh))
    assert np.all(x_bar.todense() == 0)


def test_parameters(library):
    x = library.array(np.stack([np.diag([2.0, 1.0]), np.diag([np.nan, 1.0])]))
    p = library.array(np.array([2.5, 2.5]))
    _, pullback = library.vjp(lambda x, p: sg.powm(x, p), x, p)
    bar = np.zeros((2, 2, 2))
    bar[0] = 1.0
    x_bar, p_bar = map(library.numpy, pullback(library.array(bar)))
    assert np.all(x_bar[1] == 0)
    assert p_bar[1] == 0
    assert p_bar[0] != 0


def test_nothing_is_warned_of_where_nothing_was_asked(library):
    x = library.array(np.stack([np.eye(2), np.diag([2.0, 1.0])]))
    out, pullback = library.vjp(sg.svd, x)
    bars = random_cotangent(out)
    keep = np.array([0.0, 1.0])
    shielded = [b * library.array(keep.reshape(2, *(1,) * (b.ndim - 1))) for b in bars]
    (x_bar,) = pullback(type(out)(*shielded))
    assert np.all(library.numpy(x_bar)[0] == 0)
    assert inner(x_bar, x_bar) > 0
