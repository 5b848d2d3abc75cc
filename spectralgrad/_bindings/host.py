"""NumPy, CuPy, array_api_strict and all else without autodiff: threads over slices, loops, QR.

NumPy walks a stack in one thread (2.4), and each step of a rule over all of a large stack goes
through memory. Slices are shorter, and NumPy releases the interpreter within a step, so threads
share them. As many run as NumPy's BLAS may use, which its environment variables and threadpoolctl
limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import lru_cache, partial
from typing import Any

import numpy as np

from .array import Array, Arrays, adjoint, array_namespace, leading_rows

SLICE = 2**17  # numbers in an array of a slice; threads that take short steps wait for each other
SMALL = 64  # up to this side BLAS itself works in one thread
ROWS = 4096  # numbers in the rows that `sum_over_rows` takes at a time
TALL = 256  # rows of a piece in `qr`

autodiff = False


def apply(call: Any, arrays: Arrays) -> Arrays:
    with quiet():
        outputs: Arrays = call.forward(*arrays)
    return outputs


quiet = partial(np.errstate, all="ignore")


def computing(x: Array) -> AbstractContextManager[Any]:
    return quiet()


def values(x: Any) -> Any:
    return x


def unmapped(x: Any, insist: bool) -> Any:
    return x


def call_later(function: Callable[..., None], arrays: Arrays) -> None:
    pass  # nothing is traced


def is_differentiated(x: Array) -> bool:
    return False


def can_loop(x: Array) -> bool:
    return True


def sees_context() -> bool:
    return True


def each(
    function: Callable[..., Arrays], cores: tuple[tuple[int, ...], ...], *arrays: Array
) -> Arrays:
    out: Arrays = in_slices(function, tuple(arrays[0].shape[:-2]), *arrays)
    return out


def is_blocked(x: Array) -> bool:
    return False


def adjoint_times(U: Array, B: Array) -> Array:
    return adjoint(U) @ B


def sum_over_rows(body: Callable[..., Array], arrays: Arrays) -> Array:
    """One row at a time, or as many as make up for the cost of a call."""
    rows = arrays[0].shape[-2]
    numbers = max(math.prod(a.shape) for a in arrays)
    width = max(1, min(rows, ROWS // max(numbers, 1)))
    total = body(*(leading_rows(a, width) for a in arrays))
    for start in range(width, rows, width):
        stop = min(start + width, rows)
        total = total + body(*(a[..., start:stop, :] for a in arrays))
    return total


def repeat(
    truth: Callable[[Array], bool | None],
    cond: Callable[..., Any],
    body: Callable[..., Any],
    state: Any,
    most: int,
    traced: int,
) -> Any:
    """A Python loop, which asks `truth` whether to go on."""
    for turn in range(most):
        going = truth(cond(state))
        if going is False or (going is None and turn == traced):
            break
        state = body(state)
    return state


truth = bool
loop = partial(repeat, truth)


@lru_cache(maxsize=1)
def _blas() -> Any:
    """NumPy's BLAS as threadpoolctl sees it; imported late, since few programs come here."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _threads() -> int:
    return max((pool["num_threads"] for pool in _blas().info()), default=1)


def in_slices(function: Callable[..., Any], batch: tuple[int, ...], *arrays: Array) -> Any:
    """function(*arrays), for arrays that have the axes of `batch` in front, as its results do.

    It must treat each batch element by itself.
    """
    if type(arrays[0]) is not np.ndarray:
        return function(*arrays)
    count = math.prod(batch)
    largest = max(x.size // max(count, 1) for x in arrays)
    if not 0 < largest <= SMALL * SMALL or count * largest < SLICE // 4:
        return function(*arrays)
    flat = [x.reshape(count, *x.shape[len(batch) :]) for x in arrays]
    threads = _threads()
    step = min(SLICE // largest, -(-count // threads))

    def work(start: int) -> Any:
        return function(*(x[start : start + step] for x in flat))

    # NumPy's error state travels in the context
    tasks = [partial(copy_context().run, work, start) for start in range(0, count, step)]
    try:
        with ThreadPoolExecutor(min(threads, len(tasks))) as pool:
            parts = list(pool.map(lambda task: task(), tasks))
    except RuntimeError:  # no thread starts any more, as in a handler of atexit
        parts = [work(start) for start in range(0, count, step)]
    if isinstance(parts[0], tuple):
        return tuple(_joined(results, batch) for results in zip(*parts, strict=True))
    return _joined(parts, batch)


def _joined(parts: Any, batch: tuple[int, ...]) -> Array:
    whole = np.concatenate(parts)
    return whole.reshape(*batch, *whole.shape[1:])


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
