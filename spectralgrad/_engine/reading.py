"""What can be known of arrays while a program runs: their values, and whether they hold a NaN."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .._bindings.array import Array, array_namespace
from .._bindings.lookup import is_dense, is_on_host, library_of


def values_of(x: Any) -> Any:
    """x outside of every derivative; None for None, and where it has no values yet."""
    return None if x is None else library_of(x).values(x)


def read(x: Array, *, insist: bool = True) -> Array | None:
    """x outside of every derivative; None where it has no values yet, or only on a device.

    What is on a device is read where a caller insists.
    """
    known = library_of(x).values(x)
    return known if insist or known is None or is_on_host(known) else None


SMALL = 4096  # numbers up to which all of an array are looked at


def holds_nan(arrays: Iterable[Any], batch: int, *, insist: bool = False) -> bool | None:
    """Whether arrays with so many axes of a batch may hold a NaN, and None where nobody can know.

    Of large ones the first row and column are read: where a derivative is undefined it is NaN
    throughout, or in whole columns or rows.
    """
    unknown = False
    for array in arrays:
        if type(array) is np.ndarray and array.size <= SMALL:  # most calls, in half the time
            total = array.sum()
            if total != total:
                return True
            continue
        if array is None or not is_dense(array):
            continue
        known = read(array, insist=insist)
        if known is None:
            unknown = True
            continue
        library, edges = library_of(known), [known]
        if known.ndim > batch + 1 and math.prod(known.shape) > SMALL:
            edges = [known[..., :1, :], known[..., :1]]
        for edge in edges:
            # a NaN stays, and Inf less Inf does no harm; the method is the faster one
            total = edge.sum() if hasattr(edge, "sum") else array_namespace(edge).sum(edge)
            found = library.truth(total != total)
            if found:
                return True
            unknown = unknown or found is None
    return None if unknown else False
