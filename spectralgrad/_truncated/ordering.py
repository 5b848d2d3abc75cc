"""What is largest among eigenvalues: by value, or by modulus."""

from __future__ import annotations

from collections.abc import Callable

from .._bindings.array import Array, Arrays, array_namespace, device, nan_where

Key = Callable[[Array], Array]


def by_value(w: Array) -> Array:
    """What eigenvalues are ordered by for the largest."""
    return w


def by_modulus(w: Array) -> Array:
    """The same for those of the largest modulus."""
    return array_namespace(w).abs(w)


def ordered(w: Array, Y: Array, key: Key, left_out: Array | None = None) -> Arrays:
    """Eigenpairs, given in ascending order, by a key, the largest first; what is left out last."""
    xp = array_namespace(w)
    if key is by_value:  # what is left out lies below the others
        return xp.flip(w, axis=-1), xp.flip(Y, axis=-1)
    keys = key(w)
    return arranged(w, Y, keys if left_out is None else xp.where(left_out, -1.0, keys))


def arranged(w: Array, Y: Array, key: Array) -> Arrays:
    """Eigenpairs in descending order of a key.

    By a permutation matrix, as not all libraries sort: each goes where as many come before it.
    """
    xp, i = array_namespace(w), array_namespace(w).arange(w.shape[-1], device=device(w))
    other, own = key[..., None, :], key[..., :, None]
    before = (other > own) | (other == own) & (i[None, :] < i[:, None])
    P = xp.sum(xp.astype(before, i.dtype), axis=-1)[..., :, None] == i
    invalid = nan_where(xp.any(xp.isnan(key), axis=-1, keepdims=True), w)
    return xp.sum(xp.where(P, w[..., :, None], 0.0), axis=-2) + invalid, Y @ xp.astype(P, Y.dtype)
