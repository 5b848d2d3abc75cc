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

from .._bindings.array import (
    Array,
    Arrays,
    adjoint,
    any_row,
    array_namespace,
    device,
    eps,
    is_complex,
    leading_columns,
    leading_rows,
    real,
    skew,
    trailing_columns,
)
from .._bindings.lookup import library_of
from .._bindings.matrix_products import columnwise_dot, product
from .._bindings.rows import sum_across
from .._engine.elementary import once_differentiable
from .ties import equals_mirror, in_tie


def touched(values_bar: Array | None, *W_bars: Array | None) -> Array:
    """Columns where any cotangent is not exactly zero."""
    masks = [W_bar != 0 for W_bar in W_bars if W_bar is not None]
    if len(masks) == 2 and masks[0].shape == masks[1].shape:
        masks = [masks[0] | masks[1]]
    columns = list(map(any_row, masks))
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


def reached_columns(
    factors: Arrays, cotangents: Arrays, tolerance: Array, tied: Array | None = None
) -> Array:
    """Columns where cotangents of U, S and V, of as many columns as values, reach what is free.

    The sign of a zero, or its phase, is that of either vector. `tied` are the columns in a tie, if
    that may be one with a value that is not among S.
    """
    (U, S, V), (U_bar, S_bar, V_bar) = factors, cotangents
    tied = in_tie(S, tolerance) if tied is None else tied
    reached = tied & touched(S_bar, U_bar, V_bar)
    sides = ((U.shape[-2], U_bar), (V.shape[-2], V_bar))
    free = [W_bar for rows, W_bar in sides if rows > S.shape[-1]]  # else a lone zero has its vector
    if is_complex(U) or U.shape[-2] != V.shape[-2]:
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
    tolerance: Array,
    ties: str,
) -> Array:
    """The batch elements where the loss is not determined by x, or has no derivative."""
    (U_all, S, V_all), (U_bar, S_bar, V_bar) = factors, cotangents
    xp, k = array_namespace(x), S.shape[-1]
    if ties == "drop" or k == 0:
        return xp.zeros(S.shape[:-1], dtype=xp.bool, device=device(x))
    vectors = [leading_columns(W, k) for W in (U_all, V_all)]
    thin_bars = [W_bar if W_bar is None else leading_columns(W_bar, k) for W_bar in (U_bar, V_bar)]
    thin = thin_bars[0], S_bar, thin_bars[1]
    bad = xp.any(reached_columns(factors, thin, tolerance), axis=-1)
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


def eigh_undetermined(factors: Arrays, cotangents: Arrays, tolerance: Array, ties: str) -> Array:
    """The batch elements where the loss is not determined by x, or has no derivative."""
    (w, Q), (w_bar, Q_bar) = factors, cotangents
    xp = array_namespace(w)
    if ties == "drop" or w.shape[-1] == 0:
        return xp.zeros(w.shape[:-1], dtype=xp.bool, device=device(w))
    bad = xp.any(in_tie(w, tolerance) & touched(w_bar, Q_bar), axis=-1)
    return bad | phase_residual((Q,), (Q_bar,)) if is_complex(Q) else bad
