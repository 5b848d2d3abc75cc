"""What the loss may not depend on: the freedom that a decomposition leaves in its vectors.

A decomposition does not fix the rotation within a tie, the phase of a complex vector, or the
completing columns of a full matrix. Derivatives exist for losses that are blind to these; here is
how a rule tells, from cotangents alone, that a loss is not. `W` stands for a matrix of vectors
(U, V or Q), `W_bar` for its cotangent or None. Norms are sums of moduli: nothing is squared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

from ._array import Array, adjoint, array_namespace, columnwise_dot, eps, skew

REMEDY = (
    "Differentiate the function of the matrix instead of its factors (svd_function, "
    "eigh_function, orthogonalize, nuclear_norm, ... exist at ties; svdvals and eigvalsh for the "
    "values alone), or choose ties='split' for losses that are blind to the choice of vectors, "
    "or ties='drop' to leave the undefined part out."
)


def touched(values_bar: Array | None, *W_bars: Array | None) -> Array:
    """Columns where any cotangent is not exactly zero."""
    masks = [] if values_bar is None else [values_bar != 0]
    for W_bar in W_bars:
        if W_bar is not None:
            masks.append(array_namespace(W_bar).any(W_bar != 0, axis=-2))
    return reduce(or_, masks)


def column_norms(*W_bars: Array | None) -> Array:
    return sum(
        array_namespace(W_bar).sum(array_namespace(W_bar).abs(W_bar), axis=-2)
        for W_bar in W_bars
        if W_bar is not None
    )


def phase_residual(Ws: Sequence[Array], W_bars: Sequence[Array | None]) -> Array:
    """Members whose loss changes with the phase of a vector, shared by the W's."""
    pairs = [(W, W_bar) for W, W_bar in zip(Ws, W_bars, strict=True) if W_bar is not None]
    xp = array_namespace(*pairs[0])
    phase = sum(xp.imag(columnwise_dot(W, W_bar)) for W, W_bar in pairs)
    bound = eps(phase) ** 0.5 * column_norms(*W_bars)
    return xp.any(xp.abs(phase) > bound, axis=-1)


def completion_residual(W3: Array, W3_bar: Array) -> Array:
    """Members whose loss changes when the completing columns are rotated among themselves."""
    xp = array_namespace(W3)
    residual = xp.max(xp.abs(skew(adjoint(W3) @ W3_bar)), axis=(-2, -1))
    return residual > eps(W3) ** 0.5 * xp.sum(xp.abs(W3_bar), axis=(-2, -1))


def split_reference(norms: Array, values: Array, largest: Array) -> Array:
    """The size of column cotangents to hold residuals against, sorted values having been split.

    A loss of the matrix alone has columns that shrink with their value: these are scaled up, to
    the largest column at most.
    """
    xp = array_namespace(norms)
    sizes = xp.abs(values) / xp.where(largest == 0, 1.0, largest)
    grown = norms / xp.where(sizes == 0, 1.0, sizes)
    return xp.minimum(grown, xp.max(norms, axis=-1, keepdims=True))


def split_residual(residual: Array, opened: Array, found: Array, reference: Array) -> Array:
    """Where the loss sees what the splitting of ties moved.

    A residual counts by as much as its denominator, `found` before and `opened` after, changed. A
    loss of the matrix alone has residuals in proportion to their denominators, which leaves about
    sqrt(eps); any other loss has residuals of the size of its columns, whatever the denominator.
    """
    xp = array_namespace(residual)
    change = xp.abs(opened - found)
    relative = change / xp.where(change == 0, 1.0, xp.abs(opened))
    return xp.abs(residual) * relative > eps(residual) ** 0.25 * reference


def explain(
    name: str, values: Array, undefined: Array, directions: tuple, result: tuple
) -> str | None:
    """Name the first member that came out NaN and the columns to blame, on readable arrays.

    None where the input or a direction held the NaN already.
    """
    xp = array_namespace(values)
    members = xp.any(xp.isnan(result[0][..., 0, :]), axis=-1) & xp.all(xp.isfinite(values), axis=-1)
    members = xp.reshape(members, (-1,))
    if not bool(xp.any(members)):
        return None
    first = int(xp.argmax(xp.astype(members, xp.int8)))
    v = xp.reshape(values, (-1, values.shape[-1]))[first, :]
    columns = xp.reshape(undefined, (-1, values.shape[-1]))[first, :]
    others = int(xp.sum(xp.astype(members, xp.int64))) - 1
    member = _unravel(first, tuple(values.shape[:-1]))
    where = f"member {member}" + (f" (and {others} more)" if others else "") if member else "x"
    if bool(xp.any(columns)):
        what = _name_columns(v, columns)
    elif all(bool(xp.all(xp.isfinite(d))) for d in directions if d is not None):
        what = (
            "the loss depends on what x does not determine: the phase of a vector, the choice of "
            "completing columns (full_matrices), or of vectors within a tie that was split"
        )
    else:
        return None
    return f"{name}: the derivative is undefined for {where}, and NaN there: {what}. {REMEDY}"


def _name_columns(values: Array, columns: Array) -> str:
    xp = array_namespace(values)
    i = int(xp.argmax(xp.astype(columns, xp.int8)))
    first, second = float(values[i]), float(values[min(i + 1, values.shape[0] - 1)])
    largest = float(xp.max(xp.abs(values)))
    if i + 1 < values.shape[0] and bool(columns[i + 1]):
        gap = abs(first - second)
        return (
            f"values {i} and {i + 1}, {first:.6g} and {second:.6g}, count as equal (a gap of "
            f"{gap:.3g}, the largest value being {largest:.6g}; see gap_rtol)"
        )
    return f"value {i}, {first:.6g}, counts as zero (the largest being {largest:.6g}; see gap_rtol)"


def _unravel(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    indices = []
    for size in reversed(shape):
        index, remainder = divmod(index, size)
        indices.append(remainder)
    return tuple(reversed(indices))
