"""What the loss may not depend on: the freedom that a decomposition leaves in its vectors.

A decomposition does not fix the rotation within a tie, the phase of a complex vector, or the
completing columns of a full matrix. Derivatives exist for losses that are blind to these; here is
how a rule finds, from cotangents only, that a loss is not. `W` stands for a matrix of vectors
(U, V or Q), `W_bar` for its cotangent or None. Norms are sums of moduli: nothing is squared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from .._bindings.array import (
    Array,
    Arrays,
    adjoint,
    array_namespace,
    columnwise_dot,
    device,
    eps,
    is_complex,
    leading_columns,
    leading_rows,
    product,
    real,
    skew,
    trailing_columns,
)
from .._bindings.lookup import library_of
from .._bindings.rows import any_across, sum_across
from .._engine.elementary import once_differentiable
from .ties import equals_mirror, first, in_tie, largest, split_width


def touched(values_bar: Array | None, *W_bars: Array | None) -> Array:
    """Columns where any cotangent is not exactly zero."""
    masks = [W_bar != 0 for W_bar in W_bars if W_bar is not None]
    if len(masks) == 2 and masks[0].shape == masks[1].shape:
        masks = [masks[0] | masks[1]]
    columns = [any_across(array_namespace(mask).any(mask, axis=-2)) for mask in masks]
    return reduce(or_, columns if values_bar is None else [values_bar != 0, *columns])


def column_norms(*W_bars: Array | None) -> Array:
    return sum(
        sum_across(array_namespace(W_bar).sum(array_namespace(W_bar).abs(W_bar), axis=-2))
        for W_bar in W_bars
        if W_bar is not None
    )


def phases(Ws: Sequence[Array], W_bars: Sequence[Array | None]) -> list[Array]:
    """What the phase of each column changes in the loss, by each of the W's with a cotangent."""
    pairs = [(W, W_bar) for W, W_bar in zip(Ws, W_bars, strict=True) if W_bar is not None]
    xp = array_namespace(*pairs[0])
    return [xp.imag(columnwise_dot(W, W_bar)) for W, W_bar in pairs]


def phase_residual(
    Ws: Sequence[Array], W_bars: Sequence[Array | None], apart: Array | None = None
) -> Array:
    """Members whose loss changes with the phase of a vector, shared by the W's unless `apart`."""
    by_side = phases(Ws, W_bars)
    xp = array_namespace(*by_side)
    bound = eps(by_side[0]) ** 0.5 * column_norms(*W_bars)
    seen = xp.abs(sum(by_side)) > bound
    if apart is not None:
        for phase in by_side:
            seen = seen | apart & (xp.abs(phase) > bound)
    return xp.any(seen, axis=-1)


def completion_residual(W3: Array, W3_bar: Array) -> Array:
    """Members whose loss changes when the completing columns are rotated among themselves."""
    xp = array_namespace(W3)
    residual = xp.max(xp.abs(skew(product(adjoint(W3), W3_bar))), axis=(-2, -1))
    return residual > eps(W3) ** 0.5 * xp.sum(xp.abs(W3_bar), axis=(-2, -1))


def split_allowance(values_bar: Array | None, norms: Array, largest: Array) -> Array:
    """How large an entry of K may be that a split tie decides, (..., 1).

    For a loss that is a function of x these entries are like the others: of the size of the values'
    cotangent and of the vectors' over the largest value; 10 times that for steep functions.
    """
    xp = array_namespace(norms)
    size = xp.max(norms, axis=-1, keepdims=True) / xp.where(largest == 0, 1.0, largest)
    if values_bar is not None:
        size = size + xp.max(xp.abs(values_bar), axis=-1, keepdims=True)
    return 10 * size


class Split(NamedTuple):
    """Values before they were split, columns that the loss sees, and gaps and sums since."""

    before: Array
    seen: Array
    gaps: Array
    sums: Array


def split_of(values: Array, before: Array, seen: Array) -> Split:
    """What the loss sees of values that were split.

    If it sees nothing of a column, neither value nor vectors, it has not seen its value move: there
    gaps and sums have the one before, wherever that leaves them beyond the width.
    """
    xp, width = array_namespace(values), split_width(values, largest(values))[..., None]
    as_seen, apart = xp.where(seen, values, before), []
    for sign in (-1, 1):
        opened, kept = (v[..., None, :] + sign * v[..., :, None] for v in (values, as_seen))
        apart.append(xp.where(xp.abs(kept) > width, kept, opened))
    return Split(before, seen, *apart)


