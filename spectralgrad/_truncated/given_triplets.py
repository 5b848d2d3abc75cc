"""The rules of the truncated SVD for triplets that a caller found elsewhere."""

from __future__ import annotations

from typing import Any

from .._bindings.array import Array, Arrays, array_namespace, eps, invalidated, nan_where
from .._engine.errors import ConvergenceWarning, warn
from .._engine.operators import LowRank
from .._engine.options import check_count, check_tol
from .._engine.products import Products
from .._engine.reading import read
from .._spectrum.ties import Ties, first, split_width, unit_of
from . import rules
from .arguments import whole
from .krylov import default_tol, true_residual
from .options import Method, Options
from .solvers import beyond, by_size
from .split import Found, values_before

OPTIONS = {"ties": "nan", "gap_rtol": None, "adjoint": None, "adjoint_tol": None, "maxiter": 100}


def _rule(
    kind: str,
    inputs: Arrays,
    triplets: Arrays,
    directions: Arrays,
    *,
    ties: Ties,
    gap_rtol: float | None,
    adjoint: Method | None,
    adjoint_tol: float | None,
    maxiter: int,
) -> Arrays:
    """A rule of `truncated_svd`, once the largest triplets beyond the given ones are found."""
    (A,), (U, S, Vh), function = inputs, triplets, f"sg.rules.truncated_svd_{kind}"
    if S.shape[-1] == 0:
        raise ValueError(f"{function}: no triplet came; wanted the k largest of x, with k >= 1.")
    operand = whole(A)
    products = operand.products(A)
    method = adjoint or by_size(operand, (A,), products)
    options = Options(
        ties=ties,
        gap_rtol=gap_rtol,
        maxiter=check_count(maxiter, function, "maxiter", 1),
        adjoint=method,
        adjoint_tol=check_tol(adjoint_tol, function, "adjoint_tol", default_tol(products)),
    )
    rest = beyond(products, (U, S, Vh), full=method == "full")
    found = Found(U, S, Vh, *rest)
    invalid = _invalid(products, _as_found(A, found, operand, options), function)[..., None]
    rule = rules.truncated_jvp if kind == "jvp" else rules.truncated_vjp
    directions = (*directions, *(None,) * 5)
    result = rule((A,), (*found,), directions, operand=operand, options=options)
    return tuple(_plus(R, invalid) for R in result[:3])


def _as_found(A: Any, given: Found, operand: Any, options: Options) -> Arrays:
    """The triplets with values from before a split, where a split is all that moved them."""
    U, S, Vh, *_ = given
    xp, before = array_namespace(S), values_before((A,), given, operand, options)
    moved = (S.shape[-1] + 1) * split_width(S, first(S))
    return U, xp.where(xp.abs(S - before) <= moved, before, S), Vh


def _invalid(A: Products, triplets: Arrays, function: str) -> Array:
    """NaN for batch elements whose triplets are none of A, else zero.

    What is accepted is what `truncated_svd` accepts of itself and of other solvers. The derivative
    is off by the residual over the gap at most, as there.
    """
    (U, S, _), xp = triplets, array_namespace(triplets[1])
    rounding = max(eps(U), eps(A.like))
    wanted = max(rounding**0.75, default_tol(A) * (rounding / eps(A.like)))
    negative = xp.max(-S / unit_of(S), axis=-1)
    residual = xp.maximum(true_residual(A, *triplets), negative)
    known = read(residual)
    if known is not None and 0 not in known.shape:
        worst = float(xp.max(xp.where(xp.isnan(known), 0.0, known)))
        if worst > wanted:
            warn(ConvergenceWarning(_message(function, worst, wanted)))
    return nan_where(residual > wanted, S)


def _plus(result: Any, invalid: Array) -> Any:
    """A rule's result, and NaN in batch elements that are (..., 1) NaN."""
    if result is None:
        return None
    if isinstance(result, LowRank):
        return LowRank(invalidated(result.left, invalid[..., None]), result.right)
    of_matrix = result.ndim > invalid.ndim
    return invalidated(result, invalid[..., None] if of_matrix else invalid)


def _message(function: str, worst: float, wanted: float) -> str:
    return (
        f"{function}: the derivative is NaN, since the triplets that were given are none of x: the "
        f"greatest of ||A v - s u|| / S[0], ||A^H u - s v|| / S[0], -s / S[0] and the columns of "
        f"U^H U - I and V^H V - I is {worst:.2g} where {wanted:.2g} was wanted. Tighten the "
        "tolerance of the solver that they come from, or differentiate "
        "sg.truncated_svd(x, k, solver=..., tol=...), which accepts what it is told to."
    )


def jvp(inputs: Arrays, triplets: Arrays, tangents: Arrays, **options: Any) -> Arrays:
    """Tangents of U, S and Vh."""
    return _rule("jvp", inputs, triplets, tangents, **options)


def vjp(inputs: Arrays, triplets: Arrays, cotangents: Arrays, **options: Any) -> tuple[Array]:
    """The cotangent of x."""
    (x_bar,) = _rule("vjp", inputs, triplets, cotangents, **options)
    return (x_bar,)
