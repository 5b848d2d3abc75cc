"""Sums over the spectrum, eigenprojectors, and the functions that they are asked for."""

from __future__ import annotations

import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from data.generate import decode
from matrices import SPECTRA, hermitian, random, with_spectrum
from operations import REFERENCE
from test_second_order import native_hvp, own_hvp

import spectralgrad as sg

CASES = json.loads((Path(__file__).parent / "data" / "functions.json").read_text())["cases"]
F = sg.functions


@pytest.mark.thinned
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_both_orders_against_references(library, case):
    fun = partial(REFERENCE[case["op"]], **case["params"])
    x, C, dx, gradient, product = (
        decode(case[part]) for part in ("matrix", "cotangent", "direction", "gradient", "product")
    )
    C = C[0, 0] if C.size == 1 else C
    given = tuple(map(library.array, (x, dx, C)))
    found = [
        (library.compiled(lambda x, C: library.vjp(fun, x)[1](C)[0])(given[0], given[2]), gradient)
    ]
    found.append((own_hvp(library, fun)(*given), product))
    if library.name in ("torch", "jax"):
        found.append((native_hvp(library, fun, *given), product))
    for got, wanted in found:
        size = np.max(np.abs(wanted))
        size = size if size > 1e-30 else 1.0  # where it is zero, but for the differences
        assert np.max(np.abs(library.numpy(got) - wanted)) <= 5e-12 * size


def test_there_are_enough_references():
    tied = [case for case in CASES if "exact" in case["id"] or "pair" in case["id"]]
    assert len(CASES) >= 60
    assert len(tied) >= 30
    assert sum("zeros" in case["id"] for case in CASES) >= 8


@pytest.mark.thinned
def test_the_numbers_of_symmetric_losses_at_ties(library):
    """Of losses that svdvals and eigvalsh cannot differentiate twice at ties."""
    eye, shear = library.array(np.eye(2)), library.array(np.array([[0.0, 1.0], [0.0, 0.0]]))

    def curvature(fun):
        product = library.numpy(sg.hvp(fun, eye, shear, 1.0))
        return float(np.sum(product * library.numpy(shear)))

    # the eigenvalues of C = F^T F, to the power of 0.75, along F = I + t N
    energy = lambda F: sg.svdvals_sum(F, sg.functions.power(1.5))
    h = 1e-3
    N = np.array([[0.0, 1.0], [0.0, 0.0]])
    value = lambda t: np.sum(np.linalg.svd(np.eye(2) + t * N, compute_uv=False) ** 1.5)
    wanted = (value(h) - 2 * value(0.0) + value(-h)) / h**2
    assert abs(curvature(energy) - wanted) < 1e-5
    assert abs(curvature(lambda x: sg.svdvals_sum(x, F.log))) < 1e-14  # log det of a shear


def test_zeros_of_a_sum(library):
    x = library.array(np.diag([2.0, 1.0, 0.0]))
    for f, value in ((F.log, -np.inf), (F.reciprocal, np.inf), (F.entropy, -2 * np.log(2))):
        out, pullback = library.vjp(lambda x, f=f: sg.svdvals_sum(x, f), x)
        assert np.isclose(float(library.numpy(out)), value)
        compiled = library.name == "jax"
        said = r"svdvals_sum: .* where s\[2\] = .* counts as zero"
        with nullcontext() if compiled else library.warns(said):
            (x_bar,) = pullback(library.xp.ones_like(out))
        assert np.all(np.isnan(library.numpy(x_bar)))
    out, pullback = library.vjp(lambda x: sg.svdvals_sum(x, F.identity), x)
    x_bar = library.numpy(pullback(library.xp.ones_like(out))[0])
    np.testing.assert_allclose(x_bar, np.diag([1.0, 1.0, 0.0]), atol=1e-15)


def test_eigenvalues_that_rounding_makes_negative():
    Q = np.linalg.qr(random((4, 4), seed=3))[0]
    x = (Q * np.array([0.7, 0.3, 0.0, 0.0])) @ Q.T
    wanted = -0.7 * np.log(0.7) - 0.3 * np.log(0.3)
    assert abs(sg.eigvalsh_sum(x, F.entropy) - wanted) < 1e-13
    assert np.all(np.isfinite(sg.eigh_function(x, F.entropy)))
    assert np.linalg.eigvalsh(sg.eigh_function(x, F.positive_part))[0] > -1e-15


@pytest.mark.thinned
@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
def test_sums_of_user_functions(library, is_complex):
    xp = library.xp
    x = library.array(with_spectrum(4, 3, SPECTRA["pair"], is_complex=is_complex))
    dx = library.array(random((4, 3), seed=1, is_complex=is_complex))
    sech = lambda s: 1 - xp.tanh(s) ** 2
    cube = (lambda s: s**3, lambda s: 3 * s * s, lambda s: 6 * s)
    tanh = (xp.tanh, sech, lambda s: -2 * xp.tanh(s) * sech(s))
    for own, named in ((cube, F.power(3)), (tanh, F.tanh)):
        for derivative in (
            lambda f: sg.vjp(sg.svdvals_sum, x, f=f)[1](1.0)[0],
            lambda f: sg.hvp(sg.svdvals_sum, x, dx, 1.0, f=f),
        ):
            a, b = map(library.numpy, map(derivative, (own, named)))
            np.testing.assert_allclose(a, b, atol=1e-11)


