"""What counts as zero, and what does not, at sizes and precisions where that matters."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from matrices import orthonormal, random, with_spectrum

import spectralgrad as sg

F = sg.functions
SMOOTH = {
    "tanh": (F.tanh, lambda s: 1 - np.tanh(s) ** 2),
    "expm1": (F.expm1, np.exp),
    "log1p": (F.log1p, lambda s: 1 / (1 + s)),
    "tikhonov": (F.tikhonov(2.0), lambda s: (2 - s * s) / (2 + s * s) ** 2),
    "square": (F.power(2), lambda s: 2 * s),
    "cube": (F.power(3), lambda s: 3 * s * s),
    "soft_threshold": (F.soft_threshold(0.25), lambda s: 1.0 * (s > 0.25)),
}


def diagonal(shape, values, dtype):
    x = np.zeros(shape, dtype)
    x[range(len(values)), range(len(values))] = values
    return x


@pytest.mark.thinned
@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize(
    ("shape", "dtype"), [((30000, 2), "float32"), ((5000, 3), "float64"), ((2, 3000), "float32")]
)
def test_small_values_keep_their_slope(library, name, shape, dtype):
    """A diagonal matrix has exact singular values, however large it is."""
    f, slope = SMOOTH[name]
    small = 0.5 if dtype == "float32" else 1e-11
    x = library.array(diagonal(shape, (60.0 if name == "expm1" else 1000.0, small), dtype))
    direction = library.array(diagonal(shape, (0.0, 1.0), dtype))
    x_bar = library.numpy(library.vjp(lambda x: sg.svd_function(x, f), x)[1](direction)[0])
    assert x_bar[1, 1] == pytest.approx(slope(small), rel=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize(
    ("shape", "dtype", "values"),
    [
        ((30000, 2), "float32", (1000.0, 1.0)),
        ((20000, 3), "float32", (1000.0, 2.0, 1.0)),
        ((100000, 2), "float64", (1e4, 1e-6)),
    ],
)
def test_norms_of_tall_matrices_see_small_values(library, shape, dtype, values):
    x = library.array(diagonal(shape, values, dtype))
    one = library.array(np.ones((), dtype))
    for norm in (sg.nuclear_norm, lambda x: sg.ky_fan_norm(x, k=len(values))):
        x_bar = library.numpy(library.vjp(norm, x)[1](one)[0])
        np.testing.assert_allclose(np.diagonal(x_bar), 1, rtol=1e-6)


def test_roots_of_small_eigenvalues_in_single_precision(library):
    values = np.ones(400, np.float32)
    values[-1] = 1e-4
    x = library.array(np.diag(values))
    assert float(sg.sqrtm(x)[-1, -1]) == pytest.approx(1e-2, rel=1e-5)
    assert float(sg.powm(x, 0.1)[-1, -1]) == pytest.approx(1e-4**0.1, rel=1e-5)
    assert float(sg.inv_sqrtm(x)[-1, -1]) == pytest.approx(1e2, rel=1e-5)


@pytest.mark.thinned
@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(4, 4), (60, 60), (900, 12), (12, 900)])
def test_a_computed_zero_is_zero(library, shape, dtype):
    """Of a matrix of low rank nothing is differentiated that jumps there."""
    k = min(shape)
    x = with_spectrum(*shape, [*np.linspace(2, 1, k - 1), 0.0])
    x = library.array(x.astype(dtype))
    for fun in (sg.orthogonalize, lambda x: sg.polar(x).U):
        _, pullback = library.vjp(fun, x)
        assert np.all(np.isnan(library.numpy(pullback(library.array(np.ones(shape, dtype)))[0])))
    bar = library.numpy(library.vjp(sg.nuclear_norm, x)[1](library.array(np.ones((), dtype)))[0])
    values = np.linalg.svd(bar, compute_uv=False)
    np.testing.assert_allclose(values[:-1], 1, rtol=1e-4)
    assert values[-1] < 1e-4


@pytest.mark.thinned
@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(30000, 4), (400, 400), (8, 9000)])
def test_drivers_leave_more_of_large_constant_matrices(library, shape, dtype):
    """Up to some 1500 eps S[0], which the residual of the decomposition tells."""
    x = library.array(np.ones(shape, dtype))
    x_bar = library.vjp(sg.orthogonalize, x)[1](library.array(np.ones(shape, dtype)))[0]
    assert np.all(np.isnan(library.numpy(x_bar)))
    one = library.array(np.ones((), dtype))
    x_bar = library.numpy(library.vjp(sg.nuclear_norm, x)[1](one)[0])
    rtol = 1e-6 if dtype == "float64" else 2e-2  # MKL's vectors: 1 % off in single precision
    np.testing.assert_allclose(x_bar, 1 / np.sqrt(shape[0] * shape[1]), rtol=rtol)


def test_orthogonalize_of_a_large_gaussian_in_single_precision(library):
    """The error of its gradient is eps s_1/s_n, which is small here."""
    n = 500
    x, C = random((n, n), seed=1), random((n, n), seed=2)
    single = [library.array(a.astype(np.float32)) for a in (x, C)]
    got = library.numpy(library.vjp(sg.orthogonalize, single[0])[1](single[1])[0])
    wanted = sg.vjp(sg.orthogonalize, x.astype(np.float32).astype(float))[1](
        C.astype(np.float32).astype(float)
    )[0]
    assert np.linalg.norm(got - wanted) < 1e-2 * np.linalg.norm(wanted)


@pytest.mark.thinned
def test_a_threshold_of_zero_by_its_parameter(library):
    """x_bar of the threshold jumps with tau at a zero value: there is no mixed derivative."""
    x, tau = library.array(np.diag([1.0, 0.0])), library.array(np.asarray(0.0))
    eye = library.array(np.eye(2))
    dots = (library.array(np.zeros((2, 2))), library.array(np.asarray(1.0)))
    products = sg.hvp(sg.singular_value_threshold, (x, tau), dots, eye)
    assert np.all(np.isnan(library.numpy(products[0])))


@pytest.mark.parametrize("e", [1e-4, 1e-8, 1e-12])
def test_truncation_error_of_a_small_rest(library, e):
    Q, R = (orthonormal(3, 3, seed=s, is_complex=False) for s in (1, 2))
    x = library.array((Q * np.array([1.0, 0.5, e])) @ R)
    error, pullback = library.vjp(lambda x: sg.truncation_error(x, k=2), x)
    x_bar = library.numpy(pullback(library.array(np.asarray(1.0)))[0])
    assert library.numpy(error) == pytest.approx(e, abs=1e-14, rel=0)
    np.testing.assert_allclose(x_bar, np.outer(Q[:, 2], R[2]), atol=1e-14)


def test_spectral_norm_beside_a_tie(library):
    x = library.array(np.diag([1.0, 1.0 - 1e-12]))
    one = library.array(np.asarray(1.0))
    x_bar = library.numpy(library.vjp(sg.spectral_norm, x)[1](one)[0])
    np.testing.assert_allclose(np.diagonal(x_bar), [1, 0], atol=1e-14)


@pytest.mark.parametrize("touched", [False, True], ids=["without the zero", "with the zero"])
@pytest.mark.parametrize("a", [0.5, 1e-2, 1e-3, 1e-5])
def test_a_split_keeps_its_promise_or_is_nan(library, a, touched):
    """A zero that was opened moves the gap between it and its neighbour a, for who looks at it."""
    Q, R = (orthonormal(3, 3, seed=s, is_complex=False) for s in (1, 2))
    x = library.array((Q * np.array([1.0, a, 0.0])) @ R)
    C = random((3, 3), seed=3)
    (U, _, _), pullback = sg.vjp(sg.svd, x, full_matrices=False, ties="split")
    U_bar, S_bar = np.zeros((3, 3)), np.zeros(3)
    U_bar[:, :2] = (C + C.T) @ library.numpy(U)[:, :2]
    S_bar[2] = 1e-300 * touched
    is_right = a > 5e-3 or not touched
    with nullcontext() if is_right else library.warns("was split"):
        bars = library.array(U_bar), library.array(S_bar), None
        got = library.numpy(pullback(bars)[0])
    wanted = sg.vjp(sg.singular_projector, x, k=2)[1](library.array(C))[0]
    wanted = library.numpy(wanted)
    error = np.max(np.abs(got - wanted)) / np.max(np.abs(wanted))
    assert error < 1e-6 if is_right else np.isnan(error)


@pytest.mark.filterwarnings("ignore:.*the value is NaN:UserWarning")
@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
def test_no_slope_beyond_the_range(library):
    x = library.array(np.asarray([[800.0]]))
    with np.errstate(over="ignore"):
        out, pullback = library.vjp(sg.expm, x)
        x_bar = pullback(library.array(np.ones((1, 1))))[0]
    assert np.isnan(library.numpy(out))
    assert np.isnan(library.numpy(x_bar))


def test_large_exponents(library):
    _, pullback = library.vjp(lambda x: sg.schatten_norm(x, p=1e15), library.array(np.eye(2)))
    x_bar = library.numpy(pullback(library.array(np.asarray(1.0)))[0])
    np.testing.assert_allclose(x_bar, np.eye(2) / 2, rtol=1e-14)
    for values, p in (((1e105, 1e95), -2.0), ((1e4, 1.0), -100.5)):
        x, exponent = library.array(np.diag(values)), library.array(np.asarray(p))
        C = library.array(np.array([[0.0, 1.0], [1.0, 0.0]]))
        x_bar = library.numpy(library.vjp(lambda x, p: sg.powm(x, p), x, exponent)[1](C)[0])
        a, b = (np.longdouble(v) for v in values)
        wanted = (a ** np.longdouble(p) - b ** np.longdouble(p)) / (a - b)
        assert x_bar[0, 1] == pytest.approx(float(wanted), rel=1e-13)


def test_the_whole_space_of_nan(library):
    """The projector on everything has derivative 0, and NaN where x is NaN, at every order."""
    x = library.array(np.stack([np.full((2, 2), np.nan), np.eye(2)]))
    ones = library.array(np.ones((2, 2, 2)))
    fun = lambda x: sg.singular_projector(x, k=2)
    for result in (sg.vjp(fun, x)[1](ones)[0], sg.hvp(fun, x, ones, ones)):
        assert np.all(np.isnan(library.numpy(result)[0]))
        assert np.all(library.numpy(result)[1] == 0)
