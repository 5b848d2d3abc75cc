"""Analytic singular value decompositions along a path of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple

import numpy as np

from .._bindings.array import Array, ArrayT
from .._engine.checks import check_rank
from .._engine.errors import ConvergenceError
from .._engine.options import check_choice, check_rtol
from .._operations.svd import SVDResult
from .arguments import NAME, Matrices, matrices_of, parameters
from .factors import CutError, factors
from .following import Unresolved
from .points import Path, Tolerances


class AnalyticSVDResult(NamedTuple, Generic[ArrayT]):
    """Factors of path(t) = (U * S[..., None, :]) @ Vh, and their derivatives by t."""

    U: ArrayT
    S: ArrayT
    Vh: ArrayT
    derivative: SVDResult[ArrayT] | None


def analytic_svd(
    path: ArrayT | Callable[[Any], ArrayT],
    t: Any,
    *,
    k: int | None = None,
    derivative: ArrayT | Callable[[Any], ArrayT] | None = None,
    gap_rtol: float | None = None,
    unresolved: Literal["raise", "match"] = "raise",
) -> AnalyticSVDResult[ArrayT]:
    r"""Continuous factors of a path of matrices, with signed and unordered singular values.

    Sorted singular values have kinks where they cross or reach zero, and their vectors jump there.
    Along an analytic path A(t) there are factors A = U diag(S) V^H that are analytic in t, with
    values that cross each other and change sign.

    Parameters
    ----------
    path : callable, or array (len(t), m, n)
        A callable takes one parameter and returns a real or complex matrix (m, n). It is also
        called between the entries of t, never outside of their range. An array holds the matrices
        at t and is matched as it is.
    t : array or sequence of numbers
        Strictly increasing or decreasing. A callable gets a 0-d array of t's library, or a Python
        number where t is a NumPy array or a sequence.
    k : int, optional
        How many triplets to follow: those whose values are the largest at t[0]. They may cross the
        others later on. Default all min(m, n).
    derivative : callable, or array (len(t), m, n), optional
        dA/dt, as `path` is given. Derivatives of the factors are returned then.
    gap_rtol : float, optional
        Values nearer than this times the largest at that t count as equal, default eps^(3/4). A
        path that is computed with an error of e in place of eps, relative to its norm, wants
        e^(3/4).
    unresolved : {"raise", "match"}
        What to do where vectors cannot be followed: an error, or a guess, the columns that match
        best.

    Returns
    -------
    AnalyticSVDResult
        U (len(t), m, k), S (len(t), k) and Vh (len(t), k, n), of the library, device and dtype of
        the matrices. S[0] is descending and not negative, to the tolerance. `derivative` is None,
        or an SVDResult with the derivatives of all three by t.

    Raises
    ------
    TypeError, ValueError
        For matrices that are not real or complex floating point arrays of one kind and shape, or
        are not finite, differentiated or traced; for a t that is not in order; if k is out of
        range, or cuts values that are equal all along the path.
    ConvergenceError
        With unresolved="raise", where vectors cannot be followed: it names the interval and the two
        values that exchange them.

    See Also
    --------
    svd, directional_svdvals

    Notes
    -----
    The path is followed by decisions on values: on the host, in double precision, with SVDs of
    NumPy. The result has no derivative by what `path` depends on.

    *What is unique.* Vectors and value of a real triplet that is not equal to another one, or zero,
    all along the path: up to a constant sign of u and v, whose product is that of s. Those of a
    complex one up to a phase exp(i phi(t)) that u and v share, and the factors of a multiplet,
    equal all along, up to a unitary matrix W(t). These are chosen for the least variation, the
    integral of |dU|^2 + |dV|^2, which leaves a constant: U^H dU + V^H dV is zero for each triplet
    or multiplet. (Where a value is zero all along, U^H dU and V^H dV are, and also the part of the
    change in the null space.) For an array of complex matrices, multiplets or null vectors this
    holds to second order in the spacing: each entry changes least from the one before.

    *Crossings.* Vectors are matched from a point to the next by their overlaps. Of a callable, a
    step with an overlap below 0.9, at its end, shortly before a tie there, or at a point within, is
    halved, up to 60 times.
    Where values change places in a step, the point at which they are nearest is found: if they are
    equal there, to the tolerance, they cross; if not, the crossing is avoided, and the path is
    refined there until the vectors' turning is seen. What takes place within one step and ends as
    it began, such as two avoided crossings of the same values one after the other, is not seen:
    choose t dense enough for that. Of an array, an overlap above 0.9 is taken for a continuation,
    so values that change places between two entries while their vectors stay have crossed. An
    avoided crossing narrower than the spacing looks the same. A lower overlap would be a guess, and
    raises an error unless allowed.

    *At and near a tie* a decomposition does not show the vectors. Polynomials through the vectors
    on both sides do, to the estimated error of eps^(1/2) or better; else it is an error. This holds
    for crossings, contacts of values, zeros, and any number of values at once, at the ends of the
    path too, in an array as far as its spacing allows. Elsewhere vectors have an error of eps over
    the gap. Derivatives of U and V at a tie are slopes of the same polynomials, and NaN where these
    do not agree; elsewhere they have an error of eps over the gap's square. Those of S are
    Re u^H (dA/dt) v.

    *The limit* is the analytic path. Rellich's example,

        A(t) = I + exp(-1/t^2) [[cos 2/t, sin 2/t], [sin 2/t, -cos 2/t]],

    has derivatives of all orders, but no continuous vectors at t = 0. Its values are equal to
    rounding for |t| < 0.19, no polynomial continues the vectors, and this is an error. On either
    side of that interval the path is followed.

    The cost is that of two SVDs for each entry of t, some ten for each crossing, twenty to a
    hundred for each tie in t, and seven or more for each entry of a complex path.

    Bunse-Gerstner, Byers, Mehrmann and Nichols (1991), Numerical computation of an analytic
    singular value decomposition of a matrix valued function, Numer. Math. 60: existence, uniqueness
    and minimal variation. Wright (1992), Differential equations for the analytic singular value
    decomposition of a matrix, Numer. Math. 63. Dieci and Eirola (1999), On smooth decompositions of
    matrices, SIAM J. Matrix Anal. Appl. 20: smooth paths, complex ones, and multiplets. Rellich
    (1937), Störungstheorie der Spektralzerlegung; Kato (1966), Perturbation theory for linear
    operators, section II.5. The first three step along differential equations; finding crossings by
    their values, and polynomials through ties, are our own.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> found = sg.analytic_svd(lambda t: np.diag([t + 2, 2 * t + 2]), [-1.5, 0.0, 1.0])
    >>> print(np.abs(found.S))  # sorted values exchange places at 0
    [[1.  0.5]
     [2.  2. ]
     [4.  3. ]]
    """
    check_rtol(gap_rtol, NAME)
    check_choice(unresolved, ("raise", "match"), NAME, "unresolved")
    order, number = parameters(t)
    matrices = Matrices()
    matrix = matrices_of(path, "path", order, number, matrices)
    first = matrix(float(order[0]))
    if first.shape[0] * first.shape[1] == 0 and k is None:
        k = 0
    else:
        k = min(first.shape) if k is None else check_rank(k, first, NAME)
    slope = None
    if derivative is not None:
        if callable(derivative) != callable(path):
            raise TypeError(
                f"{NAME}: `derivative` is {_kind(derivative)} where `path` is {_kind(path)}; "
                "wanted both a callable, or both an array."
            )
        slope = matrices_of(derivative, "derivative", order, number, matrices)
    tie = float(matrices.noise**0.75 if gap_rtol is None else max(gap_rtol, matrices.noise))
    rounded = (lambda value: float(number(value))) if callable(path) else None
    followed = Path(matrix, np.sort(order), Tolerances(tie), rounded)
    try:
        found = factors(followed, order, k, slope, unresolved == "match") if k else []
    except Unresolved as problem:
        raise ConvergenceError(_unresolved(problem, followed.refinable)) from None
    except CutError as problem:
        raise ValueError(_cut(problem, k)) from None
    if not k:
        found = [_empty(first) * (1 if slope is None else 2)] * len(order)
    arrays = [np.stack(part) for part in zip(*found, strict=True)]
    triples = [
        SVDResult(*map(matrices.back, (U, S, np.conj(np.swapaxes(V, 1, 2)))))
        for U, S, V in (arrays[:3], arrays[3:])[: len(arrays) // 3]
    ]
    return AnalyticSVDResult(*triples[0], triples[1] if slope is not None else None)


def _kind(path: Any) -> str:
    return "a callable" if callable(path) else f"a {type(path).__name__}"


def _empty(A: Array) -> tuple[Array, ...]:
    """Factors of a matrix without entries."""
    return A[:, :0], A.real.reshape(-1)[:0], A.T[:, :0]


def _unresolved(problem: Unresolved, refinable: bool) -> str:
    frame, other, block = problem.frame, problem.other, problem.block
    column = frame.blocks.starts[block]
    P, Q = frame.U.conj().T @ other.point.U, frame.V.conj().T @ other.point.V
    shares = np.abs(P[column]) ** 2 + np.abs(Q[column]) ** 2
    values = other.point.S[np.sort(np.argsort(-shares)[:2])]
    between, shared = sorted((frame.t, other.t)), " and ".join(f"{value:.9g}" for value in values)
    remedy = (
        "The path is not analytic there, or turns faster than numbers can tell, or is computed "
        "less accurately than to rounding: give `gap_rtol` then."
        if refinable
        else "How they continue would be a guess: give more points, or a callable that can be "
        "evaluated between them."
    )
    return (
        f"{NAME}: `path` cannot be followed between t = {between[0]!r} and t = {between[1]!r}, "
        f"where the vectors of the value {frame.S[column]:.9g} go over into those of {shared}, "
        f"with an overlap of {other.overlap[block]:.2g}: {problem.reason}. {remedy} "
        'unresolved="match" takes the columns that match best.'
    )


def _cut(problem: CutError, k: int) -> str:
    point = problem.args[0]
    above, below = point.S[k - 1 : k + 1]
    return (
        f"{NAME}: `k` is {k}, between the values {above:.9g} and {below:.9g} at t = {point.t:.9g}, "
        "which cannot be told apart there or cross before; wanted a number of triplets that are "
        "the largest at t[0]. Choose another k, or begin elsewhere."
    )
