"""What can be known of arrays while a program runs: their values, and whether they hold a NaN."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._bindings.array import Array, array_namespace, device
from .._bindings.lookup import is_dense, library_of, truth


def values_of(x: Any) -> Any:
    """x outside of every derivative; None for None, and where it has no values yet."""
    return None if x is None else library_of(x).values(x)


def read(x: Array, *, insist: bool = True) -> Array | None:
    """x outside of every derivative; None where it has no values yet, or only on a device.

    What is on a device is read where a caller insists.
    """
    known = library_of(x).values(x)
    return known if known is None or insist or "cpu" in str(device(known)).lower() else None


def holds_nan(arrays: Iterable[Any], batch: int, *, insist: bool = False) -> bool | None:
    """Whether arrays with so many axes of a batch hold a NaN, and None where nobody can know.

    Of matrices the first row and column are read: where a derivative is undefined it is NaN
    throughout, or in whole columns or rows.
    """
    unknown = False
    for array in arrays:
        if array is None or not is_dense(array) or 0 in array.shape:
            continue
        known = read(array, insist=insist)
        if known is None:
            unknown = True
            continue
        xp = array_namespace(known)
        if not xp.isdtype(known.dtype, ("real floating", "complex floating")):
            continue
        edges = [known[..., :1, :], known[..., :1]] if known.ndim > batch + 1 else [known]
        found = [truth(xp.any(xp.isnan(edge))) for edge in edges]
        if any(found):
            return True
        unknown = unknown or None in found
    return None if unknown else False
