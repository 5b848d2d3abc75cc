"""Which values count as equal or as zero, and what a rule does about them.

Every tolerance is relative to the largest value. Values come sorted, so whether one is in a tie is
told by its neighbours, in O(k); pairs are guarded by an infinite denominator, which makes their
quotient an exact zero.
"""

from __future__ import annotations

from typing import Literal, get_args

from .._bindings.array import (
    Array,
    array_namespace,
    beside,
    device,
    eps,
    leading_columns,
    trailing_columns,
)
from .._bindings.rows import longer_side

Ties = Literal["nan", "raise", "drop", "split"]
POLICIES: tuple[str, ...] = get_args(Ties)

SKEW = 1e-2  # of the largest eigenvalue: a matrix with more was not meant to be Hermitian


def default_gap_rtol(values: Array) -> float:
    """eps^(3/4): a computed gap has an error of eps, and this leaves a quarter of the digits."""
    return float(eps(values) ** 0.75)


def gap_tolerance(top: Array, gap_rtol: float | None = None, ties: str = "nan") -> Array:
    """Up to what gap values count as equal, `top` being the largest, (..., 1).

    A split has opened its ties, by less than some would allow.
    """
    return top * (default_gap_rtol(top) if gap_rtol is None or ties == "split" else gap_rtol)


def fragile_gap(tolerance: Array, values: Array, top: Array, ties: str) -> Array:
    """Up to what gap a second derivative does not follow from the first: a tie's, split or not."""
    if ties != "split":
        return tolerance
    return array_namespace(top).maximum(tolerance, 2 * split_width(values, top))


def zero_tolerance(side: int, values: Array) -> Array:
    """What counts as zero among the singular values or eigenvalues of a matrix, (..., 1).

    2 sqrt(side) eps times the largest, `side` being the longer side: what LAPACK's drivers leave of
    a value that is zero (docs/zero.md). NaN, beside which nothing is, where values overflow.
    """
    top = largest(values)
    return 2 * side**0.5 * eps(values) * (top + 0.0 * top)


def zero_values(U: Array, S: Array, Vh: Array) -> Array:
    """Which singular values count as zero in a function of x = U diag(S) Vh."""
    return zero_tolerance(longer_side(U, Vh), S) >= S


def equals_mirror(S: Array, tolerance: Array) -> Array:
    """Which singular values equal -S: zeros, as far as only gaps are known."""
    return 2 * S <= tolerance


def is_tied_cut(S: Array, k: int) -> Array:
    """Whether the values on both sides of a cut after k of them count as equal."""
    return S[..., k - 1] - S[..., k] <= gap_tolerance(first(S))[..., 0]


def cut_shares(values: Array, k: int, tolerance: Array) -> Array:
    """The weights of descending values in the sum of the k largest: a tie at the cut shares its.

    NaN where values beside the cut overflow.
    """
    xp = array_namespace(values)
    above = values - values[..., k - 1 : k]
    tied = xp.astype(xp.abs(above) <= tolerance, values.dtype)
    kept = xp.where(above > tolerance, 1.0, 0.0 * above)
    count = xp.sum(tied, axis=-1, keepdims=True)
    missing = k - xp.sum(kept, axis=-1, keepdims=True)
    return kept + tied * (missing / xp.where(count == 0, 1.0, count))


def guarded(denominators: Array, tolerance: Array) -> Array:
    """The denominators, infinite where they count as zero."""
    xp = array_namespace(denominators)
    return xp.where(xp.abs(denominators) <= tolerance, float("inf"), denominators)


def gaps(values: Array, tolerance: Array) -> Array:
    """v_j - v_i, guarded; the diagonal is guarded with the ties."""
    return guarded(values[..., None, :] - values[..., :, None], tolerance[..., None])


def sums(values: Array, tolerance: Array) -> Array:
    """v_i + v_j of values that are not negative, guarded."""
    xp, total = array_namespace(values), values[..., None, :] + values[..., :, None]
    return xp.where(total <= tolerance[..., None], float("inf"), total)


