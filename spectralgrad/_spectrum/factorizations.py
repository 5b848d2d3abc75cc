"""The factorizations as each library has them; they say nothing of ties.

A batch element with a NaN or an Inf comes out all NaN and affects no other. Left as they are, NumPy
and PyTorch raise for the whole stack (NumPy 2.4, PyTorch 2.13), and CuPy says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._bindings.array import Array, Arrays, array_namespace, herm, nan_where
from .._bindings.host import in_slices


def _each(factorize: Callable[..., Any], x: Array) -> Any:
    if 0 in x.shape:
        return factorize(x)
    return in_slices(partial(_with_finite, factorize), tuple(x.shape[:-2]), x)


def _with_finite(factorize: Callable[..., Any], x: Array) -> Arrays:
    xp = array_namespace(x)
    ok = xp.isfinite(xp.max(xp.abs(x), axis=(-2, -1)))  # max passes a NaN on
    factors = factorize(xp.where(ok[..., None, None], x, 0.0))
    invalid = nan_where(~ok, x)
    return tuple(
        y + (invalid[..., None, None] if y.ndim == x.ndim else invalid[..., None]) for y in factors
    )


def svd(x: Array, *, full_matrices: bool = False) -> Any:
    """U, S, Vh of each matrix."""
    xp = array_namespace(x)
    # A tuple in CuPy and a named tuple elsewhere (CuPy 13): unpacked, never by name.
    return _each(lambda a: tuple(xp.linalg.svd(a, full_matrices=full_matrices)), x)


def svdvals(x: Array) -> Array:
    xp = array_namespace(x)
    return _each(lambda a: (xp.linalg.svdvals(a),), x)[0]


def eigh(x: Array) -> Any:
    """Eigenvalues, ascending, and eigenvectors of the Hermitian part of each matrix."""
    xp = array_namespace(x)
    return _each(lambda a: tuple(xp.linalg.eigh(herm(a))), x)


def eigvalsh(x: Array) -> Array:
    xp = array_namespace(x)
    return _each(lambda a: (xp.linalg.eigvalsh(herm(a)),), x)[0]
