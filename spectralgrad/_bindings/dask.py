"""Dask: as the host, but that no value can be read before the user computes.

Batch elements do not depend on each other, so a call on a stack in blocks, or a derivative of one,
is one task for each block of the stack, in which NumPy's code runs, or CuPy's: the blocks say. What
a task returns is known from the same call on a stack without elements. A tall matrix in blocks of
rows goes step by step, by Dask's own QR decomposition of the blocks and an SVD of their triangle.
"""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from . import host
from .array import Array, Arrays, adjoint, svd_of_finite
from .host import adjoint_times as adjoint_times
from .host import after as after
from .host import as_one as as_one
from .host import autodiff as autodiff
from .host import call_later as call_later
from .host import exact_one as exact_one
from .host import is_compiled as is_compiled
from .host import is_differentiated as is_differentiated
from .host import is_on_host as is_on_host
from .host import one_by_one as one_by_one
from .host import qr as qr
from .host import quiet, repeat
from .host import rows_at as rows_at
from .host import sees_context as sees_context
from .host import stepped as stepped
from .host import sum_over_rows as sum_over_rows
from .host import unmapped as unmapped
from .host import used as used
from .host import written as written
from .threads import in_one_thread


def values(x: Any) -> Any:
    return None


def truth(flag: Array) -> None:
    return None


def fuses(x: Any) -> bool:
    return False  # blocks are asked


def can_loop(x: Array) -> bool:
    return False


blocks = True
hermitian: dict[str, bool] = {}
loop = partial(repeat, truth)


@contextmanager
def computing(x: Array) -> Iterator[None]:
    """As on the host; Dask warns of products of thin arrays in ten blocks and more (2026.8)."""
    from dask.array.core import PerformanceWarning

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", PerformanceWarning)
        yield


def apply(call: Any, arrays: Arrays) -> Arrays:
    if (none := _of_empty(call.silent.forward, arrays)) is not None:
        return none
    if call.core is not None and not call.shares:
        forward = call.silent.forward
        like = _of_none(forward, arrays)
        batch = -1 if like is None else like[0].ndim - 1 - call.core
        if like is not None and _are_alike(batch, arrays):
            return _by_blocks(forward, like, batch, arrays)
    with computing(arrays[0]):
        return host.apply(call, arrays)


def in_blocks(function: Callable[..., Arrays], batch: int, arrays: Arrays) -> Arrays | None:
    if (none := _of_empty(function, arrays)) is not None:
        return none
    like = _of_none(function, arrays) if _are_alike(batch, arrays) else None
    return None if like is None else _by_blocks(function, like, batch, arrays)


def each(
    function: Callable[..., Arrays], cores: tuple[tuple[int, ...], ...], *arrays: Array
) -> Arrays:
    if (none := _of_empty(function, arrays)) is not None:
        return none
    like = _of_none(function, arrays)
    if like is None:
        return function(*arrays)
    return _by_blocks(function, like, arrays[0].ndim - 2, arrays)


def _are_alike(batch: int, arrays: Arrays) -> bool:
    """Whether all arrays have the axes of one stack in front; a lone matrix must be one block."""
    if batch == 0:
        return all(x.npartitions == 1 for x in arrays)
    return all(x.shape[:batch] == arrays[0].shape[:batch] for x in arrays)


def _of_none(function: Callable[..., Arrays], arrays: Arrays) -> Arrays | None:
    """function(*arrays) for an axis of length 0 in front; None where an axis is empty already."""
    if any(0 in x.shape for x in arrays):
        return None
    with quiet():
        return function(*(np.empty_like(x._meta, shape=(0, *x.shape)) for x in arrays))


def _of_empty(function: Callable[..., Arrays], arrays: Arrays) -> Arrays | None:
    """function(*arrays) of arrays without numbers if its results have none either, else None."""
    import dask.array as da

    if not all(hasattr(x, "dask") and 0 in x.shape for x in arrays):
        return None
    with quiet():
        results = function(*(np.empty_like(x._meta, shape=x.shape) for x in arrays))
    if any(y is not None and y.size for y in results):
        return None
    return tuple(y if y is None else da.from_array(y, chunks=-1) for y in results)


def _by_blocks(function: Callable[..., Arrays], like: Arrays, batch: int, arrays: Arrays) -> Arrays:
    """function(*arrays), whose results are like those, a task for each block of the stack."""
    import dask.array as da

    taken = [tuple(f"x{i}_{j}" for j in range(batch, x.ndim)) for i, x in enumerate(arrays)]
    made = {
        i: {f"y{i}_{j}": n for j, n in enumerate(y.shape[1 + batch :])}
        for i, y in enumerate(like)
        if y is not None
    }
    whole = [x.rechunk(dict.fromkeys(range(batch, x.ndim), -1)) for x in arrays]
    named = ((x, (*range(batch), *axes)) for x, axes in zip(whole, taken, strict=True))
    _, blocks = da.unify_chunks(*chain.from_iterable(named))
    meta = tuple(like[i] for i in made)
    out = da.apply_gufunc(
        _Task(function, tuple(made), any(x.npartitions > 1 for x in blocks)),
        "->".join(",".join(f"({','.join(axes)})" for axes in s) for s in (taken, made.values())),
        *blocks,
        meta=meta if len(made) > 1 else meta[0],
        output_sizes={name: n for sizes in made.values() for name, n in sizes.items()},
    )
    found = dict(zip(made, out if len(made) > 1 else (out,), strict=True))
    return tuple(found.get(i) for i in range(len(like)))


@dataclass(frozen=True)
class _Task:
    """A function of blocks, without what is None of its results; one of `several`, or the only."""

    function: Callable[..., Arrays]
    shown: tuple[int, ...]
    several: bool
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __dask_tokenize__(self) -> str:
        return self.token  # functions hold what has no hash that lasts

    def __call__(self, *blocks: Array) -> Any:
        with quiet(), in_one_thread() if self.several else nullcontext():
            results = self.function(*blocks)
        found = tuple(results[i] for i in self.shown)
        return found if len(found) > 1 else found[0]


def is_blocked(x: Array) -> bool:
    return bool(x.ndim == 2 and x.npartitions > 1)


JOINED = 8  # triangles that are decomposed together


def blocked_svd(x: Array) -> Arrays:
    """By the triangles of the blocks, whose other factors are not made for S and Vh alone.

    A NaN or an Inf in any block reaches the triangle: there is no pass for these alone.
    """
    import dask.array as da

    if x.shape[0] < x.shape[1]:
        U, S, Vh = blocked_svd(adjoint(x))
        return adjoint(Vh), S, adjoint(U)
    x = x.rechunk({1: -1})
    rows = tuple(min(block, x.shape[1]) for block in x.chunks[0])
    joined = tuple(sum(rows[i : i + JOINED]) for i in range(0, len(rows), JOINED))
    triangles = x.map_blocks(host.triangle, chunks=(rows, x.chunks[1]), meta=x._meta)
    with warnings.catch_warnings():  # of an empty array that it casts, for complex x (2026.8)
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        Q, R = da.linalg.qr(triangles.rechunk((joined, -1)))
    U, S, Vh = each(svd_of_finite, (R.shape, R.shape[:1], R.shape), R)
    inner = (Q @ U).rechunk((rows, -1))
    return da.map_blocks(_basis_times, x, inner, chunks=x.chunks, meta=x._meta), S, Vh


def _basis_times(block: Array, inner: Array) -> Array:
    return host.qr(block)[0] @ inner
