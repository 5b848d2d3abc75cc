r"""First and second derivatives of polar factors, from the factors of an SVD.

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

from collections.abc import Callable
from functools import partial

from .._bindings.array import Array, Arrays, adjoint, array_namespace, device, herm, nan_where, skew
from .._bindings.matrix_products import product
from .._bindings.rows import longer_side
from .._engine.symmetric import symmetric
from .._spectrum.factorizations import determinant, eigh, eigvalsh
from .._spectrum.naming import name_pair, name_zero
from .._spectrum.ties import guarded, unit_of, zero_tolerance, zero_values
from .._spectrum.undefined import KEEP_OUT, ROUNDING, because
from .polar_lyapunov import differential_by_products, second_by_products
from .svd_differentials import parts_of, sandwich, tall, with_complement


def pair_sums(s: Array) -> Array:
    """s_i + s_j off the diagonal; on it too, but never zero (there skew(M) is, for real x)."""
    total = s[..., :, None] + s[..., None, :]
    return guarded(total, 0.0)


def _jumps(factors: Arrays, s: Array, signed: bool) -> Array:
    """Where the factor is not determined, for the values s that the rules take."""
    S, n = factors[1], s.shape[-1]
    xp = array_namespace(S)
    if not signed or n == 0:
        return xp.any(zero_values(*factors), axis=-1)
    if n == 1:
        return xp.zeros(S.shape[:-1], dtype=xp.bool, device=device(S))
    return s[..., n - 2] + s[..., n - 1] <= zero_tolerance(n, S)[..., 0]


def orientation(U: Array, Vh: Array) -> Array:
    """det(U) det(V) of orthogonal U and V, exactly +1 or -1, as (..., 1)."""
    turned = determinant(U) * determinant(Vh) < 0
    return array_namespace(U).where(turned, -1.0, 1.0 + 0.0 * U[..., 0, 0])[..., None]


def _oriented(factors: Arrays, signed: bool) -> Arrays:
    """Factors with the last value and row of Vh turned where a rotation is meant and wants it."""
    U, S, Vh = factors
    xp, n = array_namespace(S), S.shape[-1]
    if not signed or n == 0:
        return factors
    last = xp.arange(n, device=device(S)) == n - 1
    signs = xp.where(last, orientation(U, Vh), xp.ones_like(S))
    return U, S * signs, Vh * signs[..., None]


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
    U, s, Vh = _oriented(factors, signed)
    if lenient:
        floor = zero_tolerance(longer_side(U, Vh), factors[1])
        total, inverse = guarded(pair_sums(s), floor[..., None]), 1 / guarded(s, floor)
    else:
        s = s + nan_where(_jumps(factors, s, signed), s)[..., None]
        total, inverse = pair_sums(s), 1 / guarded(s, 0.0)
    return sandwich(U, Vh, directions[0], lambda M: skew(2 * M) / total, inverse)


def curvature(h_parts: Arrays, k_parts: Arrays, total: Array) -> Array:
    """E, for two directions in parts and the sums of values."""
    (_, _, p, q), (_, _, p2, q2) = h_parts, k_parts
    hat, hat2 = q / total, q2 / total
    return 4 * (herm(product(hat, hat2)) - skew(product(p, hat2) + product(p2, hat)) / total)


@tall
def polar_second(
    factors: Arrays, directions: Arrays, parameters: Arrays, *, signed: bool = False
) -> Array:
    U, s, Vh = _oriented(factors, signed)
    scale = unit_of(factors[1])[..., None]
    s = (s + nan_where(_jumps(factors, s, signed), s)[..., None]) / scale[..., 0]
    factors = U, s, Vh
    h_parts, k_parts = (parts_of(factors, C / scale) for C in directions)
    total, inverse = pair_sums(s), 1 / guarded(s, 0.0)
    E = curvature(h_parts, k_parts, total)
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


def _factors_of(W: Array, P: Array) -> Arrays:
    """Those of an SVD of x = W P, or P W if it is wide, but for the order of the values."""
    w, Q = eigh(P)
    if W.shape[-2] >= W.shape[-1]:
        return W @ Q, w, adjoint(Q)
    return Q, w, adjoint(Q) @ W


def _from_eigenvectors(rule: Callable[..., Array]) -> Callable[..., Array]:
    return lambda factors, *rest, **static: rule(_factors_of(*factors), *rest, **static)


_of_iterations = partial(
    because, 2, _why, spectrum=lambda P: array_namespace(P).flip(eigvalsh(P), axis=-1)
)


def _given(factors: Arrays, directions: Arrays, parameters: Arrays) -> Array:
    return factors[0] + 0.0


# of x, and of W and P that an iteration has found
polar_factors_found = {
    "newton-schulz": symmetric(
        "orthogonalize",
        2,
        _given,
        differential_by_products,
        second_by_products,
        explained=_of_iterations(remedy=KEEP_OUT),
    ),
    "qdwh": symmetric(
        "orthogonalize",
        2,
        _given,
        _from_eigenvectors(polar_differential),
        _from_eigenvectors(polar_second),
        explained=_of_iterations(),
    ),
}
