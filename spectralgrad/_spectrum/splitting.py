"""Whether a loss sees that its ties were split.

A split opens the gaps of a tie to about sqrt(eps) of the largest value. What a loss makes of the
vectors in it may depend on the gap that was opened, but only a loss that is a function of x has
residuals which vanish with the gap. Here is how a rule finds, from cotangents only, that it sees
more. Names are those of `gauge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .._bindings.array import Array, Arrays, adjoint, array_namespace, device, eps, skew
from .._bindings.matrix_products import product
from .gauge import column_norms
from .ties import first, largest, split_width


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


def allowance_for(values_bar: Array | None, norms: Array, largest: Array) -> Array:
    """How large an entry of K may be that a split tie decides, (..., 1).

    For a loss that is a function of x these entries are like the others: of the size of the values'
    cotangent and of the vectors' over the largest value; 10 times that for steep functions.
    """
    xp = array_namespace(norms)
    size = xp.max(norms, axis=-1, keepdims=True) / xp.where(largest == 0, 1.0, largest)
    if values_bar is not None:
        size = size + xp.max(xp.abs(values_bar), axis=-1, keepdims=True)
    return 10 * size


def seen_in_entries(
    residual: Array,
    gaps: tuple[Array, Array],
    allowance: Array,
    width: Array,
    half_seen: Array | None = None,
    axes: Any = -1,
) -> Array:
    """Where the loss sees what the splitting of ties moved.

    residual/opened is the entry of K, and counts by as much as its denominator, one of the `gaps`
    opened and found, changed. A loss that is a function of x has residuals in proportion to their
    denominators; any other has residuals that the opened gap, sqrt(eps), makes huge. Beside it lie
    gaps of their own, above `width`, that an opened tie has moved: what they lose is kept below
    4 eps^(7/16) of the largest entry over `axes`. So it is in pairs of which the loss sees one
    column only, such as those of a cut inside of a tie.
    """
    xp, (opened, found) = array_namespace(residual), gaps
    size = xp.where(opened == 0, float("inf"), xp.abs(opened))
    entries = xp.abs(residual) / size
    lost = entries * (xp.abs(opened - found) / size)
    promised = 4 * eps(residual) ** (7 / 16) * xp.max(entries, axis=axes, keepdims=True)
    alone = xp.abs(found) > width
    alone = alone if half_seen is None else alone | half_seen
    return (lost > allowance) | alone & (lost > promised)


def seen_in_svd(
    split: Split,
    vectors: Sequence[Array],
    values: Array,
    thin_bars: Sequence[Array | None],
    inner: Arrays,
) -> Array:
    """Whether the loss sees it in pairs, by gap and by sum, or in the complements, by value."""
    S, S_bar = values
    width = split_width(S, first(S))
    allowance = allowance_for(S_bar, column_norms(*thin_bars), first(S))
    pairs = seen_in_gaps_and_sums(split, inner, allowance, width)
    return pairs | seen_in_complements(split.before, S, vectors, thin_bars, allowance, width)


def seen_in_eigh(split: Split, w: Array, cotangents: Arrays, P: Array) -> Array:
    """The same by gap alone."""
    w_bar, Q_bar = cotangents
    allowance = allowance_for(w_bar, column_norms(Q_bar), largest(w))
    return seen_in_pairs(split, P, -1, allowance, split_width(w, largest(w)))


def seen_in_gaps_and_sums(split: Split, inner: Arrays, allowance: Array, width: Array) -> Array:
    """Whether the loss sees what splitting moved in the gaps and sums."""
    P, R = inner
    in_gaps = seen_in_pairs(split, P - R, -1, allowance, width)
    return in_gaps | seen_in_pairs(split, P + R, 1, allowance, width)


def seen_in_pairs(split: Split, sides: Array, sign: int, allowance: Array, width: Array) -> Array:
    """Whether the loss sees what splitting moved in the gaps or, by the sign 1, the sums."""
    xp, seen, v = array_namespace(sides), split.seen, split.before
    opened = split.gaps if sign < 0 else split.sums
    bad = seen_in_entries(
        skew(sides),
        (opened, v[..., None, :] + sign * v[..., :, None]),
        allowance[..., None],
        width[..., None],
        seen[..., None, :] != seen[..., :, None],
        axes=(-2, -1),
    )
    return xp.any(xp.any(bad, axis=-1), axis=-1)


def seen_in_complements(
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
            bad = bad | seen_in_entries(residual, (S, found), allowance, width)
    return xp.any(bad, axis=-1)
