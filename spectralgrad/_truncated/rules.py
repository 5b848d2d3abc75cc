r"""Derivatives of a truncated SVD, without the discarded part of the spectrum.

With k triplets kept, the inner part of the derivative is that of `svd`: K of the cotangents, the
rotations W_U and W_V of the tangents. The complements X and Y, which there is all of A to divide
by, here solve the linear systems of `complement.py`: with P_U = I - U U^H,

    (X, Y) = N^-1 (P_U U_bar, P_V V_bar),     A_bar = (U K + X) V^H + U Y^H
    (X, Y) = N^-1 (P_U dA V, P_V dA^H U),     dU = U W_U + X,  dV = V W_V + Y

so A_bar has rank 2 k at most. What is divided by beyond `svd` is s_k - s_(k+1), in N; a cut inside
a tie leaves the kept space undetermined.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from .._bindings.array import (
    Array,
    Arrays,
    adjoint,
    array_namespace,
    beside,
    device,
    eps,
    invalidated,
    is_complex,
    leading_columns,
    nan_where,
    real,
    trailing_columns,
)
from .._bindings.lookup import adjoint_times, autodiff_of
from .._bindings.matrix_products import columnwise_dot
from .._engine.elementary import once_differentiable
from .._engine.errors import ConvergenceError, ConvergenceWarning
from .._engine.primitive import Primitive
from .._engine.products import Products, adjoint_mismatch
from .._engine.reading import read
from .._operations.svd_rules import fragile, inner_cotangent, rotations
from .._spectrum import gauge, splitting
from .._spectrum.ties import equals_mirror
from .._spectrum.undefined import explain, insists
from .adaptive import kept, of_kept, restricted
from .complement import solve
from .implicit import outside
from .options import Options
from .solvers import beyond, find
from .split import Found, next_value, opened, paired, sees_split, values_above_rest, values_before


def _forward(*leaves: Any, operand: Any, options: Options) -> Arrays:
    """NaN for U, S and Vh where a residual above what is accepted cannot be reported."""
    false_adjoint = _false_adjoint(operand.products(*leaves), options)
    found, k = find(operand, leaves, options), options.k
    U, S, Vh = found.U[..., :k], found.S[..., :k], found.Vh[..., :k, :]
    surplus = found.U[..., k:], found.S[..., k:], found.Vh[..., k:, :]
    if options.adjoint == "full" and options.solver != "full":
        surplus = beyond(operand.products(*leaves), (U, S, Vh), full=True)
    values = S
    if options.ties == "split":
        S = opened(S, surplus[1])
    if options.rank is not None:
        mask = kept(operand, leaves, (U, values, Vh), paired(*surplus)[1], options)
        (U, S, Vh), surplus = restricted((U, S, Vh), surplus, values, mask)
    if not options.reported or read(found.residual) is None:
        bad = found.residual > options.accepted
        if false_adjoint is not None:
            bad = bad | false_adjoint
        invalid = nan_where(bad, S)[..., None]
        U, Vh = (invalidated(W, invalid[..., None]) for W in (U, Vh))
        S = S + invalid
    # no Found: PyTorch 2.9 compiles a named tuple by a name that it does not import
    return U, S, Vh, *surplus, found.residual, found.turns


def _false_adjoint(A: Products, options: Options) -> Array | None:
    """Whether the two products of an operator are not each other's adjoint; raised, if known.

    Iterated with they would give residuals as values too close together do.
    """
    if not A.given or 0 in A.shape:
        return None
    # below, it may be the rounding of large terms that cancel, which has a residual to show
    mismatch, allowed = adjoint_mismatch(A), max(options.accepted, eps(A.like) ** 0.5)
    known = read(mismatch)
    if known is not None and bool(known > allowed):
        raise ValueError(
            f"{options.function}: argument `x` has an `rmatmat` that is not the adjoint of its "
            f"`matmat`: <Y, A X> and <A^H Y, X> differ by {float(known):.2g} of |Y| |A X| where "
            f"{allowed:.2g} was allowed. Check scales and conjugation, and that both are "
            "linear; of products that are no more accurate than that, raise `tol`."
        )
    return mismatch > allowed


def _free_columns(found: Found, rows: int, options: Options) -> Arrays:
    """The kept values and the next, and columns of the vectors of one side that are undefined.

    The side has so many rows: if all others are kept, the vector of a lone zero is the only one.
    """
    S, extended = found.S, beside([found.S, next_value(found.e)])
    undefined = gauge.undefined_columns(extended, options.tolerance(S), free=rows > S.shape[-1])
    return extended, undefined & _counted(extended, options)


def _columns(found: Found, options: Options) -> Arrays:
    """The same of both sides."""
    return _free_columns(found, max(found.U.shape[-2], found.Vh.shape[-1]), options)


def _reached_columns(found: Found, bars: Arrays, options: Options) -> Array:
    """Columns where cotangents of U, S and V reach what is undefined."""
    U, S, Vh, *_ = found
    _, tied = _free_columns(found, 0, options)
    reached = gauge.reached_columns(
        (U, S, adjoint(Vh)), bars, options.tolerance(S), leading_columns(tied, S.shape[-1])
    )
    return reached & _counted(S, options)


def _counted(S: Array, options: Options) -> Array:
    """Columns that can be undefined: not those that an adaptive rank leaves zero."""
    xp = array_namespace(S)
    return xp.ones_like(S, dtype=xp.bool) if options.rank is None else S != 0


def _fragile(S: Array, undefined: Array, options: Options) -> Array:
    """Columns where a second derivative does not follow from the first."""
    found = fragile(S, options.tolerance(S), options.ties)
    return undefined | found & _counted(S, options)


def _solved(
    leaves: Arrays,
    found: Found,
    before: Array,
    rhs: Arrays,
    idle: Array,
    operand: Any,
    options: Options,
) -> Arrays:
    """X, Y of the right-hand sides' parts outside; zero in columns that are `idle`."""
    U, S, Vh, _, e, *_ = found
    xp = array_namespace(S)
    a, b = (
        xp.where(idle[..., None, :], 0.0, outside(W, R, options))
        for W, R in zip((U, adjoint(Vh)), rhs, strict=True)
    )
    if e.shape[-1]:  # triplets from elsewhere may not be the largest, and N_i then is not definite
        least = xp.min(xp.where(_counted(S, options), before, float("inf")), axis=-1)
        above = xp.max(e, axis=-1) - least > options.tolerance(S)[..., 0]
        a = a + nan_where(above, S)[..., None, None]
    # a Primitive for the libraries that differentiate it; sg.hvp would note half of it
    function = solve if autodiff_of(leaves[0]) else solve.forward
    system = U, values_above_rest(before, found, options), Vh, *found[3:6]
    solution: Arrays = function(a, b, *system, *leaves, operand=operand, options=options)
    return solution


