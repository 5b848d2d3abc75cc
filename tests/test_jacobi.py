"""Jacobi's method for stacks of tiny matrices, compared with LAPACK and with its own promises."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
from marks import slow
from matrices import random

import spectralgrad as sg
from spectralgrad._bindings import host
from spectralgrad._spectrum import drivers, entries, factorizations, jacobi

B = 400
SHAPES = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 3), (3, 5), (1, 4), (8, 2))
DTYPES = ("float32", "float64", "complex64", "complex128")


def near_ties(m, n):
    """Ties to within every power of ten, in the basis of another matrix."""
    U, _, Vh = np.linalg.svd(random((B, m, n), seed=1), full_matrices=False)
    s = 1 + 10.0 ** np.random.default_rng(2).uniform(-17, 0, (B, 1, min(m, n)))
    return (U * s) @ Vh


def graded(m, n):
    return random((B, m, n), seed=3) * 10.0 ** -np.arange(0, 6 * n, 6.0)


def lattice(m, n):
    """Small whole numbers: zeros, ties and dependent columns, all exact."""
    return np.random.default_rng(4).integers(-1, 2, (B, m, n)).astype(float)


STACKS = {
    "random": lambda m, n: random((B, m, n), seed=5),
    "ties": near_ties,
    "graded": graded,
    "lattice": lattice,
    "rank one": lambda m, n: random((B, m, 1), seed=6) * random((B, 1, n), seed=7),
    "zero": lambda m, n: np.zeros((B, m, n)),
    "identity": lambda m, n: np.eye(m, n) + 1e-9 * random((B, m, n), seed=8),
    "tiny": lambda m, n: 2.0**-1000 * random((B, m, n), seed=9),
    "huge": lambda m, n: 2.0**1000 * random((B, m, n), seed=10),
    "denormal": lambda m, n: 2.0**-1060 * random((B, m, n), seed=11),
}


def stack(name, shape, dtype):
    x = STACKS[name](*shape)
    if dtype.startswith("complex"):
        x = x * (1 + 0.3j) + 1j * x[::-1]
    if dtype in ("float32", "complex64"):
        powers = {"tiny": 2.0**900, "huge": 2.0**-900, "denormal": 2.0**920}
        x = x * powers.get(name, 1.0)
    return x.astype(dtype)


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


def is_orthonormal(W, eps):
    return np.max(np.abs(adjoint(W) @ W - np.eye(W.shape[-1]))) < 20 * eps


def residual(left, values, right, x):
    """left diag(values) right - x and the least number, in units of the largest value."""
    largest = np.max(np.abs(values), axis=-1)[:, None, None].astype(float)
    up = np.where(largest < 1, 2.0**100, 2.0**-100)  # of numbers that may be denormal
    unit = np.where(largest == 0, 1.0, largest * up)
    values = values.astype(float)[:, None, :] * up / unit
    wide = np.real(x).astype(float) * up / unit + 1j * (np.imag(x).astype(float) * up / unit)
    return (left * values) @ right - wide, np.finfo(x.dtype).smallest_subnormal * up / unit


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", STACKS)
def test_svd(name, shape, dtype):
    x, eps = stack(name, shape, dtype), np.finfo(dtype).eps
    with np.errstate(all="ignore"):
        U, S, Vh = jacobi.svd(x)
    assert {a.dtype for a in (U, Vh)} == {x.dtype}
    assert S.dtype == x.real.dtype
    assert is_orthonormal(U, eps)
    assert is_orthonormal(adjoint(Vh), eps)
    assert np.all(S >= 0)
    assert np.all(np.diff(S, axis=-1) <= 0)
    rest, floor = residual(U, S, Vh, x)
    assert np.all(np.abs(rest) <= 20 * eps + 2 * floor)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("name", STACKS)
def test_eigh(name, n, dtype):
    x, eps = stack(name, (n, n), dtype), np.finfo(dtype).eps
    x = x / 2 + adjoint(x) / 2
    with np.errstate(all="ignore"):
        w, Q = jacobi.eigh(x)
    assert (w.dtype, Q.dtype) == (x.real.dtype, x.dtype)
    assert is_orthonormal(Q, eps)
    assert np.all(np.diff(w, axis=-1) >= 0)
    rest, floor = residual(Q, w, adjoint(Q), x)
    assert np.all(np.abs(rest) <= 20 * eps + 2 * floor)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_values_of_graded_columns_are_accurate_relative_to_themselves(n):
    """Of Q D with orthonormal Q and D from 1 to 1e-60, whose values are those of D."""
    Q = np.linalg.qr(random((B, n, n), seed=1))[0]
    d = 10.0 ** -np.linspace(0, 60, n)
    S = jacobi.svd(Q * d)[1]
    np.testing.assert_allclose(S, np.broadcast_to(d, S.shape), rtol=1e-14)


def test_eigenvalues_of_graded_definite_matrices_are_accurate_relative_to_themselves():
    d, eps = 10.0 ** -np.linspace(0, 30, 3), 1e-3
    x = d[:, None] * (np.eye(3) + eps * (1 - np.eye(3))) * d
    w = jacobi.eigh(np.broadcast_to(x, (B, 3, 3)))[0]
    expected = np.sort(d * d)  # times 1 + O(eps^2)
    np.testing.assert_allclose(w, np.broadcast_to(expected, w.shape), rtol=1e-5)


def test_a_lattice_is_done_after_the_sweeps_that_are_made_blindly(monkeypatch):
    """Where no value can be read the number of sweeps is fixed; one that needed more is NaN."""

    def blindly(body, state, most, *, traced):
        return host.repeat(lambda flag: None, np.any, body, state, most, traced)

    monkeypatch.setattr(jacobi, "loop_each", blindly)
    for name in STACKS:
        for n in (2, 3, 4):
            with np.errstate(all="ignore"):
                assert np.all(np.isfinite(jacobi.svd(stack(name, (n, n), "float64"))[1])), name


def test_too_few_sweeps_are_nan(monkeypatch):
    monkeypatch.setattr(jacobi, "MOST", 2)
    assert np.all(np.isnan(jacobi.svd(random((B, 4, 4)))[1]))
    assert np.all(np.isnan(jacobi.eigh(np.abs(random((B, 4, 4)) + np.ones((4, 4))))[0]))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_determinant(n):
    x = random((B, n, n))
    np.testing.assert_allclose(entries.determinant(x), np.linalg.det(x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_invalid_batch_elements_affect_no_other(bad):
    x = random((B, 3, 3))
    x[7, 1, 2] = bad
    assert drivers.svd_driver(x) == "jacobi"
    with np.errstate(invalid="ignore"):
        found = factorizations.svd(x), factorizations.eigh(x)
    for factors in found:
        for y in factors:
            finite = np.all(np.isfinite(y), axis=tuple(range(1, y.ndim)))
            np.testing.assert_array_equal(np.flatnonzero(~finite), [7])


def test_short_stacks_large_matrices_and_single_ones_go_to_lapack():
    for shape in ((99, 3, 3), (3, 3), (B, 5, 5), (B, 9, 2), (0, 3, 3)):
        assert drivers.svd_driver(np.zeros(shape)) == "own"


def batch_last(x):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)


@pytest.mark.parametrize("count", [B, 40000])
def test_results_are_in_c_order_unless_the_input_is_batch_last(count):
    x, bars = random((count, 3, 3), seed=1), [random((count, *s)) for s in ((3, 3), (3,), (3, 3))]
    for change, flag in ((np.asarray, True), (batch_last, False)):
        out, pullback = sg.vjp(partial(sg.svd, full_matrices=False), change(x))
        for y in (*out, *pullback(tuple(bars))):
            assert y.flags.c_contiguous == flag, flag
            assert flag or y.strides[0] == y.itemsize


def test_batch_last_changes_no_value():
    x, bars = random((B, 3, 3), seed=1), [random((B, *s)) for s in ((3, 3), (3,), (3, 3))]
    results = []
    for change in (np.asarray, batch_last):
        out, pullback = sg.vjp(sg.svd, change(x))
        results.append((*out, *pullback(tuple(bars))))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_torch_and_jax_agree_with_numpy(native):
    """In JAX only what is compiled takes the same way."""
    x = random((B, 3, 3), seed=1)
    f = native.compiled(lambda x: sg.svd(x)) if native.name == "jax" else sg.svd
    for a, b in zip(f(native.array(x)), sg.svd(x), strict=True):
        np.testing.assert_allclose(native.numpy(a), b, atol=1e-13)


def patterns(n, values):
    """Matrices with these numbers in two of their rows, each as a stack of its own."""
    base = np.diag(np.arange(2.0, 2.0 + n))
    for i, j in itertools.combinations(range(n), 2):
        for numbers in itertools.product(values, repeat=3):
            x = base.copy()
            x[i, i], x[i, j], x[j, j] = numbers
            yield np.broadcast_to(x, (B, n, n)).copy()


@pytest.mark.parametrize("n", [3, 4])
def test_stacks_of_one_matrix(n):
    """Where columns trade places and nothing turns, no other element keeps the sweeps going."""
    for x in patterns(n, (0.0, 1.0, 3.0, 5.0)):
        S = jacobi.svd(x)[1][0]
        np.testing.assert_allclose(S, np.linalg.svd(x[0], compute_uv=False), atol=1e-14)
        w = jacobi.eigh(x + x.mT)[0][0]
        np.testing.assert_allclose(w, np.linalg.eigvalsh(x[0] + x[0].T), atol=3e-14)


@pytest.mark.parametrize(
    ("n", "dtype"),
    [
        *((2, "float32"), (3, "complex128"), (4, "float64")),
        *(slow(n, "float32") for n in (3, 4)),
        *(slow(n, "float64") for n in (2, 3)),
        *(slow(n, "complex128") for n in (2, 4)),
    ],
)
def test_ties_where_jax_compiles(n, dtype):
    """Which of two equal columns is the longer must not be computed twice with two roundings."""
    jax = pytest.importorskip("jax")
    x = np.linalg.qr(random((1000, n, n), is_complex=dtype == "complex128"))[0].astype(dtype)
    U, S, Vh = map(np.asarray, jax.jit(jacobi.svd)(jax.numpy.asarray(x)))
    tolerance = 40 * np.finfo(dtype).eps
    np.testing.assert_allclose(S, 1, atol=tolerance)
    np.testing.assert_allclose((U * S[..., None, :]) @ Vh, x, atol=tolerance)
