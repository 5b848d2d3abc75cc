r"""Weighted sums over points, each a Primitive: centroids, centred points, covariance and spread.

With weights w that add up to one,

    p_n = (P_n - sum_m w_m P_m)/size,    H = sum w_n q_n p_n^T,    spread = sum w_n |p_n|^2.

The mean makes the spread least, and H does not change with it to first order: no cotangent of
theirs has to be centred.
"""

from __future__ import annotations

from functools import partial

from .._bindings.array import Array, Arrays, array_namespace, device
from .._engine.elementary import filled, measured
from .._engine.linear import add, inner, matmul, multiply, row, unrow
from .._engine.primitive import Primitive, constant
from .point_rounding import about_mean, mean_of, sum_of_products


def _ones(X: Array, *, column: bool) -> Array:
    """A row or a column of ones, one for each point."""
    shape = (*X.shape[:-1], 1) if column else (*X.shape[:-2], 1, X.shape[-2])
    return array_namespace(X).ones(shape, dtype=X.dtype, device=device(X))


ones = constant("ones", _ones)


def total(X: Array) -> Array:
    """The sum over the points, (..., 1, d)."""
    return matmul(ones(X, column=False), X)


centroid: Primitive = Primitive(
    "centroid",
    mean_of,
    jvp=lambda inputs, outputs, tangents: _sum_of(
        None if tangents[0] is None else matmul(row(tangents[0]), inputs[1]),
        None if tangents[1] is None else centroid(inputs[0], tangents[1]),
    ),
    vjp=lambda inputs, outputs, bars: (
        lambda: unrow(matmul(bars[0], inputs[1], right=True)),
        lambda: matmul(row(inputs[0]), bars[0], left=True),
    ),
    core=2,
)


def _sum_of(*terms: Array | None) -> Array:
    known = [term for term in terms if term is not None]
    return sum(known[1:], start=known[0])


def _centred_jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Array:
    (w, X, size), (dw, dX, _) = inputs, tangents
    terms = [] if dX is None else [centred(w, dX, size)]
    if dw is not None:  # adds up to zero, so that the centred points serve
        moved = matmul(ones(X, column=True), matmul(row(dw), outputs[0]))
        terms.append(multiply(filled(size, value=-1.0, axes=0, ones=0), moved, axes=2))
    return sum(terms[1:], start=terms[0])


def _centred_vjp(inputs: Arrays, outputs: Arrays, bars: Arrays) -> Arrays:
    w, _, size = inputs

    def of_weights() -> Array:
        products = unrow(matmul(total(bars[0]), outputs[0], right=True))
        return multiply(filled(size, value=-1.0, axes=0, ones=0), products, axes=1)

    return of_weights, partial(uncentred, w, bars[0], size), None


# the points about their mean, in units of `size`
centred: Primitive = Primitive(
    "centred", about_mean, _centred_jvp, _centred_vjp, carried=(2,), core=2
)


def _uncentred(w: Array, Z: Array, size: Array) -> Array:
    xp = array_namespace(Z)
    return (Z - w[..., None] * xp.sum(Z, axis=-2, keepdims=True)) / xp.where(size == 0, 1.0, size)[
        ..., None, None
    ]


def _uncentred_along(w: Array, Z: Array, size: Array) -> Array:
    product = matmul(row(w), total(Z), left=True)
    scaled = measured(product, size, axes=2, inverse=False)
    return multiply(filled(size, value=-1.0, axes=0, ones=0), scaled, axes=2)


def _uncentred_jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Array:
    (w, Z, size), (dw, dZ, _) = inputs, tangents
    terms = [] if dZ is None else [uncentred(w, dZ, size)]
    terms += [] if dw is None else [_uncentred_along(dw, Z, size)]
    return sum(terms[1:], start=terms[0])


def _uncentred_vjp(inputs: Arrays, outputs: Arrays, bars: Arrays) -> Arrays:
    w, Z, size = inputs

    def of_weights() -> Array:
        products = matmul(total(Z), bars[0], right=True)
        scaled = unrow(measured(products, size, axes=2, inverse=False))
        return multiply(filled(size, value=-1.0, axes=0, ones=0), scaled, axes=1)

    return of_weights, partial(centred, w, bars[0], size), None


# the adjoint of `centred`
uncentred: Primitive = Primitive(
    "uncentred", _uncentred, _uncentred_jvp, _uncentred_vjp, carried=(2,), core=2
)


def _covariance(w: Array, P: Array, Q: Array, size_p: Array, size_q: Array) -> Array:
    p, q = about_mean(w, P, size_p), about_mean(w, Q, size_q)
    return sum_of_products(q, w[..., None] * p)


def _covariance_jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Array:
    w, P, Q, size_p, size_q = inputs
    p, q = centred(w, P, size_p), centred(w, Q, size_q)
    dw, dP, dQ = tangents[:3]
    terms = []
    if dw is not None:
        terms.append(matmul(q, multiply(dw, p, axes=1), left=True))
    if dP is not None:
        moved = multiply(w, measured(dP, size_p, axes=2, inverse=False), axes=1)
        terms.append(matmul(q, moved, left=True))
    if dQ is not None:
        moved = multiply(w, measured(dQ, size_q, axes=2, inverse=False), axes=1)
        terms.append(matmul(moved, p, left=True))
    return sum(terms[1:], start=terms[0])


def _covariance_vjp(inputs: Arrays, outputs: Arrays, bars: Arrays) -> Arrays:
    w, P, Q, size_p, size_q = inputs
    p, q = centred(w, P, size_p), centred(w, Q, size_q)
    q_bar = matmul(p, bars[0], right=True)

    def of_p() -> Array:
        bar = multiply(w, matmul(q, bars[0]), axes=1)
        return measured(bar, size_p, axes=2, inverse=False)

    def of_q() -> Array:
        return measured(multiply(w, q_bar, axes=1), size_q, axes=2, inverse=False)

    return partial(inner, q, q_bar, axes=1), of_p, of_q, None, None


# H of centred points in units of the sizes
covariance = Primitive(
    "covariance", _covariance, _covariance_jvp, _covariance_vjp, carried=(3, 4), core=2
)


def _spread_of_p(inputs: Arrays, bar: Array) -> Array:
    w, P, size = inputs
    p = multiply(w, centred(w, P, size), axes=1)
    return measured(multiply(add(bar, bar), p, axes=2), size, axes=2, inverse=False)


def _spread_of_w(inputs: Arrays, bar: Array) -> Array:
    p = centred(*inputs)
    return multiply(bar, inner(p, p, axes=1), axes=1)


def _spread(w: Array, P: Array, size: Array) -> Array:
    p = about_mean(w, P, size)
    return array_namespace(P).sum(w[..., None] * p * p, axis=(-2, -1))


def _spread_jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Array:
    one = filled(outputs[0], value=1.0, axes=0, ones=0)
    dw, dP, _ = tangents
    terms = [] if dw is None else [inner(_spread_of_w(inputs, one), dw, axes=1)]
    terms += [] if dP is None else [inner(_spread_of_p(inputs, one), dP, axes=2)]
    return sum(terms[1:], start=terms[0])


# sum w |p|^2
spread = Primitive(
    "spread",
    _spread,
    _spread_jvp,
    vjp=lambda inputs, outputs, bars: (
        partial(_spread_of_w, inputs, bars[0]),
        partial(_spread_of_p, inputs, bars[0]),
        None,
    ),
    carried=(2,),
    core=0,
)
