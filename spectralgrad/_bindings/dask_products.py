"""Products of a Dask matrix in blocks, dense or sparse, with thin arrays in memory.

A product is computed at once: the blocks are read or made, multiplied by their part of the thin
array, added up and dropped. So an iteration holds thin arrays and a few blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import Array, Arrays, is_complex
from .owners import is_dask_array


def is_streamed(x: Any) -> bool:
    """Whether x is one matrix of Dask's in several blocks."""
    return bool(is_dask_array(x) and x.ndim == 2 and x.npartitions > 1)


def holds_sparse(x: Array) -> bool:
    """Whether the blocks are sparse matrices."""
    return hasattr(x._meta, "tocsr")


def thin_like(x: Array) -> Array:
    """An empty array of the library and dtype of x; of a Dask array, that of its blocks."""
    if not is_dask_array(x):
        return x
    meta = np.empty((0,)) if holds_sparse(x) else x._meta
    return np.empty_like(meta, shape=(0,), dtype=x.dtype)


def times(x: Array, X: Array) -> Array:
    """x X, computed."""
    return _summed(_block_times, "ijb", x, X, x.chunks[1], "jb", {"j": 1})


def adjoint_times(x: Array, Y: Array) -> Array:
    """x^H Y, computed."""
    return _summed(_block_adjoint_times, "jib", x, Y, x.chunks[0], "ib", {"i": 1})


def _summed(
    product: Callable[..., Array],
    out: str,
    x: Array,
    X: Array,
    chunks: tuple[int, ...],
    taken: str,
    ones: dict[str, int],
) -> Array:
    import dask.array as da

    if is_dask_array(X):
        X = computed(X)[0]
    thin = da.from_array(X, chunks=(chunks, -1))
    meta = np.empty_like(X, shape=(0, 0, 0), dtype=np.result_type(x.dtype, X.dtype))
    parts = da.blockwise(
        product, out, x, "ij", thin, taken, adjust_chunks=ones, dtype=meta.dtype, meta=meta
    )
    return parts.sum(axis=1).compute()


def _block_times(block: Any, X: Array) -> Array:
    return (block @ X)[:, None, :]


def _block_adjoint_times(block: Any, Y: Array) -> Array:
    turned = block.conj().T if is_complex(block) else block.T
    return (turned @ Y)[:, None, :]


def computed(*arrays: Any) -> Arrays:
    """The values of those of Dask, found together; all else as it is."""
    import dask

    found: Arrays = dask.compute(*arrays)
    return found


def in_blocks(W: Array, chunks: tuple[Any, ...]) -> Array:
    """An array in memory as one of Dask's."""
    import dask.array as da

    return da.from_array(W, chunks=chunks)


def at_places(function: Callable[..., Array], rows: Array, cols: Array, *whole: Array) -> Array:
    """function(rows, cols, *whole) for each block of the places, with all of the other arrays."""
    import dask.array as da

    named = [part for i, W in enumerate(whole) for part in (da.asarray(W), (f"a{i}", f"b{i}"))]
    like = np.result_type(*(W.dtype for W in whole))
    return da.blockwise(function, "p", rows, "p", cols, "p", *named, concatenate=True, dtype=like)
