r"""First and second derivatives of U f(S) V^H.

Let f be extended to an odd function and M = U^H C V for a direction C. The Hermitian matrix
J = [[0, A], [A^H, 0]] has eigenvalues +-s_i with eigenvectors (u_i, +-v_i)/sqrt 2, and F(A) is the
corner of f(J). Daleckii and Krein's formula there gives

    DF(A)[C] = U (G+ o herm(M) + G- o skew(M)) V^H
             + (I - U U^H) C V diag(h) V^H + U diag(h) U^H C (I - V V^H)

    G+_ij = f[s_i, s_j]
    G-_ij = f[s_i, -s_j] = (f_i + f_j)/(s_i + s_j)
    h_i   = f[s_i, 0] = f_i/s_i

No gap is divided by. If f(0) = 0 and f'' is bounded at 0, f_i/s_i and (f_i + f_j)/(s_i + s_j) go
over into f'(0) by themselves. Otherwise a value that counts as zero (`ties.zero_tolerance`) is
zero: there f(0) = 0 is needed and f'(0) is used, and f(0) != 0 makes F discontinuous: NaN.

The second derivative of f(J) is the sum of f[l_i, l_k, l_j] (X_ik Y_kj + Y_ik X_kj) over the
eigenvalues of J, X and Y being two directions in its eigenbasis. An eigenvector of +s_i and one of
+-s_j see a direction H by p_ij or by -+q_ij, with p, q = herm, skew of U^H H V, so with p', q' of
K the corner is U E V^H where

    E_ij = sum_k  f[s_i, s_k, s_j] (p p' + p' p) - f[s_i, -s_k, s_j] (q q' + q' q)
                + f[s_i, s_k, -s_j] (p q' + p' q) + f[-s_i, s_k, s_j] (q p' + q' p)

with products X_ik Y_kj. The first sum is that of `triple_sums`. The last two are minus each other's
adjoint. Where the signs differ they are products of matrices, by

    f[s_i, s_k, -s_j] = (A_ik - B_kj)/(s_i + s_j),    A_ik = G+_ik - r_k,    B_kj = G-_kj - r_k

for any r_k, and f[s_i, -s_k, s_j] = (A_ij - B_jk)/(s_i + s_k) likewise. Where f(0) = 0, both G are
about f'(0) at small values, which r_k = h_k takes out: with f = s h and an even h, Leibniz's rule
gives A_ik = s_i Phi_ik and B_kj = -s_j (s_k - s_j)/(s_k + s_j) Phi_kj from Phi_kj = f[0, s_k, s_j],
and nothing cancels however small A is. Where f(0) != 0, G- is by far the larger, and r_k = 0. For
m > n the left complement has the eigenvalue 0; with Hc = (I - U U^H) H V and Kc alike, it adds

    ( U (Psi o W) + Hc (Phi o p' + Phi- o q') + Kc (Phi o p + Phi- o q) ) V^H
    Phi-_kj = f[0, s_k, -s_j],  Psi = (Phi + Phi-)/2,  W = Hc^H Kc + Kc^H Hc.

At a zero value f''(0) = 0 is needed: the odd extension has no second derivative otherwise. S, H and
K are taken in units of s_1 where f has a degree (`in_units`): nothing overflows at any scale.

Sources: Daleckii and Krein (1965); Higham, Functions of Matrices (2008), section 3.2; Higham and
Relton (2014), Higher order Frechet derivatives of matrix functions, for the sum; Noferini (2017), A
formula for the Frechet derivative of a generalized matrix function. The second derivative in the
variables of the SVD is our own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._bindings.array import Array, Arrays, adjoint, array_namespace, eps, herm, nan_where, skew
from .._bindings.lookup import adjoint_times
from .._bindings.matrix_products import product
from .._bindings.rows import longer_side
from .._functions.named import in_units, scaled
from .._spectrum.divided_differences import widest_quotient
from .._spectrum.ties import unit_of, zero_tolerance, zero_values
from .._spectrum.triple_sums import triple_sums


def sandwich(
    U: Array,
    Vh: Array,
    C: Array,
    couple: Callable[[Array], Array],
    h: Array,
    growth: Any = 1.0,
) -> Array:
    """U couple(U^H C V) V^H, with the complements' part scaled by h: 4 products of x's size.

    `growth` multiplies C, and the result once more: both may leave the dtype's range in one step.
    """
    m, n, k = U.shape[-2], Vh.shape[-1], U.shape[-1]
    if m >= n:
        Vh = scaled(Vh, growth)
        CV = product(C, adjoint(Vh))
        M = adjoint_times(U, CV)
        if m == k:
            return product(U, couple(M), Vh)
        return product(product(U, couple(M) - M * h[..., None, :]) + CV * h[..., None, :], Vh)
    U = scaled(U, growth)
    UC = adjoint_times(U, C)
    M = product(UC, adjoint(Vh))
    return product(U, product(couple(M) - h[..., :, None] * M, Vh) + h[..., :, None] * UC)


def specks(s: Array) -> Array:
    """s in units of s_1, its zeros so small that they serve as weights, t_i/(t_i + t_j)."""
    # not by maximum: that of array_api_compat does not compile in PyTorch (2.13)
    t, speck = s / unit_of(s), eps(s) ** 3
    return array_namespace(s).where(t > speck, t, speck)


def svd_couplings(factors: Arrays, f: Any, parameters: Arrays, *, order: int) -> Arrays:
    """S, G+ and h for a derivative of that order; h is NaN where F is discontinuous.

    Where f asks for it, what counts as zero is an exact zero in them.
    """
    S = factors[1]
    xp, on_values = array_namespace(S), f.with_parameters(parameters, 1)
    if f.bounded_derivatives > order:
        s, h = S, on_values.ratio(S, None)  # f[s, 0], at zero too
    else:
        zero = zero_values(*factors)
        s = xp.where(zero, 0.0, S)
        fs = on_values(s)
        undefined = xp.any(zero & (fs != 0), axis=-1)
        h = xp.where(zero, on_values.derivative(s), on_values.ratio(xp.where(zero, 1.0, S), fs))
        h = h + nan_where(undefined, S)[..., None]
    slopes = f.with_parameters(parameters, 2).divided(s[..., :, None], s[..., None, :])
    return s, slopes, h + at_break(factors, f, parameters, order)


def at_break(factors: Arrays, f: Any, parameters: Arrays, order: int) -> Any:
    """Zeros, and NaN for batch elements with a value at a jump or kink of f, as (..., 1)."""
    U, S, Vh = factors
    tolerance = zero_tolerance(longer_side(U, Vh), S)
    found = f.with_parameters(parameters, 1).breaks(S, tolerance, order)
    if found is None:
        return 0.0
    return nan_where(array_namespace(S).any(found, axis=-1), S)[..., None]


def svd_value(factors: Arrays, directions: Arrays, parameters: Arrays, *, f: Any) -> Array:
    U, S, Vh = factors
    xp = array_namespace(S)
    if f.jumps_at_zero:
        S = xp.where(zero_values(*factors), 0.0, S)
    fs = f.with_parameters(parameters, 1)(S)
    fs = xp.where(xp.isfinite(fs), fs, float("nan"))
    return product(U * fs[..., None, :], Vh)


def _defined(factors: Arrays, s: Array, plus: Array, f: Any, parameters: Arrays) -> Arrays:
    """G+ and h with zeros for what does not exist, or leads across a jump that both lie at."""
    xp, on_values = array_namespace(s), f.with_parameters(parameters, 1)
    tolerance = zero_tolerance(longer_side(factors[0], factors[2]), s)
    zero, fs = s <= tolerance, on_values(s)
    h = xp.where(zero, on_values.derivative(xp.zeros_like(s)), fs / xp.where(zero, 1.0, s))
    jumps = zero & (on_values(xp.zeros_like(s)) != 0)
    h = xp.where(jumps | ~xp.isfinite(h), 0.0, h)
    plus = xp.where(xp.isfinite(plus), plus, 0.0)
    found = on_values.breaks(s, tolerance, 1)
    if found is None:
        return plus, h
    close = xp.abs(s[..., :, None] - s[..., None, :]) <= 2 * tolerance[..., None]
    return xp.where(close & found[..., :, None] & found[..., None, :], 0.0, plus), h


def svd_differential(
    factors: Arrays, directions: Arrays, parameters: Arrays, *, f: Any, lenient: bool = False
) -> Array:
    U, S, Vh = factors
    f, parameters, S, growth = in_units(f, parameters, S, 1)
    factors = U, S, Vh
    s, plus, h = svd_couplings(factors, f, parameters, order=1)
    if lenient:
        plus, h = _defined(factors, s, plus, f, parameters)
    # G- = (t_i h_i + t_j h_j)/(t_i + t_j) is f'(0) for two zeros, and no other pair depends on them
    t = specks(s)
    ht = h * t
    minus = (ht[..., :, None] + ht[..., None, :]) / (t[..., :, None] + t[..., None, :])

    def couple(M: Array) -> Array:
        M = M / 2
        turned = adjoint(M)
        return plus * (M + turned) + minus * (M - turned)

    return sandwich(U, Vh, directions[0], couple, h, growth)


def parts_of(factors: Arrays, C: Array) -> Arrays:
    """C V, U^H C V, and the latter's Hermitian and skew-Hermitian parts."""
    U, _, Vh = factors
    CV = product(C, adjoint(Vh))
    M = adjoint_times(U, CV)
    return CV, M, herm(M), skew(M)


