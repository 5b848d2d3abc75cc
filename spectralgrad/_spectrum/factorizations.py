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
from .._bindings.lookup import block_library, library_of
from . import entries, jacobi
from .drivers import driver
from .ties import largest, unit_of


def _each(factorize: Callable[..., Arrays], cores: tuple[tuple[int, ...], ...], x: Array) -> Any:
    if 0 in x.shape:
        return factorize(x)
    return library_of(x).each(partial(_with_finite, factorize), cores, x)


def _with_finite(factorize: Callable[..., Any], x: Array) -> Arrays:
    xp = array_namespace(x)
    size = xp.max(xp.abs(x), axis=(-2, -1), keepdims=True)  # which passes a NaN on
    factors = factorize(xp.where(xp.isfinite(size), x, 0.0))
    invalid = size - size  # zero, or NaN
    return tuple(y + (invalid if y.ndim == x.ndim else invalid[..., 0]) for y in factors)


def svd(x: Array, *, full_matrices: bool = False) -> Any:
    """U, S, Vh of each matrix."""
    (m, n), k = x.shape[-2:], min(x.shape[-2:])
    blocks = block_library(x)
    if blocks is not None and not full_matrices:
        return _with_finite(blocks.blocked_svd, x)

    def factorize(a: Array) -> Arrays:
        # A tuple in CuPy and a named tuple elsewhere (CuPy 13): unpacked, never by name.
        if not full_matrices and driver(a) == "jacobi":
            return jacobi.svd(a)
        return tuple(array_namespace(a).linalg.svd(a, full_matrices=full_matrices))

    cores = ((m, m), (k,), (n, n)) if full_matrices else ((m, k), (k,), (k, n))
    return _each(factorize, cores, x)


def svdvals(x: Array) -> Array:
    if block_library(x) is not None:
        return svd(x)[1]

    def factorize(a: Array) -> Arrays:
        return (
            jacobi.svd(a)[1:2] if driver(a) == "jacobi" else (array_namespace(a).linalg.svdvals(a),)
        )

    return _each(factorize, ((min(x.shape[-2:]),),), x)[0]


def _eigh(factorize: Callable[..., Arrays], x: Array) -> Any:
    n = x.shape[-1]
    return _each(factorize, ((n,), (n, n)), x)


def eigh(x: Array) -> Any:
    """Eigenvalues, ascending, and eigenvectors of the Hermitian part of each matrix."""
    return _eigh(_hermitian_eigh, x)


def _hermitian_eigh(a: Array) -> Arrays:
    a = herm(a)
    return jacobi.eigh(a) if driver(a) == "jacobi" else tuple(array_namespace(a).linalg.eigh(a))


SKEW = 1e-2  # of the largest eigenvalue: a matrix with more was not meant to be Hermitian


def eigh_of_hermitian(x: Array) -> Any:
    """The same; eigenvalues are NaN where x is clearly not Hermitian."""

    def factorize(a: Array) -> Arrays:
        xp = array_namespace(a)
        w, Q = _hermitian_eigh(a)
        twice_skew = xp.max(xp.abs(a - adjoint(a)), axis=(-2, -1))
        return w + nan_where(twice_skew > 2 * SKEW * largest(w)[..., 0], w)[..., None], Q

    return eigh(x) if 0 in x.shape else _eigh(factorize, x)


def eigvalsh(x: Array) -> Array:
    def factorize(a: Array) -> Arrays:
        a = herm(a)
        if driver(a) == "jacobi":
            return jacobi.eigh(a)[:1]
        return (array_namespace(a).linalg.eigvalsh(a),)

    return _each(factorize, ((x.shape[-1],),), x)[0]


def determinant(x: Array) -> Array:
    """That of each square matrix, and 0 in place of NaN."""
    xp = array_namespace(x)
    x = xp.where(xp.isnan(x), 0.0, x)  # NumPy's det warns of NaN (2.4)
    if driver(x) == "jacobi":
        return entries.determinant(x)
    if hasattr(xp.linalg, "det"):  # Dask has none (2026.8)
        return xp.linalg.det(x)
    return _each(lambda a: (array_namespace(a).linalg.det(a)[..., None],), ((1,),), x)[0][..., 0]


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
