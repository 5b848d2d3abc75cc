"""Who finds the leading triplets: the block Krylov iteration, a full SVD, or somebody else's."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _factor
from ._array import Array, adjoint, array_namespace, device, is_complex
from ._krylov import Triplets, blocks_of, leading_triplets, start_block, true_residual
from ._operand import DENSE
from ._products import Products

SMALL = 256  # up to this side a full SVD is the fastest


def by_size(operand: Any, leaves: tuple, A: Products, block: int) -> str:
    """Whether "full" or "krylov" is the choice for this size."""
    if operand is DENSE:
        x = leaves[0]
        in_full = 0 in x.shape or min(A.shape) <= SMALL or not _factor.may_loop(x)
        return "full" if in_full else "krylov"
    return "full" if blocks_of(A.shape, block) < 4 else "krylov"


def in_full(operand: Any, leaves: tuple, A: Products) -> tuple[Array, Array, Array]:
    """All triplets, of the matrix itself."""
    if operand is DENSE:
        return _factor.svd(leaves[0])
    xp, shorter = array_namespace(A.like), min(A.shape)
    eye = xp.eye(shorter, dtype=A.like.dtype, device=device(A.like))
    tall = A.shape[0] >= A.shape[1]
    return _factor.svd(A.matmat(eye) if tall else adjoint(A.rmatmat(eye)))


def find(
    operand: Any, leaves: tuple, k: int, *, solver: Any, block: int, tol, maxiter: int, seed: int
) -> Triplets:
    """At least k triplets; those beyond are a surplus."""
    A = operand.products(*leaves)
    xp = array_namespace(A.like)
    if solver == "full" or (solver == "krylov" and blocks_of(A.shape, block) < 4):
        U, S, Vh = in_full(operand, leaves, A)
        return Triplets(U, S, Vh, 0.0 * S[..., 0])
    if solver == "krylov":
        random = start_block(A.shape, block, A.like, seed)
        bad = (
            _not_finite(leaves[0])
            if operand is DENSE
            else xp.zeros((), dtype=xp.bool, device=device(A.like))
        )
        return leading_triplets(A, k, random, bad, tol=tol, maxiter=maxiter)
    if callable(solver):
        found = solver(operand.matrix(*leaves), k)
    else:
        found = _svds(solver, operand.matrix(*leaves), A, min(block, min(A.shape) - 1), seed)
    return _sorted(found, A, k)


def _not_finite(x: Array) -> Array:
    """Members with a NaN or an Inf. No temporary for real x, which may be large."""
    xp = array_namespace(x)
    if is_complex(x):
        return ~xp.isfinite(xp.max(xp.abs(x), axis=(-2, -1)))
    extremes = (extreme(x, axis=(-2, -1)) for extreme in (xp.max, xp.min))  # pass a NaN on
    return ~(xp.isfinite(next(extremes)) & xp.isfinite(next(extremes)))


def _svds(name: str, matrix: Any, A: Products, k: int, seed: int) -> tuple:
    """By ARPACK through SciPy or CuPyX, both of which call it svds."""
    if name == "cupyx":
        from cupyx.scipy.sparse import linalg
    else:
        from scipy.sparse import linalg
    if callable(getattr(matrix, "matmat", None)) and not isinstance(matrix, linalg.LinearOperator):
        matrix = linalg.LinearOperator(
            A.shape,
            matvec=lambda x: A.matmat(x.reshape(-1, 1))[:, 0],
            rmatvec=lambda y: A.rmatmat(y.reshape(-1, 1))[:, 0],
            matmat=A.matmat,
            rmatmat=A.rmatmat,
            dtype=A.like.dtype,
        )
    start = np.random.default_rng(seed).standard_normal(min(A.shape)).astype(matrix.dtype)
    options = {"v0": start} if name == "scipy" else {}
    return linalg.svds(matrix, k=k, **options)


def _sorted(found: Any, A: Products, k: int) -> Triplets:
    """A solver's triplets in descending order, with the residual that they have."""
    U, S, Vh = _checked(found, A.shape, k)
    xp = array_namespace(U)
    order = xp.argsort(S, descending=True)
    U, S, Vh = xp.take(U, order, axis=1), xp.take(S, order), xp.take(Vh, order, axis=0)
    return Triplets(U, S, Vh, true_residual(A, U[:, :k], S[:k], Vh[:k, :]))


def _checked(found: Any, shape: tuple[int, int], k: int) -> tuple[Array, Array, Array]:
    found = tuple(found)
    shapes = [tuple(getattr(part, "shape", ("?",))) for part in found]
    count = shapes[1][0] if len(shapes) == 3 and len(shapes[1]) == 1 else 0
    if shapes != [(shape[0], count), (count,), (count, shape[1])] or count < k:
        raise ValueError(
            f"truncated_svd: the solver returned arrays of shapes {shapes}; wanted U, S and Vh of "
            f"at least k = {k} triplets, as svds has them: {[(shape[0], k), (k,), (k, shape[1])]}."
        )
    return found


def check_solver(solver: Any, adjoint: Any) -> None:
    if not (callable(solver) or solver in (None, "krylov", "full", "scipy", "cupyx")):
        raise ValueError(
            f"truncated_svd: `solver` is {solver!r}; wanted 'krylov', 'full', 'scipy', 'cupyx', a "
            "callable (x, k) -> U, S, Vh, or None for a choice by size."
        )
    if adjoint not in (None, "krylov", "full"):
        raise ValueError(
            f"truncated_svd: `adjoint` is {adjoint!r}; wanted 'krylov', 'full', or None for a "
            "choice by size."
        )
