r"""Polar factors: the nearest matrix with orthonormal columns, the nearest rotation, x = U P.

The polar factor is U f(S) V^H with f = sign (`svd_differentials`), so G+ = 0, G- = 2/(s_i + s_j)
and h = 1/s: only sums of singular values are divided by, and ties do not matter. With
q^ = q o 1/(s_i + s_j) the second derivative's sums over k are products of matrices,

    E = -4 skew(p q^' + p' q^)/(s_i + s_j) + 4 herm(q^ q^')
    Phi+ = -1/(s_k s_j),  Phi- = (1/s_k - 1/s_j)/(s_k + s_j).

The nearest rotation is U diag(1, ..., 1, d) V^H with d = det(U) det(V): the polar factor of the
matrix whose last value is d s_n, so the same rules apply with the last row of V^H turned. What must
not vanish is s_(n-1) + d s_n. Source of the first derivative: Kenney and Laub (1991), Polar
decomposition and matrix sign function condition estimates; the second is our own.
"""

from __future__ import annotations

from typing import Generic, Literal, NamedTuple

from .._bindings.array import (
    Array,
    Arrays,
    ArrayT,
    array_namespace,
    device,
    herm,
    is_complex,
    nan_where,
    product,
    skew,
)
from .._engine.arguments import enter
from .._engine.linear import hermitian_part, matmul, nan_derivative, nan_unless_finite
from .._engine.options import check_choice
from .._engine.symmetric import symmetric
from .._spectrum.factorizations import determinant
from .._spectrum.ties import guarded, unit_of, zero_tolerance, zero_values
from .._spectrum.undefined import (
    ROUNDING,
    Policy,
    because,
    check_undefined,
    name_pair,
    name_zero,
)
from .declaration import operation
from .svd import svd_factors
from .svd_differentials import parts_of, sandwich, tall, with_complement


def _sums(s: Array) -> Array:
    """s_i + s_j off the diagonal; on it too, but never zero (there skew(M) is, for real x)."""
    total = s[..., :, None] + s[..., None, :]
    return guarded(total, 0.0)


def _signed_values(factors: Arrays, signed: bool) -> tuple[Array, Array]:
    """S, its last value signed if a rotation is meant, and where the factor is not determined."""
    S = factors[1]
    xp, zero, n = array_namespace(S), zero_values(*factors), S.shape[-1]
    if not signed or n == 0:
        return S, xp.any(zero, axis=-1)
    s = S * _signs(factors)
    if n == 1:
        return s, xp.zeros(S.shape[:-1], dtype=xp.bool, device=device(S))
    return s, s[..., n - 2] + s[..., n - 1] <= zero_tolerance(n, S)[..., 0]


def orientation(U: Array, Vh: Array) -> Array:
    """det(U) det(V) of orthogonal U and V, exactly +1 or -1, as (..., 1)."""
    turned = determinant(U) * determinant(Vh) < 0
    return array_namespace(U).where(turned, -1.0, 1.0 + 0.0 * U[..., 0, 0])[..., None]


def _signs(factors: Arrays) -> Array:
    """The signs of a rotation's values: the orientation in the last place, and ones."""
    U, S, Vh = factors
    xp, n = array_namespace(S), S.shape[-1]
    last = xp.arange(n, device=device(S)) == n - 1
    return xp.where(last, orientation(U, Vh), xp.ones_like(S))


def _oriented(factors: Arrays, signed: bool) -> Array:
    """Factors with the last row of Vh turned, if a rotation is meant."""
    U, S, Vh = factors
    if not signed or S.shape[-1] == 0:
        return factors
    return U, S, Vh * _signs(factors)[..., None]


def polar_value(
    factors: Arrays, directions: Arrays, parameters: Arrays, *, signed: bool = False
) -> Array:
    U, _, Vh = _oriented(factors, signed)
    return product(U, Vh)


def polar_differential(
    factors: Arrays,
    directions: Arrays,
    parameters: Arrays,
    *,
    signed: bool = False,
    lenient: bool = False,
) -> Array:
    U, S, Vh = _oriented(factors, signed)
    s, jumps = _signed_values(factors, signed)
    if lenient:
        floor = zero_tolerance(max(U.shape[-2], Vh.shape[-1]), S)
        total, inverse = guarded(_sums(s), floor[..., None]), 1 / guarded(s, floor)
    else:
        s = s + nan_where(jumps, S)[..., None]
        total, inverse = _sums(s), 1 / guarded(s, 0.0)
    return sandwich(U, Vh, directions[0], lambda M: skew(2 * M) / total, inverse)


@tall
def polar_second(
    factors: Arrays, directions: Arrays, parameters: Arrays, *, signed: bool = False
) -> Array:
    S = factors[1]
    s, jumps = _signed_values(factors, signed)
    factors, s = _oriented(factors, signed), s + nan_where(jumps, S)[..., None]
    scale = unit_of(S)[..., None]
    s = s / scale[..., 0]
    h_parts, k_parts = (parts_of(factors, C / scale) for C in directions)
    (_, _, p, q), (_, _, p2, q2) = h_parts, k_parts
    total, inverse = _sums(s), 1 / guarded(s, 0.0)
    hat, hat2 = q / total, q2 / total
    E = 4 * (herm(hat @ hat2) - skew(p @ hat2 + p2 @ hat) / total)
    phi_plus = -inverse[..., :, None] * inverse[..., None, :]
    phi_minus = (inverse[..., :, None] - inverse[..., None, :]) / total
    return with_complement(factors, E, h_parts, k_parts, phi_plus, phi_minus)


