r"""`ties="split"` in a truncated SVD: which values move, and whether a loss sees it.

Only the kept values move: they are opened, and raised above s_(k+1) by the width. The inner part of
the derivative divides by them, since a loss of U f(S) V^H has f of the moved values in it. The
systems N_i of the complement have the values before, Re u_i^H A v_i: against f = 0 beyond the cut
an error of a width in s_i would count by the gap below it. There too the values are at least a
width above s_(k+1). Where nothing is left out the moved values serve, as in `svd`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .._bindings.array import (
    Array,
    Arrays,
    adjoint,
    any_row,
    array_namespace,
    leading_columns,
    leading_rows,
    real,
)
from .._bindings.lookup import adjoint_times
from .._bindings.matrix_products import columnwise_dot
from .._spectrum import gauge, splitting
from .._spectrum.ties import first, split_singular, split_width
from .options import Options


class Found(NamedTuple):
    """What the Primitive `triplets` returns: k triplets, a surplus, residual and restarts.

    The surplus may have more vectors on the shorter side, which are no triplets (`paired`).
    """

    U: Array
    S: Array
    Vh: Array
    E_U: Array
    e: Array
    E_Vh: Array
    residual: Array | None = None
    turns: Array | None = None


def paired(E_U: Array, e: Array, E_Vh: Array) -> Arrays:
    """The part of a surplus that has vectors on both sides."""
    count = min(E_U.shape[-1], E_Vh.shape[-2])
    return leading_columns(E_U, count), leading_columns(e, count), leading_rows(E_Vh, count)


def next_value(e: Array) -> Array:
    """The largest value of a surplus, as (..., 1); of none, (..., 0)."""
    return array_namespace(e).max(e, axis=-1, keepdims=True) if e.shape[-1] else e


def opened(S: Array, e: Array) -> Array:
    """S with its ties opened, above e_1."""
    xp, apart = array_namespace(S), split_singular(S)
    if e.shape[-1] == 0:
        return apart
    floor = first(e) + split_width(S, first(S))
    return apart + xp.maximum(floor - apart[..., -1:], 0.0 * floor)


def values_before(leaves: Arrays, found: Found, operand: Any, options: Options) -> Array:
    """The kept values as they were before they were split."""
    if options.ties != "split":
        return found.S
    AV = operand.products(*leaves).matmat(adjoint(found.Vh))
    return real(columnwise_dot(found.U, AV))


def values_above_rest(before: Array, found: Found, options: Options) -> Array:
    """The values of the complement's system: where split, at least a width above what is left."""
    if options.ties != "split":
        return before
    if found.e.shape[-1] == 0:
        return found.S
    width = split_width(before, first(found.S))
    return array_namespace(before).maximum(before, width + next_value(found.e))


def sees_split(found: Found, before: Array, bars: Arrays, inner: Arrays, system: Array) -> Array:
    """Where the loss sees what moved: S in the inner part, and the system's values outside."""
    (U, S, Vh, *surplus), (U_bar, S_bar, V_bar) = found, bars
    E_U, e, E_Vh = paired(*surplus[:3])
    xp, width = array_namespace(S), split_width(S, first(S))
    allowance = splitting.allowance_for(S_bar, gauge.column_norms(U_bar, V_bar), first(S))
    split = splitting.split_of(S, before, gauge.touched(S_bar, U_bar, V_bar))
    bad = splitting.seen_in_gaps_and_sums(split, inner, allowance, width)
    sides = (U, adjoint(Vh)), (U_bar, V_bar)
    bad = bad | splitting.seen_in_complements(before, system, *sides, allowance, width)
    opened, found_gap = (s[..., None, :] - e[..., :, None] for s in (system, before))
    allowance, width = allowance[..., None], width[..., None]
    half_seen = xp.ones_like(opened, dtype=xp.bool)  # the loss sees nothing beyond the cut
    for E, W_bar in ((E_U, U_bar), (adjoint(E_Vh), V_bar)):
        if W_bar is not None and e.shape[-1]:
            seen = splitting.seen_in_entries(
                adjoint_times(E, W_bar),
                (opened, found_gap),
                allowance,
                width,
                half_seen,
                axes=(-2, -1),
            )
            bad = bad | xp.any(any_row(seen), axis=-1)
    return bad
