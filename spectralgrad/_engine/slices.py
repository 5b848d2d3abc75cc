"""Rules of stacks of tiny matrices, by slices of the stack that have its axis last in memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .._bindings.array import FEW, MANY, Arrays
from .._bindings.host import TINY, in_slices


def by_slices(
    rule: Callable[..., Arrays], batch: int, inputs: Arrays, outputs: Arrays, directions: Arrays
) -> Arrays:
    """rule(inputs, outputs, directions), where `batch` axes come before a batch element's own."""
    arrays = (*inputs, *outputs, *directions)
    places = [i for i, x in enumerate(arrays) if x is not None]
    shape = tuple(outputs[0].shape[:batch])
    if not _are_tiny(shape, [arrays[i] for i in places]):
        return rule(inputs, outputs, directions)
    m, n = len(inputs), len(inputs) + len(outputs)

    def of_slice(*given: object) -> Arrays:
        found = dict(zip(places, given, strict=True))
        known = tuple(found.get(i) for i in range(len(arrays)))
        return rule(known[:m], known[m:n], known[n:])

    result: Arrays = in_slices(of_slice, shape, *(arrays[i] for i in places))
    return result


def _are_tiny(shape: tuple[int, ...], arrays: list[object]) -> bool:
    count = math.prod(shape)
    return count >= MANY and all(
        type(x) is np.ndarray
        and tuple(x.shape[: len(shape)]) == shape
        and 0 < x.size <= TINY * count
        and max(x.shape[len(shape) :], default=1) <= 2 * FEW  # else products are not sums there
        for x in arrays
    )