def truncated_jvp(
    leaves: Arrays, outputs: Arrays, dots: Arrays, *, operand: Any, options: Options
) -> Arrays:
    """Tangents of U, S, Vh; NaN in the columns that are undefined, except under "drop"."""
    found, ties = Found(*outputs), options.ties
    U, S, Vh, *_ = found
    V, tolerance = adjoint(Vh), options.tolerance(S)
    undefined = leading_columns(_columns(found, options)[1], S.shape[-1])
    once = once_differentiable(S, partial(_fragile, S, undefined, options))
    defined = 1 + once + 0.0 * S
    if ties == "drop":
        undefined, valid = undefined & equals_mirror(S, tolerance), [defined, defined]
    else:
        free = (_free_columns(found, rows, options)[1] for rows in (U.shape[-2], V.shape[-2]))
        valid = [defined + nan_where(leading_columns(part, S.shape[-1]), S) for part in free]
    dA_V, dAh_U = operand.tangents(leaves, dots, U, V)
    dP = adjoint_times(U, dA_V)
    W_U, W_V = rotations(dP, S, tolerance)
    before = values_before(leaves, found, operand, options)
    X, Y = _solved(leaves, found, before, (dA_V, dAh_U), undefined, operand, options)
    sides = zip((U, V), (W_U, W_V), (X, Y), valid, strict=True)
    dU, dV = ((W @ R + Z) * whole[..., None, :] for W, R, Z, whole in sides)
    return dU, real(columnwise_dot(U, dA_V)) + once, adjoint(dV), *(None,) * 5


