"""The plain rules, for those who hold factors already.

Every rule has one signature:

    rule_vjp(inputs, outputs, cotangents, **options) -> cotangents of the inputs
    rule_jvp(inputs, outputs, tangents, **options)   -> tangents of the outputs

Where there is one input, output or cotangent, a bare array does for a tuple of one, and a bare
`inputs` gets a bare answer; None stands for zero. Rules neither warn nor raise: what is undefined
is NaN. The convention is dL = Re sum(conj(x_bar) * dx).

=================  ===============  ============  =========================
rule               inputs           outputs       options
=================  ===============  ============  =========================
svd                x                U, S, Vh      ties, gap_rtol
svdvals            x, U, S, Vh      S
eigh               x                w, Q          ties, gap_rtol
eigvalsh           x, w, Q          w
svd_function       x, U, S, Vh      out           f
eigh_function      x, w, Q          out           f
orthogonalize      x, U, S, Vh      out           signed
low_rank           x, U, S, Vh      out           k < min(m, n)
nuclear_norm       x, U, S, Vh      out
ky_fan_norm        x, U, S, Vh      out           k < min(m, n)
truncated_svd      x                U, S, Vh      ties, gap_rtol, adjoint, adjoint_tol, maxiter
=================  ===============  ============  =========================

With factors among the inputs, x carries the whole derivative and the factors' cotangents are None.
Where f has an array for a parameter, that counts as one more input, at the end. `signed=True` is
the nearest rotation. The factors of `truncated_svd` are the k largest triplets, from any solver; x
is an array, a sparse matrix or an operator, the cotangent of the last two an `operators.LowRank`.

Examples
--------
>>> import numpy as np, spectralgrad as sg
>>> x = np.diag([3.0, 2.0])
>>> U, S, Vh = np.linalg.svd(x)
>>> sg.rules.svd_vjp(x, (U, S, Vh), (None, np.ones(2), None))
array([[1., 0.],
       [0., 1.]])
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from ._engine.checks import check_count, check_tol
from ._engine.primitive import Primitive, answered
from ._functions.arguments import as_scalar_function
from ._operations import eigh, eigh_function, low_rank, norms, polar, svd, svd_function, svdvals
from ._truncated import rules as truncated
from ._truncated.krylov import default_tol
from ._truncated.operands import whole
from ._truncated.options import Options
from ._truncated.solvers import beyond, by_size


def _tupled(arrays: Any) -> tuple:
    return tuple(arrays) if isinstance(arrays, tuple | list) else (arrays,)


def _plain(rule: Callable, answers_for: int) -> Callable:
    """Let bare arrays stand for tuples of one, as the given argument does for the answer."""

    @wraps(rule)
    def plain(inputs: Any, outputs: Any, directions: Any, /, **options: Any) -> Any:
        args: tuple = tuple(map(_tupled, (inputs, outputs, directions)))
        if "f" in options:
            options["f"], parameters = as_scalar_function(options["f"], args[0][0], rule.__name__)
            args = (*args[0], *parameters), *args[1:]
        if all(direction is None for direction in args[2]):
            result = (None,) * len(args[answers_for])
        else:
            result = rule(*args, **options)
            result = answered(
                result if isinstance(result, tuple) else (result,), range(len(args[answers_for]))
            )
        return result if isinstance((inputs, outputs)[answers_for], tuple | list) else result[0]

    return plain


def _pair(primitive: Primitive) -> tuple[Callable, Callable]:
    return _plain(primitive.jvp, answers_for=1), _plain(primitive.vjp, answers_for=0)


svd_jvp, svd_vjp = _pair(svd.svd_factors)
svdvals_jvp, svdvals_vjp = _pair(svdvals.of_svd)
eigh_jvp, eigh_vjp = _pair(eigh.eigh_factors)
eigvalsh_jvp, eigvalsh_vjp = _pair(svdvals.of_eigh)
svd_function_jvp, svd_function_vjp = _pair(svd_function.of_singular_values)
eigh_function_jvp, eigh_function_vjp = _pair(eigh_function.of_eigenvalues)
orthogonalize_jvp, orthogonalize_vjp = _pair(polar.polar_factor)
low_rank_jvp, low_rank_vjp = _pair(low_rank.best_of_rank)
nuclear_norm_jvp, nuclear_norm_vjp = _pair(norms.nuclear)
ky_fan_norm_jvp, ky_fan_norm_vjp = _pair(norms.ky_fan)


def _with_triplets(rule: Callable, count: int) -> Callable:
    """A rule of `truncated_svd` for triplets found elsewhere; it has `count` answers."""

    @wraps(rule)
    def plain(
        x: Any,
        triplets: tuple,
        directions: Any,
        /,
        *,
        ties: str = "nan",
        gap_rtol: float | None = None,
        adjoint: str | None = None,
        adjoint_tol: float | None = None,
        maxiter: int = 100,
    ) -> Any:
        name = rule.__name__
        (A,), (U, S, Vh), directions = _tupled(x), triplets, _tupled(directions)
        operand, k = whole(A), S.shape[-1]
        products = operand.products(A)
        method = adjoint or by_size(operand, (A,), products, k)
        rest = beyond(products, U, Vh, full=method == "full")
        if all(direction is None for direction in directions):
            answers: tuple = (None,) * count
        else:
            answers = rule(
                (A,),
                (U, S, Vh, *rest, None),
                (*directions, None, None, None, None),
                operand=operand,
                options=Options(
                    ties=cast("Any", ties),
                    gap_rtol=gap_rtol,
                    maxiter=check_count(maxiter, name, "maxiter", 1),
                    adjoint=cast("Any", method),
                    adjoint_tol=check_tol(adjoint_tol, name, "adjoint_tol", default_tol(products)),
                ),
            )[:count]
        return answers if count > 1 or isinstance(x, tuple | list) else answers[0]

    return plain


truncated_svd_jvp = _with_triplets(truncated.truncated_jvp, 3)
truncated_svd_vjp = _with_triplets(truncated.truncated_vjp, 1)

__all__ = sorted(name for name in globals() if name.endswith(("_jvp", "_vjp")))
