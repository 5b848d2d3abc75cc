r"""Leading singular triplets by block Krylov iteration on both sides, restarted with the best.

Let A be m x n with m >= n. A block F of b orthonormal columns grows two orthonormal bases, Q on the
right and P on the left,

    Q <- [Q, F],   P <- [P, orth(A F - P P^H A F)],   F <- orth(A^H P_new - Q Q^H A^H P_new)

so that A Q = P T with a small T = P^H A Q, block upper bidiagonal but for restarts. From its SVD
T = Y S Z^H come U = P Y and V = Q Z with A V = U S, and the residual of the other side,
A^H U - V S, from the products A^H P that were made anyway. No square of A is formed, so that small
values are as accurate as large ones. With BLOCKS blocks in the bases, the best triplets, KEPT
blocks of them, start the bases anew, with F as it stands.

Sources: Golub, Luk and Overton (1981), A block Lanczos method for computing the singular values and
corresponding singular vectors of a matrix; Baglama and Reichel (2006), Restarted block Lanczos
bidiagonalization methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._bindings.array import Array, Arrays, adjoint, array_namespace, device, real
from .._bindings.loops import loop, stepped, written
from .._engine.products import Products
from .._spectrum import factorizations
from .blocks import Basis, Noise, empty_basis, largest_norm, norms, orthonormal
from .lanczos import diagonal

BLOCKS, KEPT = 6, 3  # in the basis, and of these at a restart
PATIENCE, SLOW = 5, 0.7  # turns in which the residual has to come down, to so much of what it was


def blocks_of(shape: tuple[int, int], block: int) -> int:
    """How many blocks fit in the basis; below 4 the whole space is as cheap."""
    return min(BLOCKS, min(shape) // block - 1)


@dataclass(frozen=True, eq=False)
class TwoSided:
    """For the k leading triplets of A, tall, from a block of right vectors."""

    A: Products
    k: int
    left: Noise
    right: Noise

    def run(self, F: Array, tol: float, most: int) -> Arrays:
        """U, S, V, and the turns that were made."""
        xp = array_namespace(F)
        first = self._turn(None, None, None, None, F, 0)
        residual = first[-1]
        state = *first, residual, 0.0 * residual, 0.0 * residual + 1

        def going(state: Arrays) -> Array:
            *_, residual, _, stalls, _ = state
            return xp.any((residual > tol) & (stalls < PATIENCE))  # False for NaN

        def body(state: Arrays) -> Arrays:
            P, S, Q, AhP, F, _, best, stalls, turns = state
            *kept, residual = self._turn(P, S, Q, AhP, F, turns)
            slow = residual > SLOW * best
            stalls, best = xp.where(slow, stalls + 1, 0.0 * stalls), xp.where(slow, best, residual)
            return *kept, residual, best, stalls, turns + 1

        U, S, V, *_, turns = loop(going, body, state, most - 1, traced=2)
        return U, S, V, turns

    def _turn(
        self,
        P: Array | None,
        S: Array | None,
        Q: Array | None,
        AhP: Array | None,
        F: Array,
        turns: Array | int,
    ) -> Arrays:
        """From the kept triplets U, S, V, the products A^H U and a new block F to better ones."""
        xp, A, block = array_namespace(F), self.A, F.shape[-1]
        blocks = blocks_of(A.shape, block)
        kept, size = min(KEPT, blocks // 2) * block, blocks * block
        start = 0 if S is None else kept
        left, right, images = (empty_basis(size, rows, F) for rows in (*A.shape, A.shape[1]))
        T = xp.zeros((size, size), dtype=F.dtype, device=device(F))
        scale = xp.zeros((), dtype=real(F).dtype, device=device(F))
        if S is not None:
            left, right, images = left.with_block(P), right.with_block(Q), images.with_block(AhP)
            T, scale = written(T, diagonal(S, F.dtype), 0), S[0]

        def step(i: Any, p: Array, q: Array, ahp: Array, T: Array, F: Array, s: Array) -> Arrays:
            filled, place = start + i * block, turns + (i + 1) / 64
            right = Basis(q, filled).with_block(F)
            W = A.matmat(F)
            s = xp.maximum(s, xp.max(norms(W)))
            F, R, C = orthonormal(W, Basis(p, filled), self.left, s, place)
            left = Basis(p, filled).with_block(F)
            T = written(written(T, C, 0, filled), R, filled, filled)
            Z = A.rmatmat(F)
            F, *_ = orthonormal(Z, right, self.right, s, place)
            return left.rows, right.rows, Basis(ahp, filled).with_block(Z).rows, T, F, s

        state = left.rows, right.rows, images.rows, T, F, scale
        *bases, T, F, _ = stepped(step, state, (size - start) // block)
        Y, s, Zh = factorizations.svd(T)
        Y, Z, s = Y[:, :kept], adjoint(Zh[:kept, :]), s[:kept]
        pairs = zip(bases, (Y, Z, Y), strict=True)
        P, Q, AhP = (Basis(rows, size).combined(X) for rows, X in pairs)
        R = AhP[:, : self.k] - Q[:, : self.k] * s[None, : self.k]
        return P, s, Q, AhP, F, largest_norm(R, s)