def first(values: Array) -> Array:
    """The first value, as (..., 1); of none, (..., 0)."""
    return leading_columns(values, min(1, values.shape[-1]))


def in_tie(values: Array, tolerance: Array) -> Array:
    """Whether each of the sorted values equals a neighbour."""
    xp = array_namespace(values)
    if values.shape[-1] < 2:
        return xp.zeros_like(values, dtype=xp.bool)
    beyond = xp.full_like(first(values), float("inf"))
    padded = beside([beyond, values, beyond])
    near = xp.abs(padded[..., 1:] - padded[..., :-1]) <= tolerance
    return near[..., 1:] | near[..., :-1]


def ties_of(values: Array, tolerance: Array) -> Array:
    """The number of the tie that each of the sorted values is in; a value of its own is one too."""
    xp, n = array_namespace(values), values.shape[-1]
    if n < 2:
        return xp.zeros_like(values)
    new = xp.astype(xp.abs(values[..., 1:] - values[..., :-1]) > tolerance, values.dtype)
    place = xp.arange(n, device=device(values))
    # PyTorch 2.13 cannot compile array_api_compat's cumulative_sum (1.15)
    return xp.sum(xp.where(place[:, None] > place[:-1], new[..., None, :], 0.0), axis=-1)


def open_gaps(values: Array, width: Array) -> Array:
    """The nearest values, in the mean of two one-sided senses, that lie `width` apart.

    For descending v:  up_i = max_{j >= i} v_j + (j - i) width,
    down_i = min_{j <= i} v_j - (i - j) width, and the result is (up + down)/2. Both are strictly
    descending with gaps of at least `width`, so their mean is; values that lay apart stay.
    """
    xp = array_namespace(values)
    n = values.shape[-1]
    index = xp.arange(n, dtype=values.dtype, device=device(values))
    steps = index[None, :] - index[:, None]
    shifted = values[..., None, :] + steps * width[..., None]
    up = xp.max(xp.where(steps >= 0, shifted, -float("inf")), axis=-1)
    down = xp.min(xp.where(steps <= 0, shifted, float("inf")), axis=-1)
    return up / 2 + down / 2


def split_width(values: Array, scale: Array) -> Array:
    """sqrt(eps/k) of the scale: the error of a split, about width, meets that of eps/width."""
    return (eps(values) / max(values.shape[-1], 1)) ** 0.5 * scale


def split_singular(S: Array) -> Array:
    """S with its gaps, and those of S to -S, opened: the spectrum and its mirror image."""
    xp = array_namespace(S)
    if S.shape[-1] == 0:
        return S
    mirrored = beside([S, -xp.flip(S, axis=-1)])
    return open_gaps(mirrored, split_width(S, first(S)))[..., : S.shape[-1]]


def split_eigen(w: Array) -> Array:
    """Ascending eigenvalues with their gaps opened."""
    if w.shape[-1] == 0:
        return w
    return -open_gaps(-w, split_width(w, largest(w)))


def largest(w: Array) -> Array:
    """max |w| of sorted values, as (..., 1); of none, (..., 0)."""
    xp = array_namespace(w)
    last = trailing_columns(w, max(0, w.shape[-1] - 1))
    return xp.maximum(xp.abs(first(w)), xp.abs(last))


def least_of(values: Array) -> Array:
    """The least |w| that is not zero to rounding, as a positive scale of the spectrum, (..., 1)."""
    if values.shape[-1] == 0:
        return unit_of(values)
    xp, top, size = array_namespace(values), unit_of(values), array_namespace(values).abs(values)
    counted = size > values.shape[-1] * eps(values) * top
    return xp.min(xp.where(counted, size, top), axis=-1, keepdims=True)


def unit_of(values: Array) -> Array:
    """A positive scale of the spectrum, (..., 1)."""
    xp = array_namespace(values)
    if values.shape[-1] == 0:
        return xp.ones((*values.shape[:-1], 1), dtype=values.dtype, device=device(values))
    top = largest(values)
    return xp.where(top == 0, 1.0, top)
