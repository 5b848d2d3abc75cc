r"""Parts of a matrix that a cut of its spectrum leaves: best low rank and subspaces.

Between s_k and s_(k+1) lies a threshold t, and near A the best approximation of rank k is
U f(S) V^H with f the hard threshold at t. With f = 1 beyond t it is the partial isometry
T = U_k V_k^H, whose products T T^H and T^H T are the projectors on the leading subspaces. These are
functions of A with the derivatives of `svd_differentials`; only the gap at the cut is divided by.
A cut inside a tie is undefined: NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from .._bindings.array import (
    Array,
    Arrays,
    ArrayT,
    adjoint,
    array_namespace,
    device,
    herm,
    invalidated,
    nan_where,
    skew,
)
from .._bindings.lookup import adjoint_times
from .._bindings.matrix_products import product
from .._bindings.rows import longer_side
from .._engine.arguments import enter
from .._engine.checks import check_rank
from .._engine.linear import matmul, nan_derivative
from .._engine.options import check_choice
from .._engine.primitive import Primitive
from .._engine.symmetric import symmetric
from .._functions.exponentials import identity
from .._functions.named import FREE
from .._functions.thresholds import hard_threshold, sign_beyond
from .._spectrum.naming import name_pair, name_zero
from .._spectrum.ties import first, gap_tolerance, guarded, is_tied_cut, zero_tolerance
from .._spectrum.undefined import Policy, because, check_undefined
from .declaration import REQUIRED, operation
from .polar_differentials import polar_factor
from .svd_differentials import sandwich, svd_second
from .svd_function import of_singular_values
from .svd_rules import svd_factors


def _truncated(factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int) -> Array:
    U, S, Vh = factors
    return product(U[..., :k] * S[..., None, :k], Vh[..., :k, :])


def _isometry(factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int) -> Array:
    U, _, Vh = factors
    return product(U[..., :k], Vh[..., :k, :])


def at_cut(rule: Callable[..., Array], f: Any) -> Callable[..., Array]:
    """A rule for f(s, t) with t between s_k and s_(k+1)."""

    def cut(factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int) -> Array:
        S = factors[1]
        # no number of NumPy's, which may not be NaN
        middle = (S[..., k - 1 : k] / 2 + S[..., k : k + 1] / 2)[..., 0]
        undefined = nan_where(is_tied_cut(S, k), S)[..., None, None]
        return invalidated(rule(factors, directions, (middle,), f=f), undefined)

    return cut


def _untied(S: Array, k: int, lenient: bool) -> Any:
    """Zeros, and NaN where the cut splits a tie unless that is left out, as (..., 1, 1)."""
    return 0.0 if lenient else nan_where(is_tied_cut(S, k), S)[..., None, None]


def isometry_differential(
    factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int, lenient: bool = False
) -> Array:
    """`svd_differential` of f = 1 before the cut, c_i = 1 for what is kept and else 0.

    G+ = (c_i - c_j)/(s_i - s_j), G- = (c_i + c_j)/(s_i + s_j), h = c/s.
    """
    U, S, Vh = factors
    xp = array_namespace(S)
    c = xp.astype(xp.arange(S.shape[-1], device=device(S)) < k, S.dtype)
    c_i, c_j, s_i, s_j = c[:, None], c[None, :], S[..., :, None], S[..., None, :]
    tie = gap_tolerance(first(S))[..., None]
    zero = zero_tolerance(longer_side(U, Vh), S)
    plus = (c_i - c_j) / guarded(s_i - s_j, tie) + _untied(S, k, lenient)
    minus = (c_i + c_j) / guarded(s_i + s_j, zero[..., None])

    def couple(M: Array) -> Array:
        return plus * herm(M) + minus * skew(M)

    return sandwich(U, Vh, directions[0], couple, c / guarded(S, zero))


def _truncated_differential(
    factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int, lenient: bool = False
) -> Array:
    """The projection on the tangents of the rank-k matrices, and what their curvature adds.

    `svd_differential` of the hard threshold: G+- = 1 for kept pairs, 0 for dropped ones and
    1/(1 -+ r), r = s_j/s_i, across the cut, where alone there are quotients to compute. With
    a = (G+ + G-)/2 - 1, b = (G+ - G-)/2 and M = U^H C V in blocks,

        DF[C] = C V_k V_k^H + U_k U_k^H C - U_k M_kk V_k^H
              + U_k (a o M_kd + b o M_dk^H) V_d^H + U_d (a o M_dk^H + b o M_kd)^H V_k^H

    where a = r b and b = r/((1 - r)(1 + r)), unless G+ is left out.
    """
    (U, S, Vh), C = factors, directions[0]
    U_k, U_d, Vh_k, Vh_d = U[..., :k], U[..., k:], Vh[..., :k, :], Vh[..., k:, :]
    kept, dropped = S[..., :k, None], S[..., None, k:]
    kept = kept + _untied(S, k, lenient)
    half = kept / guarded(kept + dropped, 0.0)
    b = dropped / guarded(kept - dropped, 0.0) * half
    a = dropped / guarded(kept, 0.0) * b
    if lenient:
        xp, tied = array_namespace(S), kept - dropped <= gap_tolerance(first(S))[..., None]
        a, b = xp.where(tied, half / 2 - 1, a), xp.where(tied, -half / 2, b)
    CV, UC = product(C, adjoint(Vh_k)), adjoint_times(U_k, C)
    M_kk, M_kd, M_dk = (
        product(UC, adjoint(Vh_k)),
        product(UC, adjoint(Vh_d)),
        adjoint_times(U_d, CV),
    )
    N_kd = adjoint(M_dk)
    rows, columns = a * M_kd + b * N_kd, adjoint(a * N_kd + b * M_kd)
    return product(CV + product(U_d, columns), Vh_k) + product(
        U_k, UC - product(M_kk, Vh_k) + product(rows, Vh_d)
    )


_explained = because(2, lambda S, *, k: f"the cut splits a tie, {name_pair('S', S, k - 1)}")
best_of_rank = symmetric(
    "low_rank",
    3,
    _truncated,
    _truncated_differential,
    at_cut(svd_second, hard_threshold(FREE)),
    explained=_explained,
)


def _jumps(S: Array, *, k: int, side: int) -> Array:
    if k < S.shape[-1]:
        return is_tied_cut(S, k)
    return array_namespace(S).any(zero_tolerance(side, S) >= S, axis=-1)


def _why_projector(S: list[float], *, k: int, side: int) -> str:
    what = name_pair("S", S, k - 1) if k < len(S) else name_zero("S", S)
    return f"the subspace jumps where {what}"


_nan_if_jumping = nan_derivative(_jumps, **because(1, _why_projector))
isometry_second = at_cut(svd_second, sign_beyond(FREE))
partial_isometry = symmetric(
    "partial_isometry",
    3,
    _isometry,
    isometry_differential,
    isometry_second,
    explained=_explained,
)

# the projector on all there is does not depend on x, but where x is NaN
whole_space = Primitive(
    "whole_space",
    forward=lambda x, W, *, left: product(W, adjoint(W)) if left else product(adjoint(W), W),
    jvp=lambda inputs, outputs, tangents, *, left: outputs[0] - outputs[0],
    vjp=lambda inputs, outputs, cotangents, *, left: (nothing(cotangents[0], *inputs), None),
    carried=(1,),
    core=2,
    nominal=True,
)
nothing: Primitive = Primitive(
    "nothing",
    forward=lambda C, x, W: array_namespace(x).zeros_like(x) + (W - W)[..., :1, :1],
    jvp=lambda inputs, outputs, tangents: outputs[0] + 0.0,
    vjp=lambda inputs, outputs, bars: (inputs[2] - inputs[2], outputs[0] + 0.0, None),
    carried=(2,),
    core=2,
)


@operation(
    "functions of singular values",
    example={"k": 3},
    rule=best_of_rank,
    inputs="x U S Vh",
    options={"k": REQUIRED},
    at_zeros=False,
    over_rows={},
)
def low_rank(x: ArrayT, /, k: int, *, undefined: Policy = "nan") -> ArrayT:
    """The best approximation of rank k: U_k S_k Vh_k.

    Parameters
    ----------
    x : array (..., m, n)
    k : int
        From 1 to min(m, n).
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    array (..., m, n)

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, or a k out of range.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    See Also
    --------
    truncated_svd, singular_projector, truncation_error

    Notes
    -----
    Only the gap at the cut matters: ties among the kept values, or among the others, are as good as
    any. Where S[k - 1] and S[k] count as equal, within eps^(3/4) S[0], there is no best
    approximation and the batch element's derivative is NaN; above, its error is eps S[0]/gap.
    Second derivatives too. 4 products of x's size a backward. Mirsky (1960), Symmetric gauge
    functions and unitarily invariant norms, for the value.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.low_rank(np.diag([3.0, 3.0, 1.0]), 2)
    array([[3., 0., 0.],
           [0., 3., 0.],
           [0., 0., 0.]])
    """
    x, narrow = enter(x, "low_rank")
    k = check_rank(k, x, "low_rank")
    about = check_undefined(undefined, "low_rank")
    if k == min(x.shape[-2:]):
        return narrow(of_singular_values(x, *svd_factors(x), f=identity))
    return narrow(best_of_rank(x, *svd_factors(x), k=k, undefined=about))


@operation("subspaces", example={"k": 3}, at_zeros=False, over_rows={"side": "right"})
def singular_projector(
    x: ArrayT,
    /,
    k: int,
    *,
    side: Literal["right", "left"] = "left",
    undefined: Policy = "nan",
) -> ArrayT:
    """The orthogonal projector on the span of the k leading singular vectors.

    Parameters
    ----------
    x : array (..., m, n)
    k : int
        From 1 to min(m, n).
    side : {"left", "right"}
        U_k U_k^H (..., m, m), or V_k V_k^H (..., n, n).
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    array, Hermitian

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, a k out of range, or a side that is neither.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    See Also
    --------
    eigenprojector, low_rank

    Notes
    -----
    Only the gap at the cut matters, S[k - 1] - S[k] or S[k - 1] itself for k = min(m, n). Where it
    counts as zero, within eps^(3/4) S[0], the subspace jumps and the batch element's derivative is
    NaN; above, its error is eps S[0]/gap. With k = m (left) or k = n (right) the projector is the
    identity, whose derivative is zero. Second derivatives too. 7 products of x's size a backward.
    Stewart (1973), Error and perturbation bounds for subspaces.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.singular_projector(np.diag([3.0, 3.0, 1.0]), 2)
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 0.]])
    """
    x, narrow = enter(x, "singular_projector")
    k = check_rank(k, x, "singular_projector")
    check_choice(side, ("left", "right"), "singular_projector", "side")
    about = check_undefined(undefined, "singular_projector")
    left = side == "left"
    U, S, Vh = svd_factors(x)
    if k == x.shape[-2 if left else -1]:
        return narrow(whole_space(x, U if left else Vh, left=left))
    whole = k == min(x.shape[-2:])
    if whole:
        T = polar_factor(x, U, S, Vh, undefined=about)
    else:
        T = partial_isometry(x, U, S, Vh, k=k, undefined=about)
    P = matmul(T, T, left=not left, right=left)
    if not about.lenient:  # also where the cotangent of T happens to be zero
        P = _nan_if_jumping(P, S, k=k, side=longer_side(x, x), undefined=about)
    return narrow(P)
