r"""The error of a truncation: the norm of what it leaves out.

The error e = ||R|| of k triplets has the derivative <R, dA>/e, R being what is left over
(`left_over`): to first order the best approximation moves within its tangent space, to which R is
orthogonal. Of a sparse matrix e comes from a difference: NaN where half of the digits are gone.

At e = 0, a kink, the subgradient is 0; where the cut splits a tie there is none: NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._bindings.array import (
    Array,
    Arrays,
    ArrayT,
    adjoint,
    array_namespace,
    beside,
    conj,
    eps,
    expand,
    nan_where,
    real,
)
from .._bindings.lookup import is_dense, project_out
from .._engine.elementary import once_differentiable
from .._engine.errors import ConvergenceWarning, warn
from .._engine.operators import LowRank, PlusMultiple
from .._engine.primitive import Primitive
from .._engine.products import Products, identity_slices, products_of
from .._engine.reading import read
from .._operations.declaration import operation
from .._spectrum.naming import name_pair
from .._spectrum.ties import first, gap_tolerance, unit_of, zero_tolerance
from .._spectrum.undefined import Undefined
from .._spectrum.units import quotient, unit_within
from .left_over import entries_of, left_over, left_over_of, squared_norm
from .operands import DENSE, STREAMED, WHOLE, Entries
from .options import Options, Params, Solver, Unconverged
from .rules import triplet_factors
from .split import next_value
from .svd import decompose
from .truncation import Truncation


def _low_rank_part(A: Products, U: Array, S: Array, Vh: Array) -> LowRank:
    """R - A, of rank 2 k."""
    V = adjoint(Vh)
    left, right = project_out(U, A.matmat(V) - U * S[..., None, :]), A.rmatmat(U)
    return LowRank(-beside([left, U]), beside([V, right]))


def _forward(*inputs: Any, operand: Any, count: int, complete: bool) -> Array:
    """e, from the leaves, U, S, Vh and the next values; 0 if these triplets are all."""
    leaves, (U, S, Vh, following) = inputs[:count], inputs[count:]
    xp = array_namespace(S)
    if complete:
        return xp.sum(0.0 * S, axis=-1)  # NaN of NaN
    unit = unit_of(next_value(beside([S, following])))[..., 0]
    square, whole = squared_norm(operand, leaves, (U, S, Vh), unit)
    lost = square < eps(S) ** 0.5 * whole
    return unit * xp.sqrt(xp.where(lost, 0.0, square)) + nan_where(lost, S)


def _over_error(
    inputs: Arrays, outputs: Arrays, count: int, complete: bool
) -> Callable[[Array, int], Array]:
    """R -> R/e, of as many axes; 0 where e counts as zero, NaN where the cut splits a tie."""
    (U, S, Vh, following), (e,) = inputs[count:], outputs
    xp, tolerance, unit = array_namespace(S), _zero_tolerance(U, S, Vh), unit_within(S)
    zero = e <= tolerance
    valid = 1.0 + xp.zeros_like(e)
    if not complete:  # else e is 0 around here too
        valid = valid + once_differentiable(e, lambda: zero)
    if following.shape[-1]:
        valid = valid + nan_where(_splits_tie(S, following) & ~zero, S)

    def over_error(R: Array, axes: int) -> Array:
        whole = quotient(R, expand(e, axes), expand(tolerance, axes), unit, axes)
        return whole * expand(valid, axes)

    return over_error


def _splits_tie(S: Array, following: Array) -> Array:
    """Whether the least value, of those an adaptive rank keeps, and the next count as equal."""
    xp = array_namespace(S)
    least = xp.min(xp.where(S != 0, S, float("inf")), axis=-1, keepdims=True)
    return (least - next_value(following) <= gap_tolerance(first(S)))[..., 0]


def _zero_tolerance(U: Array, S: Array, Vh: Array) -> Array:
    return zero_tolerance(16 * max(U.shape[-2], Vh.shape[-1]), S)[..., 0]


def _undefined(
    inputs: Arrays,
    outputs: Arrays,
    directions: Arrays,
    result: Arrays,
    *,
    operand: Any,
    count: int,
    complete: bool,
) -> Exception | None:
    U, S, Vh, following = inputs[count:]
    k, values = S.shape[-1], beside([S, following])
    if values.shape[-1] == k:
        return None
    return Undefined("truncation_error").explain_elements(
        _splits_tie(S, following) & (outputs[0] > _zero_tolerance(U, S, Vh)),
        values,
        tuple(d for d in directions[:count] if is_dense(d)),
        lambda S: f"the cut splits a tie, {name_pair('S', S, k - 1)}",
        "Take another k (sg.cut finds one), or keep it out of the loss, as by where(ok, loss, 0)",
    )


def _sum(a: Array | None, b: Array | None) -> Array | None:
    return None if a is None or b is None else a + b


def _vjp(
    inputs: Arrays, outputs: Arrays, bars: Arrays, *, operand: Any, count: int, complete: bool
) -> Arrays:
    leaves, (U, S, Vh, _) = inputs[:count], inputs[count:]
    over_error, c, held = _over_error(inputs, outputs, count, complete), bars[0], (None,) * 4
    if operand is DENSE:
        return expand(c, 2) * over_error(left_over_of(leaves[0], U, S, Vh), 2), *held
    A = operand.products(*leaves)
    if operand is WHOLE:
        part, c = _low_rank_part(A, U, S, Vh), over_error(c, 0)
        return PlusMultiple(c * part.left, part.right, c, leaves[0]), *held
    if isinstance(operand, Entries):
        values, rows, cols = leaves
        R = values + _low_rank_part(A, U, S, Vh).at(rows, cols)
        return c * over_error(R, 1), None, None, *held
    totals: Arrays = ()
    for block in identity_slices(A.like, A.shape[1]):
        part = c * over_error(left_over(A, U, S, Vh, block), 2)
        terms = operand.cotangents(leaves, [part], [block])
        totals = tuple(map(_sum, totals, terms)) if totals else terms
    return *totals, *held


def _jvp(
    inputs: Arrays, outputs: Arrays, tangents: Arrays, *, operand: Any, count: int, complete: bool
) -> Array:
    """<R, dA>/e."""
    leaves, (U, S, Vh, _), dots = inputs[:count], inputs[count:], tangents[:count]
    xp, over_error = array_namespace(S), _over_error(inputs, outputs, count, complete)
    if all(dx is None for dx in dots):  # what the factors do, the leaves carry
        return None
    if operand is DENSE:
        R = over_error(left_over_of(leaves[0], U, S, Vh), 2)
        return xp.sum(real(conj(R) * dots[0]), axis=(-2, -1))
    A = operand.products(*leaves)
    if isinstance(operand, Entries):
        values, rows, cols = leaves
        R = over_error(values + _low_rank_part(A, U, S, Vh).at(rows, cols), 1)
        return xp.sum(real(conj(R[None, :])[0, :] * dots[0]))
    total = 0.0
    for block in identity_slices(A.like, A.shape[1]):
        if operand is WHOLE:
            dA_X = products_of(dots[0]).matmat(block)
        else:
            dA_X = operand.tangents(leaves, dots, U, block)[0]
        R = over_error(left_over(A, U, S, Vh, block), 2)
        total = total + xp.sum(real(conj(R) * dA_X))
    return total


# inputs: the leaves, U, S, Vh and the next values, which the leaves carry
error_of = Primitive(
    "truncation_error", _forward, _jvp, _vjp, core=0, undefined=_undefined, iterates=True
)


@operation("large matrices", example={"k": 3}, at_ties=False, at_zeros=False, second=False)
def truncation_error(
    x: ArrayT | Callable[..., Any],
    /,
    k: int | Truncation,
    *,
    solver: Solver | None = None,
    oversample: int | None = None,
    tol: float | None = None,
    maxiter: int = 100,
    seed: int = 0,
    unconverged: Unconverged = "warn",
    params: ArrayT | Params | None = None,
) -> ArrayT:
    r"""The Frobenius norm of what the k largest triplets leave: sqrt(sum of discarded s^2).

    Parameters
    ----------
    x : array (..., m, n), sparse matrix, or operator
        As for `truncated_svd`.
    k : int or Truncation
        From 1 to min(m, n), or what `truncation` makes: then of the triplets that it keeps.
    solver, oversample, tol, maxiter, seed, unconverged, params
        As for `truncated_svd`.

    Returns
    -------
    array (...)
        Real.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `truncated_svd` does.

    Warns
    -----
    DerivativeUndefinedWarning
        For a derivative where the cut splits a tie, on the host.
    ConvergenceWarning
        For a sparse matrix whose error is below eps^(1/4) of its norm, and NaN, since half of the
        digits are lost in the difference; take the matrix as an operator or an array.

    See Also
    --------
    truncated_svd, truncation, low_rank

    Notes
    -----
    Exact to rounding, eps S[0], without the discarded spectrum; of a sparse matrix, whose norm is
    subtracted from, to eps ||x||^2/e. If k is min(m, n), it is 0 to every order. The gradient (x -
    U S Vh)/e is 0 where e counts as zero, at 8 sqrt(max(m, n)) eps S[0], and NaN where the cut
    splits a tie. PyTorch and JAX differentiate the gradient where it is not 0, to eps S[0]/gap, and
    also at ties on one side of the cut. For an operator the cost is n products in slices of 256;
    its cotangent is a multiple of the operator plus a `LowRank`. Mirsky (1960), Symmetric gauge
    functions and unitarily invariant norms.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> float(sg.truncation_error(np.diag([5.0, 4.0, 3.0]), 1))
    5.0
    """
    # U, S and Vh come in as factors that x carries. Derivatives of second order pass by them, and
    # no error depends on the choice of vectors in a tie among those kept.
    options = Options(
        ties="drop",
        solver=solver,
        oversample=oversample,
        tol=tol,
        maxiter=maxiter,
        seed=seed,
        unconverged=unconverged,
    )
    operand, leaves, out, narrow = decompose(
        triplet_factors, x, k, "truncation_error", options, params
    )
    U, S, Vh, _, following, *_ = out
    if operand is STREAMED:  # whose factors are Dask's now
        operand = DENSE
    complete = not isinstance(k, Truncation) and S.shape[-1] == min(U.shape[-2], Vh.shape[-1])
    e = error_of(
        *leaves, U, S, Vh, following, operand=operand, count=len(leaves), complete=complete
    )
    found = read(e, insist=False)
    if found is not None and entries_of(operand, leaves) is not None:
        xp = array_namespace(found)
        if bool(xp.isnan(found) & xp.all(xp.isfinite(S))):
            message = (
                "truncation_error: NaN, since the error of this sparse matrix is below eps^(1/4) "
                "of its norm and is lost in their difference. Take it as an operator "
                "(sg.operators.from_matmat) or a dense array, or take a smaller k."
            )
            warn(ConvergenceWarning(message))
    result: ArrayT = narrow(e)
    return result