def test_a_complex_sum(library):
    """The trace of the evolution exp(-i t H)."""
    H = hermitian(SPECTRA["pair"], is_complex=True)
    xp = library.xp
    f = (lambda w: xp.exp(-0.7j * w), lambda w: -0.7j * xp.exp(-0.7j * w))
    w = np.linalg.eigvalsh(H)
    out = library.numpy(sg.eigvalsh_sum(library.array(H), f))
    assert abs(out - np.sum(np.exp(-0.7j * w))) < 1e-13


def test_a_tie_that_rounding_has_opened():
    """Every subgradient of a Ky Fan norm has norm 1 and nuclear norm k."""
    for seed in range(20):
        x = with_spectrum(4, 4, (2.0, 2.0, 2.0, 1.0), seed=seed, is_complex=True)
        for k in (1, 2, 3):
            s = np.linalg.svd(sg.vjp(sg.ky_fan_norm, x, k=k)[1](1.0)[0], compute_uv=False)
            assert s[0] <= 1 + 1e-12
            assert abs(np.sum(s) - k) < 1e-12
            h = hermitian((2.0, 2.0, 2.0, 1.0), seed=seed)
            w = np.linalg.eigvalsh(sg.vjp(sg.sum_largest_eigvalsh, h, k=k)[1](1.0)[0])
            assert w[-1] <= 1 + 1e-12
            assert abs(np.sum(w) - k) < 1e-12


def test_the_k_lowest_levels():
    H = hermitian((1.0, 1.0, 2.0, 3.0), seed=5)
    total, pullback = sg.vjp(lambda x: sg.sum_largest_eigvalsh(x, 2), -H)
    np.testing.assert_allclose(-total, 2.0, rtol=1e-14)
    density = pullback(1.0)[0]
    np.testing.assert_allclose(density, sg.eigenprojector(-H, 2), atol=1e-14)
    np.testing.assert_allclose(density, sg.eigh_function(H, F.fermi(1.5, 200.0)), atol=1e-12)
    np.testing.assert_allclose(np.eye(4) - density, sg.eigh_function(H, F.step(1.5)), atol=1e-14)


def test_all_of_them(library):
    H, dH = (library.array(hermitian((1.0, 1.0, 2.0), seed=s)) for s in (5, 6))
    total, pullback = library.vjp(lambda x: sg.sum_largest_eigvalsh(x, 3), H)
    x_bar = library.numpy(pullback(library.xp.ones_like(total))[0])
    np.testing.assert_allclose(x_bar, np.eye(3), atol=1e-14)
    for fun in (sg.sum_largest_eigvalsh, sg.eigenprojector):
        out_bar = library.xp.ones_like(fun(H, 3))
        product = library.numpy(sg.hvp(fun, H, dH, out_bar, k=3))
        np.testing.assert_array_equal(product, 0)


@pytest.mark.thinned
@pytest.mark.parametrize("name", ["mu", "beta", "p", "at", "cutoff"])
def test_derivatives_by_parameters(library, name):
    functions = {
        "mu": (lambda v: F.fermi(v, 3.0), 0.8),
        "beta": (lambda v: F.fermi(0.8, v), 3.0),
        "p": (lambda v: F.power(v, cutoff=0.25), -0.5),
        "at": (F.step, 1.0),
        "cutoff": (lambda v: F.power(-0.5, cutoff=v), 0.25),
    }
    make, value = functions[name]
    x = library.array(hermitian((2.0, 2.0, 1.2, 0.5), seed=2))
    v = library.array(np.asarray(value))
    C = library.array(random((4, 4), seed=4))
    for fun, bar in (
        (lambda x, v: sg.eigh_function(x, make(v)), C),
        (lambda x, v: sg.eigvalsh_sum(x, make(v)), library.array(np.asarray(1.0))),
        (lambda x, v: sg.svd_function(x, make(v)), C),
    ):
        _, pullback = library.vjp(fun, x, v)
        _, v_bar = pullback(bar)

        def along(step, fun=fun, bar=bar):
            out = library.numpy(fun(x, library.array(np.asarray(value + step))))
            return np.sum(library.numpy(bar) * out)

        h = 1e-4
        wanted = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / 12 / h
        assert abs(float(library.numpy(v_bar)) - wanted) < 1e-9 * (1 + abs(wanted))
        # the mixed derivative is the same from either side
        dx = library.array(random((4, 4), seed=5))
        moved, by_v = sg.hvp(fun, (x, v), (dx, None), bar)
        moved_v, _ = sg.hvp(fun, (x, v), (None, library.array(np.asarray(1.0))), bar)
        assert np.all(np.isfinite(library.numpy(moved)))
        mixed = np.sum(library.numpy(moved_v) * library.numpy(dx))
        assert abs(float(library.numpy(by_v)) - mixed) < 1e-10 * (1 + abs(mixed))


