r"""A truncated SVD whose rank r depends on the values, in arrays whose shapes do not.

K triplets are found, K the most that may be kept. After c of them what is left out has the norm

    e_c^2 = e_K^2 + sum_{c < i <= K} s_i^2,    ||A||^2 = e_0^2,

with e_K from `left_over`, or the values beyond K where all are known: sums of squares over s_1,
without cancellation. Places of a cut are the c with s_c - s_(c+1) above the tolerance of ties,
values beyond min(m, n) being zero, and s_c > rtol s_1. r is the first place with e_c <= error e_0
if there is one, else the last, or 0 without any.

Columns from r on are zero in U, S and Vh, and their triplets join the surplus, which no derivative
goes through. So the rules of the truncated SVD hold as they stand, of the rank r: a zero column
adds nothing to U^H dA V, and its right-hand sides of the systems outside are zero. That it is in a
tie with the others does not count, and its cotangents are dropped. In a batch element that is not
finite nothing is replaced, so that NaN stays visible.
"""

from __future__ import annotations

from typing import Any

from .._bindings.array import (
    Array,
    Arrays,
    array_namespace,
    beside,
    device,
    eps,
    leading_columns,
    trailing_columns,
)
from .._engine.errors import warn
from .._engine.primitive import constant
from .._engine.reading import read
from .._spectrum.ties import unit_of
from .left_over import is_sparse, squared_norm
from .options import Options
from .split import Found, next_value

# which columns are kept: kept values are above zero
kept_columns = constant("kept", lambda S: S != 0)


def check_error(operand: Any, leaves: Arrays, like: Array, options: Options) -> None:
    """Refuse a bound on what is left of a sparse matrix that is beyond its rounding error."""
    rank, bound = options.rank, eps(like) ** 0.25
    full = "full" in (options.solver, options.adjoint)
    if rank is None or rank.error is None or full or not is_sparse(operand, leaves):
        return
    if rank.error < bound:
        raise ValueError(
            f"{options.function}: `k` has error = {rank.error:.2g}; wanted at least eps^(1/4) = "
            f"{bound:.2g} for a sparse matrix, whose norm the values are subtracted from. Give it "
            "as an operator (sg.operators.from_matmat) or an array, or a truncation by rtol."
        )


def report_empty(found: Found, options: Options) -> None:
    """Say where nothing is kept of a matrix that is not zero."""
    if options.rank is None:
        return
    S, e = (read(values, insist=False) for values in (found.S, found.e))
    if S is None or e is None or 0 in S.shape:
        return
    xp = array_namespace(S)
    if bool(xp.any((S[..., :1] == 0) & (next_value(e) > 0))):
        message = (
            f"{options.function}: `k` has most = {options.rank.most} where the largest value has "
            "more copies, within gap_rtol of it, and nothing is kept, since no cut splits a "
            "multiplet. Raise most, or take a number for k."
        )
        warn(UserWarning(message))


def kept(operand: Any, leaves: Arrays, triplets: Arrays, e: Array, options: Options) -> Array:
    """Which of the triplets are kept, (..., K), e being the values of the surplus."""
    S, rank = triplets[1], options.rank
    assert rank is not None
    xp, top = array_namespace(S), S[..., :1]
    beyond = next_value(e) if e.shape[-1] else xp.zeros_like(top)
    gap = S - beside([trailing_columns(S, 1), beyond])
    place = gap > options.tolerance(S)
    if rank.rtol is not None:
        place = place & (S > rank.rtol * top)
    count = xp.arange(1, S.shape[-1] + 1, dtype=S.dtype, device=device(S))
    chosen = xp.max(xp.where(place, count, 0.0), axis=-1, keepdims=True)
    if rank.error is not None:
        left, whole = _left_out(operand, leaves, triplets, e)
        enough = place & (left <= rank.error**2 * whole)
        chosen = xp.min(xp.where(enough, count, chosen), axis=-1, keepdims=True)
    return (count <= chosen) | ~xp.all(xp.isfinite(S), axis=-1, keepdims=True)


def _left_out(operand: Any, leaves: Arrays, triplets: Arrays, e: Array) -> tuple[Array, Array]:
    """The squares over s_1^2 of what 1, ..., K triplets leave out, and of the whole."""
    U, S, Vh = triplets
    xp, unit, K = array_namespace(S), unit_of(S), S.shape[-1]
    if K + e.shape[-1] == min(U.shape[-2], Vh.shape[-1]):
        rest = xp.sum((e / unit) ** 2, axis=-1, keepdims=True)
    else:
        square, _ = squared_norm(operand, leaves, triplets, unit[..., 0])
        rest = xp.where(square < 0, 0.0, square)[..., None]
    squares = (S / unit) ** 2
    index = xp.arange(K, device=device(S))
    later = xp.astype(index[:, None] > index[None, :], S.dtype)
    left = rest + (squares[..., None, :] @ later)[..., 0, :]
    return left, leading_columns(left, 1) + leading_columns(squares, 1)


def restricted(
    triplets: Arrays, surplus: Arrays, values: Array, mask: Array
) -> tuple[Arrays, Arrays]:
    """Triplets that are zero where the mask is False, and a surplus with those, of these values."""
    (U, S, Vh), (E_U, e, E_Vh) = triplets, surplus
    xp, columns, rows = array_namespace(S), mask[..., None, :], mask[..., :, None]
    dropped = (
        beside([xp.where(columns, 0.0, U), E_U]),
        beside([xp.where(mask, 0.0, values), e]),
        xp.concat([xp.where(rows, 0.0, Vh), E_Vh], axis=-2),
    )
    return of_kept((U, S, Vh), mask), dropped


def of_kept(arrays: Arrays, mask: Array) -> Arrays:
    """Arrays like U, S and Vh, or None, with zeros where the mask is False."""
    masks = mask[..., None, :], mask, mask[..., :, None]
    return tuple(
        None if W is None else array_namespace(W).where(where, W, 0.0)
        for W, where in zip(arrays, masks, strict=True)
    )
