"""Quotients by values and gaps in units of the spectrum, for the libraries that differentiate them.

The derivative of p/g by g is p/g^2, which leaves the dtype's range from 1e154 on, although what it
is multiplied with brings the result back. In units of the largest value, as (p/u)/(g/u), every step
is within the range, in whatever order a library multiplies. The unit is a constant: the quotient
does not depend on it.
"""

from __future__ import annotations

from typing import Any

from .._bindings.array import Array, expand
from .._bindings.lookup import library_of
from .._engine.primitive import constant
from .._engine.tape import current_tape
from .ties import gaps, guarded, sums, unit_of

_unit = constant("unit", unit_of)


def unit_within(values: Array) -> Any:
    """The largest of the values, (..., 1), or 1.0 where no quotient is differentiated."""
    if current_tape(values) is not None:  # which follows calls alone, and no quotient
        return 1.0
    return _unit(values) if library_of(values).is_differentiated(values) else 1.0


def over(x: Any, unit: Any, axes: int = 1) -> Any:
    """x, with so many axes beside those of a stack, over the unit of its batch element."""
    if isinstance(unit, float):
        return x
    return x / (expand(unit, axes - 1) if axes else unit[..., 0])


def quotient(x: Any, denominators: Array, tolerance: Array, unit: Any, axes: int) -> Array:
    """x over denominators, zero where these are within the tolerance of zero."""
    # guarded in the end: infinity times a derivative of zero, that of the unit, is NaN
    within = guarded(over(denominators, unit, axes), over(tolerance, unit, axes))
    return over(x, unit, axes) / within


def over_gaps(x: Array, values: Array, tolerance: Array) -> Array:
    """x_ij/(v_j - v_i), zero on the diagonal and in ties."""
    unit = unit_within(values)
    return over(x, unit, 2) / gaps(over(values, unit), over(tolerance, unit))


def over_sums(x: Array, values: Array, tolerance: Array) -> Array:
    """x_ij/(v_i + v_j) of values that are not negative, zero where both are."""
    unit = unit_within(values)
    return over(x, unit, 2) / sums(over(values, unit), over(tolerance, unit))


def inverses(values: Array, tolerance: Array) -> Array:
    """1/v, zero where v is."""
    return quotient(1.0, values, tolerance, unit_within(values), 1)
