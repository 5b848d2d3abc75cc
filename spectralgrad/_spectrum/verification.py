"""Whether factors are what they say, for each batch element, on the device they are on.

Batched drivers of GPUs have returned factors that were not orthonormal, or of another matrix,
without a word. With z of arbitrary numbers a few products with a vector show it:

    x V z = U S z,    U^H U z = z,    V^H V z = z,

and x Q z = Q w z of a Hermitian matrix. What z does not see is orthogonal to it, which a failure
has no reason to be. Errors of sound factors are some ten eps; the bound is 64 sqrt(m + n) eps.
"""

from __future__ import annotations

from .._bindings.array import (
    Array,
    Arrays,
    adjoint,
    array_namespace,
    device,
    eps,
    invalidated,
    leading_columns,
    nan_where,
)
from .ties import largest


def verified_svd(x: Array, U: Array, S: Array, Vh: Array) -> Arrays:
    """The factors, NaN where they are none of x."""
    V, k = adjoint(Vh), S.shape[-1]
    sound = _is_orthonormal(U) & _is_orthonormal(V)
    sound = sound & _are_factors(x, leading_columns(U, k), S, leading_columns(V, k))
    invalid = nan_where(~sound, S)[..., None]
    of_U, of_Vh = (invalidated(W, invalid[..., None]) for W in (U, Vh))
    return of_U, S + invalid, of_Vh


def verified_eigh(x: Array, w: Array, Q: Array) -> Arrays:
    """The same of a Hermitian matrix."""
    invalid = nan_where(~(_is_orthonormal(Q) & _are_factors(x, Q, w, Q)), w)[..., None]
    return w + invalid, invalidated(Q, invalid[..., None])


def _are_factors(x: Array, left: Array, values: Array, right: Array) -> Array:
    """Whether x right z = left values z, to the bound."""
    xp, z, top = array_namespace(x), _numbers(values), largest(values)
    unit = xp.sqrt(xp.where(top > 1, top, 1.0))  # in which nothing overflows or underflows
    along = left @ xp.astype((values / unit)[..., None] * z, left.dtype)
    rest = x @ (right @ xp.astype(z / unit[..., None], right.dtype)) - along
    return _size(rest) <= _bound(x) * (top / unit)[..., 0]


def _is_orthonormal(W: Array) -> Array:
    xp = array_namespace(W)
    z = xp.astype(_numbers(xp.abs(W[..., 0, :])), W.dtype)
    return _size(adjoint(W) @ (W @ z) - z) <= _bound(W)


def _bound(x: Array) -> float:
    return float(64 * sum(x.shape[-2:]) ** 0.5 * eps(x))


def signs(values: Array) -> Array:
    """A column of arbitrary signs, one for each of the values."""
    xp = array_namespace(values)
    places = xp.arange(1, values.shape[-1] + 1, dtype=values.dtype, device=device(values))
    return xp.where(xp.sin(places**2 * 12.9898) > 0, 1.0, xp.full_like(places, -1.0))[:, None]


def _numbers(values: Array) -> Array:
    """The same, of sizes between 1 and 2 that differ."""
    xp, n = array_namespace(values), values.shape[-1]
    return signs(values) * xp.linspace(1, 2, n, dtype=values.dtype, device=device(values))[:, None]


def _size(x: Array) -> Array:
    xp = array_namespace(x)
    return xp.max(xp.abs(x), axis=(-2, -1))
