"""Rules of stacks of small matrices, by slices of the stack, which stay in a cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate, chain, pairwise

import numpy as np

from .._bindings.array import Arrays
from .._bindings.host import TINY, in_slices
from .._bindings.matrix_products import FEW


def by_slices(
    rule: Callable[..., Arrays], batch: int, inputs: Arrays, outputs: Arrays, directions: Arrays
) -> Arrays:
    """rule(inputs, outputs, directions), where `batch` axes come before a batch element's own."""
    shape = tuple(outputs[0].shape[:batch])
    if not shape or not _are_stacks(shape, (*inputs, *outputs, *directions)):
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


def _are_stacks(shape: tuple[int, ...], arrays: Arrays) -> bool:
    """Whether all are NumPy's, of that batch, and none a tiny matrix with a long side.

    With the stack's axis last, as tiny ones have it, products along a long side are no sums.
    """
    given = [x for x in arrays if x is not None]
    if not all(type(x) is np.ndarray and tuple(x.shape[: len(shape)]) == shape for x in given):
        return False
    cores = [x.shape[len(shape) :] for x in given]
    sizes = list(map(math.prod, cores))
    return 0 not in sizes and (
        max(sizes) > TINY or all(max(core, default=1) <= 2 * FEW for core in cores)
    )