def split_residual(
    residual: Array,
    opened: Array,
    found: Array,
    allowance: Array,
    width: Array,
    half_seen: Array | None = None,
    axes: Any = -1,
) -> Array:
    """Where the loss sees what the splitting of ties moved.

    residual/opened is the entry of K, and counts by as much as its denominator, `found` before and
    `opened` after, changed. A loss that is a function of x has residuals in proportion to their
    denominators; any other has residuals that the opened gap, sqrt(eps), makes huge. Beside it lie
    gaps of their own, above `width`, that an opened tie has moved: what they lose is kept below
    4 eps^(7/16) of the largest entry over `axes`. So it is in pairs of which the loss sees one
    column only, such as those of a cut inside of a tie.
    """
    xp = array_namespace(residual)
    size = xp.where(opened == 0, float("inf"), xp.abs(opened))
    entries = xp.abs(residual) / size
    lost = entries * (xp.abs(opened - found) / size)
    promised = 4 * eps(residual) ** (7 / 16) * xp.max(entries, axis=axes, keepdims=True)
    alone = xp.abs(found) > width
    alone = alone if half_seen is None else alone | half_seen
    return (lost > allowance) | alone & (lost > promised)


def undefined_columns(S: Array, tolerance: Array, free: bool) -> Array:
    """Columns in a tie, and those of a zero value if that leaves its vectors or phase `free`."""
    tied = in_tie(S, tolerance)
    return tied | equals_mirror(S, tolerance) if free else tied


def free_columns(S: Array, tolerance: Array, rows: int) -> Array:
    """Columns of the vectors of one side, of so many rows, that are free by more than a phase.

    Those in a tie are. The vector of a lone zero is the only one, up to its phase, that is
    orthogonal to the others, unless there are more rows than values.
    """
    return undefined_columns(S, tolerance, free=rows > S.shape[-1])


def reached_columns(x: Array, S: Array, tolerance: Array, cotangents: Arrays) -> Array:
    """Columns where cotangents of U, S and V, of as many columns as values, reach what is free.

    The sign of a zero, or its phase, is that of either vector.
    """
    U_bar, S_bar, V_bar = cotangents
    reached = in_tie(S, tolerance) & touched(S_bar, U_bar, V_bar)
    sides = ((x.shape[-2], U_bar), (x.shape[-1], V_bar))
    free = [W_bar for rows, W_bar in sides if rows > S.shape[-1]]  # else a lone zero has its vector
    if is_complex(x) or x.shape[-2] != x.shape[-1]:
        free.append(None if S_bar is None else S_bar[..., None, :])
    if any(bar is not None for bar in free):
        reached = reached | equals_mirror(S, tolerance) & touched(None, *free)
    return reached


def once_differentiable_cotangent(
    values: Array, values_bar: Array | None, fragile: Callable[[], Array], *inner: Array | float
) -> Array:
    """The values' cotangent, whose derivative by the values and by any cotangent is NaN if fragile.

    `inner` are products W^H W_bar, or zeros: one entry of each column holds that column of W_bar.
    """
    if not library_of(values).is_differentiated(values):
        return array_namespace(values).zeros_like(values) if values_bar is None else values_bar
    probe, one = values, min(1, values.shape[-1])
    for part in inner:
        if not isinstance(part, float):
            entries = real(leading_rows(part, one))
            probe = probe + array_namespace(values).sum(entries, axis=-2)
    zeros = once_differentiable(probe, fragile)
    return zeros if values_bar is None else values_bar + zeros


