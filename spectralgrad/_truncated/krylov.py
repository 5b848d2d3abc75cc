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
from typing import Any, NamedTuple

from .._bindings.array import Array, Arrays, adjoint, array_namespace, beside, device, eps
from .._bindings.host import qr
from .._bindings.lookup import adjoint_times, loop
from .._engine.products import Products
from .._spectrum import factorizations
from .blocks import Noise, largest_norm, noise_for, norms, rounding
from .lanczos import Pairs, Search
from .two_sided import TwoSided, blocks_of

TURNS = 4  # of the thin iteration for one of that on both sides, which has as many more products


class Triplets(NamedTuple):
    """Approximate triplets in descending order: the wanted ones and a surplus."""

    U: Array
    S: Array
    Vh: Array
    residual: Array  # the largest of the wanted ones' over S[0]
    turns: Array | float = 0.0  # that the iteration made


def default_tol(A: Products) -> float:
    """What residuals may be, over S[0]: the rounding of products with A and their sums."""
    return max(8 * math.sqrt(max(A.shape)), 128.0) * eps(A.like)


def width_of(block: int) -> int:
    """Columns of the thin blocks: of more a product takes less for each, and more are needed."""
    return min(block, 4 if block < 64 else 8 if block < 128 else 16)


def leading_triplets(
    A: Products, k: int, block: int, seed: int, *, tol: float, maxiter: int
) -> Triplets:
    """`block` triplets of the products A, k of which are looked at.

    A matrix with a NaN or an Inf has NaN throughout.
    """
    if A.shape[0] < A.shape[1]:
        found = leading_triplets(A.adjoint(), k, block, seed, tol=tol, maxiter=maxiter)
        return found._replace(U=adjoint(found.Vh), Vh=adjoint(found.U))
    noise = noise_for(A.shape[1], block, A.like, seed)
    Q, _, turns = _right_vectors(A, k, block, noise, tol=tol, most=TURNS * maxiter)
    U, S, V = _rayleigh_ritz(A, Q[:, :block])
    residual = largest_norm(A.rmatmat(U[:, :k]) - V[:, :k] * S[None, :k], S)
    xp = array_namespace(S)

    def refined(state: Arrays) -> Arrays:
        _, _, V, _, turns = state
        if blocks_of(A.shape, block) < 4:
            U, S, Vh = factorizations.svd(multiplied_out(A))
            U, V, more = U, adjoint(Vh), 0.0
        else:
            left = noise_for(A.shape[0], block, A.like, seed)
            U, S, V, _, more = TwoSided(A, k, left, noise).run(V, tol, maxiter)
        U, S, V = U[:, :block], S[:block], V[:, :block]
        other = largest_norm(A.rmatmat(U[:, :k]) - V[:, :k] * S[None, :k], S)
        return U, S, V, other, turns + more

    state = U, S, V, residual, turns
    U, S, V, residual, turns = loop(
        lambda state: xp.any(state[3] > tol), refined, state, 1, traced=1
    )
    other = largest_norm(A.matmat(V[:, :k]) - U[:, :k] * S[None, :k], S)
    return Triplets(U, S, adjoint(V), xp.maximum(residual, other), turns)


def _right_vectors(
    A: Products, k: int, block: int, noise: Noise, *, tol: float, most: int
) -> Pairs:
    """Those of `block` values, which A^H A has squared."""
    xp, width = array_namespace(A.like), width_of(block)
    unit = xp.max(norms(A.matmat(qr(noise(0, width))[0])))
    unit = xp.where(unit == 0, 1.0, unit)

    def product(X: Array) -> Array:
        return A.rmatmat(A.matmat(X) / unit)

    def allowed(w: Array) -> Array:
        w = xp.where(w > 0, w, 0.0)
        least = 2 * rounding(A.shape[1], A.like) * w[0]
        return xp.maximum(tol / 4 * xp.sqrt(w * w[0]), least + 0.0 * w)

    search = Search(product, noise, k, 2 * block, width, max(4, block // width // 2), allowed)
    if search.fits():
        return search.run(most)
    return _by_gram_matrix(product, A, block)


def _by_gram_matrix(product: Any, A: Products, block: int) -> Pairs:
    xp, n = array_namespace(A.like), A.shape[1]
    eye = xp.eye(n, dtype=A.like.dtype, device=device(A.like))
    gram = beside([product(eye[:, i : i + block]) for i in range(0, n, block)])
    w, Q = factorizations.eigh(gram)
    return Pairs(xp.flip(Q, axis=-1)[:, :block], xp.flip(w, axis=-1)[:block], 0.0 * w[0])


def _rayleigh_ritz(A: Products, Q: Array) -> Arrays:
    """U, S, V of A on the span of Q, by its own values."""
    Q, _ = qr(Q)
    P, R = qr(A.matmat(Q))  # no product P^H W, whose sums may round alike in structured columns
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
