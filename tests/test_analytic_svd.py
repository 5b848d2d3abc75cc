"""Analytic SVDs along paths, held against known factors; what cannot be followed is an error."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_paths import Known, deviations
from matrices import random

import spectralgrad as sg

NEAR = np.array([1e-12, 1e-9, 1e-6, 1e-4])
COARSE = np.array([0.05, 0.3, 0.6, 1])
AROUND = np.concatenate([-COARSE[::-1], -NEAR[::-1], [0], NEAR, COARSE])
SIDES = {"around": AROUND, "from": AROUND[AROUND >= 0], "to": AROUND[AROUND <= 0]}


def columns(*functions):
    """The values, each a function of t."""
    return lambda t: np.stack([f(t) + 0 * t for f in functions])


def check(known, t, vectors=1e-8, slopes=1e-7, **options):
    found = sg.analytic_svd(known, t, derivative=known.derivative, **options)
    worst = deviations(known, t, found)
    assert max(worst["U"], worst["V"]) < vectors, worst
    assert max(worst["dU"], worst["dV"]) < slopes, worst
    assert max(worst["S"], worst["dS"]) < 1e-10, worst
    return found


# ties are at t = 0
CONTACTS = {
    "crossing": (5, 5, columns(lambda t: 2 + t, lambda t: 2 - t, lambda t: 1 + t / 9)),
    "of opposite sign": (5, 4, columns(lambda t: 1 + t, lambda t: t - 1, lambda t: 3)),
    "touching": (4, 5, columns(lambda t: 2 + t**2, lambda t: 2 - t**2, lambda t: 1 + t / 9)),
    "cubic": (5, 4, columns(lambda t: 2 + t**3, lambda t: 2 - t**3, lambda t: 1 + t / 9)),
    "quartic": (5, 4, columns(lambda t: 2 + t**4, lambda t: 2 - t**4, lambda t: 1 + t / 9)),
    "three": (5, 5, columns(lambda t: 2 + t, lambda t: 2 - t, lambda t: 2 + t**2)),
    "through zero, square": (3, 3, columns(lambda t: 2 + t, lambda t: t, lambda t: 1 + t / 9)),
    "through zero, tall": (5, 3, columns(lambda t: 2 + t, lambda t: t, lambda t: 1 + t / 9)),
    "touching zero, square": (3, 3, columns(lambda t: 2 + t, lambda t: t**2, lambda t: 3)),
    "touching zero, wide": (3, 5, columns(lambda t: 2 + t, lambda t: t**2, lambda t: 3)),
    "two zeros": (4, 3, columns(lambda t: 2 + t, lambda t: t, lambda t: -2 * t)),
    "all zero": (4, 3, columns(lambda t: t, lambda t: -2 * t, lambda t: 3 * t + t**2)),
}


def contact(name, **options):
    m, n, d = CONTACTS[name]
    k = len(d(0.0))
    filled = lambda t: np.concatenate([d(t), [4 + i + 0 * t for i in range(min(m, n) - k)]])
    return Known(m, n, filled, **options)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", CONTACTS)
def test_factors_at_and_near_contacts(name, side):
    check(contact(name), SIDES[side])


@pytest.mark.parametrize("name", CONTACTS)
def test_complex_factors_have_minimal_variation(name):
    check(contact(name, complex_=True), AROUND[::2])


def random_path(seed):
    """Values that cross each other and zero at given points, touch them, and change sign."""
    rng = np.random.default_rng(seed)
    m, n = rng.integers(3, 13, 2)
    k = min(m, n)
    a, b, c = rng.standard_normal((3, k))
    s = rng.uniform(-0.8, 0.8, 3).round(2)

    def d(t):
        values = np.stack([a[i] + b[i] * t + c[i] * np.sin(2 * t) for i in range(k)])
        values[0] = (t - s[0]) * (1 + c[0] * t / 4)  # passes zero at s[0]
        values[1] = (t - s[1]) ** 2 * (2 + c[1] * t / 4)  # touches zero at s[1]
        values[2] = values[1 if k < 4 else 3] + (t - s[2]) * (1 + b[2] ** 2)  # crosses at s[2]
        return values

    return Known(m, n, d, rates=tuple(rng.uniform(0.5, 3, 2)), seed=seed), s


@pytest.mark.parametrize("seed", range(50))
def test_random_paths_have_no_jump_and_known_factors(seed):
    known, s = random_path(seed)
    t = np.unique([*np.linspace(-1, 1, 7), *s, s[0] + 1e-9, s[2] - 1e-9])
    found = sg.analytic_svd(known, t)
    worst = deviations(known, t, found)
    assert max(worst["U"], worst["V"]) < 1e-8, worst
    assert worst["S"] < 1e-12, worst
    rates = [np.linalg.norm(turning.K, 2) for turning in (known.left, known.right)]
    for factor, rate in zip((found.U, np.swapaxes(found.Vh, 1, 2)), rates, strict=True):
        moved = np.linalg.norm(np.diff(factor, axis=0), axis=1)
        assert np.all(moved <= rate * np.diff(t)[:, None] + 1e-9)


@pytest.mark.parametrize(("shape", "complex_"), [((7, 6), False), ((6, 6), False), ((6, 7), True)])
def test_multiplets_and_null_spaces_have_minimal_variation(shape, complex_):
    d = columns(
        lambda t: 2 + t,
        lambda t: 2 + t,
        lambda t: 2 - t,
        lambda t: 1 + t / 9,
        lambda t: 0,
        lambda t: 0,
    )
    known = Known(*shape, d, multiplets=[[0, 1]], zeros=[4, 5], complex_=complex_)
    check(known, AROUND[::2])


@pytest.mark.parametrize("complex_", [False, True])
def test_factors_are_factors(complex_):
    known = contact("through zero, tall", complex_=complex_)
    U, S, Vh, (dU, dS, dVh) = sg.analytic_svd(known, AROUND, derivative=known.derivative)
    x, dx = (np.stack([f(t) for t in AROUND]) for f in (known, known.derivative))
    Uh, V, dV = (np.conj(np.swapaxes(y, 1, 2)) for y in (U, Vh, dVh))
    np.testing.assert_allclose((U * S[:, None]) @ Vh, x, atol=1e-13)
    np.testing.assert_allclose(Uh @ U, np.broadcast_to(np.eye(3), (len(U), 3, 3)), atol=1e-13)
    product = (dU * S[:, None]) @ Vh + (U * dS[:, None]) @ Vh + (U * S[:, None]) @ dVh
    np.testing.assert_allclose(product, dx, atol=1e-7)
    variation = np.diagonal(Uh @ dU + np.conj(np.swapaxes(V, 1, 2)) @ dV, axis1=1, axis2=2)
    np.testing.assert_allclose(variation, np.zeros_like(variation), atol=1e-12)


@pytest.mark.parametrize("turns", [0.5, 1, 1.5, 2, 3, 4, 10])
def test_vectors_may_turn_fast_between_the_parameters(turns):
    def path(t):
        a = 2 * np.pi * turns * t
        return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) * [2, 1]

    U, S, Vh, _ = sg.analytic_svd(path, np.arange(4.0))
    np.testing.assert_allclose(S, np.tile([2, 1], (4, 1)))
    np.testing.assert_allclose(Vh, np.broadcast_to(Vh[0], Vh.shape), atol=1e-12)
    np.testing.assert_allclose(U[1], (-1) ** round(2 * turns) * U[0], atol=1e-12)


def avoided(gap):
    """Values 2 +- sqrt(t^2 + gap^2)."""
    return lambda t: np.array([[2 + t, gap], [gap, 2 - t]])


@pytest.mark.parametrize("gap", [1e-1, 1e-4, 1e-8, 1e-11])
def test_an_avoided_crossing_is_found_however_narrow(gap):
    t = np.linspace(-1, 1, 6)
    U, S, _, _ = sg.analytic_svd(avoided(gap), t)
    np.testing.assert_allclose(S, 2 + np.sqrt(t**2 + gap**2)[:, None] * [1, -1], rtol=1e-12)
    turned = 1 - gap / 2  # by arctan(1 / gap) of a quarter
    assert np.all(np.abs(np.sum(U[0] * U[-1], axis=0)) < 1 - turned**2 + 2 * gap)


@pytest.mark.parametrize("seed", range(3))
def test_a_tie_at_the_end_of_a_long_step(seed):
    """The plane of the vectors that meet at 1 stays where each of them turns within."""
    known = Known(4, 3, columns(lambda t: 2 + t, lambda t: 2 - t, lambda t: t), seed=seed)
    for t in (np.array([0.3, 1.0]), np.array([1.0, 1.9])):
        worst = deviations(known, t, sg.analytic_svd(known, t))
        assert max(worst.values()) < 1e-8, worst


def turn(a, i, j, n):
    """A rotation by a in the plane of two axes."""
    x = np.eye(n)
    x[[i, j], [i, j]], x[i, j], x[j, i] = np.cos(a), -np.sin(a), np.sin(a)
    return x


def test_an_avoided_crossing_is_found_where_the_vectors_turn_besides():
    middle = lambda t: np.diag([5.12 - 0.46 * t, 5.12 - 0.23 * t]) + 0.004 * np.eye(2)[::-1]

    def path(t):
        x = np.diag([0.0, 0.0, 5.62 - 0.65 * t])
        x[:2, :2] = middle(t)
        return turn(1.3 * t, 0, 1, 3) @ turn(1.8 * t, 1, 2, 3) @ x

    S = sg.analytic_svd(path, [-1.0, 1.0]).S[-1]
    np.testing.assert_allclose(S, [4.97, *np.linalg.eigvalsh(middle(1.0))[::-1]], rtol=1e-12)


@pytest.mark.parametrize("gap", [1e-8, 1e-9, 3e-11])
@pytest.mark.parametrize("t", [[0.0, 1.0], [-1.0, 0.0], [0.0, 1e-9, 1.0]])
def test_an_end_within_a_narrow_avoided_crossing(gap, t):
    U, S, _, _ = sg.analytic_svd(avoided(gap), t)
    at = t.index(0.0)
    np.testing.assert_allclose(np.sort(S[at]), [2 - gap, 2 + gap], rtol=1e-15)
    np.testing.assert_allclose(np.abs(U[at]), np.full((2, 2), 0.5**0.5), atol=1e-15 / gap)


@pytest.mark.parametrize("gap", [1e-8, 3e-11])
@pytest.mark.parametrize("t", [[-1.0, 0.0, 1.0], [-1.0, 1e-9, 1.0]])
def test_a_tie_at_the_place_of_an_avoided_crossing(gap, t):
    def path(s):
        x = np.diag([6 + s, 6 - s, 3.3 + s, 3.3 - s])
        x[0, 1] = x[1, 0] = gap
        return turn(0.4 * s, 1, 2, 4) @ turn(0.7 * s, 2, 3, 4) @ x @ turn(s, 0, 3, 4)

    np.testing.assert_allclose(sg.analytic_svd(path, t).S[-1], [7, 5, 2.3, 4.3], rtol=1e-12)


def test_one_parameter_near_a_tie():
    slope = lambda t: np.diag([1.0, -1.0])
    U, S, _, derivative = sg.analytic_svd(avoided(1e-6), [0.0], derivative=slope)
    np.testing.assert_allclose(S[0], [2 + 1e-6, 2 - 1e-6], rtol=1e-15)
    np.testing.assert_allclose(np.abs(U[0]), np.full((2, 2), 0.5**0.5), atol=1e-9)
    np.testing.assert_allclose(np.abs(derivative.U[0]), 0.5**0.5 / 2e-6, rtol=1e-8)


def test_a_gap_within_the_tolerance_is_a_crossing():
    t = np.linspace(-1, 1, 6)
    np.testing.assert_allclose(sg.analytic_svd(avoided(1e-13), t).S[-1], [1, 3])
    np.testing.assert_allclose(sg.analytic_svd(avoided(1e-6), t).S[-1], [3, 1])
    np.testing.assert_allclose(sg.analytic_svd(avoided(1e-6), t, gap_rtol=1e-5).S[-1], [1, 3])


def test_an_avoided_crossing_with_a_value_not_followed_is_found():
    t = np.linspace(-1, 1, 6)
    np.testing.assert_allclose(sg.analytic_svd(avoided(1e-6), t, k=1).S[-1], [3])
    np.testing.assert_allclose(sg.analytic_svd(avoided(0.0), t, k=1).S[-1], [1])


@pytest.mark.parametrize("gap", [1e-3, 1e-8])
@pytest.mark.parametrize("ends", [(0.0, 0.11), (0.0, 0.3), (0.09, 0.3), (0.3, 0.0), (0.11, 0.0)])
def test_a_tie_beside_a_narrow_avoided_crossing(ends, gap):
    """The vectors of two values are exchanged at 0.1; at 0.11 the upper one meets a third."""
    at = 0.1 + np.sqrt(0.01**2 - gap**2)

    def path(t):
        a, c, s = t - 0.1, np.cos(t), np.sin(t)
        turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        return turn @ np.array([[2 + a, gap, 0], [gap, 2 - a, 0], [0, 0, 2.01]])

    inner = [at + x for x in (-1e-6, 0, 1e-6) if min(ends) <= at + x <= max(ends)]
    t = np.unique([at if x == 0.11 else x for x in (*ends, *inner)])
    found = sg.analytic_svd(path, t if ends[0] < ends[1] else t[::-1])
    U, S = (x if ends[0] < ends[1] else x[::-1] for x in found[:2])
    upper = np.sqrt((t - 0.1) ** 2 + gap**2)
    values = np.stack([2 + upper, 2 - upper, np.full(len(t), 2.01)], axis=1)
    order = np.argmin(np.abs(S[0][:, None] - values[0]), axis=1)
    np.testing.assert_allclose(S, values[:, order], atol=1e-12)
    if len(inner) == 3:
        i = list(t).index(at)
        np.testing.assert_allclose((U[i - 1] + U[i + 1]) / 2, U[i], atol=1e-8)


def rellich(t):
    decay = np.exp(-1 / t**2) if t else 0.0
    a = 2 / t if t else 0.0
    return np.eye(2) + decay * np.array([[np.cos(a), np.sin(a)], [np.sin(a), -np.cos(a)]])


@pytest.mark.parametrize(
    "t", [np.linspace(-1, 1, 41), np.linspace(-1, 0, 11), np.linspace(0, 1, 8)]
)
def test_rellichs_path_cannot_be_followed_through_zero(t):
    with pytest.raises(sg.ConvergenceError, match=r"`path` cannot be followed between t = "):
        sg.analytic_svd(rellich, t)
    sg.analytic_svd(rellich, t, unresolved="match")
    S = sg.analytic_svd(rellich, np.linspace(0.2, 1, 9)).S
    assert np.all(S[:, 0] > S[:, 1])


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_slopes_of_vectors_at_the_zero_matrix(zero):
    """Whose values LAPACK may give as -0.0."""
    K, L = (random((3, 3), seed=seed, is_complex=True) for seed in (1, 2))
    (w, P), (z, Q) = (np.linalg.eigh(K + K.conj().T), np.linalg.eigh(L + L.conj().T))
    a, h = np.array([0.3, 0.5, -0.8]), 1e-4

    def parts(t):
        U, V = ((X * np.exp(1j * x * t)) @ X.conj().T for X, x in ((P, w), (Q, z)))
        return U, V, (P * (1j * w)) @ P.conj().T @ U, (Q * (1j * z)) @ Q.conj().T @ V

    def path(t):
        U, V, *_ = parts(t)
        return (U * (a * t)) @ V.conj().T if t else np.full((3, 3), complex(zero, zero))

    def slope(t):
        U, V, dU, dV = parts(t)
        return (dU * (a * t)) @ V.conj().T + (U * a) @ V.conj().T + (U * (a * t)) @ dV.conj().T

    t = np.sort([*np.linspace(-1, 1, 20), -h, 0.0, h])
    found = sg.analytic_svd(path, t, derivative=slope)
    for W, dW in zip((found.U, found.Vh), (found.derivative.U, found.derivative.Vh), strict=True):
        np.testing.assert_allclose((W[12] - W[10]) / (2 * h), dW[11], atol=1e-6)


def test_a_jump_and_noise_are_named():
    x = np.diag([3.0, 2.0, 1.0])
    turned = np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 1.5 % 4)[0]
    with pytest.raises(
        sg.ConvergenceError, match=r"between t = 0\.29999.* and t = 0\.3.*of the value"
    ):
        sg.analytic_svd(lambda t: x if t < 0.3 else turned @ x, [0.0, 1.0])

    def noisy(t):
        noise = np.random.default_rng(int(1e9 * (t + 2))).standard_normal((3, 3))
        return np.diag([2 + t, 2 - t, 1]) + 1e-10 * noise

    with pytest.raises(sg.ConvergenceError, match=r"do not meet.*give `gap_rtol`"):
        sg.analytic_svd(noisy, np.linspace(-1, 1, 6))
    S = sg.analytic_svd(noisy, np.linspace(-1, 1, 6), gap_rtol=1e-7).S
    np.testing.assert_allclose(S[-1], [1, 3, 1], rtol=1e-8)


def test_a_stack_is_matched_as_it_is():
    t = np.linspace(-0.9, 0.9, 37)
    known = contact("crossing")
    x, dx = (np.stack([f(s) for s in t]) for f in (known, known.derivative))
    found = sg.analytic_svd(x, t, derivative=dx)
    worst = deviations(known, t, found)  # with a tie at t[18], interpolated
    assert max(worst.values()) < 1e-8, worst

    narrow, wide = (np.stack([avoided(gap)(s + 0.02) for s in t]) for gap in (1e-4, 0.03))
    np.testing.assert_allclose(sg.analytic_svd(narrow, t).S[-1], [1.08, 2.92], rtol=1e-6)
    with pytest.raises(sg.ConvergenceError, match="would be a guess: give more points"):
        sg.analytic_svd(wide, t)
    S = sg.analytic_svd(wide, t, unresolved="match").S
    np.testing.assert_allclose(np.sort(S[-1]), np.sort(np.linalg.svd(wide[-1])[1]))


def test_a_tie_in_a_coarse_stack_is_an_error_and_its_slopes_nan_if_allowed():
    known = contact("crossing")
    t = np.linspace(-0.4, 0.4, 5)
    x, dx = (np.stack([f(s) for s in t]) for f in (known, known.derivative))
    with pytest.raises(sg.ConvergenceError, match="no polynomial continues them"):
        sg.analytic_svd(x, t)
    found = sg.analytic_svd(x, t, derivative=dx, unresolved="match")
    tied = np.abs(found.S - 2) < 1e-12
    assert tied.sum() == 2
    assert np.isnan(np.swapaxes(found.derivative.U, 1, 2)[tied]).all()
    assert np.isfinite(np.swapaxes(found.derivative.U, 1, 2)[~tied]).all()


def test_the_leading_values_are_followed_where_they_go():
    t = np.linspace(-1, 1, 9)
    path = lambda s: np.diag([2 + s, 2 - s, 1.4 + 0.1 * s, 0.1, 0.1])
    every = sg.analytic_svd(path, t)
    for k in (1, 2, 3, 5):
        found = sg.analytic_svd(path, t, k=k)
        np.testing.assert_allclose(found.S, every.S[:, :k], atol=1e-15)
        np.testing.assert_allclose(np.abs(found.U), np.abs(every.U[:, :, :k]), atol=1e-12)
    np.testing.assert_allclose(every.S[0], [3, 1.3, 1, 0.1, 0.1])
    with pytest.raises(ValueError, match=r"`k` is 4, between the values 0\.1 and 0\.1 at t = -1"):
        sg.analytic_svd(path, t, k=4)
    assert sg.analytic_svd(path, t[4:], k=1).S.shape == (5, 1)  # from a tie at the cut


def test_the_other_way():
    known = contact("crossing")
    forth, back = sg.analytic_svd(known, AROUND[1:]), sg.analytic_svd(known, AROUND[:0:-1])
    order = np.argsort(-np.abs(forth.S[-1]))
    np.testing.assert_allclose(back.S[::-1], forth.S[:, order], atol=1e-14)
    np.testing.assert_allclose(np.abs(back.U[::-1]), np.abs(forth.U[:, :, order]), atol=1e-8)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scales(scale):
    known = contact("crossing")
    one = sg.analytic_svd(known, AROUND, derivative=known.derivative)
    scaled = lambda f: lambda t: scale * f(t)
    other = sg.analytic_svd(scaled(known), AROUND, derivative=scaled(known.derivative))
    np.testing.assert_allclose(other.S / scale, one.S, rtol=1e-12)
    np.testing.assert_allclose(np.abs(other.U), np.abs(one.U), atol=1e-9)
    np.testing.assert_allclose(np.abs(other.derivative.U), np.abs(one.derivative.U), atol=1e-7)


def test_little_to_follow():
    for shape, k in (((0, 3), 0), ((3, 0), 0), ((1, 3), 1), ((3, 1), 1)):
        path = lambda t, shape=shape: np.full(shape, 1 + t)
        found = sg.analytic_svd(path, [0.0, 1.0], derivative=lambda t, shape=shape: np.ones(shape))
        assert found.U.shape == (2, shape[0], k)
        assert found.S.shape == (2, k)
        assert found.derivative.Vh.shape == (2, k, shape[1])
    single = sg.analytic_svd(lambda t: np.eye(3) * t, [2.0])
    np.testing.assert_allclose((single.U * single.S[:, None]) @ single.Vh, [2 * np.eye(3)])
    zero = sg.analytic_svd(
        lambda t: np.zeros((3, 2)), [0.0, 1.0], derivative=lambda t: np.zeros((3, 2))
    )
    np.testing.assert_array_equal(zero.S, np.zeros((2, 2)))
    np.testing.assert_allclose(zero.U[0], zero.U[1])


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_every_library(library, dtype):
    single = "32" in dtype or dtype == "complex64"
    known = contact("crossing", complex_="complex" in dtype)
    t = np.linspace(-1, 1, 9)
    parameters = library.array(t, "float32" if single else "float64")
    seen = []

    def path(s):
        seen.append(s)
        return library.array(known(float(s)), dtype)

    found = sg.analytic_svd(
        path, parameters, derivative=lambda s: library.array(known.derivative(float(s)), dtype)
    )
    worst = deviations(known, t, to_host(found, library))
    assert max(worst[name] for name in ("U", "S", "V")) < (3e-4 if single else 1e-8), worst
    for factor in (*found[:3], *found.derivative):
        assert type(factor) is type(path(0.0))
        wanted = (
            dtype
            if factor.ndim == 3
            else {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
        )
        assert factor.dtype == getattr(library.xp, wanted)
    kind = float if library.name == "numpy" else type(parameters)
    assert all(type(s) is kind for s in seen[:3])

    before = library.array(np.stack([known(s) for s in t[:4]]), dtype)
    S = library.numpy(sg.analytic_svd(before, t[:4]).S)
    np.testing.assert_allclose(S, library.numpy(found.S)[:4], atol=1e-5)


def to_host(found, library):
    host = lambda result: type(result)(*map(library.numpy, result))
    return found._replace(
        **{name: library.numpy(getattr(found, name)) for name in ("U", "S", "Vh")},
        derivative=host(found.derivative),
    )


def test_half_precision_and_dask():
    torch = pytest.importorskip("torch")
    da = pytest.importorskip("dask.array")
    crossing = lambda s: np.diag([2 + s, 2 - s])
    half = sg.analytic_svd(lambda s: torch.asarray(crossing(s), dtype=torch.bfloat16), [-1.0, 1.0])
    assert half.U.dtype == half.S.dtype == torch.bfloat16
    lazy = sg.analytic_svd(lambda s: da.from_array(crossing(s)), [-1.0, 1.0])
    for found in (half.S.float().numpy(), np.asarray(lazy.S)):
        np.testing.assert_allclose(found, [[3, 1], [1, 3]])


def test_bad_input():
    eye, T = (lambda t: np.eye(2)), [0.0, 1.0]
    for arguments, options, error, match in [
        ((eye, []), {}, ValueError, "`t` has shape"),
        ((eye, [[0.0]]), {}, ValueError, "`t` has shape"),
        ((eye, [0.0, 0.0]), {}, ValueError, "`t` is not strictly"),
        ((eye, [0.0, np.nan]), {}, ValueError, "`t` is not strictly"),
        ((eye, ["a"]), {}, ValueError, "`t` has"),
        ((eye, T), {"k": 3}, ValueError, "`k` is 3"),
        ((eye, T), {"k": 0}, ValueError, "`k` is 0"),
        ((eye, T), {"gap_rtol": -1}, ValueError, "`gap_rtol`"),
        ((eye, T), {"unresolved": "guess"}, ValueError, "`unresolved`"),
        (
            (eye, T),
            {"derivative": np.zeros((2, 2, 2))},
            TypeError,
            "`derivative` is a ndarray where",
        ),
        (
            (lambda t: np.eye(2) * (np.nan if t else 1), T),
            {},
            ValueError,
            "at t = 0.5 holds NaN or Inf",
        ),
        ((lambda t: np.eye(2 + int(t)), T), {}, ValueError, r"has shape \(3, 3\); wanted \(2, 2\)"),
        ((lambda t: np.eye(2, dtype="f" if t else "d"), T), {}, TypeError, "of float32; wanted"),
        ((lambda t: np.eye(2, dtype=int), T), {}, TypeError, "dtype int64"),
        ((lambda t: np.ones((1, 2, 2)), T), {}, ValueError, r"shape \(1, 2, 2\); wanted one"),
        ((lambda t: 1.0, T), {}, TypeError, "is a float"),
        ((np.ones((3, 2, 2)), T), {}, ValueError, r"\(3, 2, 2\); wanted \(2, m, n\)"),
        ((np.eye(2), T), {}, ValueError, r"\(2, 2\); wanted \(2, m, n\)"),
        (("path", T), {}, TypeError, "is a str"),
    ]:
        with pytest.raises(error, match=match) as found:
            sg.analytic_svd(*arguments, **options)
        assert str(found.value).startswith("analytic_svd: ")


def test_a_derivative_that_would_be_lost_is_refused(native):
    a = native.array(1.0, "float32")
    eye = native.array(np.eye(2), "float32")
    with pytest.raises(TypeError, match="being differentiated or traced"):
        native.jvp(lambda a: sg.analytic_svd(lambda t: eye * a, [0.0, 1.0]).S, (a,), (a,))
