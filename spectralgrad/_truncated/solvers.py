"""The solvers: the block Krylov iteration, a full SVD, SciPy's, CuPyX's, or a callable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from .._bindings.array import Array, Arrays, adjoint, array_namespace, beside, is_complex
from .._bindings.dask_products import holds_sparse, is_streamed
from .._bindings.lookup import library_of, project_out
from .._bindings.loops import as_one, one_by_one
from .._engine.products import Product, Products, products_of
from .._spectrum import factorizations
from .krylov import DENSE_ENTRIES, Triplets, fits, leading_triplets, multiplied_out, true_residual
from .operands import DENSE
from .options import Method, Options

SMALL = 256  # up to this side a full SVD is the fastest
EXTRA = 8  # triplets looked for beyond those of another library's solver


def streams(x: Array, solver: Any) -> bool:
    """Whether the triplets of a Dask array come from products with its blocks.

    A dense one with a short side is decomposed, with nothing computed early.
    """
    if not is_streamed(x):
        return False
    return holds_sparse(x) or (min(x.shape) > SMALL if solver is None else solver != "full")


def by_size(operand: Any, leaves: Arrays, A: Products) -> Method:
    """Whether "full" or "krylov" is the choice for this size."""
    if operand is DENSE:
        x = leaves[0]
        in_full = 0 in x.shape or min(A.shape) <= SMALL or not library_of(x).can_loop(x)
        return "full" if in_full else "krylov"
    small = min(A.shape) <= SMALL and math.prod(A.shape) <= DENSE_ENTRIES
    return "full" if small else "krylov"


def find(operand: Any, leaves: Arrays, options: Options) -> Triplets:
    """At least k triplets; those beyond are a surplus."""
    A, solver = operand.products(*leaves), options.solver
    if callable(solver):
        return _sorted(solver(operand.matrix(*leaves), options.k), A, options)
    return SOLVERS[solver](operand, leaves, A, options)


def _full(operand: Any, leaves: Arrays, A: Products, options: Options) -> Triplets:
    """All triplets, of the matrix itself."""
    U, S, Vh = factorizations.svd(leaves[0] if operand is DENSE else multiplied_out(A))
    if operand is DENSE:
        return Triplets(U, S, Vh, 0.0 * S[..., 0], 0.0 * S[..., 0])
    k = options.k
    return Triplets(U, S, Vh, true_residual(A, U[:, :k], S[:k], Vh[:k, :]), 0.0 * S[0])


def _krylov(operand: Any, leaves: Arrays, A: Products, options: Options) -> Triplets:
    """By iterations, for one matrix of a stack after the other."""
    if not fits(A.shape, options.block, A.costly) and math.prod(A.shape) <= DENSE_ENTRIES:
        return _full(operand, leaves, A, options)
    search = partial(
        leading_triplets,
        k=options.k,
        block=options.block,
        seed=options.seed,
        tol=options.accepted,
        maxiter=options.maxiter,
    )
    if operand is DENSE:
        return Triplets(*one_by_one(lambda x: search(products_of(x)), leaves[0]))
    return Triplets(*as_one(lambda: search(A), A.like))


def _scipy(operand: Any, leaves: Arrays, A: Products, options: Options) -> Triplets:
    """By `svds` of SciPy."""
    svds = _svds("scipy", "numpy", operand.matrix(*leaves), A, options)
    start = np.random.default_rng(options.seed).standard_normal(min(A.shape))
    return _sorted(svds(v0=start.astype(A.like.dtype)), A, options)


def _cupyx(operand: Any, leaves: Arrays, A: Products, options: Options) -> Triplets:
    """By `svds` of CuPyX, which takes no start."""
    svds = _svds("cupyx.scipy", "cupy", operand.matrix(*leaves), A, options)
    return _sorted(svds(), A, options)


SOLVERS: dict[Any, Callable[..., Triplets]] = {
    "krylov": _krylov,
    "full": _full,
    "scipy": _scipy,
    "cupyx": _cupyx,
}


def _svds(
    module: str, library: str, matrix: Any, A: Products, options: Options
) -> Callable[..., Any]:
    """`svds` of a module, which calls ARPACK, with its matrix and k; for arrays of one library."""
    came = array_namespace(A.like).__name__.rpartition(".")[2]
    most = min(A.shape) - (2 if is_complex(A.like) else 1)  # that ARPACK finds
    if came != library or options.k > most:
        raise ValueError(
            f"truncated_svd: solver={options.solver!r} came for k = {options.k} and a matrix of "
            f"shape {A.shape} of {came}; svds takes arrays and operators of its own library "
            f"(NumPy, CuPy), and finds at most {most} triplets of this one. Choose 'krylov' or "
            "'full'."
        )
    linalg = import_module(f"{module}.sparse.linalg")
    if callable(getattr(matrix, "matmat", None)) and not isinstance(matrix, linalg.LinearOperator):
        matrix = linalg.LinearOperator(
            A.shape,
            matvec=lambda x: A.matmat(x.reshape(-1, 1))[:, 0],
            rmatvec=lambda y: A.rmatmat(y.reshape(-1, 1))[:, 0],
            matmat=A.matmat,
            rmatmat=A.rmatmat,
            dtype=A.like.dtype,
        )
    return partial(linalg.svds, matrix, k=options.k)


def _sorted(found: Any, A: Products, options: Options) -> Triplets:
    """A solver's triplets in descending order, what follows them, and the residual they have.

    Where a larger one was left out, as ARPACK may leave copies out, that counts as a residual.
    """
    k = options.k
    U, S, Vh = _checked(found, A.shape, k)
    xp = array_namespace(U)
    U, S = xp.where(S < 0, -U, U), xp.abs(S)  # of a solver that takes eigenvalues
    order = xp.argsort(S, descending=True)
    U, S, Vh = xp.take(U, order, axis=1), xp.take(S, order), xp.take(Vh, order, axis=0)
    rest = beyond(A, (U, S, Vh), options.seed)
    residual = true_residual(A, U[:, :k], S[:k], Vh[:k, :])
    if rest[1].shape[-1]:
        top = xp.where(S[0] == 0, 1.0, S[0])
        missed = (rest[1][0] - S[k - 1]) / top
        residual = xp.maximum(residual, missed)
    U, S, Vh = beside([U, rest[0]]), xp.concat([S, rest[1]]), xp.concat([Vh, rest[2]], axis=0)
    return Triplets(U, S, Vh, residual, 0.0 * S[0])


def beyond(A: Products, given: Arrays, seed: int = 0, *, full: bool = False) -> Arrays:
    """The largest triplets of what the given ones leave of A; all of them if `full`.

    Roughly, but so well that what equals the last value of those given is told from others.
    """
    U, S, Vh = given
    if U.ndim > 2:  # of a stack, which `like` is

        def of_one(x: Array, *given: Array) -> Arrays:
            return beyond(products_of(x), given, seed, full=full)

        return one_by_one(of_one, A.like, *given)
    V = adjoint(Vh)
    count = min(A.shape) - U.shape[-1]
    block = min(EXTRA, count)
    without_U, without_V = partial(project_out, U), partial(project_out, V)
    if full or not fits(A.shape, block):
        E_U, e, E_Vh = factorizations.svd(multiplied_out(_projected(A, without_U, without_V)))
        block = count
    else:  # what is orthogonal to V goes to what is orthogonal to U, as far as these are triplets
        tall = A.shape[0] >= A.shape[1]
        rest = _projected(A, _same, without_V) if tall else _projected(A, without_U, _same)
        E_U, e, E_Vh, *_ = leading_triplets(
            rest, 1, block, seed, tol=1e-3, maxiter=1, near=S[-1] if S.shape[0] else None
        )
    return E_U[..., :block], e[..., :block], E_Vh[..., :block, :]


def _same(X: Array) -> Array:
    return X


def _projected(A: Products, left: Product, right: Product) -> Products:
    """A between two projections."""
    return Products(
        A.shape, lambda X: left(A.matmat(right(X))), lambda Y: right(A.rmatmat(left(Y))), A.like
    )


def _checked(found: Any, shape: tuple[int, int], k: int) -> Arrays:
    wanted = (
        f"wanted U, S and Vh of at least k = {k} triplets, as svds has them, of shapes "
        f"{[(shape[0], k), (k,), (k, shape[1])]}."
    )
    if not isinstance(found, Iterable):
        kind = type(found).__name__
        raise TypeError(f"truncated_svd: argument `solver` returned a {kind}; {wanted}")
    triplets = tuple(found)
    shapes = [tuple(getattr(part, "shape", ("?",))) for part in triplets]
    count = shapes[1][0] if len(shapes) == 3 and len(shapes[1]) == 1 else 0
    if shapes != [(shape[0], count), (count,), (count, shape[1])] or count < k:
        raise ValueError(
            f"truncated_svd: argument `solver` returned arrays of shapes {shapes}; {wanted}"
        )
    return triplets


def check_solver(solver: Any, adjoint: Any) -> None:
    if not (callable(solver) or solver in (None, *SOLVERS)):
        raise ValueError(
            f"truncated_svd: `solver` is {solver!r}; wanted 'krylov', 'full', 'scipy', 'cupyx', a "
            "callable (x, k) -> U, S, Vh, or None for a choice by size."
        )
    if adjoint not in (None, "krylov", "full"):
        raise ValueError(
            f"truncated_svd: `adjoint` is {adjoint!r}; wanted 'krylov', 'full', or None for a "
            "choice by size."
        )
