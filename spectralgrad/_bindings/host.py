"""NumPy, CuPy, array_api_strict and all else without autodiff: threads over slices, loops, QR.

NumPy walks a stack in one thread (2.4), and each step of a rule over all of a large stack goes
through memory. Slices are shorter, and NumPy releases the interpreter within a step, so threads
share them (`threads`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from typing import Any

import numpy as np

from .array import Array, Arrays, adjoint, array_namespace, device, leading_rows
from .matrix_products import FEW, MANY, batch_last, is_batch_last, product, transposed_copy
from .threads import available, in_threads

SLICE = 2**17  # numbers in an array of a slice; threads that take short steps wait for each other
TINY = 32  # numbers in a batch element up to which the axis of the stack comes last in memory
SMALL_SET = 64  # coordinates of a set of points up to which the same holds
TINY_SLICE = 2**15  # batch elements in a slice of such; threads would wait for Python's lock
SMALL = 128  # up to this side a slice in a thread is faster than threads of BLAS
ROWS = 4096  # numbers in the rows that `sum_over_rows` takes at a time
TALL = 512  # rows of a piece in `qr`

autodiff = False
blocks = False
hermitian: dict[str, bool] = {}


def apply(call: Any, arrays: Arrays) -> Arrays:
    with quiet():
        outputs: Arrays = call.forward(*arrays)
    return outputs


quiet = partial(np.errstate, all="ignore")


def computing(x: Array) -> AbstractContextManager[Any]:
    return quiet()


def values(x: Any) -> Any:
    return x


def is_on_host(x: Any) -> bool:
    return type(x) is np.ndarray or "cpu" in str(device(x)).lower()  # of array_api_strict


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


def exact_one(x: Any) -> None:
    return None


def fuses(x: Any) -> bool:
    return type(x) is np.ndarray


def is_compiled(x: Any) -> bool:
    return False


def after(y: Any, batch: int, arrays: Arrays) -> Arrays:
    return arrays


def each(
    function: Callable[..., Arrays], cores: tuple[tuple[int, ...], ...], *arrays: Array
) -> Arrays:
    out: Arrays = in_slices(function, tuple(arrays[0].shape[:-2]), *arrays)
    return out


def stepped(body: Callable[..., Any], state: Arrays, count: int) -> Arrays:
    for i in range(count):
        state = body(i, *state)
    return state


def written(x: Array, part: Array, row: int, column: int) -> Array:
    x[row : row + part.shape[0], column : column + part.shape[1]] = part
    return x


def used(x: Array, count: int) -> Array:
    return x[:count, :]


def rows_at(x: Array, start: int, count: int) -> Array:
    return x[start : start + count, :]


def as_one(function: Callable[..., Arrays], arrays: Arrays) -> Arrays:
    return function(*arrays)


def one_by_one(function: Callable[..., Arrays], arrays: Arrays) -> Arrays:
    xp = array_namespace(*arrays)
    found = [function(*(x[i, ...] for x in arrays)) for i in range(arrays[0].shape[0])]
    return tuple(xp.stack(list(parts), axis=0) for parts in zip(*found, strict=True))


def is_blocked(x: Array) -> bool:
    return False


def adjoint_times(U: Array, B: Array) -> Array:
    return product(adjoint(U), B)


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
        going = cond(state)
        going = going if isinstance(going, bool) else truth(going)
        if going is False or (going is None and turn == traced):
            break
        state = body(state)
    return state


truth = bool
loop = partial(repeat, truth)


def loop_each(body: Callable[[Arrays], Arrays], state: Arrays, most: int) -> Arrays:
    """A Python loop; batch elements that are not done go on alone once they are few."""
    for turn in range(most):
        going = np.nonzero(state[0] > 0)
        if going[0].size == 0:
            break
        if going[0].size < state[0].size // 2:
            rest = loop_each(body, tuple(x[going] for x in state), most - turn)
            state = tuple(x.copy() for x in state)
            for x, part in zip(state, rest, strict=True):
                x[going] = part
            break
        state = body(state)
    return state


def in_slices(function: Callable[..., Any], batch: tuple[int, ...], *arrays: Array) -> Any:
    """function(*arrays), for arrays that have the axes of `batch` in front, as its results do.

    It must treat each batch element by itself.
    """
    if type(arrays[0]) is not np.ndarray:
        return function(*arrays)
    count = math.prod(batch)
    largest = max(x.size // max(count, 1) for x in arrays)
    tiny = 0 < largest <= TINY and count >= MANY
    last = tiny and len(batch) == 1 and any(map(is_batch_last, arrays))
    if last and count <= TINY_SLICE:
        return function(*map(batch_last, arrays))
    if not tiny and (not 0 < largest <= SMALL * SMALL or count * largest < SLICE // 4):
        return function(*arrays)
    flat = [x.reshape(count, *x.shape[len(batch) :]) for x in arrays]
    if tiny:
        _keep_memory()
        threads, step = 1, -(-count // -(-count // TINY_SLICE))
    else:
        threads = available()
        rounds = -(-count // (threads * (SLICE // largest)))
        step = -(-count // (threads * rounds))  # as many slices for each thread

    def work(start: int) -> Any:
        piece = [x[start : start + step] for x in flat]
        return function(*(map(batch_last, piece) if tiny else piece))

    starts = range(0, count, step)
    if len(starts) == 1 or threads == 1:
        parts = list(map(work, starts))
    else:
        parts = in_threads(work, starts, threads)
    if isinstance(parts[0], tuple):
        return tuple(_joined(results, batch, last) for results in zip(*parts, strict=True))
    return _joined(parts, batch, last)


@lru_cache(maxsize=1)
def _keep_memory() -> None:
    """Keep glibc from giving memory back to the system after each step, to ask for it again.

    It learns from blocks that are freed: up to the size of the largest, at most 32 MiB, it keeps
    what becomes free (glibc 2.36). It halves the time of tiny stacks in programs that have not
    freed a large array yet.
    """
    np.empty(2**22 - 2**12)


def columns(X: Array) -> Array:
    """Points, which come in rows, in columns, of many small sets with the stack's axis last."""
    if type(X) is not np.ndarray or X.ndim != 3 or X.shape[0] < MANY:
        return transposed_copy(X)
    _keep_memory()
    small = 0 < X.shape[1] * X.shape[2] <= SMALL_SET and X.shape[2] <= FEW
    return batch_last(X.mT) if small else transposed_copy(X)


