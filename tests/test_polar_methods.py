"""The polar factor by products and by linear systems, beside that of the SVD."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import SPECTRA, random, with_spectrum

import spectralgrad as sg
from spectralgrad._operations import polar_iterations
from spectralgrad._spectrum import halley
from spectralgrad.testing import inner

METHODS = ("newton-schulz", "qdwh")
by_method = pytest.mark.parametrize("method", METHODS)
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])


def polar(method):
    return lambda x, **options: sg.orthogonalize(x, method=method, **options)


# The steps, on one singular value


def best_polynomial(low, high):
    """a, b, c of the odd polynomial of degree 5 nearest to 1 on an interval, and its error.

    By Remez' exchange: where the error is extreme it has one size and alternating signs.
    """
    inner_points = np.array([(3 * low + high) / 4, (low + 3 * high) / 4])
    for _ in range(60):
        s = np.array([low, *inner_points, high])
        system = np.stack([s, s**3, s**5, [1, -1, 1, -1]], axis=1)
        a, b, c, error = np.linalg.solve(system, np.ones(4))
        inner_points = np.sqrt(np.sort(np.roots([5 * c, 3 * b, a]).real))
    return np.array([a, b, c]), error


def test_coefficients_are_those_of_the_best_polynomials():
    steps = polar_iterations.polynomials(2.0**-52)
    lifting, finishing, last = steps[:-5], steps[-5:-1], steps[-1]
    assert set(lifting) == {finishing[0]}
    low, high = 0.06, 1.0
    for i, step in enumerate(finishing):
        coefficients, error = best_polynomial(low, high)
        scale = 0.99 / (1 + error) if i < 2 else 1.0
        np.testing.assert_allclose(step, scale * coefficients, rtol=1e-9)
        low, high = scale * (1 - error), scale * (1 + error) if i >= 2 else 1.0
    assert 1 - low < 2.5e-8
    np.testing.assert_allclose(last, np.array([15, -10, 3]) / 8)
    assert polar_iterations.polynomials(2.0**-23) == steps[15:-1]


@pytest.mark.parametrize("eps", [2.0**-23, 2.0**-52])
def test_what_the_polynomials_reach(eps):
    a, b, c = polar_iterations.polynomials(eps)[0]
    gain = a + b * 0.06**2 + c * 0.06**4
    lifts = len(polar_iterations.polynomials(eps)) - (5 if eps < 1e-8 else 4)
    np.testing.assert_allclose(polar_iterations.reach(eps), 0.06 / gain**lifts, rtol=1e-12)
    assert polar_iterations.reach(eps) < 2 * 2**0.5 * eps


def applied(steps, s, *, rational):
    for a, b, c in steps:
        s = s * (a + b * s * s) / (1 + c * s * s) if rational else a * s + b * s**3 + c * s**5
    return s


@pytest.mark.parametrize("eps", [2.0**-23, 2.0**-52])
def test_steps_bring_every_value_to_one(eps):
    s = np.geomspace(2 * 2**0.5 * eps, 1, 20001)
    by_products = applied(polar_iterations.polynomials(eps), s, rational=False)
    by_systems = applied(halley.weights(2 * eps, eps), s, rational=True)
    np.testing.assert_allclose(by_products, 1, atol=max(3e-8, 4 * eps))
    np.testing.assert_allclose(by_systems, 1, atol=4 * eps)


def test_no_value_is_thrown_far_down_or_above_one():
    s = np.linspace(0.05, 1, 20001)
    for step in polar_iterations.polynomials(2.0**-52)[:-3]:
        out = applied([step], s, rational=False)
        assert out.min() > 0.16
        assert out.max() <= 0.99 + 1e-12


# Values and derivatives


@by_method
@by_dtype
@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (1, 1), (5, 1)])
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6, 1e11])
def test_as_the_svd_has_it(method, shape, is_complex, condition):
    k = min(shape)
    x = with_spectrum(*shape, np.geomspace(1, 1 / condition, k), seed=3, is_complex=is_complex)
    bar, dx = (random(shape, seed=s, is_complex=is_complex) for s in (4, 5))
    wanted, pullback = sg.vjp(sg.orthogonalize, x)
    out, own = sg.vjp(polar(method), x)
    (x_bar,) = own(bar)
    _, tangent = sg.jvp(polar(method), (x,), (dx,))
    bound = 1e-14 * (condition if k > 1 else 1)
    scale = 1 / np.min(np.linalg.svd(x, compute_uv=False))
    np.testing.assert_allclose(out, wanted, rtol=0, atol=bound)
    np.testing.assert_allclose(x_bar, pullback(bar)[0], rtol=0, atol=40 * bound * scale)
    np.testing.assert_allclose(
        inner(x_bar, dx), inner(bar, tangent), rtol=0, atol=40 * bound * scale
    )
    product = sg.hvp(polar(method), x, dx, bar)
    wanted = sg.hvp(sg.orthogonalize, x, dx, bar)
    np.testing.assert_allclose(product, wanted, rtol=0, atol=100 * bound * scale**2)


@by_method
@by_dtype
@pytest.mark.parametrize("spectrum", ["pair", "triple", "all_equal", "gap1e-8"])
def test_second_derivatives_at_ties(method, spectrum, is_complex):
    for shape in ((4, 4), (6, 4), (4, 6)):
        x = with_spectrum(*shape, SPECTRA[spectrum], is_complex=is_complex)
        bar, dx = (random(shape, seed=s, is_complex=is_complex) for s in (4, 5))
        wanted = sg.hvp(sg.orthogonalize, x, dx, bar)
        np.testing.assert_allclose(sg.hvp(polar(method), x, dx, bar), wanted, atol=1e-13)


@by_method
def test_large_and_single(library, method):
    x = random((150, 100), seed=1)
    single = library.array(x, dtype="float32")
    out, pullback = sg.vjp(polar(method), single)
    bar = library.array(random(x.shape, seed=2), dtype="float32")
    exact = library.numpy(single).astype(float)
    wanted, exactly = sg.vjp(sg.orthogonalize, exact)
    (x_bar,), (wanted_bar,) = pullback(bar), exactly(library.numpy(bar).astype(float))
    assert out.dtype == single.dtype
    np.testing.assert_allclose(library.numpy(out), wanted, rtol=0, atol=2e-6)
    np.testing.assert_allclose(
        library.numpy(x_bar), wanted_bar, rtol=0, atol=2e-5 * np.max(np.abs(wanted_bar))
    )


@by_method
@pytest.mark.parametrize("power", [-600, 600])
def test_any_scale(method, power):
    for shape in ((5, 5), (7, 3)):
        x, dx, bar = (random(shape, seed=s) for s in (1, 2, 3))
        c = 2.0**power
        out, pullback = sg.vjp(polar(method), x)
        scaled, scaled_pullback = sg.vjp(polar(method), c * x)
        np.testing.assert_allclose(scaled, out, rtol=0, atol=1e-14)
        np.testing.assert_allclose(c * scaled_pullback(bar)[0], pullback(bar)[0], atol=1e-13)
        product = sg.hvp(polar(method), c * x, c * dx, bar)
        np.testing.assert_allclose(c * product, sg.hvp(polar(method), x, dx, bar), atol=1e-12)


# Where there is no derivative


def singular(kind, count, m, n):
    rng, k = np.random.default_rng(0), min(m, n)
    if kind == "random":
        return rng.standard_normal((count, m, k - 1)) @ rng.standard_normal((count, k - 1, n))
    left, right = rng.integers(-3, 4, (count, m, 1)), rng.integers(-3, 4, (count, 1, n))
    return left * right + 0.0


@by_method
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["random", "integer"])
@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
def test_no_singular_matrix_has_a_finite_derivative(method, kind, dtype):
    for count, *shape in ((1000, 3, 3), (1000, 6, 3), (1000, 2, 5), (20, 48, 48), (20, 300, 5)):
        x = singular(kind, count, *shape).astype(dtype)
        out, pullback = sg.vjp(polar(method), x)
        (x_bar,) = pullback(random(out.shape, seed=3).astype(dtype))
        assert np.all(np.isfinite(out))
        assert np.all(np.isnan(x_bar))


@by_method
@pytest.mark.parametrize("shape", [(4, 4), (64, 64), (400, 6)])
def test_what_counts_as_zero(method, shape):
    side, k = max(shape), min(shape)
    least = 2 * side**0.5 * 2.0**-52
    spectra = [[1.0] * (k - 1) + [factor * least] for factor in (0.2, 2 * k**0.25)]
    x = np.stack([with_spectrum(*shape, values) for values in spectra])
    _, pullback = sg.vjp(polar(method), x)
    named = rf"batch element \(0,\), .* S\[{k - 1}\] = "
    with pytest.warns(sg.DerivativeUndefinedWarning, match=named):
        (x_bar,) = pullback(random((2, *shape)))
    assert np.all(np.isnan(x_bar[0]))
    assert np.all(np.isfinite(x_bar[1]))


@by_method
def test_policies(library, method):
    x = library.array(
        np.stack([with_spectrum(4, 4, SPECTRA[s]) for s in ("rank_deficient", "pair")])
    )
    _, pullback = library.vjp(lambda x: polar(method)(x, undefined="raise"), x)
    bar = library.array(random((2, 4, 4)))
    if library.name != "jax":  # compiled: nothing can be read
        with pytest.raises(sg.DerivativeUndefinedError, match="counts as zero"):
            pullback(bar)
    if method == "newton-schulz":
        with pytest.raises(ValueError, match="no singular value that it could leave out"):
            polar(method)(x, undefined="least_norm")
        return
    (left,) = library.vjp(lambda x: polar(method)(x, undefined="least_norm"), x)[1](bar)
    (wanted,) = library.vjp(lambda x: sg.orthogonalize(x, undefined="least_norm"), x)[1](bar)
    np.testing.assert_allclose(library.numpy(left)[1], library.numpy(wanted)[1], atol=1e-12)
    assert np.all(np.isfinite(library.numpy(left)))


def test_a_method_that_there_is_not():
    with pytest.raises(
        ValueError, match="`method` is 'muon'; wanted one of 'svd', 'newton-schulz'"
    ):
        sg.orthogonalize(np.eye(2), method="muon")


# The libraries' own ways


@by_method
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_single(method, half):
    torch = pytest.importorskip("torch")
    x = torch.asarray(random((20, 12))).to(getattr(torch, half)).requires_grad_()
    bar = torch.asarray(random((20, 12), seed=1)).to(x.dtype)
    out = polar(method)(x)
    out.backward(bar)
    wanted, pullback = sg.vjp(sg.orthogonalize, x.detach().double().numpy())
    (wanted_bar,) = pullback(bar.double().numpy())
    assert out.dtype == x.grad.dtype == x.dtype
    for got, exact in ((out.detach(), wanted), (x.grad, wanted_bar)):
        np.testing.assert_array_less(
            np.abs(got.double().numpy() - exact),
            torch.finfo(x.dtype).eps * np.abs(exact) + 1e-5 * np.max(np.abs(exact)),
        )


@pytest.mark.slow
@by_method
@by_dtype
@pytest.mark.parametrize("shape", [(4, 4), (5, 3)])
def test_second_order_in_torch(method, is_complex, shape):
    torch = pytest.importorskip("torch")
    x = torch.asarray(random(shape, seed=1, is_complex=is_complex)).requires_grad_()
    assert torch.autograd.gradcheck(polar(method), (x,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(polar(method), (x,))


@pytest.mark.slow
@by_method
@pytest.mark.filterwarnings(  # Dynamo's own (PyTorch 2.13)
    "ignore:<class 'torch.autograd.function.Function'> should not be:DeprecationWarning"
)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_by_torch(method, dynamic):
    torch = pytest.importorskip("torch")
    x = torch.asarray(random((2, 5, 3), seed=1)).requires_grad_()

    def gradient(fun):
        return torch.autograd.grad(fun(x)[..., 0, :].sum(), x)[0]

    compiled = torch.compile(polar(method), fullgraph=True, backend="aot_eager", dynamic=dynamic)
    torch.testing.assert_close(gradient(compiled), gradient(polar(method)))


@pytest.mark.slow
@by_method
def test_hessian_of_a_stack(native, method):
    x = native.array(random((2, 3, 3), seed=1))
    transforms = pytest.importorskip({"torch": "torch.func", "jax": "jax"}[native.name])

    def hessian(fun):
        of_one = transforms.hessian(lambda x: fun(x)[0, 0] * fun(x)[1, 2])
        return native.numpy(native.compiled(transforms.vmap(of_one))(x))

    np.testing.assert_allclose(hessian(polar(method)), hessian(sg.orthogonalize), atol=1e-11)


@pytest.mark.slow
@by_method
def test_stacks_of_dask(method):
    pytest.importorskip("dask")
    array = pytest.importorskip("dask.array")
    x, bar, dx = (random((4, 5, 3), seed=s) for s in (1, 2, 3))
    lazy = [array.from_array(values, chunks=(2, 5, 3)) for values in (x, bar, dx)]
    out, pullback = sg.vjp(polar(method), lazy[0])
    wanted, wanted_pullback = sg.vjp(sg.orthogonalize, x)
    np.testing.assert_allclose(out.compute(), wanted, atol=1e-13)
    np.testing.assert_allclose(pullback(lazy[1])[0].compute(), wanted_pullback(bar)[0], atol=1e-12)
    product = sg.hvp(polar(method), lazy[0], lazy[2], lazy[1])
    np.testing.assert_allclose(product.compute(), sg.hvp(sg.orthogonalize, x, dx, bar), atol=1e-11)
