r"""Singular value decomposition: U, S and V themselves.

A = U S V^H with k = min(m, n). Let dA be a change, dP = U^H dA V, dU = U W_U + (complement of U),
dV = V W_V + (complement of V), with W_U, W_V skew-Hermitian since U^H U = V^H V = I. Then

    dP = W_U S + dS - S W_V.

The diagonal's real part is dS. The Hermitian and skew-Hermitian parts of the rest decouple:

    2 herm(dP)_ij = (s_j - s_i) (W_U + W_V)_ij        2 skew(dP)_ij = (s_j + s_i) (W_U - W_V)_ij

so gaps and sums are divided by apart, and no value is squared. On the diagonal W_U + W_V, the
phase of the pair (u_i, v_i), is free: we take zero. The complements follow from dA V = dU S + ...:

    (I - U U^H) dU = (I - U U^H) dA V S^-1        (I - V V^H) dV = (I - V V^H) dA^H U S^-1

The adjoint, with P = U^H U_bar and R = V_bar^H V (not its adjoint: Vh_bar V is the product that
libraries are fast at), is

    K = herm((P - R) o 1/(s_j - s_i)) + skew((P + R) o 1/(s_j + s_i)) + diag(Re S_bar)
    A_bar = U K V^H + (I - U U^H) U_bar S^-1 V^H + U S^-1 V_bar^H (I - V V^H).

Columns U3 that complete U to a square matrix have U3^H dU3 = 0 and dU3 = -U (dU^H U3).

What the SVD does not determine shows in residuals that vanish for every function of A:
skew(P - R) over ties, skew(P) and skew(R) over zero values, its diagonal for complex A (the
phase), the complements of U_bar and V_bar at zero values, and skew(U3^H U3_bar). Of a lone zero the
vector of the shorter side is determined up to its sign or phase, which the other side, free in its
whole null space, does not share: there a_nn of skew(P) or skew(R) vanishes by itself.

Sources: Townsend (2016), Differentiating the singular value decomposition, here for complex A;
Wan and Zhang (2019), arXiv:1909.02659, for the phase. Splitting is our own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._bindings.array import (
    Array,
    Arrays,
    adjoint,
    beside,
    herm,
    leading_columns,
    leading_rows,
    nan_where,
    real,
    skew,
    trailing_columns,
    with_diagonal,
)
from .._bindings.lookup import adjoint_times
from .._bindings.matrix_products import columnwise_dot, product
from .._engine.elementary import once_differentiable
from .._engine.primitive import Primitive
from .._spectrum import factorizations, gauge, splitting
from .._spectrum.ties import equals_mirror, first, fragile_gap, gap_tolerance, split_singular
from .._spectrum.undefined import explain
from .._spectrum.units import inverses, over_gaps, over_sums, quotient, unit_within


def svd_forward(
    x: Array, *, full_matrices: bool = False, ties: str = "nan", gap_rtol: float | None = None
) -> Arrays:
    U, S, Vh = factorizations.svd(x, full_matrices=full_matrices)
    return U, split_singular(S) if ties == "split" else S, Vh


def fragile(S: Array, tolerance: Array, ties: str) -> Array:
    """Columns where a second derivative does not follow from the first.

    Those in a tie, split or not, and zero values: kinks |s| of a smooth signed s.
    """
    return gauge.undefined_columns(S, fragile_gap(tolerance, S, first(S), ties), free=True)


def svd_jvp(
    inputs: Arrays,
    outputs: Arrays,
    tangents: Arrays,
    *,
    full_matrices: bool = False,
    ties: str = "nan",
    gap_rtol: float | None = None,
) -> Arrays:
    """Tangents of U, S, Vh; NaN in the columns that are undefined, except under "drop"."""
    (x,), (U_all, S, Vh_all), (dx,) = inputs, outputs, tangents
    k = S.shape[-1]
    V_all = adjoint(Vh_all)
    U, V = leading_columns(U_all, k), leading_columns(V_all, k)
    tolerance = gap_tolerance(first(S), gap_rtol, ties)
    inverse_S = inverses(S, tolerance / 2)
    once = once_differentiable(S, partial(fragile, S, tolerance, ties))
    valid = [1 + once + 0.0 * S] * 2  # factors, so that the derivative by dx is NaN too
    if ties != "drop":
        free = (gauge.free_columns(S, tolerance, rows) for rows in x.shape[-2:])
        valid = [1 + once + nan_where(columns, S) for columns in free]
        inverse_S = inverse_S + nan_where(equals_mirror(S, tolerance), S)

    dx_V, dxh_U = product(dx, V), product(adjoint(dx), U)
    dP = adjoint_times(U, dx_V)
    W_U, W_V = rotations(dP, S, tolerance)
    dU = _vectors_jvp(U_all, W_U, dx_V, dP, inverse_S, valid[0])
    dV = _vectors_jvp(V_all, W_V, dxh_U, adjoint(dP), inverse_S, valid[1])
    return dU, real(columnwise_dot(U, dx_V)) + once, adjoint(dV)


def rotations(dP: Array, S: Array, tolerance: Array) -> Arrays:
    """W_U and W_V from dP = U^H dA V."""
    half_sum = over_gaps(herm(dP), S, tolerance)
    half_difference = over_sums(skew(dP), S, tolerance)
    return half_sum + half_difference, half_sum - half_difference


def _vectors_jvp(
    W_all: Array, rotation: Array, flow: Array, inner: Arrays, inverse_S: Array, valid: Array
) -> Array:
    """Tangent of the columns on one side; `flow` is dA V on the left and dA^H U on the right."""
    rows, k = flow.shape[-2:]
    W = leading_columns(W_all, k)
    dW = product(W, rotation)
    if rows > k:
        dW = dW + (flow - product(W, inner)) * inverse_S[..., None, :]
    dW = dW * valid[..., None, :]
    if W_all.shape[-1] == k:
        return dW
    dW3 = product(-W, inverse_S[..., :, None] * product(adjoint(flow), trailing_columns(W_all, k)))
    return beside([dW, dW3])


def svd_vjp(
    inputs: Arrays,
    outputs: Arrays,
    cotangents: Arrays,
    *,
    full_matrices: bool = False,
    ties: str = "nan",
    gap_rtol: float | None = None,
) -> Arrays:
    """Cotangent of x; a batch element is NaN where its cotangents touch what is undefined."""
    (x,), (U_all, S, Vh_all), (U_bar, S_bar, Vh_bar) = inputs, outputs, cotangents
    (m, n), k = x.shape[-2:], S.shape[-1]
    U, V_all = leading_columns(U_all, k), adjoint(Vh_all)
    Vh = leading_rows(Vh_all, k)
    tolerance = gap_tolerance(first(S), gap_rtol, ties)
    V_bar = None if Vh_bar is None else adjoint(Vh_bar)
    once = partial(fragile, S, tolerance, ties)
    if U_bar is None and V_bar is None:
        diagonal = gauge.once_differentiable_cotangent(S, S_bar, once)
        return (product(U * diagonal[..., None, :], Vh),)

    P = 0.0 if U_bar is None else adjoint_times(U, leading_columns(U_bar, k))
    R = 0.0 if V_bar is None else product(leading_rows(Vh_bar, k), adjoint(Vh))
    bars, split = (U_bar, S_bar, V_bar), None
    bad = gauge.svd_undetermined(x, (U_all, S, V_all), bars, tolerance, ties)
    if ties == "split" and k > 0:
        before = real(columnwise_dot(U, product(x, adjoint(Vh))))
        thin_bars = [W if W is None else leading_columns(W, k) for W in (U_bar, V_bar)]
        split = splitting.split_of(S, before, gauge.touched(S_bar, *thin_bars))
        vectors = U, adjoint(Vh)
        bad = bad | splitting.seen_in_svd(split, vectors, (S, S_bar), thin_bars, (P, R))
    K = inner_cotangent((P, R), S, S_bar, tolerance, once, split)
    K = K + nan_where(bad, S)[..., None, None]

    if (n <= k or V_bar is None) and (m <= k or U_bar is None):
        return (product(U, K, Vh),)
    inverse_S = inverses(S, tolerance / 2)
    if n > k and V_bar is not None:
        right_bar = _completed_cotangent(V_all, V_bar, k) * inverse_S[..., None, :]
        K = K - inverse_S[..., :, None] * R
        return (product(U, product(K, Vh) + adjoint(right_bar)),)
    left_bar = _completed_cotangent(U_all, U_bar, k) * inverse_S[..., None, :]
    K = K - P * inverse_S[..., None, :]
    return (product(product(U, K) + left_bar, Vh),)


def inner_cotangent(
    inner: Arrays,
    S: Array,
    S_bar: Array | None,
    tolerance: Array,
    once: Callable[[], Array],
    split: splitting.Split | None,
) -> Array:
    """K from `inner`, P = U^H U_bar and R = V_bar^H V, and S_bar.

    Columns `once` are not differentiable.
    """
    (P, R), tie = inner, 2 * tolerance
    if split is None:
        difference, total = over_gaps(P - R, 2 * S, tie), over_sums(P + R, 2 * S, tie)
    else:
        unit, pairs = unit_within(S), ((P - R, split.gaps), (P + R, split.sums))
        difference, total = (quotient(X, 2 * part, tie[..., None], unit, 2) for X, part in pairs)
    R_bar = R if isinstance(R, float) else adjoint(R)
    diagonal = gauge.once_differentiable_cotangent(S, S_bar, once, P, R_bar)
    difference = with_diagonal(difference, diagonal / 2)
    return (difference + total) + adjoint(difference - total)


def _completed_cotangent(W_all: Array, W_bar: Array, k: int) -> Array:
    """W_bar of the thin columns, with what reaches them through the completing ones."""
    if W_all.shape[-1] == k:
        return W_bar
    W, W3, W3_bar = (
        leading_columns(W_all, k),
        trailing_columns(W_all, k),
        trailing_columns(W_bar, k),
    )
    return leading_columns(W_bar, k) - product(W3, product(adjoint(W3_bar), W))


def svd_undefined(
    inputs: Arrays,
    outputs: Arrays,
    directions: Arrays,
    result: Arrays,
    *,
    ties: str = "nan",
    gap_rtol: float | None = None,
    **_: Any,
) -> Exception | None:
    (x,), (U, S, Vh) = inputs, outputs
    tolerance, k = gap_tolerance(first(S), gap_rtol, ties), S.shape[-1]
    if len(directions) == 3:  # a cotangent, which may leave ties untouched
        U_bar, S_bar, Vh_bar = directions
        V_bar = None if Vh_bar is None else adjoint(Vh_bar)
        bars = (W if W is None else leading_columns(W, k) for W in (U_bar, V_bar))
        thin_bars = next(bars), S_bar, next(bars)
        columns = gauge.reached_columns((U, S, adjoint(Vh)), thin_bars, tolerance)
    else:
        columns = gauge.free_columns(S, tolerance, max(x.shape[-2:]))
    return explain("svd", ("S", S), columns, directions, result, ties)


def unread_input(*, ties: str = "nan", **_: Any) -> tuple[int, ...]:
    return () if ties == "split" else (0,)


def factors_forward(x: Array, *, ties: str = "nan") -> Arrays:
    U, S, Vh = factorizations.svd(x)
    S = factorizations.with_measured_zeros(x, U, S, Vh)
    return U, split_singular(S) if ties == "split" else S, Vh


# inside functions of x: what is zero is known better, and nothing is warned of
svd_factors = Primitive(
    "svd",
    factors_forward,
    svd_jvp,
    svd_vjp,
    outputs=3,
    core=2,
    decomposes=True,
    unread=unread_input,
)
