r"""Derivatives of a truncated eigendecomposition, without the discarded part of the spectrum.

With k eigenpairs H q_i = w_i q_i kept, the inner part of the derivative is that of `eigh`,
W_ij = q_i^H dH q_j / (w_j - w_i), and what lies outside solves the systems of `eigen_complement`:
with P = I - Q Q^H,

    X = N^-1 (P dH Q),        dw = Re diag(Q^H dH Q),    dQ = Q W + X
    X = N^-1 (P Q_bar),       H_bar = herm((Q K + X) Q^H),   K = (Q^H Q_bar)_ij / (w_j - w_i)

with w_bar on the diagonal of K, so H_bar has rank 2 k at most. The cut divides by the gap between
what is kept and what is not: a cut inside a tie leaves the kept space undetermined. If the largest
in modulus are kept and the cut lies between w and -w, which of the two is kept jumps, and with it
the value.
"""

from __future__ import annotations

from typing import Any

from .._bindings.array import (
    Array,
    Arrays,
    array_namespace,
    beside,
    device,
    eps,
    invalidated,
    is_complex,
    nan_where,
    real,
    with_diagonal,
)
from .._bindings.lookup import adjoint_times, autodiff_of, is_dense
from .._bindings.matrix_products import columnwise_dot
from .._engine.elementary import once_differentiable
from .._engine.errors import ConvergenceError, ConvergenceWarning
from .._engine.primitive import Primitive
from .._engine.products import Products, adjoint_mismatch
from .._engine.reading import read
from .._spectrum import gauge
from .._spectrum.ties import first
from .._spectrum.undefined import Policy, Undefined, explain, insists
from .._spectrum.units import over_gaps
from .eigen_complement import solve_outside
from .eigenpairs import Eigenpairs, find
from .implicit import outside
from .options import Options


def _forward(*leaves: Any, operand: Any, options: Options) -> Arrays:
    """NaN for w and Q where a residual above what is accepted cannot be reported."""
    skew = _not_hermitian(operand.products(*leaves), options)
    found = find(operand, leaves, options)
    w, Q, *rest = found
    if not options.reported or read(found.residual) is None:
        bad = found.residual > options.accepted
        if skew is not None:
            bad = bad | skew
        invalid = nan_where(bad, w)[..., None]
        w, Q = w + invalid, invalidated(Q, invalid[..., None])
    return w, Q, *rest


def _not_hermitian(A: Products, options: Options) -> Array | None:
    """Whether an operator or a sparse matrix is not Hermitian; raised, if known."""
    if not A.given or 0 in A.shape:
        return None
    mismatch, allowed = adjoint_mismatch(A), max(options.accepted, eps(A.like) ** 0.5)
    known = read(mismatch)
    if known is not None and bool(known > allowed):
        raise ValueError(
            f"{options.function}: argument `x` is not Hermitian: <y, A x> and <A y, x> differ by "
            f"{float(known):.2g} of |y| |A x| where {allowed:.2g} was allowed. Pass the Hermitian "
            "part, (x + x^H)/2 of a sparse matrix; of products that are no more accurate than "
            "that, raise `tol`."
        )
    return mismatch > allowed


def _undefined_columns(found: Eigenpairs, options: Options) -> tuple[Array, Array]:
    """Columns whose vectors are tied to another, kept or not, and those that jump over the cut."""
    w, e, xp = found.w, found.e, array_namespace(found.w)
    tolerance = options.tolerance(found.scale[..., None])[..., None]
    i = xp.arange(w.shape[-1], device=device(w))
    others = xp.abs(w[..., None, :] - w[..., :, None]) <= tolerance
    tied = xp.any(others & (i[:, None] != i[None, :]), axis=-1)
    if not e.shape[-1]:
        return tied, xp.zeros_like(tied)
    tied = tied | xp.any(xp.abs(w[..., :, None] - e[..., None, :]) <= tolerance, axis=-1)
    if options.which != "magnitude":
        return tied, xp.zeros_like(tied)
    mirrored = xp.abs(w[..., :, None] + e[..., None, :]) <= tolerance
    return tied, xp.any(mirrored, axis=-1) & (xp.abs(w) > tolerance[..., 0])


def _solved(
    leaves: Arrays, found: Eigenpairs, rhs: Array, idle: Array, operand: Any, options: Options
) -> Array:
    """X of the right-hand sides' parts outside; zero in columns that are `idle`."""
    w, Q, e, E, scale, *_ = found
    xp = array_namespace(w)
    rhs = xp.where(idle[..., None, :], 0.0, outside(Q, rhs, options))
    # a Primitive for the libraries that differentiate it; sg.hvp would note half of it
    function = solve_outside if autodiff_of(leaves[0]) else solve_outside.forward
    return function(rhs, w, Q, scale, e, E, *leaves, operand=operand, options=options)


def _idle(tied: Array, found: Eigenpairs, options: Options) -> Array:
    """Columns that no system is solved for."""
    return array_namespace(tied).zeros_like(tied) if options.ties == "drop" else tied


