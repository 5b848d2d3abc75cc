r"""First and second derivatives of U f(S) V^H, of its polar factor, and of Q f(w) Q^H.

Let f be extended to an odd function and M = U^H C V for a direction C. The Hermitian matrix
J = [[0, A], [A^H, 0]] has eigenvalues +-s_i with eigenvectors (u_i, +-v_i)/sqrt 2, and F(A) is the
corner of f(J). Daleckii and Krein's formula there gives

    DF(A)[C] = U (G+ o herm(M) + G- o skew(M)) V^H
             + (I - U U^H) C V diag(h) V^H + U diag(h) U^H C (I - V V^H)

    G+_ij = f[s_i, s_j]
    G-_ij = f[s_i, -s_j] = (f_i + f_j)/(s_i + s_j)
    h_i   = f[s_i, 0] = f_i/s_i

No gap is divided by. A value counts as zero at max(m, n) eps s_1; there f(0) = 0 is needed and f'(0)
is used, and f(0) != 0 makes F discontinuous: NaN.

The second derivative of f(J) is the sum of f[l_i, l_k, l_j] (X_ik Y_kj + Y_ik X_kj) over the
eigenvalues of J, X and Y being two directions in its eigenbasis. An eigenvector of +s_i and one of
+-s_j see a direction H by p_ij or by -+q_ij, with p, q = herm, skew of U^H H V, so with p', q' of
K the corner is U E V^H where

    E_ij = sum_k  f[s_i, s_k, s_j] (p p' + p' p) - f[s_i, -s_k, s_j] (q q' + q' q)
                + f[s_i, s_k, -s_j] (p q' + p' q) + f[-s_i, s_k, s_j] (q p' + q' p)

with products X_ik Y_kj. The last two sums are minus each other's adjoint. For m > n the left
complement has the eigenvalue 0; with Hc = (I - U U^H) H V and Kc alike, it adds

    ( U (Psi o W) + Hc (Phi+ o p' + Phi- o q') + Kc (Phi+ o p + Phi- o q) ) V^H
    Phi+_kj = f[0, s_k, s_j],  Phi-_kj = f[0, s_k, -s_j],  Psi = (Phi+ + Phi-)/2,
    W = Hc^H Kc + Kc^H Hc.

At a zero value f''(0) = 0 is needed: the odd extension has no second derivative otherwise. H is
taken in units of s_1, so that nothing overflows at any scale of A.

For Hermitian A, DF(A)[C] = Q (f[w_i, w_j] o Q^H C Q) Q^H, and the second derivative is the sum with
f[w_i, w_k, w_j] alone.

Sources: Daleckii and Krein (1965); Higham, Functions of Matrices (2008), section 3.2, and Higham and
Relton (2014), Higher order Frechet derivatives, for the sum; Noferini (2017), A formula for the
Frechet derivative of a generalized matrix function. The second derivative in the variables of the
SVD is our own.
"""

from __future__ import annotations

from ._array import adjoint, array_namespace, conj, eps, herm, nan_where, skew
from ._divided import widest_quotient
from ._factor import adjoint_times, sum_over_rows
from ._ties import first, guarded, largest, zero_tolerance


def sandwich(U, Vh, C, couple, h):
    """U couple(U^H C V) V^H, with the complements' part scaled by h: 4 products of x's size."""
    m, n, k = U.shape[-2], Vh.shape[-1], U.shape[-1]
    if m >= n:
        CV = C @ adjoint(Vh)
        M = adjoint_times(U, CV)
        if m == k:
            return U @ couple(M) @ Vh
        return (U @ (couple(M) - M * h[..., None, :]) + CV * h[..., None, :]) @ Vh
    UC = adjoint_times(U, C)
    M = UC @ adjoint(Vh)
    return U @ ((couple(M) - h[..., :, None] * M) @ Vh + h[..., :, None] * UC)


def _unit(values):
    """A positive scale of the spectrum, (..., 1)."""
    xp, top = array_namespace(values), largest(values)
    return xp.where(top == 0, 1.0, top)


def _zeros(factors):
    U, S, Vh = factors
    return zero_tolerance(max(U.shape[-2], Vh.shape[-1]), S) >= S


def svd_couplings(factors, f, parameters):
    """S with exact zeros, G+, G- and h; NaN where F is discontinuous."""
    U, S, Vh = factors
    xp, zero = array_namespace(S), _zeros(factors)
    s = xp.where(zero, 0.0, S)
    on_values, on_pairs = f.with_parameter(parameters, 1), f.with_parameter(parameters, 2)
    fs = on_values(s)
    undefined = xp.any(zero & (fs != 0), axis=-1)
    h = xp.where(zero, on_values.derivative(s), on_values.ratio(xp.where(zero, 1.0, S), fs))
    h = h + nan_where(undefined, S)[..., None]
    # G- = (t_i h_i + t_j h_j)/(t_i + t_j) in units of s_1, where zeros become specks: it is f'(0)
    # for two of them, and no other pair feels them; no pass over pairs tells them apart.
    speck = max(U.shape[-2], Vh.shape[-1]) * eps(S) ** 1.5
    t = xp.where(zero, speck, S / _unit(S))
    ht = h * t
    minus = (ht[..., :, None] + ht[..., None, :]) / (t[..., :, None] + t[..., None, :])
    return s, on_pairs.divided(s[..., :, None], s[..., None, :]), minus, h


