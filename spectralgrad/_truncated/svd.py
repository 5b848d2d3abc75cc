"""The truncated singular value decomposition of what may be too large to decompose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Unpack, cast, overload

from .._bindings.array import Arrays, ArrayT, array_namespace, eps
from .._bindings.lookup import library_of
from .._engine.checks import check_rank
from .._engine.errors import ConvergenceError, ConvergenceWarning, warn
from .._engine.options import check_choice, check_count, check_rtol, check_tol
from .._engine.primitive import Primitive
from .._engine.products import Products, adjoint_mismatch
from .._engine.reading import read
from .._operations.declaration import operation
from .._operations.svd import SVDResult
from .._spectrum.ties import POLICIES, Ties
from . import given_triplets
from .adaptive import check_error, kept_columns, report_empty
from .arguments import as_operand, check_operator_dtype, enter_operand
from .krylov import default_tol
from .operands import DENSE, STREAMED
from .options import Choices, Method, Options, Params, Solver, Unconverged
from .rules import triplets
from .solvers import by_size, check_solver, streams
from .split import Found
from .spread import spread
from .truncation import TruncatedSVDResult, Truncation


@overload
def truncated_svd(
    x: ArrayT | Callable[..., Any], /, k: int, **options: Unpack[Choices[ArrayT]]
) -> SVDResult[ArrayT]: ...
@overload
def truncated_svd(
    x: ArrayT | Callable[..., Any], /, k: Truncation, **options: Unpack[Choices[ArrayT]]
) -> TruncatedSVDResult[ArrayT]: ...
@operation(
    "large matrices",
    example={"k": 3},
    rule=given_triplets,
    outputs="U S Vh",
    options=given_triplets.OPTIONS,
    at_ties=False,
    at_zeros=False,
    second=False,
)
def truncated_svd(
    x: ArrayT | Callable[..., Any],
    /,
    k: int | Truncation,
    *,
    ties: Ties = "nan",
    gap_rtol: float | None = None,
    solver: Solver | None = None,
    oversample: int | None = None,
    tol: float | None = None,
    maxiter: int = 100,
    seed: int = 0,
    adjoint: Method | None = None,
    adjoint_tol: float | None = None,
    unconverged: Unconverged = "warn",
    params: ArrayT | Params | None = None,
) -> SVDResult[ArrayT] | TruncatedSVDResult[ArrayT]:
    r"""The k largest singular triplets, differentiable without the rest of the spectrum.

    Parameters
    ----------
    x : array (..., m, n), sparse matrix, or operator
        A stack of any library; a sparse array of SciPy or CuPyX, a sparse tensor of PyTorch, a BCOO
        of JAX; a LinearOperator of SciPy or CuPyX, or what `operators.from_matmat` makes; sums of
        these, by `operators.as_operator`. Real or complex. With `params`, a function of them that
        returns one of these.
    k : int or Truncation
        From 1 to min(m, n), `cut` finds one that splits no multiplet; or what `truncation` makes, a
        rank that depends on the values and never splits one.
    ties : {"nan", "raise", "drop", "split"}
        As for `svd`; a cut inside a tie, S[k - 1] and the next value equal, is a tie of S[k - 1].
    gap_rtol : float, optional
        Values closer than this times the largest count as equal, default eps^(3/4). "split" has a
        width of its own.
    solver : {"krylov", "full", "scipy", "cupyx"} or callable, optional
        Who finds the triplets: the block Krylov iteration; a full SVD; `svds` of SciPy or CuPyX; or
        a callable ``(x, k) -> U, S, Vh`` of your own, such as `svds` with its LOBPCG or PROPACK.
        What these leave out is looked for, and counts as a residual. By default a full SVD up to a
        side of 256, on Dask, and where PyTorch compiles or maps (`torch.compile`,
        `torch.func.vmap`); else "krylov".
    oversample : int, optional
        The iteration looks for k + oversample triplets, default 8. Copies of S[k - 1]
        beyond as many are not seen.
    tol : float, optional
        Bound on the residuals \|\|A v - s u\|\| and \|\|A^H u - s v\|\| over S[0], default
        max(8 sqrt(max(m, n)), 128) eps. For other solvers, what is warned of; default eps^(3/4).
    maxiter : int
        Restarts of the iteration; the adjoint has 10 times as many iterations.
    seed : int
        Of the random start: the same seed gives the same result.
    adjoint : {"krylov", "full"}, optional
        How the derivative finds what lies outside of the kept space: by conjugate gradients, or by
        the discarded triplets of a full SVD. By default as the solver.
    adjoint_tol : float, optional
        Relative residual of the conjugate gradients, default as `tol`.
    unconverged : {"warn", "raise"}
        Whether an iteration that ends early warns or raises.
    params : array, or nested tuples, lists and dicts of arrays, optional
        What x is a function of, in PyTorch or JAX, and what is differentiated by. Numbers among
        them are differentiated by as the library does: in JAX, by floats. Integers have no
        derivative.

    Returns
    -------
    SVDResult
        U (..., m, k), S (..., k) in descending order, Vh (..., k, n). With a truncation a
        TruncatedSVDResult: k is most, or min(m, n) if that is less, columns that are not kept are
        zero, and `mask` (..., k), boolean, is True in those that are.

    Raises
    ------
    TypeError, ValueError
        For an x that is no matrix, an operator whose products are not each other's adjoint, or an
        option out of range.
    ConvergenceError
        With unconverged="raise".
    DerivativeUndefinedError
        From the derivative, with ties="raise".

    Warns
    -----
    UserWarning
        Where a truncation keeps nothing of a matrix that is not zero, on the host.
    ConvergenceWarning
        With the residual, where tol was not reached; the values are the best found. Where arrays
        are traced, as under `jax.jit`, `grad` and `vmap`, and no warning can be raised, they are
        NaN instead. From the derivative, which is NaN, where its system was not solved.

    See Also
    --------
    truncated_eigh, truncation, cut, truncation_error, operators.from_matmat

    Notes
    -----
    A cotangent of an array is an array, that of a sparse tensor (PyTorch, JAX) is sparse and of its
    pattern, and `sg.vjp` answers with an `operators.LowRank` for all that is no array. Gradients of
    U and V have an error of eps/gap, gaps to S[k] included, which nothing removes, and by tol/gap
    at most where the iteration ended; a loss of U_k U_k^H or of U f(S) V^H depends on the gap at
    the cut only, but above ties its cotangents still cancel: see `svd_function` and `low_rank` for
    matrices that can be decomposed. Second derivatives (PyTorch, JAX) take linear solves of the
    same kind.

    Of a Dask array in several blocks that are sparse, or with both sides above 256, the products
    are computed when this is called, and again for cotangents of U and Vh; thin arrays are in
    memory. U, Vh and the gradient are Dask arrays in its blocks; of sparse blocks the gradient is a
    `LowRank` of such.

    Block Lanczos iteration on the shorter side, with blocks of 4 to 16 vectors, then Rayleigh-Ritz
    on x itself, and an iteration on both sides for what is below some 1e-2 S[0]. Memory is that of
    a basis on the shorter side, of at most 100 + 5 (k + oversample) vectors, twice while it
    restarts, and 4 blocks of k + oversample vectors of the longer one, or some 25 such blocks of
    both where small values take the second iteration. The derivative takes one product with A and
    with A^H an iteration, for the columns that are not solved yet; those with a sparse matrix of
    SciPy's whose condition is bad are in single precision, in which it is held too meanwhile, and a
    few in double bring the result to that. Golub and Underwood (1977) for the iteration; Francuz,
    Schuch and Vanhecke (2025) for the derivative; Townsend (2016) for what is kept.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> x = np.diag([4.0, 3.0, 2.0, 1.0])
    >>> (U, S, Vh), pullback = sg.vjp(sg.truncated_svd, x, k=2)
    >>> S
    array([4., 3.])
    >>> np.allclose(pullback((None, np.array([0.0, 1.0]), None))[0], np.diag([0.0, 1.0, 0.0, 0.0]))
    True
    """
    options = Options(
        ties=ties,
        gap_rtol=gap_rtol,
        solver=solver,
        oversample=oversample,
        tol=tol,
        maxiter=maxiter,
        seed=seed,
        adjoint=adjoint,
        adjoint_tol=adjoint_tol,
        unconverged=unconverged,
    )
    _, _, found, narrow = decompose(triplets, x, k, "truncated_svd", options, params)
    U, S, Vh = map(narrow, found[:3])
    if isinstance(k, Truncation):
        return TruncatedSVDResult(U, S, Vh, kept_columns(found.S))
    return SVDResult(U, S, Vh)


def decompose(
    primitive: Primitive, x: Any, k: int | Truncation, function: str, options: Options, params: Any
) -> tuple[Any, Arrays, Found, Callable[[Any], Any]]:
    """The operand, its leaves, all that the Primitive returns, and what narrows a result again."""
    check_choice(options.ties, POLICIES, function, "ties")
    check_rtol(options.gap_rtol, function)
    check_choice(options.unconverged, ("warn", "raise"), function, "unconverged")
    check_solver(options.solver, options.adjoint)
    x, narrow = enter_operand(x, params, function)
    operand, leaves = as_operand(x, params, function)
    if operand is DENSE and streams(x, options.solver):
        operand = STREAMED
    options = resolved(options, k, operand, leaves, function)
    found = Found(*primitive(*leaves, operand=operand, options=options))
    report(found, operand, leaves, options)
    report_empty(found, options)
    if operand is STREAMED:
        found = spread(x, found)
    return operand, leaves, found, narrow


def resolved(options: Options, k: Any, operand: Any, leaves: Arrays, function: str) -> Options:
    """The options with every choice made, for a matrix of this kind, size and dtype."""
    A = operand.products(*leaves)
    check_operator_dtype(A.like, function)
    extra, rank = options.oversample, None
    if isinstance(k, Truncation) and not options.which:
        rank = k
    k = check_rank(k if rank is None else min(rank.most, *A.shape), A, function)
    extra = 8 if extra is None else check_count(extra, function, "oversample", 1)
    block = min(k + extra, *A.shape)
    chosen, fine = by_size(operand, leaves, A), default_tol(A)
    solver = chosen if options.solver is None else options.solver
    own = solver in ("krylov", "full")
    loose = fine if own else eps(A.like) ** 0.75
    options = replace(
        options,
        function=function,
        k=k,
        rank=rank,
        block=block,
        solver=solver,
        accepted=check_tol(options.tol, function, "tol", loose),
        maxiter=check_count(options.maxiter, function, "maxiter", 1),
        seed=check_count(options.seed, function, "seed", 0),
        adjoint=options.adjoint or (cast("Method", solver) if own else chosen),
        adjoint_tol=check_tol(options.adjoint_tol, function, "adjoint_tol", fine),
        reported=operand is STREAMED or all(library_of(x).values(x) is not None for x in leaves),
    )
    check_error(operand, leaves, A.like, options)
    return options


def _cause(A: Products, turns: int, options: Options) -> str:
    """Why a residual is large, and what helps."""
    mismatch = read(adjoint_mismatch(A)) if A.given else None
    if mismatch is not None and bool(mismatch > options.accepted):
        return (
            f"and the products of `x` and its adjoint agree to {float(mismatch):.2g} alone, as "
            "where they round to another precision or large terms cancel. Raise tol, or compute "
            "them more exactly."
        )
    if options.solver == "full":
        return (
            "and a full decomposition leaves no more than rounding: the operator's products are "
            "less accurate than that. Raise tol to their accuracy."
        )
    if options.solver != "krylov":
        return (
            "or the solver left a larger one out, as ARPACK may leave copies. Tighten the "
            "solver's own tolerance, raise tol, or choose solver='krylov'."
        )
    if turns < options.maxiter:
        return (
            f"after {turns} restarts, the last of which brought it down no further: it is what the "
            "rounding of the products leaves. Raise tol to their accuracy, or choose solver='full'."
        )
    return (
        f"after {turns} restarts. The values near the cut lie too close together for the "
        "iteration: move k to a gap (sg.cut), raise oversample or maxiter, loosen tol, or choose "
        "solver='full'."
    )


def report(found: Any, operand: Any, leaves: Arrays, options: Options) -> None:
    """Say that the iteration did not converge."""
    residual, turns = read(found.residual), read(found.turns)
    if residual is None or turns is None or 0 in residual.shape:
        return
    xp = array_namespace(residual)
    worst = float(xp.max(xp.where(xp.isnan(residual), 0.0, residual)))
    if worst <= options.accepted:
        return
    cause = _cause(operand.products(*leaves), int(xp.max(turns)), options)
    residual = "an eigenpair has a residual" if options.which else "a triplet has a residual"
    unit = "of the largest modulus" if options.which else "S[0]"
    message = (
        f"{options.function}: {residual} of {worst:.2g} {unit} where "
        f"tol = {options.accepted:.2g} was wanted, {cause}"
    )
    if options.unconverged == "raise":
        raise ConvergenceError(message)
    warn(ConvergenceWarning(message))
