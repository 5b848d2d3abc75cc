r"""Jacobians of one singular value, and of one pair of singular vectors, by all entries of x.

The derivative of a simple s_i > 0 is u_i v_i^H, in the sense ds_i = Re <u_i v_i^H, dA>.

With dP = U^H dA V the vectors move, for real A (see `svd_rules`), by

    du_i = sum_j u_j (c_j dP_ji + d_j dP_ij) + (I - U U^T) dA v_i / s_i,
    dv_i = sum_j v_j (c_j dP_ij + d_j dP_ji) + (I - V V^T) dA^T u_i / s_i,

    c_j = s_i/((s_i + s_j) (s_i - s_j)),    d_j = s_j/((s_i + s_j) (s_i - s_j)),    c_i = d_i = 0,

with sums over the k = min(m, n) columns of the thin factors. So with

    L = U diag(c) U^T + (I - U U^T)/s_i,    R = V diag(c) V^T + (I - V V^T)/s_i,
    X = U diag(d) V^T

the Jacobians are sums of two outer products,

    du_r/dA_pq = L_rp v_q + X_rq u_p,          dv_r/dA_pq = R_rq u_p + X_pr v_q.

The often quoted (v_i^T kron I)/s_i is the first term of du_i with I/s_i in place of L: it leaves
v_i and s_i as they are. Other values may be tied, or zero: c and d are equal there, and only
projectors on what is tied remain. A lone s_i = 0 has c = 0 and d_j = -1/s_j: the vector of the
shorter side, and both of a square matrix, have a Jacobian; that of the longer side is free.

Sources: Papadopoulo and Lourakis (2000), Estimating the Jacobian of the singular value
decomposition; Townsend (2016), Differentiating the singular value decomposition.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Generic, NamedTuple

from .._bindings.array import (
    Array,
    Arrays,
    ArrayT,
    any_row,
    array_namespace,
    is_complex,
    nan_where,
    on_diagonal,
)
from .._bindings.lookup import library_of
from .._bindings.matrix_products import product
from .._engine.arguments import enter
from .._engine.options import check_rtol
from .._engine.primitive import Primitive, constant
from .._spectrum import gauge
from .._spectrum.naming import name_pair, name_zero
from .._spectrum.ties import default_gap_rtol, first, gap_tolerance, guarded, unit_of
from .._spectrum.undefined import KEEP_OUT, Undefined
from .svd_rules import svd_factors
from .svdvals import why_no_second


def _factors_for(function: str) -> Primitive:
    """U, S, Vh; of what they are made into, their derivative is a second one."""
    return replace(svd_factors, undefined=partial(why_no_second, function, KEEP_OUT))


_factors_for_values = _factors_for("singular_value_jacobian")
_factors_for_vectors = _factors_for("singular_vector_jacobian")


class SingularVectorJacobianResult(NamedTuple, Generic[ArrayT]):
    """Derivatives of u_i and v_i: entry [r, p, q] of each is that of its entry r by x[p, q]."""

    u: ArrayT
    v: ArrayT


def _value_gaps(S: Array, *, gap_rtol: float | None) -> Array:
    """Zeros, NaN for the values that are tied or zero."""
    tolerance = gap_tolerance(first(S), gap_rtol)
    return nan_where(gauge.undefined_columns(S, tolerance, free=True), S)


def _vector_gaps(S: Array, *, gap_rtol: float | None, i: int, shape: tuple[int, int]) -> Array:
    """Zeros for u_i and v_i, NaN where one is not determined."""
    tolerance = gap_tolerance(first(S), gap_rtol)
    free = [gauge.free_columns(S, tolerance, rows)[..., i] for rows in shape]
    return nan_where(array_namespace(S).stack(free, axis=-1), S)


def _why(
    function: str,
    remedy: str,
    inputs: Arrays,
    outputs: Arrays,
    *,
    gap_rtol: float | None,
    i: int | None = None,
    **_: Any,
) -> Exception | None:
    """The first batch element with a NaN, and the values to blame."""
    (S,), xp = inputs, array_namespace(*inputs)
    rtol = default_gap_rtol(S) if gap_rtol is None else gap_rtol

    def what(values: list[float]) -> str:
        tolerance, k = rtol * values[0], len(values)
        tied = [j for j in range(k - 1) if values[j] - values[j + 1] <= tolerance]
        if i is not None:
            tied = [j for j in tied if i in (j, j + 1)]
        if tied and 2 * values[tied[0]] > tolerance:
            return f"{name_pair('S', values, tied[0])}; see gap_rtol"
        zero = next((j for j in range(k) if 2 * values[j] <= tolerance), k - 1)
        return f"{name_zero('S', values, zero if i is None else i)}; see gap_rtol"

    elements = xp.any(xp.isnan(outputs[0]), axis=-1)
    return Undefined(function).explain_elements(elements, S, (), what, remedy)


def _gaps(forward: Callable[..., Array], function: str, remedy: str) -> Primitive:
    """A constant that says why it is NaN, where it is."""
    return replace(constant(function, forward), core=0, no_value=partial(_why, function, remedy))


def _reached(J: Array, gap: Array) -> Array:
    """J, NaN where a gap is, but for matrices all zero: cotangents of what a loss leaves out."""
    xp = array_namespace(J)
    reached = xp.any(any_row(J != 0), axis=-1)
    return J + xp.where(reached, gap, 0.0)[..., None, None]


# J, with the same of its tangents and cotangents: what is NaN has no derivative either
_defined: Primitive = Primitive(
    "defined",
    forward=_reached,
    jvp=lambda inputs, outputs, tangents: _defined(tangents[0], inputs[1]),
    vjp=lambda inputs, outputs, bars: (_defined(bars[0], inputs[1]), None),
    carried=(1,),
    core=2,
    unread=lambda: (0,),
    reads_outputs=False,
)


_value_gap = _gaps(
    _value_gaps,
    "singular_value_jacobian",
    "Take directional_svdvals for slopes along a direction, or the gradient of a sum over the "
    "values, such as nuclear_norm or svdvals_sum",
)
_vector_gap = _gaps(
    _vector_gaps,
    "singular_vector_jacobian",
    "Only what is spanned by all vectors of the tie, or of the zeros, is a function of x: "
    "singular_projector",
)


def singular_value_jacobian(x: ArrayT, /, *, gap_rtol: float | None = None) -> ArrayT:
    """The matrices u_i v_i^H, the derivatives of all singular values by x.

    Parameters
    ----------
    x : array (..., m, n)
    gap_rtol : float, optional
        Values closer than this times the largest count as equal, and values within half of it as
        zero; default eps^(3/4).

    Returns
    -------
    array (..., k, m, n)
        ds_i = Re sum(conj(J[..., i, :, :]) * dx). NaN for values that are equal to another one or
        zero, where they have a kink.

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, or a gap_rtol out of range.

    See Also
    --------
    singular_vector_jacobian, directional_svdvals, svdvals

    Notes
    -----
    Magnus (1985), theorem 1. What is NaN has a `DerivativeUndefinedWarning`;
    `directional_svdvals` has the one-sided derivatives there, and sums over the values have
    gradients. A tie leaves the other values alone. Errors are eps S[0]/gap. The result takes k
    times the memory of x: a loss has its gradient, one product, from `svdvals`. PyTorch and JAX
    differentiate it as they do `svd`; `sg.vjp` refuses it.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.singular_value_jacobian(np.diag([3.0, 1.0]))
    array([[[1., 0.],
            [0., 0.]],
    <BLANKLINE>
           [[0., 0.],
            [0., 1.]]])
    """
    x, narrow = enter(x, "singular_value_jacobian")
    check_rtol(gap_rtol, "singular_value_jacobian")
    U, S, Vh = _factors_for_values(x)
    left, gap = array_namespace(U).matrix_transpose(U), _value_gap(S, gap_rtol=gap_rtol)
    return narrow(_defined(left[..., :, :, None] * Vh[..., :, None, :], gap))


def singular_vector_jacobian(
    x: ArrayT, /, i: int, *, gap_rtol: float | None = None
) -> SingularVectorJacobianResult[ArrayT]:
    """The derivatives of the singular vectors u_i and v_i by all entries of a real x.

    Parameters
    ----------
    x : array (..., m, n), real
    i : int
        From 0 to min(m, n) - 1, or negative to count from the end.
    gap_rtol : float, optional
        As for `svd`: values closer than this times the largest count as equal, default eps^(3/4).

    Returns
    -------
    SingularVectorJacobianResult
        u (..., m, m, n) and v (..., n, m, n) with u[r, p, q] = d u_i[r]/d x[p, q], of the vectors
        that `svd` returns with full_matrices=False. NaN where s_i is equal to another value. At
        s_i = 0 alone the vector of the longer side is free, and NaN; that of the shorter side, and
        both of a square x, are differentiated.

    Raises
    ------
    TypeError, ValueError
        For an x that is complex or no floating-point matrix, or an i or a gap_rtol out of range.

    See Also
    --------
    singular_value_jacobian, svd

    Notes
    -----
    Right for rectangular x: what moves u_i out of the other columns of a tall x is in it. Ties and
    zeros among the other values do no harm. A complex vector's phase is free, and no choice of it
    makes the derivative complex linear: for its tangents see `sg.jvp` of `svd`. What is NaN has a
    `DerivativeUndefinedWarning`. Errors are eps S[0]/gap of the Jacobian's own size, 1/gap. It
    takes m^2 n and m n^2 numbers; a product with it is one of `sg.jvp` or `sg.vjp` of `svd`.
    PyTorch and JAX differentiate it where all values are simple, and those of a rectangular x not
    zero; `sg.vjp` refuses it. Papadopoulo and Lourakis (2000), Estimating the Jacobian of the
    singular value decomposition.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> x = np.array([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    >>> moved = sg.singular_vector_jacobian(x, 0).u[2]
    >>> moved / np.linalg.svd(x)[0][0, 0]  # of the entry that is zero, by those of the last row
    array([[0.        , 0.        ],
           [0.        , 0.        ],
           [0.33333333, 0.        ]])
    """
    x, narrow = enter(x, "singular_vector_jacobian")
    check_rtol(gap_rtol, "singular_vector_jacobian")
    if is_complex(x):
        raise TypeError(
            f"singular_vector_jacobian: argument `x` has dtype {x.dtype}; wanted real matrices. "
            "The phase of a complex vector is free, so that its Jacobian is not unique. Use sg.jvp "
            "or sg.vjp of svd, or the Jacobian of a product that is blind to the phase, such as "
            "singular_projector."
        )
    i = _check_index(i, x)
    U, S, Vh = _factors_for_vectors(x)
    xp = array_namespace(x)
    V = xp.matrix_transpose(Vh)
    gap = _vector_gap(S, gap_rtol=gap_rtol, i=i, shape=tuple(x.shape[-2:]))
    with library_of(x).computing(x):
        coefficients = _coefficients(S, i, gap_rtol)
        du = _of_one_side(U, V, i, *coefficients)
        dv = xp.matrix_transpose(_of_one_side(V, U, i, *coefficients))
    return SingularVectorJacobianResult(
        *(narrow(_with_gap(J, gap[..., side])) for side, J in enumerate((du, dv)))
    )


def _with_gap(J: Array, gap: Array) -> Array:
    """The Jacobian of a vector, all NaN where that is not determined."""
    gaps = array_namespace(gap).broadcast_to(gap[..., None], tuple(J.shape[:-2]))
    return _defined(J, gaps) + gap[..., None, None, None]


def _check_index(i: Any, x: Array) -> int:
    k: int = min(x.shape[-2:])
    where = f"singular_vector_jacobian: `i` is {i!r}; wanted a whole Python number"
    try:
        number = operator.index(i)
    except TypeError:
        raise TypeError(
            f"{where}. It cannot be an array with several entries, or traced."
        ) from None
    if isinstance(i, bool) or not -k <= number < k:
        raise ValueError(
            f"{where} from 0 to {k - 1}, or from {-k} to -1 to count from the end: matrices of "
            f"shape {tuple(x.shape[-2:])} have {k} singular values."
        )
    return number % k


def _coefficients(S: Array, i: int, gap_rtol: float | None) -> Arrays:
    """c_j and d_j, (..., k), and 1/s_i, (..., 1), where they exist; S is scaled on the way."""
    unit = unit_of(S)
    s = S / unit
    tolerance = gap_tolerance(first(s), gap_rtol)
    s_i = s[..., i : i + 1]
    total = guarded(s_i + s, 0 * tolerance)
    over_gap = 1 / guarded(s_i - s, tolerance) / unit
    return s_i / total * over_gap, s / total * over_gap, 1 / guarded(s_i, tolerance / 2) / unit


def _of_one_side(W: Array, Z: Array, i: int, c: Array, d: Array, inverse: Array) -> Array:
    """The derivative [r, p, q] of w_i by x[p, q], where x is a matrix of W's rows by Z's."""
    xp, rows = array_namespace(W), W.shape[-2]
    along = product(W * c[..., None, :], xp.matrix_transpose(W))
    if rows > W.shape[-1]:
        within = product(W, xp.matrix_transpose(W))
        outside = xp.astype(on_diagonal(within), W.dtype) - within
        along = along + outside * inverse[..., None]
    across = product(W * d[..., None, :], xp.matrix_transpose(Z))
    w, z = W[..., None, :, i, None], Z[..., None, None, :, i]
    return along[..., :, :, None] * z + across[..., :, None, :] * w
