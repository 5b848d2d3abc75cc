"""The eigenpairs at an end of the spectrum of what may be too large to decompose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from .._bindings.array import ArrayT
from .._engine.options import check_choice, check_rtol
from .._operations.declaration import operation
from .._operations.eigh import EighResult
from .arguments import as_operand, enter_operand
from .eigen_rules import eigenpairs
from .eigenpairs import Eigenpairs, Which
from .operands import Hermitian
from .options import Method, Options, Params, Unconverged
from .svd import report, resolved

Ties = Literal["nan", "raise", "drop"]


@operation(
    "large matrices",
    example={"k": 3},
    outputs="w Q",
    hermitian=True,
    at_ties=False,
    second=False,
)
def truncated_eigh(
    x: ArrayT | Callable[..., Any],
    /,
    k: int,
    *,
    which: Which = "largest",
    ties: Ties = "nan",
    gap_rtol: float | None = None,
    solver: Method | None = None,
    oversample: int | None = None,
    tol: float | None = None,
    maxiter: int = 100,
    seed: int = 0,
    unconverged: Unconverged = "warn",
    params: ArrayT | Params | None = None,
) -> EighResult[ArrayT]:
    r"""The k eigenpairs at an end of a Hermitian spectrum, differentiable without the rest.

    Parameters
    ----------
    x : array (..., n, n), sparse matrix, or operator
        As for `truncated_svd`. Of an array the Hermitian part (x + x^H)/2 is read; all else has to
        be Hermitian, and only its products ``matmat`` are taken.
    k : int
        From 1 to n.
    which : {"largest", "smallest", "magnitude"}
        The largest eigenvalues, the smallest, or those of the largest modulus.
    ties : {"nan", "raise", "drop"}
        As for `eigh`; a cut inside a tie is a tie of the kept value. With "magnitude", a cut
        between w and -w leaves even the value undefined.
    gap_rtol : float, optional
        Values closer than this times the largest modulus of all eigenvalues count as equal, default
        eps^(3/4).
    solver : {"krylov", "full"}, optional
        The block Lanczos iteration, and conjugate gradients for the derivative, or a full
        decomposition. By default as for `truncated_svd`.
    oversample : int, optional
        The iteration looks for k + oversample pairs, default 8. Copies of the last value beyond as
        many are not seen.
    tol : float, optional
        Bound on the residuals \|\|A q - w q\|\| over the largest modulus, and on those of the
        derivative's systems, default max(8 sqrt(n), 128) eps.
    maxiter, seed, unconverged, params
        As for `truncated_svd`.

    Returns
    -------
    EighResult
        eigenvalues (..., k), ascending, and eigenvectors (..., n, k) in columns.

    Raises
    ------
    TypeError, ValueError
        For an x that is no square matrix, a sparse matrix or operator that is not Hermitian, or an
        option out of range.
    ConvergenceError
        With unconverged="raise".
    DerivativeUndefinedError
        From the derivative, with ties="raise".

    Warns
    -----
    ConvergenceWarning
        As `truncated_svd` does; under tracing, values that have not converged are NaN.

    See Also
    --------
    truncated_svd, eigh, eigenprojector, operators.from_matmat

    Notes
    -----
    A cotangent is Hermitian, and comes as that of `truncated_svd`: an array, a sparse tensor, or an
    `operators.LowRank`. Gradients of eigenvectors have an error of eps/gap, gaps to the next value
    included; for a function of x that can be decomposed, see `eigenprojector` and `eigh_function`.
    Values are accurate to eps times the largest modulus: for the smallest of a matrix with a wide
    spectrum, which take many iterations, iterate on its inverse as an operator.

    Block Lanczos iteration with thick restarts, of -x for the smallest; memory is that of a basis
    of at most 100 + 5 (k + oversample) vectors. The derivative takes one product an iteration.
    Golub and Underwood (1977), The block Lanczos method for computing eigenvalues; Wu and Simon
    (2000), Thick-restart Lanczos method for large symmetric eigenvalue problems.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> x = np.diag([4.0, -3.0, 2.0, 1.0])
    >>> (w, Q), pullback = sg.vjp(sg.truncated_eigh, x, k=2)
    >>> w
    array([2., 4.])
    >>> np.allclose(pullback((np.array([0.0, 1.0]), None))[0], np.diag([1.0, 0.0, 0.0, 0.0]))
    True
    >>> sg.truncated_eigh(x, 2, which="magnitude").eigenvalues
    array([-3.,  4.])
    """
    function = "truncated_eigh"
    check_choice(which, get_args(Which), function, "which")
    check_choice(ties, get_args(Ties), function, "ties")
    check_rtol(gap_rtol, function)
    check_choice(unconverged, ("warn", "raise"), function, "unconverged")
    if solver is not None:
        check_choice(solver, get_args(Method), function, "solver")
    x, narrow = enter_operand(x, params, function)
    of, leaves = as_operand(x, params, function, adjoint=False)
    shape = of.products(*leaves).shape
    if shape[0] != shape[1]:
        raise ValueError(
            f"{function}: argument `x` has shape {tuple(shape)}; wanted a square matrix, (..., n, "
            "n). The singular values of rectangular ones are truncated_svd's."
        )
    options = Options(
        ties=ties,
        gap_rtol=gap_rtol,
        solver=solver,
        oversample=oversample,
        tol=tol,
        maxiter=maxiter,
        seed=seed,
        adjoint_tol=tol,
        unconverged=unconverged,
        which=which,
    )
    options, operand = resolved(options, k, of, leaves, function), Hermitian(of)
    found = Eigenpairs(*eigenpairs(*leaves, operand=operand, options=options))
    report(found, operand, leaves, options)
    return EighResult(narrow(found.w), narrow(found.Q))