def tall(second: Callable[..., Any]) -> Callable[..., Any]:
    """A rule for m >= n, applied to the adjoint of what is wide."""

    def rule(factors: Arrays, directions: Arrays, parameters: Arrays, **static: Any) -> Array:
        U, S, Vh = factors
        if U.shape[-2] >= Vh.shape[-1]:
            return second(factors, directions, parameters, **static)
        turned = (adjoint(Vh), S, adjoint(U)), tuple(map(adjoint, directions))
        return adjoint(second(*turned, parameters, **static))

    return rule


def with_complement(
    factors: Arrays, E: Array, h_parts: Arrays, k_parts: Arrays, phi_plus: Array, phi_minus: Array
) -> Array:
    """U E V^H with what the left complement adds."""
    U, _, Vh = factors
    if U.shape[-2] == U.shape[-1]:
        return product(U, E, Vh)
    (HV, M, p, q), (KV, N, p2, q2) = h_parts, k_parts
    Hc, Kc = HV - product(U, M), KV - product(U, N)
    W = herm(2 * product(adjoint(Hc), Kc))
    E = E + (phi_plus + phi_minus) / 2 * W
    out = (
        product(U, E)
        + product(Hc, phi_plus * p2 + phi_minus * q2)
        + product(Kc, phi_plus * p + phi_minus * q)
    )
    return product(out, Vh)


