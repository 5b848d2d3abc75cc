"""The factorizations as each library has them: one seam for every quirk, silent about ties.

A member with a NaN or an Inf comes out all NaN and touches no other. Left alone, NumPy and
PyTorch raise for the whole stack (NumPy 2.4, PyTorch 2.13) and CuPy stays silent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .._bindings.array import Array, array_namespace, herm, nan_where
from .._bindings.host import in_slices


def _memberwise(factorize: Callable, x: Array) -> tuple[Array, ...]:
    if 0 in x.shape:
        return factorize(x)
    return in_slices(partial(_finite_memberwise, factorize), tuple(x.shape[:-2]), x)


def _finite_memberwise(factorize: Callable, x: Array) -> tuple[Array, ...]:
    xp = array_namespace(x)
    ok = xp.isfinite(xp.max(xp.abs(x), axis=(-2, -1)))  # max passes a NaN on
    factors = factorize(xp.where(ok[..., None, None], x, 0.0))
    poison = nan_where(~ok, x)
    return tuple(
        y + (poison[..., None, None] if y.ndim == x.ndim else poison[..., None]) for y in factors
    )


def svd(x: Array, *, full_matrices: bool = False) -> tuple[Array, Array, Array]:
    """U, S, Vh of each matrix."""
    xp = array_namespace(x)
    # A tuple in CuPy and a named tuple elsewhere (CuPy 13): unpacked, never by name.
    return _memberwise(lambda a: tuple(xp.linalg.svd(a, full_matrices=full_matrices)), x)


def svdvals(x: Array) -> Array:
    xp = array_namespace(x)
    return _memberwise(lambda a: (xp.linalg.svdvals(a),), x)[0]


def eigh(x: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors of the Hermitian part of each matrix."""
    xp = array_namespace(x)
    return _memberwise(lambda a: tuple(xp.linalg.eigh(herm(a))), x)


def eigvalsh(x: Array) -> Array:
    xp = array_namespace(x)
    return _memberwise(lambda a: (xp.linalg.eigvalsh(herm(a)),), x)[0]