def _why(S: list[float], *, signed: bool = False) -> str:
    if not signed or len(S) < 2:
        return f"the factor jumps where {name_zero('S', S)}"
    if S[-2] <= ROUNDING * S[0]:
        return f"the rotation jumps where {name_zero('S', S, -2)}"
    return f"two rotations are as near where x turns space over and {name_pair('S', S, len(S) - 2)}"


polar_factor = symmetric(
    "orthogonalize",
    3,
    polar_value,
    polar_differential,
    polar_second,
    explained=because(2, _why),
)


_nan_if_singular = nan_derivative(
    lambda S, *, side: array_namespace(S).any(zero_tolerance(side, S) >= S, axis=-1),
    **because(1, lambda S, *, side: f"P has a kink where {name_zero('S', S)}"),
)


class PolarResult(NamedTuple, Generic[ArrayT]):
    """x = U @ P (side="right") or P @ U (side="left")."""

    U: ArrayT
    P: ArrayT


@operation(
    "polar factors",
    rule=polar_factor,
    inputs="x U S Vh",
    options={"signed": False},
    at_zeros=False,
)
def orthogonalize(x: ArrayT, /, *, undefined: Policy = "nan") -> ArrayT:
    r"""The polar factor U Vh: the nearest matrix with orthonormal columns (or rows).

    Parameters
    ----------
    x : array (..., m, n)
    undefined : {"nan", "raise", "least_norm"}
        What becomes of a derivative that does not exist: NaN, with a `DerivativeUndefinedWarning`
        for arrays on the host; a `DerivativeUndefinedError`; or ("least_norm") what is left without
        the undefined quotients, which is finite and no derivative, for training to go on. Values
        are the same, and second derivatives stay NaN.

    Returns
    -------
    array (..., m, n)

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    Notes
    -----
    The derivative divides only by sums of singular values: ties are as good as any. Where a value
    counts as zero, at 2 sqrt(max(m, n)) eps S[0], the factor jumps and the batch element's
    derivative is NaN. Second derivatives are as exact, at ties too, and take 10 products. 4
    products of x's size a backward. Kenney and Laub (1991), Polar decomposition and matrix sign
    function condition estimates.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> out, pullback = sg.vjp(sg.orthogonalize, 2 * np.eye(2))
    >>> pullback(np.array([[0.0, 1.0], [0.0, 0.0]]))[0]
    array([[ 0.  ,  0.25],
           [-0.25,  0.  ]])
    """
    x, narrow = enter(x, "orthogonalize")
    about = check_undefined(undefined, "orthogonalize")
    return narrow(polar_factor(x, *svd_factors(x), undefined=about))


@operation("polar factors", at_zeros=False)
def polar(
    x: ArrayT,
    /,
    *,
    side: Literal["right", "left"] = "right",
    undefined: Policy = "nan",
) -> PolarResult[ArrayT]:
    r"""Polar decomposition x = U P or x = P U, P positive semidefinite.

    Parameters
    ----------
    x : array (..., m, n)
    side : {"right", "left"}
        On which side P stands: x = U P with P (..., n, n), or x = P U with P (..., m, m).
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    PolarResult
        U (..., m, n), the polar factor, and P, Hermitian.

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, or a side that is neither.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    Notes
    -----
    Values as those of `scipy.linalg.polar`. The derivative exists at ties, to second order. Where a
    value counts as zero, at 2 sqrt(max(m, n)) eps S[0], U jumps and P has a kink: NaN. The
    derivative of P is that of U^H x, with an error of eps S[0]/S[-1]. 7 products of x's size a
    backward. Higham (2008), chapter 8.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.polar(np.array([[0.0, -2.0], [3.0, 0.0]])).P
    array([[3., 0.],
           [0., 2.]])
    """
    x, narrow = enter(x, "polar")
    check_choice(side, ("right", "left"), "polar", "side")
    about = check_undefined(undefined, "polar")
    factors = svd_factors(x)
    U = polar_factor(x, *factors, undefined=about)
    finite = nan_unless_finite(x)
    product = matmul(U, finite, left=True) if side == "right" else matmul(finite, U, right=True)
    P = hermitian_part(product)
    if not about.lenient:  # also where the cotangent of U happens to be zero
        P = _nan_if_singular(P, factors[1], side=max(x.shape[-2:]), undefined=about)
    return PolarResult(narrow(U), narrow(P))


@operation("polar factors", square=True, real=True, at_zeros=False)
def nearest_rotation(x: ArrayT, /, *, undefined: Policy = "nan") -> ArrayT:
    r"""The rotation nearest to x: orthogonal, with determinant +1.

    Parameters
    ----------
    x : array (..., n, n)
        Real.
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    array (..., n, n)

    Raises
    ------
    TypeError, ValueError
        For an x that is complex or no stack of square floating matrices.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    Notes
    -----
    U diag(1, ..., 1, d) Vh with d = det(U Vh). The derivative exists at ties and for singular x, to
    second order, as long as S[-2] + d S[-1] does not count as zero, at 2 sqrt(n) eps S[0];
    otherwise the rotation jumps and the batch element's derivative is NaN. 4 products of x's size a
    backward. Umeyama (1991), Least-squares estimation of transformation parameters between two
    point patterns, for the value.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.nearest_rotation(np.diag([3.0, 2.0, -1.0]))
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    x, narrow = enter(x, "nearest_rotation", square=True)
    if is_complex(x):
        raise TypeError(
            f"nearest_rotation: argument `x` has dtype {x.dtype}; wanted real matrices, since a "
            "rotation has no complex counterpart with one determinant. For the nearest unitary "
            "matrix use orthogonalize."
        )
    about = check_undefined(undefined, "nearest_rotation")
    return narrow(polar_factor(x, *svd_factors(x), signed=True, undefined=about))