def truncated_jvp(
    leaves: Arrays, outputs: Arrays, dots: Arrays, *, operand: Any, options: Options
) -> Arrays:
    """Tangents of w and Q; NaN in the columns that are undefined, except under "drop"."""
    found = Eigenpairs(*outputs)
    w, Q, tolerance = found.w, found.Q, options.tolerance(found.scale[..., None])
    tied, jumps = _undefined_columns(found, options)
    once = once_differentiable(w, lambda: tied)
    valid, jumped = 1 + once + 0.0 * w, 0.0 * w
    if options.ties != "drop":
        valid, jumped = valid + nan_where(tied | jumps, w), nan_where(jumps, w)
    dH_Q = operand.tangent(leaves, dots, Q)
    X = _solved(leaves, found, dH_Q, _idle(tied, found, options), operand, options)
    dP = adjoint_times(Q, dH_Q)
    dQ = (Q @ over_gaps(dP, w, tolerance) + X) * valid[..., None, :]
    return real(columnwise_dot(Q, dH_Q)) + once + jumped, dQ, *(None,) * 5


def truncated_vjp(
    leaves: Arrays, outputs: Arrays, bars: Arrays, *, operand: Any, options: Options
) -> Any:
    """Cotangents of the operand's leaves; NaN where the cotangents touch what is undefined."""
    found, (w_bar, Q_bar) = Eigenpairs(*outputs), bars[:2]
    w, Q, tolerance = found.w, found.Q, options.tolerance(found.scale[..., None])
    tied, jumps = _undefined_columns(found, options)
    bad = _undetermined(found, (w_bar, Q_bar), (tied, jumps), options)
    invalid = nan_where(bad, w)[..., None]
    P = 0.0 if Q_bar is None else adjoint_times(Q, Q_bar)
    diagonal = gauge.once_differentiable_cotangent(w, w_bar, lambda: tied, P) + invalid
    if Q_bar is None:
        return operand.cotangents(leaves, Q * diagonal[..., None, :], Q)
    idle = _idle(tied, found, options) | bad[..., None]
    X = _solved(leaves, found, Q_bar, idle, operand, options)
    K = with_diagonal(over_gaps(P, w, tolerance), diagonal)
    return operand.cotangents(leaves, Q @ K + X, Q)


def _undetermined(
    found: Eigenpairs, bars: Arrays, columns: tuple[Array, Array], options: Options
) -> Array:
    """The batch elements where the loss is not determined by x, or has no derivative."""
    (w_bar, Q_bar), (tied, jumps), w = bars, columns, found.w
    xp = array_namespace(w)
    if options.ties == "drop":
        return xp.zeros(w.shape[:-1], dtype=xp.bool, device=device(w))
    bad = xp.any(jumps & gauge.touched(w_bar, Q_bar), axis=-1)
    if Q_bar is None:
        return bad
    bad = bad | xp.any(tied & gauge.touched(w_bar, Q_bar), axis=-1)
    return bad | gauge.phase_residual((found.Q,), (Q_bar,)) if is_complex(found.Q) else bad


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
    found, function = Eigenpairs(*outputs), options.function
    xp, w, following = array_namespace(found.w), found.w, first(found.e)
    tied, jumps = _undefined_columns(found, options)
    columns, bad, given, jumping = tied | jumps, xp.any(tied | jumps, axis=-1), directions, jumps
    if len(directions) == len(outputs):  # cotangents, which may leave ties untouched
        given = w_bar, Q_bar = directions[:2]
        bad = _undetermined(found, given, (tied, jumps), options)
        jumping = jumps & gauge.touched(w_bar, Q_bar)
        columns = tied & gauge.touched(w_bar, Q_bar) if Q_bar is not None else jumping
    invalid = nan_where(bad, w)[..., None, None]
    values = beside([w, following])
    columns = beside([columns, xp.zeros_like(following, dtype=xp.bool)])
    about = ("w", values), columns, given, (invalid,), options.ties
    reason = explain(function, *about, ", or choose ties='drop' to leave the undefined part out")
    if bool(xp.any(bad & xp.any(jumping, axis=-1))):
        policy: Policy = "raise" if options.ties == "raise" else "nan"
        reason = Undefined(function, policy).explain_elements(
            bad & xp.any(jumping, axis=-1),
            values,
            given,
            lambda v: f"the cut lies between {v[-1]:.6g} and a kept value of the other sign",
            "Take another k, or which='largest' or 'smallest'",
        )
    finite = all(bool(xp.all(xp.isfinite(d))) for d in (w, *filter(is_dense, given)))
    if reason is not None or not finite:
        return reason
    problem = ConvergenceError if options.unconverged == "raise" else ConvergenceWarning
    return problem(
        f"{function}: the derivative is NaN, since its linear system was not solved to "
        f"{options.adjoint_tol:.2g} in the iterations it had. The kept values and the next may be "
        "too close: move the cut to a gap, raise maxiter or oversample, or choose solver='full'."
    )


eigenpairs = Primitive(
    "truncated_eigh",
    _forward,
    truncated_jvp,
    truncated_vjp,
    outputs=7,
    core=1,
    undefined=_why,
    insists=lambda *, options, **_: insists(ties=options.ties),
    iterates=True,
)