def test_both_parameters_at_once():
    """The number of particles fixes mu: d N/d mu and d N/d beta in one go."""
    H = hermitian((1.0, 1.0, 2.0), seed=5)
    fun = lambda x, mu, beta: sg.eigvalsh_sum(x, F.fermi(mu, beta))
    number, pullback = sg.vjp(fun, H, np.asarray(1.3), np.asarray(2.0))
    w, f = np.array([1.0, 1.0, 2.0]), lambda w: 1 / (np.exp(2.0 * (w - 1.3)) + 1)
    np.testing.assert_allclose(number, np.sum(f(w)), rtol=1e-13)
    _, mu_bar, beta_bar = pullback(1.0)
    slope = f(w) * (1 - f(w))
    np.testing.assert_allclose(mu_bar, np.sum(2.0 * slope), rtol=1e-12)
    np.testing.assert_allclose(beta_bar, np.sum((1.3 - w) * slope), rtol=1e-12)


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
def test_jumps_and_kinks_are_nan():
    """At a jump to the error of computed values, and at a kink for second derivatives."""
    Q = np.linalg.qr(random((3, 3), seed=1))[0]
    x = (Q * np.array([2.0, 1.0, 1.0])) @ Q.T
    C = random((3, 3), seed=2)
    for f in (F.step(1.0), F.power(-1, cutoff=1.0), F.hard_threshold(1.0)):
        assert np.all(np.isnan(sg.vjp(sg.eigh_function, x, f=f)[1](C)[0]))
        assert np.all(np.isnan(sg.vjp(sg.svd_function, x, f=f)[1](C)[0]))
    for f in (F.soft_threshold(1.0), F.clip(1.0)):
        assert np.all(np.isfinite(sg.vjp(sg.svd_function, x, f=f)[1](C)[0]))
        assert np.all(np.isnan(sg.hvp(sg.svd_function, x, C, C, f=f)))
    low = (Q * np.array([2.0, 1.0, 0.0])) @ Q.T
    assert np.all(np.isfinite(sg.vjp(sg.eigh_function, low, f=F.positive_part)[1](C)[0]))
    assert np.all(np.isnan(sg.hvp(sg.eigh_function, low, C, C, f=F.positive_part)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: F.fermi(0.0, 0.0), r"`beta` is 0.0; wanted a number above 0"),
        (lambda: F.power(2, cutoff=0.0), r"`cutoff` is 0.0; wanted a number above 0"),
        (lambda: F.step(float("nan")), r"`at` is nan; wanted a finite number"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def symmetric_losses(library):
    xp = library.xp
    return {
        "energy": (lambda w: xp.sum(w**0.75), F.power(0.75)),
        "entropy": (lambda w: -xp.sum(w * xp.log(w)), F.entropy),
        "log": (lambda w: xp.sum(xp.log(w)), F.log),
    }


@pytest.mark.thinned
@pytest.mark.parametrize("name", ["energy", "entropy", "log"])
@pytest.mark.parametrize("kind", ["identity", "pair", "rotation"])
def test_split_values_have_second_derivatives(native, name, kind):
    loss, f = symmetric_losses(native)[name]
    spectrum = {"identity": np.ones(4), "pair": SPECTRA["pair"], "rotation": np.ones(4)}[kind]
    dx = native.array(random((4, 4), seed=1))
    one = native.array(np.asarray(1.0))
    x = native.array(np.eye(4) if kind == "identity" else hermitian(spectrum, seed=3))
    for split, exact in (
        (lambda x: loss(sg.eigvalsh(x, ties="split")), sg.eigvalsh_sum),
        (lambda x: loss(sg.svdvals(x, ties="split")), sg.svdvals_sum),
    ):
        got = native.numpy(native_hvp(native, split, x, dx, one))
        wanted = native.numpy(sg.hvp(exact, x, dx, 1.0, f=f))
        np.testing.assert_allclose(got, wanted, atol=4e-7 * np.max(np.abs(wanted)))


def test_split_values_are_the_same_without_a_derivative(library):
    x = library.array(np.eye(3))
    for fun in (sg.svdvals, sg.eigvalsh):
        plain = library.numpy(fun(x, ties="split"))
        out, _ = library.vjp(lambda x, fun=fun: fun(x, ties="split"), x)
        np.testing.assert_allclose(library.numpy(out), plain, rtol=1e-15)
        assert 1e-9 < np.ptp(plain) < 1e-7
    with pytest.raises(ValueError, match="svdvals: `ties` is 'drop'"):
        sg.svdvals(x, ties="drop")
