"""What the rounding errors of points leave of an alignment: constants for its derivatives.

A point has an error of eps/2 of the largest entry of its set, a of P and b of Q, and so has its
distance from their mean. A covariance sum w q p^T then errs by eps (|p| b + |q| a), with
|p|^2 = sum w |p_n|^2, and by sqrt(points) eps |p| |q| for the sum.
"""

from __future__ import annotations

from .._bindings.array import Array, adjoint, array_namespace, device, eps, real
from .._bindings.matrix_products import product
from .._engine.primitive import constant


def _norm(x: Array, *w: Array) -> Array:
    return array_namespace(x).sqrt(mean_square_of(x, *w))


def covariance_floor(p: Array, q: Array, a: Array, b: Array, *w: Array) -> Array:
    """What counts as zero beside the values of the covariance of centred points.

    a and b are the largest entries of the points before.
    """
    p_norm, q_norm = _norm(p, *w), _norm(q, *w)
    return eps(p) * (4 * (p_norm * b + q_norm * a) + p.shape[-1] ** 0.5 * p_norm * q_norm)


def _product_floor(A: Array, B: Array) -> Array:
    """What counts as zero beside the values of A^H B, for matrices in units of their entries."""
    weights, one = (
        array_namespace(A).ones(shape, dtype=real(A).dtype, device=device(A))
        for shape in (A.shape[:-1], A.shape[:-2])
    )
    return covariance_floor(adjoint(A), adjoint(B), one, one, weights)


product_floor = constant("product_floor", _product_floor)


BLOCK = 256


def sum_of_products(a: Array, b: Array) -> Array:
    """a b^T, (..., i, points) and (..., j, points), by blocks of points.

    One sum after the other loses up to eps for each of 10^5 points, and blocks for each of 10^3.
    """
    count = a.shape[-1] // BLOCK
    if count < 2:
        return product(a, adjoint(b))
    xp, whole = array_namespace(a, b), count * BLOCK
    blocks = (
        xp.moveaxis(xp.reshape(x[..., :whole], (*x.shape[:-1], count, BLOCK)), -2, -3)
        for x in (a, b)
    )
    total = xp.sum(sum_of_products(*blocks), axis=-3)
    if whole == a.shape[-1]:
        return total
    return total + a[..., whole:] @ adjoint(b[..., whole:])


def total_of(x: Array, *w: Array) -> Array:
    """The sum over the points, weighted if there are weights, as a column, (..., d, 1)."""
    if w:
        return sum_of_products(x, w[0][..., None, :])
    if x.shape[-1] < 2 * BLOCK:  # in a third of the time of a product for each set (NumPy 2.4)
        return array_namespace(x).sum(x, axis=-1, keepdims=True)
    ones = array_namespace(x).ones((1, x.shape[-1]), dtype=x.dtype, device=device(x))
    return sum_of_products(x, ones)


def mean_of(x: Array, *w: Array) -> Array:
    """The same for weights that add up to one, or equal ones."""
    return total_of(x, *w) if w else total_of(x) / x.shape[-1]


def mean_square_of(x: Array, *w: Array) -> Array:
    """The mean of |x_n|^2, for weights that add up to one, or equal ones."""
    xp, (rows, points) = array_namespace(x), x.shape[-2:]
    pair = (w[0][..., None, :] * x, x) if w else (x, x)
    flat = (xp.reshape(y, (*x.shape[:-2], 1, rows * points)) for y in pair)
    total = real(sum_of_products(*flat))[..., 0, 0]
    return total if w else total / points


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
