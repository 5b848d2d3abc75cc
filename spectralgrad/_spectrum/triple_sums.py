r"""Sums of second divided differences, without evaluating one for each triple.

A second derivative of a function of a spectrum needs, for Hermitian X and Y,

    T_ij = sum_k f[w_i, w_k, w_j] X_ik Y_kj.

With F_ik = f[w_i, w_k] and f[w_i, w_k, w_j] = (F_ik - F_jk)/(w_i - w_j) these are products,

    T_ij = ((D o X) Y - X (D^T o Y))_ij/(w_i - w_j),    D_ik = F_ik - r_k,

for any r_k. With r_k = f[w_k, m] it is D_ik = (w_i - m) f[w_i, w_k, m], so where m lies among the
values their rounding errors are eps |w_i - m|/|w_i - w_j| of the largest second difference: little,
but for pairs that lie near each other compared with m. Values that are equal to rounding make one
group, where f[w_i, w_k, w_j] = (f[w_i, w_i, w_k] + f[w_j, w_j, w_k])/2 up to the square of their
distance: products again. What is left, near pairs of different groups, is evaluated at k^2 points
for each distance between groups that occurs, 1, 2, ..., which is seldom more than a few.

Up to `FEW` values all triples cost less than the calls that this takes.
"""

from __future__ import annotations

from typing import Any

from .._bindings.array import Array, Arrays, adjoint, array_namespace, conj, eps, herm, on_diagonal
from .._bindings.loops import loop, sum_over_rows
from .._bindings.matrix_products import product
from .ties import ties_of

FEW = 16
NEAR = 1 / 512  # beyond, a product loses 512 eps at most
EQUAL = 64  # eps: what rounding does to values that are equal


def triple_sums(
    f: Any, parameters: Arrays, w: Array, F: Array, D: Array, m: Array, X: Array, Y: Array
) -> Array:
    """T + T^H, given F_ik = f[w_i, w_k] and D for a reference m, (..., 1)."""
    if w.shape[-1] <= FEW:
        return _by_triples(f.with_parameters(parameters, 3), w, F, X, Y)
    xp = array_namespace(w)
    of_pairs = f.with_parameters(parameters, 2)
    w_i, w_k = w[..., :, None], w[..., None, :]
    steps = _steps(w)
    gap = w_i - w_k
    scale = xp.abs(w - m)
    apart = xp.abs(gap) > NEAR * xp.maximum(scale[..., :, None], scale[..., None, :])
    apart = apart & (steps != 0)
    S = of_pairs.second(w_i, w_i, w_k, _diagonal(F), F, F)
    equal = (product(S * X, Y) + product(X, adjoint(S) * Y)) / 2
    far = (product(D * X, Y) - product(X, adjoint(D) * Y)) / xp.where(apart, gap, 1.0)
    T = xp.where(steps == 0, equal, xp.where(apart, far, xp.zeros_like(far)))

    near = (steps > 0) & ~apart

    def going(state: Any) -> Array:
        return xp.any(near & (steps >= state[1]))

    def evaluate(state: Any) -> Any:
        total, d = state
        v = xp.max(xp.where(steps == d, w_k, -float("inf")), axis=-1)
        v = xp.where(xp.isfinite(v), v, w)  # there may be no group so far away
        F_vk = of_pairs.divided(v[..., :, None], w_k)
        S = of_pairs.second(w_i, w_k, v[..., :, None], F, F_vk, _diagonal(F_vk))
        term = product(S * X, Y) + product(S * Y, X)
        return total + xp.where(near & (steps == d), term, xp.zeros_like(term)), d + 1

    k = w.shape[-1]
    upper, _ = loop(going, evaluate, (xp.zeros_like(T), 1), k, traced=k)
    return 2 * herm(T + upper)


def _diagonal(x: Array) -> Array:
    """As a column."""
    xp = array_namespace(x)
    eye = on_diagonal(x)
    return xp.sum(xp.where(eye, x, xp.zeros_like(x)), axis=-1, keepdims=True)


def _steps(w: Array) -> Array:
    """From the group of w_i to that of w_j; a group's neighbours in order are equal to rounding."""
    xp = array_namespace(w)
    size = xp.abs(w)
    bound = EQUAL * eps(w) * xp.maximum(size[..., 1:], size[..., :-1])
    group = ties_of(w, bound)
    return group[..., None, :] - group[..., :, None]


def _by_triples(f: Any, w: Array, F: Array, X: Array, Y: Array) -> Array:
    """All triples, one slice of k at a time; its rows hold X_kj and Y_kj, and X_ik = conj(X_ki)."""
    xp, a, c = array_namespace(w), w[..., None, :, None], w[..., None, None, :]

    def body(b: Array, F_k: Array, x: Array, y: Array) -> Array:
        S = f.second(a, b[..., None], c, F_k[..., :, None], F_k[..., None, :], F[..., None, :, :])
        return xp.sum(S * (2 * herm(conj(x)[..., :, None] * y[..., None, :])), axis=-3)

    return sum_over_rows(body, w[..., :, None], F, X, Y)
