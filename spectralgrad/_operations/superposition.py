r"""The extrema of an alignment, and the mean of what attains them.

With weights w that add up to one, centred points p, q and an orthogonal matrix R,

    p_n = (P_n - sum_m w_m P_m)/size,    H = sum w_n q_n p_n^T,    e = sum w_n |q_n - c R p_n|^2.

The derivative of a minimum is that at the minimiser held fixed (Danskin, 1967). So with e least in
R and in c, and <R, H> greatest in R,

    p_bar = 2 e_bar c w_n (c p_n - R^T q_n),    q_bar = 2 e_bar w_n (q_n - c R p_n),
    w_bar = e_bar (|q_n - c R p_n|^2 + c^2 p_n . (1 - R^T R) p_n),    H_bar = R.

The means of the points are minimisers of e as well, and held fixed. The cotangents are linear
in R but for what adds up to |p|^2: with the mean of all minimisers for R they are the mean
gradient, an element of Clarke's subdifferential where there are several, and the derivative where
there is one or all have the same. Second derivatives go through R and c.
"""

from __future__ import annotations

from typing import Any

from .._bindings.array import Array, Arrays, adjoint, array_namespace, conj, on_diagonal, real
from .._bindings.matrix_products import product
from .._engine.elementary import filled, measured
from .._engine.linear import add, inner, matmul, multiply, nan_if, negative
from .._engine.primitive import Primitive, constant
from .._spectrum.undefined import because
from .best_rotation import SEVERAL
from .point_rounding import mean_of, mean_square_of
from .point_sums import moved, paired, sum_of


def _unless_several(t: Array, several: Array, undefined: Any) -> Array:
    return t if undefined.lenient else nan_if(t, several)


def _translation_vjp(inputs: Arrays, outputs: Arrays, bars: Arrays, *, undefined: Any) -> Arrays:
    L, p, _, several = inputs
    bar = _unless_several(bars[0], several, undefined)
    return (
        lambda: matmul(negative(bar), p, left=True),
        lambda: matmul(negative(bar), L),
        bar,
        None,
    )


def _translation_jvp(inputs: Arrays, outputs: Arrays, dots: Arrays, *, undefined: Any) -> Array:
    (L, p, _, several), (dL, dp, dq, _) = inputs, dots
    terms = [] if dL is None else [negative(matmul(p, dL, right=True))]
    terms += [] if dp is None else [negative(matmul(dp, L, right=True))]
    terms += [] if dq is None else [dq]
    return _unless_several(sum_of(terms), several, undefined)


# q - p L^T for the means of both sets, rows. It is undefined with the rotation, also where p is
# zero and the rotation does not matter at this place.
translation_of = Primitive(
    "translation",
    lambda L, p, q, several, *, undefined: q - product(p, adjoint(L)),
    _translation_jvp,
    _translation_vjp,
    carried=(3,),
    core=2,
    reads_outputs=False,
    **because(3, lambda several: SEVERAL, axes=0),
)


def _mean_square(*inputs: Array) -> Arrays:
    """e in units of size_q^2, and as it is."""
    p, q, R, _, _, c, size_q, *w = inputs
    xp, left = array_namespace(p), q - product(c[..., None, None] * R, p)
    rest = mean_of(left, *w)  # what the rounding of far means has left
    square = mean_square_of(left, *w) - xp.sum(rest * rest, axis=(-2, -1))
    square = xp.where(square < 0, 0.0, square)
    out_of_range = xp.sqrt(square) * size_q > float(xp.finfo(square.dtype).max) ** 0.5
    unit = xp.where(out_of_range, 0.0, size_q)
    return square, xp.where(out_of_range, float("inf"), square * unit * unit)


def _mean_square_bars(inputs: Arrays, bars: Arrays) -> Arrays:
    """Thunks for the cotangents of the points, and of the weights."""
    p, q, _, M, several, c, size_q, *w = inputs
    bar, absolute = bars
    if absolute is not None:
        absolute = measured(absolute, size_q, axes=0, inverse=True)
        absolute = measured(absolute, size_q, axes=0, inverse=True)
        bar = absolute if bar is None else add(bar, absolute)
    eye, turned = identity_like(M), multiply(negative(c), M, axes=2)

    def levelled(rest: Array) -> Array:
        return add(rest, leftover(rest, *w))

    def rest_of_q() -> Array:
        return levelled(add(q, matmul(turned, p)))

    # the difference first: it may be small
    def of_p() -> Array:
        rest = levelled(add(multiply(c, p, axes=2), matmul(negative(M), q, left=True)))
        factor = multiply(add(bar, bar), c, axes=0)
        return moved(multiply(factor, eye, axes=2), rest, *w)

    def of_q() -> Array:
        return moved(multiply(add(bar, bar), eye, axes=2), rest_of_q(), *w)

    def of_weights() -> Array:
        rest = rest_of_q()
        spread = multiply(multiply(c, c, axes=0), shortfall(M, several), axes=2)
        return multiply(bar, add(paired(eye, rest, rest), paired(spread, p, p)), axes=1)

    return of_p, of_q, *(of_weights for _ in w)


def _mean_square_jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
    one, size_q = filled(outputs[0], value=1.0, axes=0, ones=0), inputs[6]
    bars = _mean_square_bars(inputs, (one, None))
    moving = zip(bars, (*tangents[:2], *tangents[7:]), (2, 2, 1)[: len(bars)], strict=True)
    tangent = sum_of([inner(of_x(), dx, axes=axes) for of_x, dx, axes in moving if dx is not None])
    absolute = measured(
        measured(tangent, size_q, axes=0, inverse=True), size_q, axes=0, inverse=True
    )
    return tangent, absolute


def _mean_square_vjp(inputs: Arrays, outputs: Arrays, bars: Arrays) -> Arrays:
    of_p, of_q, *of_weights = _mean_square_bars(inputs, bars)
    return of_p, of_q, *(None,) * 5, *of_weights


# e of p, q, its minimiser R, the mean M of all, whether there are several, c, the unit of q and
# weights if there are any
mean_square = Primitive(
    "mean_square",
    _mean_square,
    _mean_square_jvp,
    _mean_square_vjp,
    outputs=2,
    carried=(2, 3, 4, 5, 6),
    core=0,
)


def _leftover(x: Array, *w: Array) -> Array:
    """Less the mean of points about their mean, which is a rounding error.

    Cotangents have to add up to zero, lest they reach the weights by way of the mean.
    """
    return array_namespace(x).zeros_like(x) - mean_of(x, *w)


leftover = constant("leftover", _leftover)


def _identity_like(M: Array) -> Array:
    xp = array_namespace(M)
    return xp.broadcast_to(xp.astype(on_diagonal(M), M.dtype), M.shape)


identity_like = constant("identity", _identity_like)


def _shortfall(M: Array, several: Array) -> Array:
    """1 - M^T M of the mean minimiser, exactly zero where that is the only one."""
    rest = _identity_like(M) - adjoint(M) @ M
    return array_namespace(M).where(several[..., None, None] != 0, rest, 0.0)


shortfall = constant("shortfall", _shortfall)

# <R, H> at its greatest, in R
greatest: Primitive = Primitive(
    "greatest",
    lambda H, R, M: array_namespace(H).sum(real(conj(R) * H), axis=(-2, -1)),
    jvp=lambda inputs, outputs, tangents: inner(inputs[2], tangents[0], axes=2),
    vjp=lambda inputs, outputs, bars: (multiply(bars[0], inputs[2], axes=2), None, None),
    carried=(1, 2),
    core=0,
)
