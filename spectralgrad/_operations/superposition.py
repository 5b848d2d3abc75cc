r"""What an alignment asks of its points: weighted sums over them, and the mean of its minimisers.

With weights w that add up to one, centred points p, q and an orthogonal matrix R,

    p_n = (P_n - sum_m w_m P_m)/size,    H = sum w_n q_n p_n^T,    e = sum w_n |q_n - c R p_n|^2.

The derivative of a minimum is that at the minimiser held fixed (Danskin, 1967). So with e least in
R and in c, and <R, H> greatest in R,

    p_bar = 2 e_bar c w_n (c p_n - R^T q_n),    q_bar = 2 e_bar w_n (q_n - c R p_n),
    w_bar = e_bar (|q_n - c R p_n|^2 + c^2 p_n . (1 - R^T R) p_n),    H_bar = R.

The means are minimisers as well, of e and of sum w |p_n|^2, and H does not change with them to
first order: no cotangent has to be centred.

They are linear in R but for what adds up to |p|^2: with the mean of all minimisers for R they are
the mean gradient, an element of Clarke's subdifferential where there are several, and the
derivative where there is one or all have the same. Second derivatives go through R and c.

For H = U diag(s) V^T the mean minimiser is U diag(mu) V^T: mu is 1 where R is determined, and 0 at
two zeros or more, or at one if reflections are allowed. If a rotation has to turn an axis over,
det(U V^T) < 0, it is the last one, or any of the m that are tied with it: mu is 1 - 2/m there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .._bindings.array import Array, Arrays, adjoint, array_namespace, conj, device, eps, real
from .._engine.elementary import filled, measured
from .._engine.linear import add, constant, inner, matmul, multiply, nan_if, row, subtract, unrow
from .._engine.primitive import Primitive
from .point_rounding import about_mean, mean_of, sum_of_products
from .polar import orientation


def _extent(X: Array, w: Array) -> Array:
    """The largest entry of the points that have a weight."""
    xp = array_namespace(X)
    return xp.max(xp.where(w[..., None] != 0, xp.abs(X), xp.zeros_like(X)), axis=(-2, -1))


extent = constant("extent", _extent)


def _idle(X: Array, w: Array) -> Array:
    """1 at points without weight that are not finite, or too far out to be squared; else 0."""
    xp = array_namespace(X)
    bound = _extent(X, w)[..., None] / eps(X) ** 2
    return xp.astype((w == 0) & ~(xp.max(xp.abs(X), axis=-1) <= bound), w.dtype)


idle = constant("idle", _idle)


def _without(X: Array, mask: Array) -> Array:
    """X without the points where the mask is not zero, or a weight each without those."""
    xp = array_namespace(X)
    mask = mask[..., None] if X.ndim > mask.ndim else mask
    return xp.where(mask != 0, xp.zeros_like(X), X)


without: Primitive = Primitive(
    "without",
    _without,
    jvp=lambda inputs, outputs, tangents: without(tangents[0], inputs[1]),
    vjp=lambda inputs, outputs, bars: (without(bars[0], inputs[1]), None),
    carried=(1,),
)


def _is_negative(w: Array) -> Array:
    xp = array_namespace(w)
    return xp.astype(xp.any(w < 0, axis=-1), w.dtype)


is_negative = constant("is_negative", _is_negative)


def _root_of_largest(w: Array) -> Array:
    xp = array_namespace(w)
    return xp.sqrt(xp.max(xp.abs(w), axis=-1))


root_of_largest = constant("root_of_largest", _root_of_largest)


def in_proportion(w: Array) -> Array:
    """Weights in units of the largest, whose sum is in range; NaN if one is negative."""
    rows = nan_if(row(w), is_negative(w))
    size = root_of_largest(w)  # twice: 1/size may be denormal, which JAX takes for 0 (0.10)
    for _ in range(2):
        rows = measured(rows, size, axes=2, inverse=False)
    return unrow(rows)


def _equal_weights(X: Array, *, value: float) -> Array:
    return array_namespace(X).full(X.shape[:-1], value, dtype=real(X).dtype, device=device(X))


equal_weights = constant("equal_weights", _equal_weights)


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
centred: Primitive = Primitive("centred", about_mean, _centred_jvp, _centred_vjp, carried=(2,))


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
    "uncentred", _uncentred, _uncentred_jvp, _uncentred_vjp, carried=(2,)
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
covariance = Primitive("covariance", _covariance, _covariance_jvp, _covariance_vjp, carried=(3, 4))


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
)


def _mean_square(
    w: Array,
    P: Array,
    Q: Array,
    R: Array,
    M: Array,
    K: Array,
    c: Array,
    size_p: Array,
    size_q: Array,
) -> Arrays:
    """e in units of size_q^2, and as it is."""
    xp = array_namespace(P)
    left = about_mean(w, Q, size_q) - c[..., None, None] * (about_mean(w, P, size_p) @ adjoint(R))
    square = xp.sum(w * xp.sum(left * left, axis=-1), axis=-1)
    out_of_range = xp.sqrt(square) * size_q > float(xp.finfo(square.dtype).max) ** 0.5
    unit = xp.where(out_of_range, 0.0, size_q)
    return square, xp.where(out_of_range, float("inf"), square * unit * unit)


def _mean_square_bars(inputs: Arrays, bars: Arrays) -> Arrays:
    """Thunks for the cotangents of w, P and Q. The means are minimisers too, and held fixed."""
    w, P, Q, _, M, K, c, size_p, size_q = inputs
    p, q = centred(w, P, size_p), centred(w, Q, size_q)

    def scaled(*sizes: tuple[Array, bool]) -> Array:
        """The sum of both cotangents of e, in units of the sizes."""
        terms = []
        for bar, rest in zip(bars, ((), ((size_q, True), (size_q, True))), strict=True):
            if bar is None:
                continue
            for size, inverse in (*rest[:1], *sizes, *rest[1:]):
                bar = measured(bar, size, axes=0, inverse=inverse)
            terms.append(bar)
        return terms[0] if len(terms) == 1 else add(*terms)

    def of_weights() -> Array:
        left = subtract(q, multiply(c, matmul(p, M, right=True), axes=2))
        spread = multiply(multiply(c, c, axes=0), inner(p, matmul(p, K), axes=1), axes=1)
        return multiply(scaled(), add(inner(left, left, axes=1), spread), axes=1)

    def of_p() -> Array:
        left = multiply(w, subtract(multiply(c, p, axes=2), matmul(q, M)), axes=1)
        bar = scaled((size_p, False))
        return multiply(multiply(add(bar, bar), c, axes=0), left, axes=2)

    def of_q() -> Array:
        moved = multiply(c, matmul(p, M, right=True), axes=2)
        bar = scaled((size_q, False))
        return multiply(add(bar, bar), multiply(w, subtract(q, moved), axes=1), axes=2)

    return of_weights, of_p, of_q


def _mean_square_jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
    one, size_q = filled(outputs[0], value=1.0, axes=0, ones=0), inputs[-1]
    bars = _mean_square_bars(inputs, (one, None))
    terms = [
        inner(of_x(), dx, axes=axes)
        for of_x, dx, axes in zip(bars, tangents, (1, 2, 2), strict=False)
        if dx is not None
    ]
    tangent = sum(terms[1:], start=terms[0])
    absolute = measured(
        measured(tangent, size_q, axes=0, inverse=True), size_q, axes=0, inverse=True
    )
    return tangent, absolute


# e; R is its minimiser, M the mean of all, and K = 1 - M^T M
mean_square = Primitive(
    "mean_square",
    _mean_square,
    _mean_square_jvp,
    vjp=lambda inputs, outputs, bars: (*_mean_square_bars(inputs, bars), *(None,) * 6),
    outputs=2,
    carried=(3, 4, 5, 6, 7, 8),
)

# <R, H> at its greatest, in R
greatest: Primitive = Primitive(
    "greatest",
    lambda H, R, M: array_namespace(H).sum(real(conj(R) * H), axis=(-2, -1)),
    jvp=lambda inputs, outputs, tangents: inner(inputs[2], tangents[0], axes=2),
    vjp=lambda inputs, outputs, bars: (multiply(bars[0], inputs[2], axes=2), None, None),
    carried=(1, 2),
)


def _mean_signs(S: Array, U: Array, Vh: Array, floor: Array, reflection: bool) -> Arrays:
    """mu and whether R is undetermined; what is within `floor` is zero or tied."""
    xp, d = array_namespace(S), S.shape[-1]
    one, zero = xp.ones_like(S), floor[..., None] >= S
    if reflection:
        return xp.where(zero, 0.0, one), zero[..., -1]
    if d == 1:
        return one, S[..., 0] < 0
    turned = orientation(U, Vh)[..., 0] < 0
    tied = ~(S - S[..., d - 1 :] > floor[..., None])  # of NaN all
    share = 1 - 2 / xp.sum(xp.astype(tied, S.dtype), axis=-1, keepdims=True)
    mu = xp.where(turned[..., None] & tied, share, one)
    free = zero[..., d - 2]
    mu = xp.where(free[..., None] & zero, 0.0, xp.where(free[..., None], one, mu))
    return mu, free | (turned & tied[..., d - 2])


def _undetermined(U: Array, S: Array, Vh: Array, floor: Array, *, reflection: bool) -> Array:
    _, undetermined = _mean_signs(S, U, Vh, floor, reflection)
    return array_namespace(S).astype(undetermined, S.dtype)


undetermined = constant("undetermined", _undetermined)


def _departure(R: Array, U: Array, S: Array, Vh: Array, floor: Array, **static: Any) -> Array:
    """The mean minimiser less R, exactly zero where R is the only one."""
    mu, several = _mean_signs(S, U, Vh, floor, **static)
    xp = array_namespace(R)
    return xp.where(several[..., None, None], (U * mu[..., None, :]) @ Vh - R, xp.zeros_like(R))


departure = constant("departure", _departure)


def _shortfall(U: Array, S: Array, Vh: Array, floor: Array, **static: Any) -> Array:
    """1 - M^T M of the mean minimiser M, exactly zero where that is orthogonal."""
    mu, _ = _mean_signs(S, U, Vh, floor, **static)
    return (adjoint(Vh) * (1 - mu * mu)[..., None, :]) @ Vh


shortfall = constant("shortfall", _shortfall)
