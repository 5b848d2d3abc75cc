"""The factorizations as each library has them: one seam for every quirk, silent about ties.

A member with a NaN or an Inf comes out all NaN and touches no other. Left alone, NumPy and
PyTorch raise for the whole stack (NumPy 2.4, PyTorch 2.13) and CuPy stays silent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from ._array import (
    Array,
    adjoint,
    array_namespace,
    herm,
    is_dask_array,
    is_jax_array,
    is_torch_array,
    nan_where,
)
from ._stacks import in_slices

SLICE = 4096  # numbers
TALL = 256  # rows


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


def qr(x: Array) -> Array:
    """Orthonormal columns that span those of x, of full rank and at least as many rows."""
    xp, (rows, columns) = array_namespace(x), x.shape[-2:]
    height = max(TALL, 2 * columns)
    if type(x) is not np.ndarray or rows < 4 * height:
        return xp.linalg.qr(x)[0]
    # By pieces that fit a cache, and then of their triangles: LAPACK's QR of a tall matrix goes
    # through memory once for each column (OpenBLAS 0.3).
    pieces = -(-rows // height)
    padding = np.zeros((*x.shape[:-2], pieces * height - rows, columns), dtype=x.dtype)
    pieced = np.concatenate([x, padding], axis=-2).reshape(*x.shape[:-2], pieces, height, columns)
    Q, R = np.linalg.qr(pieced)
    top = qr(R.reshape(*x.shape[:-2], pieces * columns, columns))
    Q = Q @ top.reshape(*x.shape[:-2], pieces, columns, columns)
    return Q.reshape(*x.shape[:-2], pieces * height, columns)[..., :rows, :]


def sum_over_rows(body: Callable[..., Array], *arrays: Array) -> Array:
    """The sum of body(row of each array) over the rows of (..., k, n) arrays, in slices of rows.

    `body` takes (..., b, n) slices and sums over its own b rows: what it needs for b rows is all
    the memory there is. JAX scans the rows instead, since a loop of k steps would compile k times.
    """
    rows = arrays[0].shape[-2]
    if rows and is_jax_array(arrays[0]):
        from ._bind import jax

        return jax.sum_over_rows(body, arrays)
    # one row at a time, or as many as make up for the cost of a call
    numbers = max(math.prod(a.shape) for a in arrays)
    width = max(1, min(rows, SLICE // max(numbers, 1)))
    total = body(*(a[..., :width, :] for a in arrays))
    for start in range(width, rows, width):
        total = total + body(*(a[..., start : start + width, :] for a in arrays))
    return total


def adjoint_times(U: Array, B: Array) -> Array:
    """U^H B."""
    if is_jax_array(U):
        from ._bind import jax

        return jax.adjoint_times(U, B)
    return adjoint(U) @ B


def project_out(W: Array, X: Array) -> Array:
    """X - W W^H X."""
    return X - W @ adjoint_times(W, X)


def loop(cond: Callable, body: Callable, state: tuple, most: int, *, traced: int) -> tuple:
    """state = body(state) while cond(state), at most `most` times.

    JAX has a loop of its own. Where no value may be read, as while PyTorch traces or under its
    vmap, the body runs `traced` times: it must do no harm to what has converged.
    """
    if is_jax_array(state[0]):
        from ._bind import jax

        return jax.loop(cond, body, state, most)
    for turn in range(most):
        going = _answer(cond(state))
        if going is False or (going is None and turn == traced):
            break
        state = body(state)
    return state


def _answer(flag: Array) -> bool | None:
    """What flag says, or None where nobody may know."""
    if not may_loop(flag):
        return None
    try:
        return bool(flag)
    except RuntimeError:  # the vmap of PyTorch's batched gradients, which has no other sign (2.13)
        return None


def may_loop(x: Array) -> bool:
    """Whether a loop over arrays like x may end when their values say so."""
    if is_torch_array(x):
        from ._bind import torch

        return torch.is_concrete(x)
    return not is_dask_array(x)
