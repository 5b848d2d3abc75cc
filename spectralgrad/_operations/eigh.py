r"""Eigendecomposition of Hermitian matrices: eigenvalues and eigenvectors themselves.

H = (A + A^H)/2 = Q diag(w) Q^H, and Q^H Q = I makes W = Q^H dQ skew-Hermitian. With
dP = Q^H dH Q,

    dw = Re diag(dP),    W_ij = dP_ij / (w_j - w_i) off the diagonal,

and the diagonal of W, the phase of each eigenvector, is free: we take zero. The adjoint is

    A_bar = Q ( herm((Q^H Q_bar) o 1/(w_j - w_i)) + diag(w_bar) ) Q^H,

Hermitian, as is the cotangent of every function that reads only the Hermitian part.

Sources: Magnus (1985), On differentiating eigenvalues and eigenvectors; Giles (2008), An extended
collection of matrix derivative results, section 3.1.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Generic, NamedTuple

from .._bindings.array import Array, Arrays, ArrayT, adjoint, herm, nan_where, real, with_diagonal
from .._bindings.matrix_products import columnwise_dot, product
from .._engine.arguments import enter
from .._engine.elementary import once_differentiable
from .._engine.options import check_choice, check_rtol
from .._engine.primitive import Primitive
from .._spectrum import factorizations, gauge, splitting
from .._spectrum.ties import (
    POLICIES,
    Ties,
    fragile_gap,
    gap_tolerance,
    in_tie,
    largest,
    split_eigen,
)
from .._spectrum.undefined import explain, insists
from .._spectrum.units import over_gaps, quotient, unit_within
from .declaration import operation
from .svd_rules import unread_input


class EighResult(NamedTuple, Generic[ArrayT]):
    """Factors of (x + x^H)/2 = (eigenvectors * eigenvalues) @ eigenvectors^H."""

    eigenvalues: ArrayT
    eigenvectors: ArrayT


def eigh_forward(x: Array, *, ties: str = "nan", gap_rtol: float | None = None) -> Arrays:
    w, Q = factorizations.eigh(x)
    return split_eigen(w) if ties == "split" else w, Q


def _fragile(w: Array, tolerance: Array, top: Array, ties: str) -> Array:
    """Columns where a second derivative does not follow from the first."""
    return in_tie(w, fragile_gap(tolerance, w, top, ties))


def eigh_jvp(
    inputs: Arrays,
    outputs: Arrays,
    tangents: Arrays,
    *,
    ties: str = "nan",
    gap_rtol: float | None = None,
) -> Arrays:
    """Tangents of w and Q; NaN in the columns of a tie, except under "drop"."""
    (w, Q), (dx,) = outputs, tangents
    top = largest(w)
    tolerance = gap_tolerance(top, gap_rtol, ties)
    dxh_Q = product(herm(dx), Q)
    dP = product(adjoint(Q), dxh_Q)
    once = once_differentiable(w, partial(_fragile, w, tolerance, top, ties))
    valid = 1 + once + 0.0 * w  # a factor, so that the derivative by dx is NaN too
    if ties != "drop":
        valid = valid + nan_where(in_tie(w, tolerance), w)
    dQ = product(Q, over_gaps(dP, w, tolerance)) * valid[..., None, :]
    return real(columnwise_dot(Q, dxh_Q)) + once, dQ


def eigh_vjp(
    inputs: Arrays,
    outputs: Arrays,
    cotangents: Arrays,
    *,
    ties: str = "nan",
    gap_rtol: float | None = None,
) -> Arrays:
    """Cotangent of x; a batch element is NaN where its cotangents touch what is undefined."""
    (x,), (w, Q), (w_bar, Q_bar) = inputs, outputs, cotangents
    top = largest(w)
    tolerance = gap_tolerance(top, gap_rtol, ties)
    once = partial(_fragile, w, tolerance, top, ties)
    P = 0.0 if Q_bar is None else product(adjoint(Q), Q_bar)
    diagonal = gauge.once_differentiable_cotangent(w, w_bar, once, P)
    if Q_bar is None:
        return (herm(product(Q * diagonal[..., None, :], adjoint(Q))),)
    bad = gauge.eigh_undetermined((w, Q), (w_bar, Q_bar), tolerance, ties)
    if ties == "split" and w.shape[-1] > 0:
        before = real(columnwise_dot(Q, product(herm(x), Q)))
        split = splitting.split_of(w, before, gauge.touched(w_bar, Q_bar))
        bad = bad | splitting.seen_in_eigh(split, w, (w_bar, Q_bar), P)
        inner = quotient(P, split.gaps, tolerance[..., None], unit_within(w), 2)
    else:
        inner = over_gaps(P, w, tolerance)
    diagonal = diagonal + nan_where(bad, w)[..., None]  # which reaches every entry
    K = herm(with_diagonal(inner, diagonal))
    return (herm(product(Q, K, adjoint(Q))),)


def eigh_undefined(
    inputs: Arrays,
    outputs: Arrays,
    directions: Arrays,
    result: Arrays,
    *,
    ties: str = "nan",
    gap_rtol: float | None = None,
) -> Exception | None:
    w, _Q = outputs
    columns = in_tie(w, gap_tolerance(largest(w), gap_rtol, ties))
    if len(directions) == 2:  # a cotangent, which may leave ties untouched
        columns = columns & gauge.touched(*directions)
    # A tangent comes as (dw, dQ): what is NaN then is dQ.
    return explain("eigh", ("w", w), columns, directions, result[-1:], ties)


# inside functions of x: warns of nothing
eigh_factors = Primitive(
    "eigh",
    eigh_forward,
    eigh_jvp,
    eigh_vjp,
    outputs=2,
    core=1,
    decomposes=True,
    unread=unread_input,
)
_eigh = replace(eigh_factors, undefined=eigh_undefined, insists=insists)


@operation(
    "factors and values",
    rule=eigh_factors,
    outputs="w Q",
    options={"ties": "nan", "gap_rtol": None},
    hermitian=True,
    at_ties=False,
    second=False,
)
def eigh(x: ArrayT, /, *, ties: Ties = "nan", gap_rtol: float | None = None) -> EighResult[ArrayT]:
    r"""Eigendecomposition of the Hermitian part, differentiable in values and vectors.

    Parameters
    ----------
    x : array (..., n, n)
        Its Hermitian part (x + x^H)/2 is read.
    ties : {"nan", "raise", "drop", "split"}
        As for `svd`: what becomes of eigenvectors whose eigenvalues count as equal.
    gap_rtol : float, optional
        Eigenvalues closer than this times the largest modulus count as equal, default eps^(3/4).
        "split" has a width of its own.

    Returns
    -------
    EighResult
        eigenvalues (..., n), real and ascending, and eigenvectors (..., n, n) in columns.

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices, or an option out of range.
    DerivativeUndefinedError
        From the derivative, with ties="raise".

    See Also
    --------
    eigh_function, eigvalsh, eigenprojector, truncated_eigh

    Notes
    -----
    The cotangent of x is Hermitian. A batch element with a NaN or an Inf is NaN throughout and
    affects no other. Gradients of eigenvectors have an error of eps/gap: where a function of x is
    wanted, use `eigh_function`. 4 products of x's size a backward. Giles (2008), section 3.1.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> x = np.array([[1.0, 0.0], [0.0, 3.0]])
    >>> (w, Q), pullback = sg.vjp(sg.eigh, x)
    >>> pullback((np.array([1.0, 2.0]), None))[0]
    array([[1., 0.],
           [0., 2.]])
    """
    x, narrow = enter(x, "eigh", square=True)
    check_choice(ties, POLICIES, "eigh", "ties")
    check_rtol(gap_rtol, "eigh")
    return EighResult(*map(narrow, _eigh(x, ties=ties, gap_rtol=gap_rtol)))
