"""The block Krylov iteration on matrices with structure: right, or told that it is not."""

from __future__ import annotations

import warnings
from functools import cache, partial
from itertools import product
from operator import attrgetter

import numpy as np
import pytest
from libraries import Library
from marks import slow
from structured import CASES, COMPLEX, LARGER, SQUARE, matrix

import spectralgrad as sg

NUMPY = Library("numpy", "cpu")
LOW_RANK = ("star", "star, k = 2", "constant, wide", "one row", "stars, 5", "rank 5 of 12, tall")
SHIFTS = ("cyclic shift", "nilpotent below", "two shifts", "shift, tall", "star, nodes by edges")
SCALED = ("star", "cyclic shift", "copies across the cut", "Toeplitz", "rank 5 of 12, wide", "zero")
SCALES = {"float64": (-500, -100, 100, 500), "float32": (-60, 60)}
SCALES |= {"complex128": SCALES["float64"], "complex64": SCALES["float32"]}
STACKED = ("Hilbert", "cyclic shift", "path", "star", "zero", "copies across the cut")
slow_if_complex = pytest.mark.parametrize("dtype", ["float64", slow("complex128")])
by_case = partial(pytest.mark.parametrize, ("name", "dtype"))
is_hard = attrgetter("hard")


@cache  # one function for each k, which JAX compiles once for a shape and dtype
def truncated(k, seed=0):
    return partial(sg.truncated_svd, k=k, solver="krylov", seed=seed)


def solve(library, x, function, dtype):
    """The triplets as NumPy arrays, and whether a warning came with them."""
    x = library.array(x, dtype)
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=sg.ConvergenceWarning)
        found = library.compiled(function)(x)
    return tuple(map(library.numpy, found)), bool(caught)


def error(x, values, triplets):
    """In default tolerances: of S and both residuals, over the largest value, and of U^H U = I."""
    eps = np.finfo(triplets[0].dtype).eps
    U, S, Vh = (part.astype(np.result_type(part, np.float64)) for part in triplets)
    top = max(values[0], np.finfo(float).tiny)  # of zeros nothing but zeros is right
    V = Vh.conj().T
    found = [np.max(np.abs(S - values[: len(S)])) / top]
    for R in (x @ V - U * S, x.conj().T @ U - V * S):
        found.append(np.max(np.linalg.norm(R / top, axis=0)))
    found += [np.linalg.norm(W.conj().T @ W - np.eye(len(S))) for W in (U, V)]
    return max(found) / (max(8 * np.sqrt(max(x.shape)), 128) * eps)


def told_of(library, caught, triplets):
    """Whether it is said that these may be wrong: by NaN where JAX traces and cannot warn."""
    return all(np.all(np.isnan(part)) for part in triplets) if library.name == "jax" else caught


def assert_right_or_told(library, name, dtype, *, scale=1.0, seed=0):
    """Within 50 default tolerances; where the case is hard, or told of."""
    (x, values), case = matrix(name, dtype), CASES[name]
    (U, S, Vh), caught = solve(library, x * scale, truncated(case.k, seed), dtype)
    assert U.dtype == Vh.dtype == dtype
    told = told_of(library, caught, (U, S, Vh))
    assert case.hard or not told, "given up, or warned of for nothing"
    assert told or error(x, values, (U, S / S.dtype.type(scale), Vh)) <= 50


def pairs(names, *dtypes, at_length=lambda case: False):
    found = []
    for name, dtype in product(names, dtypes):
        if dtype == "complex128" or name not in COMPLEX:
            marks = [pytest.mark.slow] if at_length(CASES[name]) else []
            found.append(pytest.param(name, dtype, marks=marks))
    return found


@by_case(pairs(CASES, "float64") + pairs(CASES, "complex128", at_length=is_hard))
def test_numpy(name, dtype):
    assert_right_or_told(NUMPY, name, dtype)


@by_case(pairs(SQUARE, "float64", at_length=is_hard))
def test_other_libraries(native, name, dtype):
    assert_right_or_told(native, name, dtype)


@pytest.mark.slow
@by_case(pairs(SQUARE, "complex128") + pairs(LARGER, "float64", "complex128"))
def test_other_libraries_at_length(native, name, dtype):
    assert_right_or_told(native, name, dtype)


@pytest.mark.parametrize("name", LOW_RANK + SHIFTS)
@slow_if_complex
def test_every_start(name, dtype):
    for seed in range(8):
        assert_right_or_told(NUMPY, name, dtype, seed=seed)


@pytest.mark.parametrize("dtype", ["complex128", "float32", slow("float64"), slow("complex64")])
@pytest.mark.parametrize("name", SCALED)
def test_every_scale(name, dtype):
    for exponent in SCALES[dtype]:
        assert_right_or_told(NUMPY, name, dtype, scale=2.0**exponent)


@slow_if_complex
def test_a_stack_of_easy_and_hard(library, dtype):
    """The warning is of the hard one: its neighbours are as right as alone."""
    found = [matrix(name, dtype) for name in STACKED]
    parts, caught = solve(library, np.stack([x for x, _ in found]), truncated(4), dtype)
    for name, (x, values), *triplets in zip(STACKED, found, *parts, strict=True):
        told = CASES[name].hard and told_of(library, caught, triplets)
        assert told or error(x, values, triplets) <= 50, name
