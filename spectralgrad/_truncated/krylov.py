r"""Leading singular triplets by block Krylov iteration, restarted with its best approximations.

Let A be m x n with m >= n. A block F of b orthonormal columns grows two orthonormal bases, Q on the
right and P on the left,

    Q <- [Q, F],   P <- [P, orth(A F - P P^H A F)],   F <- orth(A^H P_new - Q Q^H A^H P_new)

so that A Q = P T with a small T = P^H A Q, block upper bidiagonal but for restarts. From its SVD
T = Y S Z^H come U = P Y and V = Q Z with A V = U S, and the residual of the other side,
A^H U - V S, from the products A^H P that were made anyway. No square of A is formed. With BLOCKS
blocks in the bases, the best triplets, KEPT blocks of them, start the bases anew, with F as it
stands: Lanczos' method with thick restarts. At the end A V - U S is looked at too.

Every block has more columns than triplets are wanted, so that a random start meets every copy of a
multiple value, those across the cut included. What is linearly dependent (low rank, an invariant
subspace) is replaced by noise at the level of rounding, orthogonalized twice: the bases stay
orthonormal and T = P^H A Q holds for them.

Sources: Golub, Luk and Overton (1981), A block Lanczos method for computing the singular values and
corresponding singular vectors of a matrix; Baglama and Reichel (2006), Restarted block Lanczos
bidiagonalization methods; Musco and Musco (2015), arXiv:1504.05477, for blocks of that size.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._bindings.array import (
    Array,
    Arrays,
    adjoint,
    array_namespace,
    beside,
    columnwise_dot,
    device,
    eps,
    real,
)
from .._bindings.host import qr
from .._bindings.lookup import adjoint_times, loop, project_out
from .._engine.products import Products
from .._spectrum import factorizations

BLOCKS, KEPT = 6, 3  # in the basis, and of these at a restart


class Triplets(NamedTuple):
    """Approximate triplets in descending order: the wanted ones and a surplus."""

    U: Array
    S: Array
    Vh: Array
    residual: Array  # (...), the largest of the wanted ones' over S[0]


def blocks_of(shape: tuple[int, int], block: int) -> int:
    """How many blocks fit in the basis; below 4 the whole space is as cheap."""
    return min(BLOCKS, min(shape) // block - 1)


def default_tol(A: Products) -> float:
    """What residuals may be, over S[0]: the rounding of products with A and their sums."""
    return max(8 * math.sqrt(max(A.shape)), 128.0) * eps(A.like)


def start_block(shape: tuple[int, int], block: int, like: Array, seed: int) -> Array:
    """Random columns, from the host: the same in every library.

    Longer than either side, so that every step finds another block of noise a row further down.
    """
    xp, rows = array_namespace(like), max(shape) + 2 * BLOCKS + 1
    normal = np.random.default_rng(seed).standard_normal((rows, block))
    return xp.asarray(normal, dtype=like.dtype, device=device(like))


def leading_triplets(
    A: Products, k: int, random: Array, batch: tuple[int, ...], *, tol: float, maxiter: int
) -> Triplets:
    """At least k triplets of the products A, from a start of as many columns as `random` has.

    `random` is what `start_block` makes. A batch element with a NaN or an Inf is all NaN.
    """
    if A.shape[0] < A.shape[1]:
        found = leading_triplets(A.adjoint(), k, random, batch, tol=tol, maxiter=maxiter)
        return Triplets(adjoint(found.Vh), found.S, adjoint(found.U), found.residual)
    xp = array_namespace(random)
    cycle = _Cycle(A, k, random)
    F = qr(random[: A.shape[1], :])
    F = xp.broadcast_to(F, (*batch, *F.shape))

    def unconverged(state: Arrays) -> Array:
        return xp.any(state[-1] > tol)  # False for NaN

    U, S, V, _, _, residual = loop(
        unconverged, cycle, cycle((None, None, None, None, F, None)), maxiter - 1, traced=2
    )
    other = _largest_norm(A.matmat(V[..., :k]) - U[..., :k] * S[..., None, :k], S)
    return Triplets(U, S, adjoint(V), xp.maximum(residual, other))


class _Cycle:
    """From the kept triplets U, S, V, the products A^H U and a new block F to better ones."""

    def __init__(self, A: Products, k: int, random: Array) -> None:
        self.A, self.k, self.random = A, k, random
        self.block = random.shape[-1]
        self.blocks = blocks_of(A.shape, self.block)
        self.kept = min(KEPT, self.blocks // 2) * self.block

    def __call__(self, state: Arrays) -> Arrays:
        P, S, Q, AhP, F, _ = state
        xp, A = array_namespace(F), self.A
        # lists of blocks: to copy a basis that grows would take its memory twice
        P, Q, AhP = ([] if basis is None else [basis] for basis in (P, Q, AhP))
        T = [] if S is None else [[_diagonal(S, F.dtype)]]
        scale = None if S is None else S[..., :1]
        for step in range(self.blocks - (0 if S is None else self.kept // self.block)):
            W = A.matmat(F)
            if scale is None:  # NaN for a batch element that is not finite, and so in all of it
                W = xp.where(xp.isfinite(W), W, float("nan"))
                scale = _norms(W)[..., :1]
            Q.append(F)
            P.append(self._orthonormal(W, P, scale, 2 * step + 1))
            T.append([adjoint_times(block, W) for block in P])
            AhP.append(A.rmatmat(P[-1]))
            F = self._orthonormal(AhP[-1], Q, scale, 2 * step + 2)
        Y, s, Zh = factorizations.svd(_upper(xp, T))
        Y, Z, s = Y[..., : self.kept], adjoint(Zh[..., : self.kept, :]), s[..., : self.kept]
        P, Q, AhP = _combined(P, Y), _combined(Q, Z), _combined(AhP, Y)
        R = AhP[..., : self.k] - Q[..., : self.k] * s[..., None, : self.k]
        return P, s, Q, AhP, F, _largest_norm(R, s)

    def _orthonormal(self, W: Array, basis: list[Array], scale: Array, step: int) -> Array:
        """Orthonormal columns that span W beyond the basis, or noise where that is nothing."""
        noise = self.random[step : step + W.shape[-2], :]
        # well above what rounding leaves of W in the basis, so that its own part decides
        W = W + (8 * eps(W) / W.shape[-2] ** 0.5) * scale[..., None] * noise
        for _ in range(2):
            for block in basis:
                W = project_out(block, W)
            W = qr(W)
        return W


def _combined(basis: list[Array], Y: Array) -> Array:
    """[basis] Y, block by block."""
    total, start = basis[0] @ Y[..., : basis[0].shape[-1], :], basis[0].shape[-1]
    for block in basis[1:]:
        end = start + block.shape[-1]
        total += block @ Y[..., start:end, :]  # in place, where a library can: it is ours, and big
        start = end
    return total


def _diagonal(S: Array, dtype: Any) -> Array:
    xp = array_namespace(S)
    eye = xp.eye(S.shape[-1], dtype=dtype, device=device(S))
    return eye * xp.astype(S, dtype)[..., None, :]


def _upper(xp: Any, columns: list[list[Array]]) -> Array:
    """The square matrix of block columns, each given down to its diagonal block."""
    heights = [C.shape[-2] for C in columns[-1]]
    padded = []
    for column in columns:
        C = column[0]
        below = (*C.shape[:-2], sum(heights[len(column) :]), C.shape[-1])
        zeros = xp.zeros(below, dtype=C.dtype, device=device(C))
        padded.append(xp.concat([*column, zeros], axis=-2))
    return beside(padded)


def _norms(R: Array) -> Array:
    """Norms of the columns, without a square that over- or underflows."""
    xp = array_namespace(R)
    top = xp.max(xp.abs(R), axis=-2)
    unit = xp.where(top == 0, 1.0, top)
    R = R / unit[..., None, :]
    return unit * xp.sqrt(real(columnwise_dot(R, R)))


def _largest_norm(R: Array, S: Array) -> Array:
    """The greatest column norm over S[0]."""
    xp, top = array_namespace(R), S[..., 0]
    return xp.max(_norms(R), axis=-1) / xp.where(top == 0, 1.0, top)


def true_residual(A: Products, U: Array, S: Array, Vh: Array) -> Array:
    """The greatest of ||A v - s u|| and ||A^H u - s v|| over S[0], and of what U^H U - I holds."""
    xp, V = array_namespace(U), adjoint(Vh)
    found = _largest_norm(A.matmat(V) - U * S[..., None, :], S)
    found = xp.maximum(found, _largest_norm(A.rmatmat(U) - V * S[..., None, :], S))
    eye = xp.eye(U.shape[-1], dtype=U.dtype, device=device(U))
    for W in (U, V):
        found = xp.maximum(found, xp.max(_norms(adjoint_times(W, W) - eye), axis=-1))
    return found
