"""Sparse matrices of JAX, as values, rows and columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import sparse


def parts(A: sparse.BCOO) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Values, rows and columns, of one entry for each place.

    What is left over of duplicates, and the places that pad a BCOO and lie outside, are zeros.
    """
    if not isinstance(A, sparse.BCOO) or A.n_batch or A.n_dense:
        raise TypeError(
            f"truncated_svd: argument `x` is a {type(A).__name__}; wanted a BCOO matrix without "
            "batch or dense axes. Convert it with BCOO.fromdense or bcoo_update_layout."
        )
    rows, cols = A.indices[:, 0], A.indices[:, 1]
    inside = (rows < A.shape[0]) & (cols < A.shape[1])
    data, rows, cols = (jnp.where(inside, part, 0) for part in (A.data, rows, cols))
    if A.unique_indices:
        return data, rows, cols
    order = jnp.lexsort((cols, rows))
    data, rows, cols = (part[order] for part in (data, rows, cols))
    new = jnp.concatenate([jnp.ones(1, bool), (jnp.diff(rows) != 0) | (jnp.diff(cols) != 0)])
    place = jnp.cumsum(new) - 1
    total = jax.ops.segment_sum(data, place, num_segments=len(data))
    return total, jnp.zeros_like(rows).at[place].set(rows), jnp.zeros_like(cols).at[place].set(cols)


def sparse_matrix(
    values: jax.Array, rows: jax.Array, cols: jax.Array, shape: tuple[int, ...]
) -> Any:
    return sparse.BCOO((values, jnp.stack([rows, cols], axis=-1)), shape=shape)


def sparse_product(
    values: jax.Array, rows: jax.Array, cols: jax.Array, shape: tuple[int, ...]
) -> Callable[..., Any]:
    A = sparse_matrix(values, rows, cols, shape)
    return lambda X: A @ X
