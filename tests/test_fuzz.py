"""Derivatives at matrices drawn to be hard, against differences in 60 digits (`fuzzing`).

`--examples N` draws N of each operation in place of a few, and others every time: `ci/fuzz`.
"""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
from fuzzing import THRESHOLD, expected, of_eigenvalues, of_values, samples, sum_of, to_mp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spectralgrad as sg

F = sg.functions
odd = lambda f: lambda A: of_values(A, lambda s, i: f(s))
# name: the function, its reference, where it is (twice) differentiable: "smooth" everywhere,
# "flat" where f''(0) = 0 is wanted at second order, "full" rank, "cut" a gap after the first value
OPERATIONS = {
    "tanh": (lambda x: sg.svd_function(x, F.tanh), odd(mp.tanh), "smooth", None),
    "cube": (lambda x: sg.svd_function(x, F.power(3)), odd(lambda s: s**3), "smooth", None),
    "expm1": (lambda x: sg.svd_function(x, F.expm1), odd(mp.expm1), "flat", None),
    "log1p": (lambda x: sg.svd_function(x, F.log1p), odd(mp.log1p), "flat", None),
    "power(2.5)": (
        lambda x: sg.svd_function(x, F.power(2.5)),
        odd(lambda s: s ** mp.mpf("2.5")),
        "flat",
        None,
    ),
    "tikhonov": (
        lambda x: sg.svd_function(x, F.tikhonov(0.5)),
        odd(lambda s: s / (s * s + 0.5)),
        "smooth",
        None,
    ),
    "threshold": (
        lambda x: sg.singular_value_threshold(x, THRESHOLD),
        odd(lambda s: max(s - mp.mpf(THRESHOLD), 0 * s)),
        "kink",
        None,
    ),
    "orthogonalize": (sg.orthogonalize, odd(lambda s: mp.mpf(1)), "full", 0),
    "nuclear_norm": (sg.nuclear_norm, lambda A: sum_of(A, mp.fsum), "full", 1),
    "schatten_norm": (
        lambda x: sg.schatten_norm(x, 3),
        lambda A: sum_of(A, lambda S: mp.fsum(s**3 for s in S) ** (mp.mpf(1) / 3)),
        "smooth",
        1,
    ),
    "low_rank": (
        lambda x: sg.low_rank(x, 1),
        lambda A: of_values(A, lambda s, i: s if i == 0 else 0 * s),
        "cut",
        1,
    ),
    "spectral_norm": (sg.spectral_norm, lambda A: sum_of(A, max), "cut", 1),
    "expm": (sg.expm, lambda A: of_eigenvalues(A, mp.exp), "hermitian", None),
    "sqrtm": (sg.sqrtm, lambda A: of_eigenvalues(A, mp.sqrt), "positive", 0.5),
    "inv_sqrtm": (
        sg.inv_sqrtm,
        lambda A: of_eigenvalues(A, lambda w: 1 / mp.sqrt(w)),
        "positive",
        -0.5,
    ),
    "logm": (sg.logm, lambda A: of_eigenvalues(A, mp.log), "positive", 0),
}  # fmt: skip


def admissible(x, where, order):
    """Whether the derivative exists, and not only up to rounding."""
    side, eps = max(x.shape), float(np.finfo(x.dtype).eps)
    s = np.linalg.svd(x.astype(float), compute_uv=False)
    zero = s[-1] <= 8 * math.sqrt(side) * eps * s[0]
    if where in ("full", "positive") or (where == "flat" and order == 2):
        return not zero
    if where == "cut":
        return len(s) == 1 or s[0] - s[1] > 2 * eps**0.75 * s[0]
    return where != "kink" or np.min(np.abs(s - THRESHOLD)) > eps**0.5


