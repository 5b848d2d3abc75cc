"""Loops over arrays, and pieces of arrays in a loop, as each library has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from . import host
from .array import Array, Arrays, array_namespace, device, is_jax_array
from .lookup import is_on_host, library_of, truth


def sum_over_rows(body: Callable[..., Array], *arrays: Array) -> Array:
    """The sum of body(row of each array) over the rows of (..., k, n) arrays.

    `body` takes slices (..., b, n) and sums over its own b rows: what it needs for b rows is all
    the memory that is needed.
    """
    return library_of(arrays[0]).sum_over_rows(body, arrays)


def loop(
    cond: Callable[..., Any], body: Callable[..., Any], state: Any, most: int, *, traced: int
) -> Any:
    """state = body(state) while cond(state), at most `most` times.

    Where no value can be read, as while PyTorch traces or under its vmap, the body runs `traced`
    times: it must not change what has converged.
    """
    return library_of(state[0]).loop(cond, body, state, most, traced)


def stepped(body: Callable[..., Any], state: Arrays, count: int) -> Arrays:
    """state = body(i, *state) for i in range(count), compiled once."""
    return library_of(state[0]).stepped(body, state, count)


def written(x: Array, part: Array, row: Any, column: Any = 0) -> Array:
    """x, which is the caller's own, with a part at this place."""
    return library_of(x).written(x, part, row, column)


def used(x: Array, count: Any) -> Array:
    """The first rows of x, of which the others are zero, and may be left out."""
    return library_of(x).used(x, count)


def rows_at(x: Array, start: Any, count: int) -> Array:
    """As many rows of x, from a place that may not be known yet."""
    return library_of(x).rows_at(x, start, count)


def as_one(function: Callable[[], Arrays], like: Array) -> Arrays:
    """function(), as one program where the library of `like` compiles."""
    return library_of(like).as_one(function, ())


def one_by_one(function: Callable[..., Arrays], *arrays: Array) -> Arrays:
    """function(matrices), for one batch element of the stacks after the other.

    None costs more or comes out otherwise for its neighbours. A stack of none has results of the
    shapes that a matrix of zeros has.
    """
    batch = arrays[0].shape[:-2]
    if not batch:
        return library_of(arrays[0]).as_one(function, arrays)
    xp, axes = array_namespace(*arrays), len(batch)
    count = math.prod(batch)
    flat = tuple(xp.reshape(x, (count, *x.shape[axes:])) for x in arrays)
    if count == 0:
        flat = tuple(xp.zeros((1, *x.shape[1:]), dtype=x.dtype, device=device(x)) for x in flat)
    found = library_of(arrays[0]).one_by_one(function, flat)
    return tuple(xp.reshape(y[:count, ...], (*batch, *y.shape[1:])) for y in found)


def loop_columns(
    going: Callable[[Arrays], Array],
    body: Callable[[Arrays], Arrays],
    state: Arrays,
    most: int,
    *,
    traced: int,
) -> Arrays:
    """As `loop`, while any of the columns, the last axis of all arrays, is `going`, (..., 1, k).

    Where values can be read, columns that are done leave; JAX would compile for each number left.
    """
    xp = array_namespace(state[0])
    # in this order: Dynamo warns of array_api_compat's is_jax_array (1.16)
    if truth(xp.any(going(state))) is None or is_jax_array(state[0]):
        out: Arrays = loop(lambda state: xp.any(going(state)), body, state, most, traced=traced)
        return out
    places, left = xp.arange(state[0].shape[-1], device=device(state[0])), []
    for _ in range(most):
        known = library_of(state[0]).values(going(state))
        busy = xp.any(xp.reshape(known, (-1, known.shape[-1])), axis=0)
        going_on, done = xp.nonzero(busy)[0], xp.nonzero(~busy)[0]
        if going_on.shape[0] == 0:
            break
        if done.shape[0]:
            left.append([xp.take(x, done, axis=-1) for x in (places, *state)])
            places, *rest = (xp.take(x, going_on, axis=-1) for x in (places, *state))
            state = tuple(rest)
        state = body(state)
    if not left:
        return state
    found = [xp.concat(parts, axis=-1) for parts in zip(*left, (places, *state), strict=True)]
    order = xp.argsort(found[0])
    return tuple(xp.take(x, order, axis=-1) for x in found[1:])


def loop_each(body: Callable[[Arrays], Arrays], state: Arrays, most: int, *, traced: int) -> Arrays:
    """state = body(state) in all batch elements whose number in state[0] is positive.

    All arrays have the shape of the stack; the body must not change what is done. On a device,
    where it would have to be waited for, nobody asks whether it is: it runs `traced` times.
    """
    if type(state[0]) is np.ndarray:
        return host.loop_each(body, state, most)
    if not is_on_host(state[0]) and not is_jax_array(state[0]):  # which loops on the device
        return reduce(lambda state, _: body(state), range(traced), state)

    def going(state: Arrays) -> Array:
        return array_namespace(state[0]).any(state[0] > 0)

    found: Arrays = loop(going, body, state, most, traced=traced)
    return found
