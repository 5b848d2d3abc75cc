"""The factorizations as each library has them; they say nothing of ties.

A batch element with a NaN or an Inf comes out all NaN and affects no other. Left as they are, NumPy
and PyTorch raise for the whole stack (NumPy 2.4, PyTorch 2.13), and CuPy says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._bindings.array import (
    Array,
    Arrays,
    adjoint,
    array_namespace,
    columnwise_dot,
    device,
    eps,
    herm,
    nan_where,
    real,
)
from .._bindings.host import in_slices
from .ties import largest, unit_of


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


SKEW = 1e-2  # of the largest eigenvalue: a matrix with more was not meant to be Hermitian


def eigh_of_hermitian(x: Array) -> Any:
    """The same; eigenvalues are NaN where x is clearly not Hermitian."""
    xp = array_namespace(x)

    def factorize(a: Array) -> Arrays:
        w, Q = xp.linalg.eigh(herm(a))
        twice_skew = xp.max(xp.abs(a - adjoint(a)), axis=(-2, -1))
        return w + nan_where(twice_skew > 2 * SKEW * largest(w)[..., 0], w)[..., None], Q

    return eigh(x) if 0 in x.shape else _each(factorize, x)


def eigvalsh(x: Array) -> Array:
    xp = array_namespace(x)
    return _each(lambda a: (xp.linalg.eigvalsh(herm(a)),), x)[0]


LARGE = 2**16  # entries: two products with a vector cost little beside a decomposition then


def with_measured_zeros(x: Array, U: Array, S: Array, Vh: Array) -> Array:
    """S with zeros where its own residual leaves nothing of a value.

    `zero_tolerance` is what drivers leave of a zero. Some leave more of constant and other highly
    structured large matrices (docs/zero.md). The residual x v - s u, of all values that may be in
    doubt at once, weighted by arbitrary signs, shows it.
    """
    m, n = x.shape[-2:]
    if m * n < LARGE:
        return S
    xp, unit = array_namespace(S), unit_of(S)
    doubtful = max(m, n) * eps(S) * unit >= S
    signs = xp.sin(xp.arange(1, S.shape[-1] + 1, dtype=S.dtype, device=device(S)) ** 2 * 12.9898)
    weights = xp.where(doubtful & (signs > 0), 1.0, xp.where(doubtful, -1.0, 0.0 * S))[..., None]
    right = adjoint(Vh) @ xp.astype(weights, Vh.dtype, copy=False)
    left = U @ xp.astype((S / unit)[..., None] * weights, U.dtype, copy=False)
    rest = x @ right / unit[..., None] - left
    residual = real(columnwise_dot(rest, rest)) ** 0.5 * unit
    return xp.where(doubtful & (2 * residual >= S), xp.zeros_like(S), S)