def truncated_vjp(
    leaves: Arrays, outputs: Arrays, bars: Arrays, *, operand: Any, options: Options
) -> Any:
    """Cotangents of the operand's leaves; NaN where the cotangents touch what is undefined."""
    found, ties = Found(*outputs), options.ties
    (U, S, Vh, *_), (U_bar, S_bar, Vh_bar) = found, bars[:3]
    if options.rank is not None:
        U_bar, S_bar, Vh_bar = of_kept((U_bar, S_bar, Vh_bar), S != 0)
    xp, V, tolerance = array_namespace(S), adjoint(Vh), options.tolerance(S)
    V_bar = None if Vh_bar is None else adjoint(Vh_bar)
    undefined = leading_columns(_columns(found, options)[1], S.shape[-1])
    once = partial(_fragile, S, undefined, options)
    if U_bar is None and V_bar is None:
        diagonal = gauge.once_differentiable_cotangent(S, S_bar, once)
        return operand.cotangents(leaves, [U * diagonal[..., None, :]], [V])

    P = 0.0 if U_bar is None else adjoint_times(U, U_bar)
    R = 0.0 if V_bar is None else Vh_bar @ V
    before = values_before(leaves, found, operand, options)
    bad = _undetermined(found, before, (U_bar, S_bar, V_bar), (P, R), options)
    seen = gauge.touched(S_bar, U_bar, V_bar)
    split = splitting.split_of(S, before, seen) if ties == "split" else None
    K = inner_cotangent((P, R), S, S_bar, tolerance, once, split)
    K = K + nan_where(bad, S)[..., None, None]
    idle = undefined & equals_mirror(S, tolerance) if ties == "drop" else undefined
    idle = idle | bad[..., None]
    rhs = tuple(xp.zeros_like(W) if C is None else C for W, C in ((U, U_bar), (V, V_bar)))
    X, Y = _solved(leaves, found, before, rhs, idle, operand, options)
    return operand.cotangents(leaves, [U @ K + X, U], [V, Y])


def _undetermined(
    found: Found, before: Array, bars: Arrays, inner: Arrays, options: Options
) -> Array:
    """The batch elements where the loss is not determined by x, or has no derivative."""
    U, S, Vh, *_ = found
    (U_bar, _, V_bar), V, xp = bars, adjoint(Vh), array_namespace(S)
    if options.ties == "drop" or (U_bar is None and V_bar is None):
        return xp.zeros(S.shape[:-1], dtype=xp.bool, device=device(S))
    bad = xp.any(_reached_columns(found, bars, options), axis=-1)
    if is_complex(U):
        zero = equals_mirror(S, options.tolerance(S))
        bad = bad | gauge.phase_residual((U, V), (U_bar, V_bar), zero)
    if options.ties == "split":
        bad = bad | sees_split(
            found, before, bars, inner, values_above_rest(before, found, options)
        )
    return bad


def _why(
    leaves: Arrays,
    outputs: Arrays,
    directions: Arrays,
    result: Arrays,
    *,
    operand: Any,
    options: Options,
) -> Exception | None:
    """Why a result is NaN: a tie that a cotangent touches, or a solve that did not converge."""
    found, ties = Found(*outputs), options.ties
    U, S, Vh, *_ = found
    xp, k = array_namespace(S), S.shape[-1]
    extended, columns = _columns(found, options)
    bad, given = xp.any(columns, axis=-1), directions
    if len(directions) == len(outputs):  # cotangents, which may leave ties untouched
        given = U_bar, S_bar, Vh_bar = directions[:3]
        bars = U_bar, S_bar, None if Vh_bar is None else adjoint(Vh_bar)
        inner = tuple(
            0.0 if bar is None else adjoint_times(W, bar)
            for W, bar in ((U, bars[0]), (adjoint(Vh), bars[2]))
        )
        reached = _reached_columns(found, bars, options)
        before = values_before(leaves, found, operand, options)
        bad = _undetermined(found, before, bars, inner, options)
        columns = beside([reached, trailing_columns(columns, k)])
    invalid = nan_where(bad, S)[..., None, None]
    reason = explain("truncated_svd", ("S", extended), columns, given, (invalid,), ties)
    finite = all(bool(xp.all(xp.isfinite(d))) for d in (S, *given) if hasattr(d, "ndim"))
    if reason is not None or not finite:
        return reason
    problem = ConvergenceError if options.unconverged == "raise" else ConvergenceWarning
    return problem(
        "truncated_svd: the derivative is NaN, since its linear system was not solved to "
        f"adjoint_tol = {options.adjoint_tol:.2g} in the iterations it had. S[k - 1] and the next "
        "value may be too close: move the cut to a gap (sg.cut), raise maxiter or oversample, or "
        "choose adjoint='full'."
    )


triplets = Primitive(
    "truncated_svd",
    _forward,
    truncated_jvp,
    truncated_vjp,
    outputs=8,
    core=2,
    undefined=_why,
    insists=lambda *, options, **_: insists(ties=options.ties),
    iterates=True,
)
# inside functions of x: warns of nothing
triplet_factors = replace(triplets, undefined=None)
