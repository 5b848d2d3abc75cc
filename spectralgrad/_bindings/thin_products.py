"""Products of a matrix with few columns, in the order and the pieces that BLAS is fast in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np

from .array import Array, adjoint, beside, is_complex
from .lookup import library_of
from .owners import is_torch_array

FEW_COLUMNS = 32  # of a sparse matrix of SciPy's
CACHE = 2**19  # bytes of a slice that stays in a core's own cache, beside others
SLICED = 8  # columns for which slices are faster; of 64 they take 1.5 times as long


def times(A: Array, X: Array) -> Array:
    """A X."""
    if (type(A) is np.ndarray or is_torch_array(A)) and not is_complex(A):
        # a tenth faster where X has few columns (OpenBLAS 0.3), twice with 16 (MKL, PyTorch 2.13)
        return _product(X.mT, A.mT).mT
    return _product(A, X)


def adjoint_times(A: Array, Y: Array) -> Array:
    """A^H Y."""
    return adjoint(_product(adjoint(Y), A))  # a fifth faster, and A is not conjugated


def _product(A: Array, B: Array) -> Array:
    if library_of(A).autodiff:
        return A @ B
    with np.errstate(invalid="ignore"):  # an Inf in one batch element gives that one NaN
        return A @ B


def gram_of(A: Array) -> Callable[[Array], Array] | None:
    """A^H A X by slices of rows of A, if that takes less than both products in turn.

    A slice is read once for both. With four columns NumPy takes 0.4 of the time (2.4), with
    eight half; with complex numbers it gains nothing, and MKL, which PyTorch calls, little.
    """
    if type(A) is not np.ndarray or A.dtype.kind != "f" or not A.flags.c_contiguous:
        return None
    m, n = A.shape[-2:]
    rows = max(16, CACHE // max(1, n * A.itemsize))
    return partial(_gram_by_slices, A, rows) if m > rows else None


def _gram_by_slices(A: Array, rows: int, X: Array) -> Array:
    """For a real A."""
    if X.shape[-1] > SLICED:
        return adjoint_times(A, times(A, X))
    Xh, slices = X.mT, (A[..., i : i + rows, :] for i in range(0, A.shape[-2], rows))
    with np.errstate(invalid="ignore"):
        return reduce(add, ((Xh @ part.mT) @ part for part in slices)).mT


def few_columns(X: Array) -> Iterator[Array]:
    """The columns of X, FEW_COLUMNS at a time."""
    for start in range(0, X.shape[-1], FEW_COLUMNS):
        yield X[..., start : start + FEW_COLUMNS]


def by_few(A: Any, X: Array) -> Array:
    """A X for a sparse matrix of SciPy's.

    Of 64 columns and more its products take up to three times as long for each (1.17): rows that
    lie a power of two apart leave the cache early, and the system has to give new memory for what
    is made of many rows.
    """
    if X.shape[-1] <= FEW_COLUMNS:
        return A @ X
    return beside([A @ part for part in few_columns(X)])
