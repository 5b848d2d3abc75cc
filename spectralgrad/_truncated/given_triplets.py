"""The rules of the truncated SVD for triplets that a caller found elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._bindings.array import Array, Arrays
from .._engine.options import check_count, check_tol
from .._spectrum.ties import Ties
from . import rules
from .krylov import default_tol
from .operands import whole
from .options import Method, Options
from .solvers import beyond, by_size

OPTIONS = {"ties": "nan", "gap_rtol": None, "adjoint": None, "adjoint_tol": None, "maxiter": 100}


def _rule(
    rule: Callable[..., Arrays],
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
    (A,), (U, S, Vh) = inputs, triplets
    operand, k = whole(A), S.shape[-1]
    products = operand.products(A)
    method = adjoint or by_size(operand, (A,), products, k)
    rest = beyond(products, U, Vh, full=method == "full")
    tol = check_tol(adjoint_tol, "sg.rules.truncated_svd", "adjoint_tol", default_tol(products))
    maxiter = check_count(maxiter, "sg.rules.truncated_svd", "maxiter", 1)
    return rule(
        (A,),
        (U, S, Vh, *rest, None),
        (*directions, None, None, None, None),
        operand=operand,
        options=Options(
            ties=ties, gap_rtol=gap_rtol, maxiter=maxiter, adjoint=method, adjoint_tol=tol
        ),
    )


def jvp(inputs: Arrays, triplets: Arrays, tangents: Arrays, **options: Any) -> Arrays:
    """Tangents of U, S and Vh."""
    return _rule(rules.truncated_jvp, inputs, triplets, tangents, **options)[:3]


def vjp(inputs: Arrays, triplets: Arrays, cotangents: Arrays, **options: Any) -> tuple[Array]:
    """The cotangent of x."""
    return (_rule(rules.truncated_vjp, inputs, triplets, cotangents, **options)[0],)
