r"""First and second derivatives of the polar factor W of x = W P, by products of matrices alone.

Let m >= n (a wide x is the adjoint of a tall one) and dx be a change H. From x = W P and
W^H W = 1 the matrix Omega = W^H dW is skew-Hermitian, and W^H H = Omega P + dP. The adjoint of
that is H^H W = -P Omega + dP, so

    P Omega + Omega P = W^H H - H^H W,      (1 - W W^H) dW = (1 - W W^H) H P^-1 = N,
    dW = W Omega + N.

The map from H to dW is self-adjoint. With p = herm(W^H H), dP = p + herm(P Omega). Let Omega', N',
p', dP' belong to another direction H'. The derivative of these equations along H' is

    D2W[H, H'] = W (Z + herm(Omega Omega') - G) - (N' dP + N dP') P^-1,    G = herm(N^H N'),
    P Z + Z P = -2 skew(P G + p Omega' + p' Omega),

with a skew-Hermitian Z, where [P, herm(Omega Omega')] has cancelled what herm(P Omega) in dP adds.
Everything here is smooth where P is not singular, and there are no gaps.

P Y + Y P = C with a skew-Hermitian C is solved by the polynomials r(s) = s q(s^2) that find the
polar factor. Of a block triangular matrix

    sign [[P, C], [0, -P]] = [[1, 2 Y], [0, -1]],     [[A, C], [0, -A]]^2 = [[A^2, K], [0, A^2]]

with K = A C - C A = 2 herm(A C). So a step takes A to A q and C to A dq + C q, where

    q = a + b A^2 + c A^4,     dq = b K + c (A^2 K + K A^2) = b K + 2 c herm(A^2 K).

In the eigenvectors of P a step multiplies C_ij by (r(s_i) + r(s_j))/(s_i + s_j), and all of them
together by 2/(s_i + s_j). P^-1 is the product of the q. P is scaled so that the steps just reach
what does not count as zero; where A has not become 1 a value does, and the result is NaN.

Sources: Kenney and Laub (1991), Polar decomposition and matrix sign function condition estimates;
Roberts (1980), Linear model reduction and solution of the algebraic Riccati equation by use of the
sign function. The second derivative is our own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._bindings.array import Array, Arrays, adjoint, array_namespace, eps, herm, nan_where, skew
from .._bindings.lookup import adjoint_times
from .._spectrum.halley import bounded, identity_like
from .polar_iterations import polynomials, reach


def _solved(P: Array, skews: list[Array], side: int, *, inverse: bool) -> tuple[list[Array], Array]:
    """Y of each C, and P^-1 if it is asked for; NaN where P counts as singular."""
    A, bound = bounded(P)
    # what counts as zero over what is reached: above 1 for all sides, thanks to the 1
    spare = 2 * (1 + side) ** 0.5 * eps(P) / reach(eps(P))
    A, bound, one = A / spare, bound * spare, identity_like(P)
    R = one
    for a, b, c in polynomials(eps(P)):
        G = A @ A
        q = a * one + b * G + c * (G @ G)
        skews = [_step(A, G, q, C, b, c) for C in skews]
        A, R = herm(A @ q), R @ q if inverse else R
    xp = array_namespace(P)
    left = xp.abs(A - one)
    singular = ~(xp.sum(left * left, axis=(-2, -1)) <= eps(P))  # or NaN
    scale = (1 + nan_where(singular, P)[..., None, None]) / bound
    return [C / 2 * scale for C in skews], R * scale


def _step(A: Array, G: Array, q: Array, C: Array, b: float, c: float) -> Array:
    K = 2 * herm(A @ C)
    return skew(A @ (b * K + 2 * c * herm(G @ K)) + C @ q)


def _tall(rule: Callable[..., Array]) -> Callable[..., Array]:
    """A rule for m >= n, applied to the adjoint of what is wide."""

    def of_any(factors: Arrays, directions: Arrays, parameters: Arrays, **static: Any) -> Array:
        W, P = factors
        if 0 in W.shape:
            return directions[0] + 0.0
        if W.shape[-2] >= W.shape[-1]:
            return rule(W, P, *directions)
        return adjoint(rule(adjoint(W), P, *map(adjoint, directions)))

    return of_any


@_tall
def differential_by_products(W: Array, P: Array, H: Array) -> Array:
    m, n = W.shape[-2:]
    M = adjoint_times(W, H)
    (Omega,), inverse = _solved(P, [2 * skew(M)], m, inverse=m > n)
    return W @ Omega if m == n else W @ Omega + (H - W @ M) @ inverse


@_tall
def second_by_products(W: Array, P: Array, H: Array, H2: Array) -> Array:
    m, n = W.shape[-2:]
    _, unit = bounded(P)
    P, H, H2 = P / unit, H / unit, H2 / unit
    M, M2 = adjoint_times(W, H), adjoint_times(W, H2)
    skews = [2 * skew(M), 2 * skew(M2)]
    (Omega, Omega2), inverse = _solved(P, skews, m, inverse=m > n)
    p, p2 = herm(M), herm(M2)
    C = p @ Omega2 + p2 @ Omega
    E = herm(Omega @ Omega2)
    if m == n:
        (Z,), _ = _solved(P, [-2 * skew(C)], m, inverse=False)
        return W @ (Z + E)
    N, N2 = (H - W @ M) @ inverse, (H2 - W @ M2) @ inverse
    G = herm(adjoint_times(N, N2))
    (Z,), _ = _solved(P, [-2 * skew(P @ G + C)], m, inverse=False)
    dP, dP2 = p + herm(P @ Omega), p2 + herm(P @ Omega2)
    return W @ (Z + E - G) - (N2 @ dP + N @ dP2) @ inverse
