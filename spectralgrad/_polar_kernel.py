r"""First and second derivatives of the polar factor U V^H, signed for a rotation.

It is U f(S) V^H with f = sign (`_svd_kernel`), so G+ = 0, G- = 2/(s_i + s_j) and h = 1/s: sums of
singular values alone are divided by. With q^ = q o 1/(s_i + s_j) the second derivative's sums over
k are products of matrices,

    E = -4 skew(p q^' + p' q^)/(s_i + s_j) + 4 herm(q^ q^')
    Phi+ = -1/(s_k s_j),  Phi- = (1/s_k - 1/s_j)/(s_k + s_j).

The nearest rotation is U diag(1, ..., 1, d) V^H with d = det(U) det(V): the polar factor of the
matrix whose last value is d s_n, so the same rules apply with the last row of V^H turned. What must
not vanish is s_(n-1) + d s_n. Source of the first derivative: Kenney and Laub (1991), Polar
decomposition and matrix sign function condition estimates; the second is our own.
"""

from __future__ import annotations

from ._array import array_namespace, herm, nan_where, skew
from ._svd_kernel import parts_of, sandwich, tall, unit_of, with_complement, zeros_of
from ._ties import guarded, zero_tolerance


def _sums(s):
    """s_i + s_j off the diagonal; on it too, but never zero (there skew(M) is, for real x)."""
    total = s[..., :, None] + s[..., None, :]
    return guarded(total, 0.0)


def _signed_values(factors, signed):
    """S, its last value signed if a rotation is meant; NaN where the factor is not determined."""
    U, S, Vh = factors
    xp, zero = array_namespace(S), zeros_of(factors)
    n = S.shape[-1]
    if not signed or n == 0:
        return S + nan_where(xp.any(zero, axis=-1), S)[..., None]
    s = xp.concat([S[..., : n - 1], S[..., n - 1 :] * orientation(U, Vh)], axis=-1)
    if n == 1:
        return s
    jumps = s[..., n - 2] + s[..., n - 1] <= zero_tolerance(n, S)[..., 0]
    return s + nan_where(jumps, S)[..., None]


def orientation(U, Vh):
    """det(U) det(V) of orthogonal U and V, exactly +1 or -1, as (..., 1)."""
    xp = array_namespace(U)
    # NumPy's det warns of NaN (2.4)
    signs = (xp.linalg.det(xp.where(xp.isnan(W), 0.0, W)) for W in (U, Vh))
    return xp.where(next(signs) * next(signs) < 0, -1.0, 1.0 + 0.0 * U[..., 0, 0])[..., None]


def _oriented(factors, signed):
    """Factors with the last row of Vh turned, if a rotation is meant."""
    U, S, Vh = factors
    if not signed or S.shape[-1] == 0:
        return factors
    xp, n = array_namespace(U), S.shape[-1]
    turned = Vh[..., n - 1 :, :] * orientation(U, Vh)[..., None]
    return U, S, xp.concat([Vh[..., : n - 1, :], turned], axis=-2)


def polar_value(factors, directions, parameters, *, signed=False):
    U, _, Vh = _oriented(factors, signed)
    return U @ Vh


def polar_differential(factors, directions, parameters, *, signed=False):
    U, _, Vh = _oriented(factors, signed)
    s = _signed_values(factors, signed)
    total = _sums(s)
    inverse = 1 / guarded(s, 0.0)
    return sandwich(U, Vh, directions[0], lambda M: skew(2 * M) / total, inverse)


@tall
def polar_second(factors, directions, parameters, *, signed=False):
    S = factors[1]
    factors, s = _oriented(factors, signed), _signed_values(factors, signed)
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