def svd_value(factors, directions, parameters, *, f):
    U, S, Vh = factors
    return (U * f.with_parameter(parameters, 1)(S)[..., None, :]) @ Vh


def svd_differential(factors, directions, parameters, *, f):
    U, _, Vh = factors
    _, plus, minus, h = svd_couplings(factors, f, parameters)

    def couple(M):
        M = M / 2  # G+ o herm(M) + G- o skew(M), with one transposition
        return (plus + minus) * M + (plus - minus) * adjoint(M)

    return sandwich(U, Vh, directions[0], couple, h)


def _parts(factors, C):
    """C V, U^H C V, and the latter's Hermitian and skew-Hermitian parts."""
    U, _, Vh = factors
    CV = C @ adjoint(Vh)
    M = adjoint_times(U, CV)
    return CV, M, herm(M), skew(M)


def _tall(second):
    """A rule for m >= n, applied to the adjoint of what is wide."""

    def rule(factors, directions, parameters, **static):
        U, S, Vh = factors
        if U.shape[-2] >= Vh.shape[-1]:
            return second(factors, directions, parameters, **static)
        turned = (adjoint(Vh), S, adjoint(U)), tuple(map(adjoint, directions))
        return adjoint(second(*turned, parameters, **static))

    return rule


def _with_complement(factors, E, h_parts, k_parts, phi_plus, phi_minus):
    """U E V^H with what the left complement adds."""
    U, _, Vh = factors
    if U.shape[-2] == U.shape[-1]:
        return U @ E @ Vh
    (HV, M, p, q), (KV, N, p2, q2) = h_parts, k_parts
    Hc, Kc = HV - U @ M, KV - U @ N
    W = herm(2 * (adjoint(Hc) @ Kc))
    E = E + (phi_plus + phi_minus) / 2 * W
    out = U @ E + Hc @ (phi_plus * p2 + phi_minus * q2) + Kc @ (phi_plus * p + phi_minus * q)
    return out @ Vh


@_tall
def svd_second(factors, directions, parameters, *, f):
    S = factors[1]
    xp, scale = array_namespace(S), _unit(S)
    s, plus, minus, h = svd_couplings(factors, f, parameters)
    h_parts, k_parts = (
        _parts(factors, C) for C in (directions[0] / scale[..., None], directions[1])
    )
    f1, f2, f3 = (f.with_parameter(parameters, axes) for axes in (1, 2, 3))
    slopes = f1.derivative(s)
    curved = ~(f1.second(s, s, s, slopes, slopes, slopes) == 0)  # or NaN
    scale = scale + nan_where(xp.any(_zeros(factors) & curved, axis=-1), S)[..., None]

    E = _svd_triples(f3, s, plus, minus, h_parts[2:], k_parts[2:], scale)
    s_k, s_j, h_k, h_j = s[..., :, None], s[..., None, :], h[..., :, None], h[..., None, :]
    origin = 0.0 * s_k
    if f.vanishes:
        phi_plus = f2.second(origin, s_k, s_j, h_k, plus, h_j)
        phi_minus = f2.mirrored_second(origin, s_k, -s_j, h_k, minus, h_j)
    else:  # the odd extension is 0 at 0, where f is not
        phi_plus, _ = widest_quotient(origin, s_k, s_j, h_k, plus, h_j, 0.0)
        phi_minus, _ = widest_quotient(origin, s_k, -s_j, h_k, minus, h_j, 0.0)
    unit = scale[..., None]
    return _with_complement(factors, E, h_parts, k_parts, unit * phi_plus, unit * phi_minus)


def _svd_triples(f, s, plus, minus, of_h, of_k, scale):
    """E, one slice of k at a time; its rows hold X_kj, and X_ik = +-conj(X_ki)."""
    unit = scale[..., None, None]
    a, c = s[..., None, :, None], s[..., None, None, :]
    g, gm = plus[..., None, :, :], minus[..., None, :, :]
    xp = array_namespace(s)

    def products(x, y):
        """X_ik Y_kj, up to X's sign."""
        return conj(x)[..., :, None] * y[..., None, :]

    def body(b, g_k, gm_k, p, q, p2, q2):
        b = b[..., None]
        g_i, g_j = g_k[..., :, None], g_k[..., None, :]
        gm_i, gm_j = gm_k[..., :, None], gm_k[..., None, :]
        even = unit * f.second(a, b, c, g_i, g_j, g) * herm(products(p, p2))
        # X_ik of a skew X is -conj(X_ki), which turns the sign
        even = even + unit * f.mirrored_second(a, -b, c, gm_i, gm_j, g) * herm(products(q, q2))
        mixed = unit * f.mirrored_second(a, b, -c, g_i, gm_j, gm)
        mixed = mixed * (products(p, q2) + products(p2, q))
        return xp.sum(2 * (even + skew(mixed)), axis=-3)

    return sum_over_rows(body, s[..., :, None], plus, minus, *of_h, *of_k)


