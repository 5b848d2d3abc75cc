"""Rows on several devices inside of `jax.shard_map`, where each device sees its own rows alone.

There a tall array varies over the axis of devices that its rows are spread over, and what all
devices share, such as S and V, does not: JAX keeps that in an array's type. So no rule says which
of its arrays are tall. A product of two that vary, (tall)^H (tall), and whatever is left of a
reduction over rows and still varies, is a part of a sum, and the devices add up their parts.
Nothing of this happens but in `over_rows`, which names the axes, and while JAX asks for the rules
of a call that was made there.

A DTensor of PyTorch knows where its rows are, and puts sums off: of what comes next it would then
rather gather the tall array than add up the small one (2.13).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .owners import is_imported, is_torch_array

Array = Any
Axes = tuple[str, ...]
_named: ContextVar[Axes] = ContextVar("axes of rows", default=())


def named_axes() -> Axes:
    return _named.get()


@contextmanager
def over_axes(axes: Axes) -> Iterator[None]:
    """Rows are spread over these axes of devices."""
    token = _named.set(axes)
    try:
        yield
    finally:
        _named.reset(token)


def axes_of(x: Array) -> Axes:
    """The axes of devices that the rows of x are spread over."""
    # of a tensor never: Dynamo cannot read a ContextVar (PyTorch 2.13)
    if type(x) is np.ndarray or is_torch_array(x) or not is_imported("jax"):
        return ()
    import jax

    axes = _named.get() if isinstance(x, jax.Array) else ()
    return tuple(axis for axis in axes if axis in jax.typeof(x).manual_axis_type.varying)


def all_rows(x: Array) -> int:
    """How many rows x has on all devices."""
    rows: int = x.shape[-2]
    axes = axes_of(x)
    if not axes:
        return rows
    import jax

    shards: int = math.prod(jax.lax.axis_size(axis) for axis in axes)
    return rows * shards


def longer_side(left: Array, right: Array) -> int:
    """The longer side of a matrix with the rows of `left` and the columns of `right`."""
    return max(all_rows(left), int(right.shape[-1]))


def added_up(x: Any) -> Any:
    """x without the sums that a DTensor of PyTorch has put off."""
    if not is_torch_array(x):
        return x
    from . import torch_places

    return torch_places.placed(x, x.placements) if torch_places.is_spread(x) else x


def sum_across(part: Array) -> Array:
    """The sum over all rows, of a sum over the rows of each device."""
    if is_torch_array(part):
        return added_up(part)
    axes = axes_of(part)
    if not axes:
        return part
    import jax

    return jax.lax.psum(part, axes)


def any_across(part: Array) -> Array:
    """Whether a mask is set for any row, by whether it is for the rows of each device."""
    axes = axes_of(part)
    return sum_across(part.astype("int32")) > 0 if axes else added_up(part)


def product_across(a: Array, b: Array, part: Array) -> Array:
    """a b, of which each device has a part if both have rows of it, or an adjoint's columns."""
    if type(part) is np.ndarray:
        return part
    return sum_across(part) if is_torch_array(part) or (axes_of(a) and axes_of(b)) else part