def in_order(x: Array) -> Array:
    """x with the axis of its stack first in memory again, lest what is made of it inherits that."""
    return np.ascontiguousarray(x) if type(x) is np.ndarray and is_batch_last(x) else x


def _joined(parts: Any, batch: tuple[int, ...], last: bool) -> Any:
    """One array of the results of slices, with its first axis last in memory if `last`."""
    if parts[0] is None:
        return None
    core = parts[0].shape[1:]
    memory = (*core, *batch) if last else (*batch, *core)
    whole = np.empty(memory, dtype=parts[0].dtype)
    rows = np.moveaxis(whole, -1, 0) if last else whole.reshape(math.prod(batch), *core)
    start = 0
    for part in parts:
        rows[start : start + len(part)] = part
        start += len(part)
    return rows if last else whole


def qr(x: Array) -> tuple[Array, Array]:
    """Q and R, thin, of x of full rank with at least as many rows as columns."""
    pieced, rows = _in_pieces(x), x.shape[-2]
    if pieced is None:
        Q, R = array_namespace(x).linalg.qr(x)
        return Q, R
    Q, R = np.linalg.qr(pieced)
    top, R = qr(_stacked(R))
    Q = Q @ top.reshape(R.shape[:-2] + pieced.shape[-3:-2] + R.shape[-2:])
    return _stacked(Q)[..., :rows, :], R


def triangle(x: Array) -> Array:
    """The R of `qr`, without Q."""
    pieced = _in_pieces(x)
    if pieced is None:
        return np.linalg.qr(x, mode="r")  # of CuPy too
    return triangle(_stacked(np.linalg.qr(pieced, mode="r")))


def _in_pieces(x: Array) -> Array | None:
    """The rows of a tall matrix in pieces that fit a cache, filled up with zeros; None for others.

    LAPACK's QR of all goes through memory once for each column (OpenBLAS 0.3).
    """
    rows, columns = x.shape[-2:]
    height = max(TALL, 2 * columns)
    if type(x) is not np.ndarray or rows < 4 * height:
        return None
    pieces = -(-rows // height)
    padding = np.zeros((*x.shape[:-2], pieces * height - rows, columns), dtype=x.dtype)
    whole = np.concatenate([x, padding], axis=-2)
    return whole.reshape(*x.shape[:-2], pieces, height, columns)


def _stacked(pieces: Array) -> Array:
    *batch, count, rows, columns = pieces.shape
    return pieces.reshape(*batch, count * rows, columns)