@tall
def svd_second(factors: Arrays, directions: Arrays, parameters: Arrays, *, f: Any) -> Array:
    U, S, Vh = factors
    f, parameters, S, growth = in_units(f, parameters, S, 2)
    factors = U, S, Vh
    s, plus, h = svd_couplings(factors, f, parameters, order=2)
    xp, zero = array_namespace(s), s == 0
    if f.bounded_derivatives <= 2:
        of_values = f.with_parameters(parameters, 1)
        slopes = of_values.derivative(s)
        curved = ~(of_values.second(s, s, s, slopes, slopes, slopes) == 0)  # or NaN
        growth = growth + nan_where(xp.any(zero & curved, axis=-1), S)[..., None]
    A, B, phi, phi_minus = _mixed_signs(s, plus, h, f, parameters)
    top = unit_of(s)[..., None]
    h_parts, k_parts = (parts_of(factors, scaled(C, growth)) for C in directions)
    (_, _, p, q), (_, _, p2, q2) = h_parts, k_parts
    t = specks(s)
    inverse = 1 / (t[..., :, None] + t[..., None, :])
    hat = q * inverse
    E = triple_sums(f, parameters, s, plus, top * A, 0.0 * s[..., :1], p, p2)
    E = E - 2 * herm(A * (product(hat, q2)) - product(hat, adjoint(B) * q2))
    mixed = product(A * p, q2) + product(A * p2, q) - product(p, B * q2) - product(p2, B * q)
    E = E + 2 * skew(mixed * inverse)
    return with_complement(factors, E, h_parts, k_parts, phi, phi_minus)


def _mixed_signs(s: Array, plus: Array, h: Array, f: Any, parameters: Arrays) -> Arrays:
    """A and B over s_1, Phi and Phi-; if f(0) = 0 is not known, by what it is."""
    xp, of_pairs = array_namespace(s), f.with_parameters(parameters, 2)
    s_k, s_j, h_k, h_j = s[..., :, None], s[..., None, :], h[..., :, None], h[..., None, :]
    t = specks(s)
    t_k, t_j = t[..., :, None], t[..., None, :]
    ratio = (t_k - t_j) / (t_k + t_j)
    origin = 0.0 * s_k
    found = []
    if f.vanishes is not False:
        phi = of_pairs.second(origin, s_k, s_j, h_k, plus, h_j)
        found.append((t_k * phi, -t_j * ratio * phi, phi, ratio * phi))
    if f.vanishes is not True:
        minus = (t_k * h_k + t_j * h_j) / (t_k + t_j)
        phi, _ = widest_quotient(origin, s_k, s_j, h_k, plus, h_j, 0.0)
        phi_minus, _ = widest_quotient(origin, s_k, -s_j, h_k, minus, h_j, 0.0)
        top = unit_of(s)[..., None]
        found.append((plus / top, minus / top, phi, phi_minus))
    if len(found) == 1:
        return found[0]
    at_zero = f.with_parameters(parameters, 1)(xp.zeros_like(s[..., :1]))[..., None] == 0
    return tuple(xp.where(at_zero, smooth, jumping) for smooth, jumping in zip(*found, strict=True))
