"""What the rounding errors of points leave of an alignment: constants for its derivatives.

Points come in units of the largest entry: each has an error of eps/2, and so has its distance from
their mean. A covariance sum w q p^T then errs by eps (|p| + |q|), with |p|^2 = sum w |p_n|^2, and
by sqrt(points) eps |p| |q| for the sum.
"""

from __future__ import annotations

from .._bindings.array import Array, adjoint, array_namespace, conj, eps, real
from .._engine.primitive import constant


def _norm(x: Array, w: Array | float) -> Array:
    xp = array_namespace(x)
    return xp.sqrt(xp.sum(w * xp.sum(real(conj(x) * x), axis=-1), axis=-1))


def _floor(p: Array, q: Array, w: Array | float) -> Array:
    p_norm, q_norm = _norm(p, w), _norm(q, w)
    return eps(p) * (4 * (p_norm + q_norm) + p.shape[-2] ** 0.5 * p_norm * q_norm)


def _covariance_floor(w: Array, P: Array, Q: Array, size_p: Array, size_q: Array) -> Array:
    """What counts as zero beside the values of the covariance."""
    return _floor(about_mean(w, P, size_p), about_mean(w, Q, size_q), w)


def _product_floor(A: Array, B: Array) -> Array:
    """What counts as zero beside the values of A^H B, for matrices in units of their entries."""
    return _floor(A, B, 1.0)


covariance_floor = constant("covariance_floor", _covariance_floor)
product_floor = constant("product_floor", _product_floor)


def about_mean(w: Array, X: Array, size: Array) -> Array:
    """The points about their mean, in units of the size."""
    divisor = array_namespace(size).where(size == 0, 1.0, size)[..., None, None]
    x = (X - mean_of(w, X)) / divisor
    return x - mean_of(w, x)  # what the rounding of a far mean has left


BLOCK = 256


def sum_of_products(a: Array, b: Array) -> Array:
    """a^T b over the points, (..., points, i) and (..., points, j), by blocks of points.

    One sum after the other loses up to eps for each of 10^5 points, and blocks for each of 10^3.
    """
    count = a.shape[-2] // BLOCK
    if count < 2:
        return adjoint(a) @ b
    xp, whole = array_namespace(a, b), count * BLOCK
    blocks = (
        xp.reshape(x[..., :whole, :], (*x.shape[:-2], count, BLOCK, x.shape[-1])) for x in (a, b)
    )
    total = xp.sum(sum_of_products(*blocks), axis=-3)
    if whole == a.shape[-2]:
        return total
    return total + adjoint(a[..., whole:, :]) @ b[..., whole:, :]


def mean_of(w: Array, X: Array) -> Array:
    """The centroid as a row, (..., 1, d), for weights that add up to one."""
    return sum_of_products(w[..., None], X)


def _kink_floor(c: Array) -> Array:
    """What the mean square of q - c R p may be and count as zero: that of 4 eps (1 + c)."""
    xp = array_namespace(c)
    relative = 4 * eps(c) * (1 + xp.abs(c))
    return relative * relative


kink_floor = constant("kink_floor", _kink_floor)


def _point_floor(size: Array) -> Array:
    """What a mean square of points about their mean may be and count as zero, in units of them."""
    return 0.0 * size + (4 * eps(size)) ** 2


point_floor = constant("point_floor", _point_floor)

larger = constant("larger", lambda a, b: array_namespace(a).where(a < b, b, a))