def svd_undetermined(
    x: Array,
    factors: Arrays,
    cotangents: Arrays,
    inner: Arrays,
    tolerance: Array,
    ties: str,
    split: Split | None = None,
) -> Array:
    """The batch elements where the loss is not determined by x, or has no derivative."""
    (U_all, S, V_all), (U_bar, S_bar, V_bar) = factors, cotangents
    xp, k = array_namespace(x), S.shape[-1]
    if ties == "drop" or k == 0:
        return xp.zeros(S.shape[:-1], dtype=xp.bool, device=device(x))
    vectors = [leading_columns(W, k) for W in (U_all, V_all)]
    thin_bars = [W_bar if W_bar is None else leading_columns(W_bar, k) for W_bar in (U_bar, V_bar)]
    thin = thin_bars[0], S_bar, thin_bars[1]
    bad = xp.any(reached_columns(x, S, tolerance, thin), axis=-1)
    if split is not None:
        bad = bad | svd_split_residual(split, vectors, (S, S_bar), thin_bars, inner)
    if is_complex(x):
        bad = bad | phase_residual(vectors, thin_bars, equals_mirror(S, tolerance))
    for W_all, W_bar in ((U_all, U_bar), (V_all, V_bar)):
        if W_bar is not None and W_all.shape[-1] > k:
            W3, W3_bar = trailing_columns(W_all, k), trailing_columns(W_bar, k)
            # one axis after the other: PyTorch's batched gradients have no rule for two (2.13)
            reached = xp.any(xp.any(W3_bar != 0, axis=-1), axis=-1)
            bad = bad | reached & xp.any(equals_mirror(S, tolerance), axis=-1)
            bad = bad | completion_residual(W3, W3_bar)
    return bad


def svd_split_residual(
    split: Split,
    vectors: Sequence[Array],
    values: Array,
    thin_bars: Sequence[Array | None],
    inner: Arrays,
) -> Array:
    """Pairs by gap and by sum, and complements by value; `found` are the values before."""
    S, S_bar = values
    width = split_width(S, first(S))
    allowance = split_allowance(S_bar, column_norms(*thin_bars), first(S))
    pairs = svd_split_pairs(split, inner, allowance, width)
    return pairs | split_complements(split.before, S, vectors, thin_bars, allowance, width)


def svd_split_pairs(split: Split, inner: Arrays, allowance: Array, width: Array) -> Array:
    """Whether the loss sees what splitting moved in the gaps and sums."""
    P, R = inner
    in_gaps = split_pairs(split, P - R, -1, allowance, width)
    return in_gaps | split_pairs(split, P + R, 1, allowance, width)


def split_pairs(split: Split, sides: Array, sign: int, allowance: Array, width: Array) -> Array:
    """Whether the loss sees what splitting moved in the gaps or, by the sign 1, the sums."""
    xp, seen, v = array_namespace(sides), split.seen, split.before
    bad = split_residual(
        skew(sides),
        split.gaps if sign < 0 else split.sums,
        v[..., None, :] + sign * v[..., :, None],
        allowance[..., None],
        width[..., None],
        seen[..., None, :] != seen[..., :, None],
        axes=(-2, -1),
    )
    return xp.any(xp.any(bad, axis=-1), axis=-1)


def split_complements(
    found: Array,
    S: Array,
    vectors: Sequence[Array],
    thin_bars: Sequence[Array | None],
    allowance: Array,
    width: Array,
) -> Array:
    """Whether the loss sees, outside of the vectors, what moved S from `found`."""
    xp, k = array_namespace(S), S.shape[-1]
    bad = xp.zeros(S.shape, dtype=xp.bool, device=device(S))
    for W, W_bar in zip(vectors, thin_bars, strict=True):
        if W_bar is not None and W.shape[-2] > k:
            residual = column_norms(W_bar - product(W, product(adjoint(W), W_bar)))
            bad = bad | split_residual(residual, S, found, allowance, width)
    return xp.any(bad, axis=-1)


def eigh_undetermined(
    factors: Arrays,
    cotangents: Arrays,
    P: Array,
    tolerance: Array,
    ties: str,
    split: Split | None,
) -> Array:
    """The batch elements where the loss is not determined by x, or has no derivative."""
    (w, Q), (w_bar, Q_bar) = factors, cotangents
    xp = array_namespace(w)
    if ties == "drop" or w.shape[-1] == 0:
        return xp.zeros(w.shape[:-1], dtype=xp.bool, device=device(w))
    bad = xp.any(in_tie(w, tolerance) & touched(w_bar, Q_bar), axis=-1)
    if split is not None:
        allowance = split_allowance(w_bar, column_norms(Q_bar), largest(w))
        bad = bad | split_pairs(split, P, -1, allowance, split_width(w, largest(w)))
    return bad | phase_residual((Q,), (Q_bar,)) if is_complex(Q) else bad
