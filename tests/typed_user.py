"""A user's script under strict type checkers, in `ci/lint`; `test_package.py` runs it too.

A line with an ignore is wrong: where the checker accepts it, the ignore is one too many, and an
error.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=error
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import spectralgrad as sg

Matrix = NDArray[np.float64]


class Tensor:
    """Stands for an array of another library."""

    shape = (3, 3)
    dtype = "float64"


def right(x: Matrix, tensor: Tensor) -> None:
    assert_type(sg.svd(x).U, Matrix)
    assert_type(sg.svd(tensor).Vh, Tensor)
    assert_type(sg.truncated_svd(tensor, 2, solver="krylov"), sg.SVDResult[Tensor])
    rank = sg.truncation(most=2, rtol=1e-3)
    assert_type(sg.truncated_svd(tensor, rank, ties="drop"), sg.TruncatedSVDResult[Tensor])
    assert_type(sg.truncation_error(tensor, rank), Tensor)
    assert_type(sg.svd_function(tensor, sg.functions.power(2.5)), Tensor)
    assert_type(sg.eigh_function(tensor, (np.tanh, lambda w: np.cosh(w) ** -2)), Tensor)
    assert_type(sg.kabsch(tensor, tensor).rotation, Tensor)
    assert_type(sg.directional_svdvals(x, x), Matrix)
    assert_type(sg.singular_vector_jacobian(tensor, 0).u, Tensor)
    assert_type(sg.cut(np.ones(3), 2), int)
    assert_type(sg.analytic_svd(lambda t: x, [0.0, 1.0]).U, Matrix)
    value, pullback = sg.vjp(sg.svdvals, x)
    (x_bar,) = pullback(value)
    _, tangent = sg.jvp(sg.svdvals, (x,), (x_bar,))
    sg.hvp(sg.nuclear_norm, x, x, 1.0)
    sg.rules.svd_vjp(x, sg.svd(x), (None, tangent, None), ties="split")


def wrong(x: Matrix) -> None:
    sg.svd(x, ties="bogus")  # type: ignore[arg-type]
    sg.eigh(x, ties=1e-3)  # type: ignore[arg-type]
    sg.truncated_svd(x, k="two")  # type: ignore[call-overload]
    sg.truncated_svd(x, 2, solver="lanczos")  # type: ignore[call-overload]
    _ = sg.truncated_svd(x, sg.truncation(2)).rank  # type: ignore[attr-defined]
    sg.truncation(most=0.1)  # type: ignore[arg-type]
    sg.low_rank(x, 2.5)  # type: ignore[arg-type]
    sg.polar(x, side="both")  # type: ignore[arg-type]
    sg.svd("matrix")  # type: ignore[type-var]
    _ = sg.svd(x).singular_values  # type: ignore[attr-defined]
    sg.svd_function(x, "tanh")  # type: ignore[arg-type]
