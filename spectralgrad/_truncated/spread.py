"""The triplets of a Dask matrix, which an iteration finds in memory, as Dask's arrays.

U has the blocks of the matrix's rows, and Vh of its columns. Backward, cotangents are computed: the
conjugate gradients need their values.
"""

from __future__ import annotations

from typing import Any

from .._bindings.array import Array, Arrays
from .._bindings.dask_products import computed, in_blocks
from .._engine.primitive import Primitive
from .split import Found

Chunks = tuple[tuple[int, ...], ...]


def spread(x: Array, found: Found) -> Found:
    """U, S, Vh and the surplus values in blocks like those of x."""
    rows, cols = x.chunks
    U, S, Vh, e = (found.U, found.S, found.Vh, found.e)
    chunks = (rows, (S.shape[0],)), ((S.shape[0],),), ((S.shape[0],), cols), ((e.shape[0],),)
    U, S, Vh, e = _spread(U, S, Vh, e, chunks=chunks)
    return found._replace(U=U, S=S, Vh=Vh, e=e)


def _forward(*arrays: Array, chunks: tuple[Chunks, ...]) -> Arrays:
    return tuple(map(in_blocks, arrays, chunks))


def _jvp(inputs: Arrays, outputs: Arrays, dots: Arrays, *, chunks: tuple[Chunks, ...]) -> Any:
    pairs = zip(dots, chunks, strict=True)
    return tuple(None if dot is None else in_blocks(dot, own) for dot, own in pairs)


def _vjp(inputs: Arrays, outputs: Arrays, bars: Arrays, *, chunks: tuple[Chunks, ...]) -> Arrays:
    return computed(*bars)


_spread = Primitive("spread", _forward, _jvp, _vjp, outputs=4, reads_outputs=False)