def examples(request, few):
    """How many, and the same few every time unless more are asked for."""
    asked = request.config.getoption("--examples")
    return settings(
        max_examples=asked or few,
        derandomize=not asked,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def compare(got, size, wanted, change, dtype, what, natural=0.0):
    """An error of rounding, or of 100 times what rounding the input does; NaN by the same.

    Rounding is relative to the result's size; where that cancels, to eps of its `natural` size.
    """
    slack = (1e-12 if dtype == np.float64 else 3e-6) * max(abs(wanted), size) + 100 * change
    slack += 20 * float(np.finfo(dtype).eps) * natural + mp.mpf(10) ** -24
    if np.isnan(got):
        assert change > 1e-4 * abs(wanted), f"{what}: NaN, wanted {mp.nstr(wanted, 15)}"
    else:
        error = abs(mp.mpf(float(got)) - wanted)
        assert error <= slack, f"{what}: {got!r}, wanted {mp.nstr(wanted, 15)}, {mp.nstr(slack, 3)}"


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["double", "single"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_derivatives(request, name, order, dtype):
    fun, reference, where, degree = OPERATIONS[name]
    is_hermitian = where in ("hermitian", "positive")
    single = dtype == np.float32
    scales = (0,) if degree is None else (0, -20, 20) if single else (0, -400, 400)
    rows = (0,) if is_hermitian or order == 2 else (0, 0, 0, 1000, 10**5)

    @examples(request, 8)
    @given(sample=samples(dtype, hermitian=is_hermitian, rows=rows, scales=scales))
    def run(sample):
        x, rng = sample.x, np.random.default_rng(sample.seed + 1)
        if not admissible(x, where, order):
            return
        m = len(x)
        out_shape = () if name.endswith("norm") else x.shape
        C = rng.standard_normal(out_shape).astype(dtype)
        directions = [rng.standard_normal(x.shape).astype(dtype) for _ in range(order)]
        if is_hermitian:
            directions = [(d + d.T) / 2 for d in directions]
        wanted, change = expected(reference, C, x, *directions)
        # F(c x) along c d is c^degree F'(x) d
        back = -sample.scale * (degree or 0)
        C_dressed = C if not out_shape else np.zeros((m + sample.rows, x.shape[1]), dtype)
        if out_shape:
            C_dressed[:] = sample.dressed(C)
            C_dressed = np.ldexp(C_dressed, -sample.scale)
        dressed = [sample.dressed(a) for a in (x, *directions)]
        if order == 1:
            (bar,) = sg.vjp(fun, dressed[0])[1](np.asarray(C_dressed))
        else:
            bar = sg.hvp(fun, dressed[0], dressed[1], np.asarray(C_dressed))
        # to the small matrix' own units: x_bar scales as c^(degree - 1), d as c
        bar = sample.undressed(np.asarray(bar, float), m)
        d = directions[-1].astype(float)
        unit = 2.0 ** (sample.scale + math.floor(back)) * 2.0 ** (back - math.floor(back))
        got = np.sum(bar * unit * d)
        size = np.linalg.norm(bar * unit) * np.linalg.norm(d)
        natural = np.linalg.norm(C) * np.linalg.norm(np.asarray(fun(x), float))
        for a in directions:
            natural *= np.linalg.norm(a) / np.linalg.norm(x)
        compare(got, size, wanted, change, dtype, f"{name}, {x!r}", natural)

    run()


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["double", "single"])
def test_points(request, dtype):
    """msd of a few points, and of the same ones a thousand times over."""

    def msd(A):
        """A holds P beside Q."""
        n, d = A.rows, A.cols // 2
        P, Q = A[:, :d], A[:, d:]
        center = lambda X: X - mp.ones(n, 1) * (mp.ones(1, n) * X / n)
        P, Q = center(P), center(Q)
        H = Q.T * P / n
        U, S, V = mp.svd_r(H)
        S = list(S)
        if mp.det(U) * mp.det(V) < 0:
            S[-1] = -S[-1]
        total = mp.fsum(v * v for X in (P, Q) for v in X) / n
        return mp.matrix([[total - 2 * mp.fsum(S)]])

    @examples(request, 25)
    @given(
        seed=st.integers(0, 2**32 - 1),
        n=st.integers(3, 6),
        d=st.integers(2, 3),
        noise=st.sampled_from([0.0, 1e-12, 1e-6, 1e-2, 1.0]),
        copies=st.sampled_from([1, 1, 1000, 20000]),
    )
    def run(seed, n, d, noise, copies):
        rng = np.random.default_rng(seed)
        P = rng.standard_normal((n, d)).astype(dtype)
        R = np.linalg.qr(rng.standard_normal((d, d)))[0]
        Q = (P @ R + noise * rng.standard_normal((n, d)) + 1).astype(dtype)
        dP = rng.standard_normal((n, d)).astype(dtype)
        A, dA = np.hstack([P, Q]), np.hstack([dP, 0 * dP])
        wanted, change = expected(msd, np.ones(1), A, dA)
        many = [np.repeat(X, copies, axis=0) for X in (P, Q)]
        _, pullback = sg.vjp(lambda P, Q: sg.kabsch(P, Q).msd, *many)
        P_bar = np.asarray(pullback(np.ones((), dtype))[0], float)
        got = np.sum(P_bar * np.repeat(dP, copies, axis=0))
        # the sums over points have an error of eps |P| |Q|, and R that over what makes it unique
        eps = (20 + (n * copies) ** 0.5) * float(np.finfo(dtype).eps)
        H = (Q - Q.mean(0)).T.astype(float) @ (P - P.mean(0))
        s = np.linalg.svd(H, compute_uv=False)
        unique = (s[-2] + np.sign(np.linalg.det(H)) * s[-1]) / s[0]
        rounding = eps * np.linalg.norm(dP) * np.linalg.norm(P) / max(unique, eps)
        compare(got, 0, wanted, change + rounding / 100, dtype, f"msd of {A!r}")

    run()


def test_a_reference_is_one():
    """The differences find the derivative of x^T x, and the change by rounding is small."""
    x, d = np.array([[1.0, 2.0], [0.5, -1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    square = lambda A: A.T * A
    wanted, change = expected(square, np.eye(2), x, d)
    assert float(wanted) == pytest.approx(2 * np.sum(x * d), rel=1e-30)
    assert change < 1e-14
    assert to_mp(x)[0, 1] == 2
