r"""What decides which derivatives exist at a matrix, as arrays, one entry for each batch element.

Derivatives divide by three things, and each field below is one of them over S[0]:

- by gaps s_i - s_j, in those of U and V; by s_i too where x is rectangular or complex, since the
  complement of U or V and the phase of a pair (u_i, v_i) turn at a rate of 1/s_i. A gap is known to
  eps S[0], so the gradient is known to eps S[0]/gap, relative to the cotangent over S[0].
- by sums s_i + s_j, in that of the polar factor: its derivative dQ = U (2 skew(U^H dx V) o
  1/(s_i + s_j)) V^H of a real square x has the norm 2/(s_(n-1) + s_n), and 1/s_n for others, whose
  skew diagonal or complement is not zero (Higham 2008, theorem 8.9).
- by the gap at a cut, s_k - s_(k+1).

What counts as equal or as zero is the rules' own: `ties`, and `gauge` for cotangents.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import and_
from typing import NamedTuple

from .._bindings.array import (
    Array,
    Arrays,
    array_namespace,
    beside,
    device,
    eps,
    leading_columns,
    leading_rows,
    running_sum,
)
from .._bindings.lookup import library_of
from .._engine.primitive import constant
from .._spectrum import factorizations, gauge
from .._spectrum.ties import (
    first,
    gap_tolerance,
    is_tied_cut,
    unit_of,
    zero_tolerance,
)


class Spectrum(NamedTuple):
    """The singular values found, descending, and those of functions of x, zeros measured."""

    shape: tuple[int, int]
    S: Array
    of_functions: Array
    is_complex: bool

    @property
    def complete(self) -> bool:
        """Whether these are all values."""
        return bool(self.S.shape[-1] == min(self.shape))

    @property
    def is_real_square(self) -> bool:
        return self.shape[0] == self.shape[1] and not self.is_complex


def _decomposed(x: Array, *, full_matrices: bool) -> Arrays:
    U, S, Vh = factorizations.svd(x, full_matrices=full_matrices)
    k = S.shape[-1]
    thin = leading_columns(U, k), S, leading_rows(Vh, k)
    return U, S, Vh, factorizations.with_measured_zeros(x, *thin)


# A report has no derivative.
_factors = replace(constant("diagnose", _decomposed), outputs=4)
_still = constant("diagnose", lambda x: x + 0.0)


def held(x: Array) -> Array:
    """x without its derivative."""
    known = library_of(x).values(x)
    return _still(x) if known is None else known


def factors(x: Array, *, full_matrices: bool) -> Arrays:
    """U, S, Vh as `svd` has them, and S as functions of x have it."""
    found: Arrays = _factors(held(x), full_matrices=full_matrices)
    return found


def all_finite(*arrays: Array, axes: int) -> Array:
    """Whether arrays hold neither NaN nor Inf over their last axes."""
    masks = (
        array_namespace(a).all(array_namespace(a).isfinite(a), axis=tuple(range(-axes, 0)))
        for a in arrays
    )
    return reduce(and_, masks)


def _over_top(values: Array, S: Array) -> Array:
    """Numbers (...) in units of the largest value."""
    return values / unit_of(S)[..., 0]


def _inverse(values: Array, factor: float) -> Array:
    """factor / values of numbers that are not negative; infinite at zero."""
    xp = array_namespace(values)
    return xp.where(values == 0, float("inf"), factor / xp.where(values == 0, 1.0, values))


def clusters(S: Array) -> Array:
    """The number, from 0, of the set of equal values that each value belongs to."""
    xp = array_namespace(S)
    apart = S[..., :-1] - S[..., 1:] > gap_tolerance(first(S))
    steps = beside([xp.zeros(first(S).shape, dtype=xp.bool, device=device(S)), apart])
    return running_sum(xp.astype(steps, xp.int32))


def zeros(found: Spectrum) -> Array:
    """Which values count as zero in functions of x."""
    return zero_tolerance(max(found.shape), found.of_functions) >= found.of_functions


def gap(S: Array, leading: int) -> Array:
    """The smallest relative gap that one of the leading values has; infinite for one value."""
    xp, steps = array_namespace(S), S[..., :-1] - S[..., 1:]
    if steps.shape[-1] == 0:
        return xp.full(S.shape[:-1], float("inf"), dtype=S.dtype, device=device(S))
    steps = leading_columns(steps, min(leading, steps.shape[-1]))
    return _over_top(xp.min(steps, axis=-1), S)


def vector_error(found: Spectrum, leading: int, smallest_gap: Array) -> Array:
    """eps over the least of what gradients of the leading vectors divide by."""
    S, least = found.S, smallest_gap
    if not found.is_real_square and leading:
        least = array_namespace(S).minimum(least, _over_top(S[..., leading - 1], S))
    return _inverse(least, eps(S))


def polar_condition(found: Spectrum, zero: Array) -> Array:
    """The norm of the polar factor's derivative, times S[0]; infinite at a singular matrix."""
    S, xp = found.S, array_namespace(found.S)
    if S.shape[-1] == 0 or (found.is_real_square and S.shape[-1] == 1):
        condition = xp.zeros(S.shape[:-1], dtype=S.dtype, device=device(S))
    elif found.is_real_square:
        condition = _inverse(_over_top(S[..., -2] / 2 + S[..., -1] / 2, S), 1.0)
    else:
        condition = _inverse(_over_top(S[..., -1], S), 1.0)
    return xp.where(xp.any(zero, axis=-1), float("inf"), condition)


def at_cut(found: Spectrum, k: int, zero: Array) -> tuple[Array, Array, Array]:
    """The relative gap at a cut after k values, whether it is none, and the nearest good cut.

    After all values the gap is that to zero, where the projector on their vectors jumps. Of a part
    of the spectrum nothing is known of what follows, and the nearest cut may be 0: none.
    """
    S, xp = found.S, array_namespace(found.S)
    r = S.shape[-1]
    if k == r:
        relative, tied = _over_top(S[..., -1], S), zero[..., -1]
    else:
        relative, tied = _over_top(S[..., k - 1] - S[..., k], S), is_tied_cut(S, k)
    places = xp.arange(1, r + 1, dtype=xp.int32, device=device(S))
    good = S[..., :-1] - S[..., 1:] > gap_tolerance(first(S))
    last = xp.full(first(S).shape, found.complete, dtype=xp.bool, device=device(S))
    good = beside([good, last])
    distance = xp.where(good, xp.abs(places - k), 2 * r)
    nearest = xp.argmin(distance, axis=-1)
    nearest = xp.where(xp.any(good, axis=-1), nearest + 1, xp.zeros_like(nearest))
    return relative, tied, nearest


def undefined_columns(found: Spectrum, leading: int) -> Array:
    """Leading columns in a tie, at a cut that splits one, or of a zero that leaves them free."""
    S = leading_columns(found.S, min(leading + 1, found.S.shape[-1]))
    columns = gauge.undefined_columns(S, gap_tolerance(first(S)), free=not found.is_real_square)
    return leading_columns(columns, leading)
