r"""Leading singular triplets from products with A and A^H.

Let A be m x n with m >= n. Its right vectors are eigenvectors of A^H A, which block Lanczos
iteration finds on the shorter side alone (`lanczos`), or if the side is short, a decomposition of
the n x n Gram matrix. What they span is orthonormal to rounding, and A itself decides there: from
A Q = P R, thin, and R = Y S Z^H come U = P Y and V = Q Z with A V = U S, to a precision of eps S[0]
in S. Products with A^H A lose values below sqrt(eps) S[0], and the vectors of small ones are less
accurate: where the residual A^H U - V S says so, the iteration on both sides (`two_sided`) goes on
from there.

A is taken in units of about its norm, so that its square neither over- nor underflows.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

from .._bindings.array import Array, Arrays, adjoint, array_namespace, beside, device, eps
from .._bindings.lookup import adjoint_times, qr
from .._bindings.loops import loop
from .._engine.products import Products
from .._spectrum import factorizations
from .._spectrum.entries import power_of_two
from .blocks import ROUNDING, Noise, largest_norm, noise_for, norms, polar_factors
from .lanczos import Pairs, Plan, Search
from .two_sided import TwoSided, blocks_of

DENSE_ENTRIES = 2**22  # of a matrix with a short side that is multiplied out and decomposed


class Triplets(NamedTuple):
    """Approximate triplets in descending order: the wanted ones and a surplus.

    On the shorter side there are more: Ritz vectors, which precondition the derivative's systems.
    """

    U: Array
    S: Array
    Vh: Array
    residual: Array  # the largest of the wanted ones' over S[0]
    turns: Array  # restarts of the iteration


def default_tol(A: Products) -> float:
    """What residuals may be, over S[0]: the rounding of products with A and their sums."""
    return max(8 * math.sqrt(max(A.shape)), 128.0) * eps(A.like)


def plan_for(block: int, costly: bool = False) -> Plan:
    """The iteration for so many triplets.

    Of thicker blocks a product takes less for each column, and more columns are needed. Where each
    product passes over what is not in memory, few products are wanted.
    """
    if costly:
        return Plan(2 * block, block, 1)
    width = min(block, 4 if block < 64 else 8 if block < 128 else 16)
    return Plan(2 * block, width, max(3, 3 * block // (8 * width)))


def fits(shape: tuple[int, int], block: int, costly: bool = False) -> bool:
    """Whether the shorter side is longer than the basis; else its Gram matrix is as cheap."""
    plan = plan_for(block, costly)
    return plan.size + 2 * plan.width <= min(shape)


def leading_triplets(
    A: Products,
    k: int,
    block: int,
    seed: int,
    *,
    tol: float,
    maxiter: int,
    near: Array | None = None,
) -> Triplets:
    """`block` triplets of the products A, k of which are looked at.

    A matrix with a NaN or an Inf has NaN throughout. Values close to a number, `near`, are better
    than tol says: until they are told from it.
    """
    if A.shape[0] < A.shape[1]:
        found = leading_triplets(A.adjoint(), k, block, seed, tol=tol, maxiter=maxiter, near=near)
        return found._replace(U=adjoint(found.Vh), Vh=adjoint(found.U))
    noise = noise_for(A.shape[1], block, A.like, seed)
    plan = plan_for(block, A.costly)
    A, unit = _in_units(A, noise(0, plan.width))
    near = None if near is None else near / unit
    allowed = partial(_allowed, tol=tol, least=2 * ROUNDING * eps(A.like), near=near)
    search = Search(A.normal, noise, k, plan, allowed)
    xp = array_namespace(A.like)
    pairs = search.run(maxiter) if fits(A.shape, block, A.costly) else _by_gram_matrix(A, block)
    U, S, V, further, residual, turns = _refined(A, pairs, noise, (k, block), tol, maxiter)
    other = largest_norm(A.matmat(V[:, :k]) - U[:, :k] * S[None, :k], S)
    S, Vh = xp.concat([S, further]) * unit, adjoint(beside([V, pairs.Q[:, block:]]))
    return Triplets(U, S, Vh, xp.maximum(other, residual), turns)


def _in_units(A: Products, start: Array) -> tuple[Products, Array]:
    """A over about its norm, a power of two, so that the scale of A changes no bit."""
    power, u = power_of_two(array_namespace(start).max(norms(A.matmat(qr(start)[0]))))
    unit = power / u
    return A.over(unit), unit


def _allowed(w: Array, scale: Array, *, tol: float, least: float, near: Array | None) -> Array:
    """Residuals of A^H A for w = s^2, so that those of A are below tol s_1.

    Of a value that may equal another one, as far as the residual says, they are below
    sqrt(eps) s_1: the value is off by their square.
    """
    xp = array_namespace(w)
    s, top = xp.sqrt(xp.where(w > 0, w, 0.0)), xp.sqrt(scale)
    of_A = tol * top
    if near is not None:
        of_A = xp.maximum(xp.minimum(of_A, xp.abs(s - near)), eps(w) ** 0.5 * top)
    return xp.maximum(of_A / 4 * s, least * scale + 0.0 * w)


def _refined(
    A: Products, found: Pairs, noise: Noise, sizes: tuple[int, int], tol: float, maxiter: int
) -> Arrays:
    """U, S, V of A near the eigenvectors of A^H A, values of others, A^H U - V S, and all turns.

    The other vectors are orthogonal to V until that is refined; their values are zero then.
    """
    k, block = sizes
    xp, (U, S, V) = array_namespace(found.Q), _rayleigh_ritz(A, found.Q[:, :block])
    others = found.w[block:]

    def inaccurate(state: Arrays) -> Array:
        *_, residual, _ = state
        return residual > tol

    def again(state: Arrays) -> Arrays:
        _, _, V, others, _, turns = state
        if blocks_of(A.shape, block) < 4:
            U, S, V = _decomposed(A, block)
        else:
            left = noise_for(A.shape[0], block, A.like, seed=0)  # stands in for what is dependent
            *factors, more = TwoSided(A, k, left, noise).run(V, tol, maxiter)
            (U, S, V), turns = (X[..., :block] for X in factors), turns + more
        return U, S, V, 0.0 * others, _adjoint_residual(A, U, S, V, k), turns

    others = xp.sqrt(xp.where(others > 0, others, 0.0))
    start = U, S, V, others, _adjoint_residual(A, U, S, V, k), found.turns
    refined: Arrays = loop(inaccurate, again, start, 1, traced=1)
    return refined


def _adjoint_residual(A: Products, U: Array, S: Array, V: Array, k: int) -> Array:
    return largest_norm(A.rmatmat(U[:, :k]) - V[:, :k] * S[None, :k], S)


def _decomposed(A: Products, block: int) -> Arrays:
    U, S, Vh = factorizations.svd(multiplied_out(A))
    return U[:, :block], S[:block], adjoint(Vh)[:, :block]


def _by_gram_matrix(A: Products, block: int) -> Pairs:
    xp, n = array_namespace(A.like), A.shape[1]
    eye = xp.eye(n, dtype=A.like.dtype, device=device(A.like))
    columns = (eye[:, i : i + block] for i in range(0, n, block))
    gram = beside([A.normal(X) for X in columns])
    w, Q = factorizations.eigh(gram)
    Q, w = xp.flip(Q, axis=-1)[:, : 2 * block], xp.flip(w, axis=-1)[: 2 * block]
    return Pairs(Q, w, w[0], 0.0 * w[0])


def _rayleigh_ritz(A: Products, Q: Array) -> Arrays:
    """U, S, V of A on the span of Q, by its own values."""
    Q, _ = polar_factors(Q)
    P, R = polar_factors(A.matmat(Q))
    Y, S, Zh = factorizations.svd(R)
    return P @ Y, S, Q @ adjoint(Zh)


def multiplied_out(A: Products) -> Array:
    xp, shorter = array_namespace(A.like), min(A.shape)
    eye = xp.eye(shorter, dtype=A.like.dtype, device=device(A.like))
    return A.matmat(eye) if A.shape[0] >= A.shape[1] else adjoint(A.rmatmat(eye))


def true_residual(A: Products, U: Array, S: Array, Vh: Array) -> Array:
    """The greatest of ||A v - s u|| and ||A^H u - s v|| over S[0], and of what U^H U - I holds."""
    xp, V = array_namespace(U), adjoint(Vh)
    found = largest_norm(A.matmat(V) - U * S[..., None, :], S)
    found = xp.maximum(found, largest_norm(A.rmatmat(U) - V * S[..., None, :], S))
    eye = xp.eye(U.shape[-1], dtype=U.dtype, device=device(U))
    for W in (U, V):
        found = xp.maximum(found, xp.max(norms(adjoint_times(W, W) - eye), axis=-1))
    return found
