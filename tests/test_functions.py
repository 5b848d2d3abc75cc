"""Scalar functions: values, and divided differences against 60 digits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matrices import SPECTRA, hermitian, random, with_spectrum

import spectralgrad as sg
from spectralgrad.testing import check_jvp, check_vjp

mpmath = pytest.importorskip("mpmath")
mp = mpmath.mp
F = sg.functions
SINGULAR = [
    0.0,
    1e-300,
    1e-8,
    0.3,
    0.5,
    0.5 + 1e-15,
    0.5 + 1e-9,
    0.5001,
    0.9,
    1.0,
    1 + 1e-12,
    7.0,
    30.0,
]
SIGNED = sorted({sign * s for s in SINGULAR for sign in (1, -1)})


def odd(f):
    return lambda x: mp.sign(x) * f(abs(x))


NAMED = {
    "identity": (F.identity, lambda x: x, SIGNED),
    "sqrt": (F.sqrt, mp.sqrt, SINGULAR),
    "exp": (F.exp, mp.exp, SIGNED),
    "expm1": (F.expm1, mp.expm1, SIGNED),
    "log": (F.log, mp.log, SINGULAR[1:]),
    "log1p": (F.log1p, mp.log1p, [s for s in SIGNED if s > -0.9]),
    "tanh": (F.tanh, mp.tanh, SIGNED),
    "reciprocal": (F.reciprocal, lambda x: 1 / x, [s for s in SIGNED if abs(s) > 1e-100]),
    "tikhonov": (F.tikhonov(0.25), lambda x: x / (x * x + mp.mpf("0.25")), SIGNED),
    "soft": (F.soft_threshold(0.4), odd(lambda x: max(x - mp.mpf(0.4), 0)), SIGNED),
    "hard": (F.hard_threshold(0.4), odd(lambda x: x if x > mp.mpf(0.4) else 0), SIGNED),
    "clip": (F.clip(0.4), odd(lambda x: min(x, mp.mpf(0.4))), SIGNED),
    "power 0": (F.power(0), lambda x: mp.mpf(1), SIGNED),
    "power 1": (F.power(1), lambda x: x, SIGNED),
    "power 2": (F.power(2), lambda x: x**2, SIGNED),
    "power 3": (F.power(3.0), lambda x: x**3, SIGNED),
    "power -2": (F.power(-2), lambda x: x**-2, [s for s in SIGNED if abs(s) > 1e-100]),
    "power 2.5": (F.power(2.5), lambda x: x ** mp.mpf(2.5), SINGULAR),
    "power 0.3": (F.power(0.3), lambda x: x ** mp.mpf(0.3), SINGULAR),
    "power -0.5": (F.power(-0.5), lambda x: x ** mp.mpf(-0.5), SINGULAR[2:]),
}
by_named = pytest.mark.parametrize("name", NAMED)


def exact_divided(f, a, b, digits=700):
    """(f(a) - f(b))/(a - b), or the derivative, in as many digits as 1e-300 takes."""
    with mp.workdps(digits):
        if a != b:
            a, b = mp.mpf(a), mp.mpf(b)
            return (f(a) - f(b)) / (a - b)
        h = mp.mpf(10) ** -330 if a else mp.mpf(0)
        a = mp.mpf(a)
        return (f(a + h) - f(a - h)) / (2 * h) if h else None


@by_named
def test_values(library, name):
    f, exact, arguments = NAMED[name]
    got = library.numpy(f(library.array(arguments)))
    with mp.workdps(60):
        wanted = np.array([float(exact(mp.mpf(a))) for a in arguments])
    np.testing.assert_allclose(got, wanted, rtol=4e-15)


@pytest.mark.thinned
@by_named
def test_divided_differences_are_exact(library, name):
    f, exact, arguments = NAMED[name]
    a = library.array(arguments)
    got = library.numpy(f.divided(a[:, None], a[None, :]))
    np.testing.assert_allclose(np.diagonal(got), library.numpy(f.derivative(a)), rtol=4e-16)
    for i, x in enumerate(arguments):
        for j, y in enumerate(arguments):
            wanted = exact_divided(exact, x, y)
            if wanted is not None:
                assert got[i, j] == pytest.approx(float(wanted), rel=1e-13), (x, y)


@pytest.mark.parametrize(
    ("f", "df", "exact", "points"),
    [
        (
            lambda s: np.exp(50 * s),
            lambda s: 50 * np.exp(50 * s),
            lambda x: mp.exp(50 * x),
            (0.1, 2),
        ),
        (np.exp, np.exp, mp.exp, (190, 200)),
        (
            lambda s: 1 / (1 + np.exp(-1e4 * (s - 1))),
            lambda s: 1e4 / (4 * np.cosh(np.clip(5e3 * (s - 1), -300, 300)) ** 2),
            lambda x: 1 / (1 + mp.exp(-10000 * (x - 1))),
            (0.97, 1.03),
        ),
        (lambda s: np.sqrt(s), lambda s: 0.5 / np.sqrt(s), mp.sqrt, (1e-6, 3)),
        (
            lambda s: np.maximum(s - 1, 0),
            lambda s: (s > 1) * 1.0,
            lambda x: max(x - 1, mp.mpf(0)),
            (0.5, 1.5),
        ),
        (
            lambda s: np.sin(40 * s),
            lambda s: 40 * np.cos(40 * s),
            lambda x: mp.sin(40 * x),
            (0.1, 3),
        ),
    ],
    ids=["exp50", "exp200", "sigmoid", "sqrt", "kink", "oscillating"],
)
def test_functions_of_the_user_by_quadrature_or_quotient(f, df, exact, points):
    """To working precision of the largest of the quotient, the slopes and f(x)/x."""
    rng = np.random.default_rng(0)
    base = rng.uniform(*points, 24)
    a = np.concatenate([base, base + base * 10.0 ** rng.uniform(-15, -1, 24)])
    got = F.ScalarFunction(f, df).divided(a[:, None], a[None, :])
    slopes = np.abs(df(a))
    for i, x in enumerate(a):
        for j, y in enumerate(a):
            if x != y:
                wanted = float(exact_divided(exact, x, y, 60))
                sizes = abs(wanted), 1e-3 * (slopes[i] + slopes[j]), abs(f(x) / x)
                size = max(*sizes, np.finfo(float).tiny)
                rounding = np.finfo(float).eps * abs(x) * (slopes[i] + slopes[j]) / size
                assert abs(got[i, j] - wanted) <= (1e-12 + 8 * rounding) * size, (x, y)


DEGREES = [*(f for f, _, _ in NAMED.values()), F.entropy, F.step(0.6), F.positive_part]
DEGREES += [F.fermi(0.5, 2.0), F.power(2.5, cutoff=0.3), F.power(-1, cutoff=0.3)]


def with_relatives(f, depth=3):
    """f, its derivatives by parameters and the slope of either, as far as they are functions."""
    yield f
    if depth:
        for relative in (*(f.by(name) for name in f.parameters), f.of_singular_values()):
            if relative is not f:
                yield from with_relatives(relative, depth - 1)


@pytest.mark.parametrize("f", DEGREES, ids=str)
def test_functions_of_a_degree_scale(f):
    """f(c s) = c^d g(s), slopes with it, for every function that says that it has a degree d."""
    s, c = np.array([0.1, 0.9, 2.0, 3.7]), np.asarray(4.0)
    for relative in with_relatives(f):
        if relative.degree is None:
            continue
        g, d = replace(relative, **relative.in_units(c)), relative.degree
        np.testing.assert_allclose(relative(c * s), c**d * g(s), rtol=1e-12)
        slopes = (h.divided(x[:, None], x) for h, x in ((relative, c * s), (g, s)))
        np.testing.assert_allclose(next(slopes), c ** (d - 1) * next(slopes), rtol=1e-12)


def test_functions_are_values():
    assert F.power(2) == F.power(2.0)
    assert hash(F.tikhonov(0.1)) == hash(F.tikhonov(0.1))
    assert F.soft_threshold(1) != F.hard_threshold(1)
    assert repr(F.clip(2.0)) == "clip(max=2.0)"
    assert F.ScalarFunction(np.sin, np.cos) == F.ScalarFunction(np.sin, np.cos)


def test_kinks_and_jumps():
    at = np.array([0.4, 0.4])
    assert np.all(F.soft_threshold(0.4).derivative(at) == 0)
    assert np.all(F.clip(0.4).derivative(at) == 1)
    assert np.all(np.isnan(F.hard_threshold(0.4).derivative(at)))
    assert np.isnan(F.hard_threshold(0.4).divided(at[0], np.asarray(0.1)))


def test_a_pair_and_a_bare_callable_agree_with_the_named(native):
    xp, x = native.xp, native.array(random((4, 3), seed=1))
    bars = native.array(random((4, 3), seed=2))

    def pulled(f):
        return native.numpy(native.vjp(lambda x: sg.svd_function(x, f), x)[1](bars)[0])

    wanted = pulled(F.tanh)
    np.testing.assert_allclose(pulled((xp.tanh, lambda s: 1 - xp.tanh(s) ** 2)), wanted, atol=1e-13)
    np.testing.assert_allclose(pulled(xp.tanh), wanted, atol=1e-13)


def complex_pair(library, f, df, d2f):
    """A complex-valued function of real arrays of any library, with its derivatives."""
    xp = library.xp
    widen = lambda s: xp.astype(s, xp.complex128)
    return tuple((lambda s, g=g: g(xp, widen(s))) for g in (f, df, d2f))


PROPAGATOR = (
    lambda xp, s: xp.exp(-0.7j * s),
    lambda xp, s: -0.7j * xp.exp(-0.7j * s),
    lambda xp, s: -0.49 * xp.exp(-0.7j * s),
)
SPIRAL = (
    lambda xp, s: s * xp.exp(1j * s),
    lambda xp, s: (1 + 1j * s) * xp.exp(1j * s),
    lambda xp, s: (2j - s) * xp.exp(1j * s),
)


@pytest.mark.thinned
@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("kind", ["eigh_function", "svd_function"])
def test_complex_valued_functions(library, kind, is_complex):
    """Values, tangents, pullbacks and second derivatives, at a tie."""
    x = with_spectrum(4, 4, SPECTRA["pair"], is_complex=is_complex)
    if kind == "eigh_function":
        x = hermitian((1.0, 1.0, -0.5, 2.0), is_complex=is_complex)
        f = complex_pair(library, *PROPAGATOR)
    else:
        f = complex_pair(library, *SPIRAL)
    fun = library.compiled(lambda x: getattr(sg, kind)(x, f))
    x = library.array(x)
    out = library.numpy(fun(x))
    if kind == "eigh_function":
        np.testing.assert_allclose(out @ out.conj().T, np.eye(4), atol=1e-14)  # unitary
    check_vjp(fun, x)
    check_jvp(fun, x)
    dx, C = random((2, 4, 4), is_complex=True, seed=5)
    dx = dx if is_complex else dx.real
    dx = dx + np.conj(dx.T)
    pulled = lambda t: library.numpy(
        library.vjp(fun, x + t * library.array(dx))[1](library.array(C))[0]
    )
    h = 1e-4
    wanted = (8 * (pulled(h) - pulled(-h)) - (pulled(2 * h) - pulled(-2 * h))) / (12 * h)
    product = library.compiled(lambda x, dx, C: sg.hvp(lambda x: getattr(sg, kind)(x, f), x, dx, C))
    got = library.numpy(product(x, *map(library.array, (dx, C))))
    np.testing.assert_allclose(got, wanted, atol=1e-9)


@pytest.mark.thinned
@pytest.mark.parametrize(
    ("values", "p", "dtype", "wanted"),
    [
        ((1e4, 1.0), -100.5, "float64", (2.00040006e-08, 0.0201020102010203, 10200.7701019902)),
        ((1e6, 1.0), -6.5, "float32", (2.000004000006e-12, 1.3000013e-05, 48.750013000011)),
    ],
)
def test_second_derivatives_of_steep_negative_powers(library, values, p, dtype, wanted):
    """Powers of the small values in units of the large one leave the range, the results do not."""
    x = library.array(np.diag(values), dtype)
    ones = library.array(np.ones((2, 2)), dtype)
    product = library.numpy(sg.hvp(lambda x: sg.powm(x, p), x, ones, ones))
    rtol = 1e-9 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(product[np.triu_indices(2)], wanted, rtol=rtol)
