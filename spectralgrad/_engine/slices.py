"""Rules of stacks of tiny matrices, by slices of the stack that have its axis last in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate, chain, pairwise

import numpy as np

from .._bindings.array import FEW, MANY, Arrays
from .._bindings.host import TINY, in_slices


def by_slices(
    rule: Callable[..., Arrays], batch: int, inputs: Arrays, outputs: Arrays, directions: Arrays
) -> Arrays:
    """rule(inputs, outputs, directions), where `batch` axes come before a batch element's own."""
    shape = tuple(outputs[0].shape[:batch])
    if not _are_tiny(shape, (*inputs, *outputs, *directions)):
        return rule(inputs, outputs, directions)
    of_arrays, arrays = flattened(rule, inputs, outputs, directions)
    result: Arrays = in_slices(of_arrays, shape, *arrays)
    return result


def flattened(
    function: Callable[..., Arrays], *groups: Arrays
) -> tuple[Callable[..., Arrays], Arrays]:
    """function(*groups) as a function of the arrays alone, of which None is none, and these."""
    places = [i for i, x in enumerate(chain(*groups)) if x is not None]
    ends = tuple(accumulate(map(len, groups)))

    def of_arrays(*given: object) -> Arrays:
        found = dict(zip(places, given, strict=True))
        known = tuple(found.get(i) for i in range(ends[-1]))
        return function(*(known[a:b] for a, b in pairwise((0, *ends))))

    return of_arrays, tuple(x for x in chain(*groups) if x is not None)


def _are_tiny(shape: tuple[int, ...], arrays: Arrays) -> bool:
    if not all(x is None or type(x) is np.ndarray for x in arrays):
        return False
    count = math.prod(shape)
    return count >= MANY and all(
        tuple(x.shape[: len(shape)]) == shape
        and 0 < x.size <= TINY * count
        and max(x.shape[len(shape) :], default=1) <= 2 * FEW  # else products are not sums there
        for x in arrays
        if x is not None
    )
