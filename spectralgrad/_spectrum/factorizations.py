"""The factorizations as each library has them; they say nothing of ties.

A batch element with a NaN or an Inf comes out all NaN and affects no other. Left as they are, NumPy
and PyTorch raise for the whole stack (NumPy 2.4, PyTorch 2.13), and CuPy says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._bindings.array import (
    OPAQUE,
    Array,
    Arrays,
    adjoint,
    array_namespace,
    as_dtype,
    eps,
    herm,
    invalidated,
    is_surely_finite,
    nan_where,
    real,
)
from .._bindings.lookup import block_library, is_on_host, library_of, own_eigh
from .._bindings.matrix_products import columnwise_dot
from .._bindings.rows import all_rows
from . import drivers, entries
from .ties import SKEW, largest, unit_of
from .verification import signs, verified_eigh, verified_svd


def _each(factorize: Callable[..., Arrays], cores: tuple[tuple[int, ...], ...], x: Array) -> Any:
    library = library_of(x)
    if 0 in x.shape and not library.blocks:
        return factorize(x)
    return library.each(partial(_with_finite, factorize), cores, x)


def _with_finite(factorize: Callable[..., Arrays], x: Array) -> Arrays:
    if is_surely_finite(x):
        return factorize(x)
    xp = array_namespace(x)
    size = xp.max(xp.abs(x), axis=(-2, -1), keepdims=True)  # which passes a NaN on
    factors = factorize(xp.where(xp.isfinite(size), x, 0.0))
    invalid = size - size  # zero, or NaN
    return tuple(invalidated(y, invalid if y.ndim == x.ndim else invalid[..., 0]) for y in factors)


def svd(x: Array, *, full_matrices: bool = False) -> Any:
    """U, S, Vh of each matrix."""
    (m, n), k = x.shape[-2:], min(x.shape[-2:])
    blocks = block_library(x)
    if blocks is not None and not full_matrices:
        return blocks.blocked_svd(x)

    def factorize(a: Array) -> Arrays:
        by = None if full_matrices else drivers.SVD.get(drivers.svd_driver(a))
        # A tuple in CuPy and a named tuple elsewhere (CuPy 13): unpacked, never by name.
        own = partial(array_namespace(a).linalg.svd, full_matrices=full_matrices)
        factors = tuple((by or own)(a))
        return factors if is_on_host(a) else verified_svd(a, *factors)

    cores = ((m, m), (k,), (n, n)) if full_matrices else ((m, k), (k,), (k, n))
    return _each(factorize, cores, x)


def svdvals(x: Array) -> Array:
    if block_library(x) is not None:
        return svd(x)[1]

    def factorize(a: Array) -> Arrays:
        by = drivers.SVD.get(drivers.svd_driver(a))
        return (array_namespace(a).linalg.svdvals(a),) if by is None else by(a)[1:2]

    return _each(factorize, ((min(x.shape[-2:]),),), x)[0]


def _eigh(factorize: Callable[..., Arrays], x: Array) -> Any:
    n = x.shape[-1]
    return _each(factorize, ((n,), (n, n)), x)


def eigh(x: Array) -> Any:
    """Eigenvalues, ascending, and eigenvectors of the Hermitian part of each matrix."""
    return _eigh(_hermitian_eigh, x)


def _hermitian_eigh(a: Array) -> Arrays:
    a = herm(a)
    by = drivers.EIGH.get(drivers.eigh_driver(a), own_eigh)
    factors = by(a)
    return factors if is_on_host(a) else verified_eigh(a, *factors)


def eigh_of_hermitian(x: Array) -> Any:
    """The same; eigenvalues are NaN where x is clearly not Hermitian."""

    def factorize(a: Array) -> Arrays:
        xp = array_namespace(a)
        w, Q = _hermitian_eigh(a)
        twice_skew = xp.max(xp.abs(a - adjoint(a)), axis=(-2, -1))
        return w + nan_where(twice_skew > 2 * SKEW * largest(w)[..., 0], w)[..., None], Q

    return eigh(x) if 0 in x.shape else _eigh(factorize, x)


OPAQUE.update(svd=svd, eigh=eigh)


def eigvalsh(x: Array) -> Array:
    def factorize(a: Array) -> Arrays:
        a = herm(a)
        by = drivers.EIGH.get(drivers.eigh_driver(a))
        if by is not None:
            return by(a)[:1]
        return (array_namespace(a).linalg.eigvalsh(a, **library_of(a).hermitian),)

    return _each(factorize, ((x.shape[-1],),), x)[0]


def determinant(x: Array) -> Array:
    """That of each square matrix, and 0 in place of NaN."""
    xp = array_namespace(x)
    x = xp.where(xp.isnan(x), 0.0, x)  # NumPy's det warns of NaN (2.4)
    if drivers.eigh_driver(x) == "jacobi":
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
    m, n = all_rows(x), x.shape[-1]
    if m * n < LARGE:
        return S
    xp, unit = array_namespace(S), unit_of(S)
    doubtful = max(m, n) * eps(S) * unit >= S
    weights = xp.where(doubtful[..., None], signs(S), 0.0 * S[..., None])
    right = adjoint(Vh) @ as_dtype(weights, Vh.dtype)
    left = U @ as_dtype((S / unit)[..., None] * weights, U.dtype)
    rest = x @ right / unit[..., None] - left
    residual = real(columnwise_dot(rest, rest)) ** 0.5 * unit
    return xp.where(doubtful & (2 * residual >= S), xp.zeros_like(S), S)