def polar_sums(s):
    """s_i + s_j off the diagonal; on it too, but never zero (there skew(M) is, for real x)."""
    total = s[..., :, None] + s[..., None, :]
    return guarded(total, 0.0)


def _polar_values(factors, signed):
    """S, its last value signed if a rotation is meant; NaN where the factor is not determined."""
    U, S, Vh = factors
    xp, zero = array_namespace(S), _zeros(factors)
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
    """f = sign: G+ = 0, G- = 2/(s_i + s_j), h = 1/s."""
    U, _, Vh = _oriented(factors, signed)
    s = _polar_values(factors, signed)
    total = polar_sums(s)
    inverse = 1 / guarded(s, 0.0)
    return sandwich(U, Vh, directions[0], lambda M: skew(2 * M) / total, inverse)


@_tall
def polar_second(factors, directions, parameters, *, signed=False):
    r"""With q^ = q o 1/(s_i + s_j), the sums over k are products:

    E = -4 skew(p q^' + p' q^)/(s_i + s_j) + 4 herm(q^ q^'),
    Phi+ = -1/(s_k s_j),  Phi- = (1/s_k - 1/s_j)/(s_k + s_j).
    """
    S = factors[1]
    factors, s = _oriented(factors, signed), _polar_values(factors, signed)
    scale = _unit(S)[..., None]
    s = s / scale[..., 0]
    h_parts, k_parts = (_parts(factors, C) for C in (directions[0] / scale, directions[1] / scale))
    (_, _, p, q), (_, _, p2, q2) = h_parts, k_parts
    total, inverse = polar_sums(s), 1 / guarded(s, 0.0)
    hat, hat2 = q / total, q2 / total
    E = 4 * (herm(hat @ hat2) - skew(p @ hat2 + p2 @ hat) / total)
    phi_plus = -inverse[..., :, None] * inverse[..., None, :]
    phi_minus = (inverse[..., :, None] - inverse[..., None, :]) / total
    return _with_complement(factors, E, h_parts, k_parts, phi_plus, phi_minus)


def eigh_values(w, semidefinite):
    """w, where |w| <= n eps max|w| counts as zero if the function stands for a semidefinite one."""
    if not semidefinite or w.shape[-1] == 0:
        return w
    xp = array_namespace(w)
    return xp.where(xp.abs(w) <= w.shape[-1] * eps(w) * largest(w), 0.0, w)


def eigh_value(factors, directions, parameters, *, f, semidefinite=False):
    w, Q = factors
    fw = f.with_parameter(parameters, 1)(eigh_values(w, semidefinite))
    xp = array_namespace(w)
    fw = xp.where(xp.isfinite(fw), fw, float("nan"))
    return herm((Q * fw[..., None, :]) @ adjoint(Q))


def _eigh_slopes(w, f, parameters):
    return f.with_parameter(parameters, 2).divided(w[..., :, None], w[..., None, :])


def eigh_differential(factors, directions, parameters, *, f, semidefinite=False):
    w, Q = factors
    xp, values = array_namespace(w), eigh_values(w, semidefinite)
    P = adjoint(Q) @ herm(directions[0]) @ Q
    G = _eigh_slopes(values, f, parameters)
    if semidefinite and w.shape[-1]:
        # an infinite slope between two zeros does not matter where the direction leaves them alone
        size = xp.abs(P)
        small = size <= w.shape[-1] * eps(w) * xp.max(size, axis=(-2, -1), keepdims=True)
        zero = values == 0
        G = xp.where(zero[..., :, None] & zero[..., None, :] & small & xp.isnan(G), 0.0, G)
    return herm(Q @ (G * P) @ adjoint(Q))


def eigh_second(factors, directions, parameters, *, f, semidefinite=False):
    w, Q = factors
    xp, w = array_namespace(w), eigh_values(w, semidefinite)
    G, unit = _eigh_slopes(w, f, parameters), _unit(w)[..., None]
    f3 = f.with_parameter(parameters, 3)
    X, Y = (adjoint(Q) @ herm(C) @ Q for C in (directions[0] / unit, directions[1]))
    a, c = w[..., None, :, None], w[..., None, None, :]

    def body(b, G_k, x, y):
        T = f3.second(a, b[..., None], c, G_k[..., :, None], G_k[..., None, :], G[..., None, :, :])
        product = conj(x)[..., :, None] * y[..., None, :]
        return xp.sum(unit[..., None] * T * (2 * herm(product)), axis=-3)

    E = sum_over_rows(body, w[..., :, None], G, X, Y)
    return herm(Q @ E @ adjoint(Q))
