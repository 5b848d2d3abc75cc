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

For H = U diag(s) V^T the mean minimiser is U diag(mu) V^T: mu is 1 where R is determined, and 0 at
two zeros or more, or at one if reflections are allowed. If a rotation has to turn an axis over,
det(U V^T) < 0, it is the last one, or any of the m that are tied with it: mu is 1 - 2/m there.
"""

from __future__ import annotations

from typing import Any

from .._bindings.array import Array, Arrays, adjoint, array_namespace, conj, device, real
from .._engine.elementary import filled, measured
from .._engine.linear import add, inner, matmul, multiply, subtract
from .._engine.primitive import Primitive, constant
from .point_rounding import about_mean
from .point_sums import centred
from .polar_differentials import orientation


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
    """Thunks for the cotangents of w, P and Q."""
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
    core=0,
)

# <R, H> at its greatest, in R
greatest: Primitive = Primitive(
    "greatest",
    lambda H, R, M: array_namespace(H).sum(real(conj(R) * H), axis=(-2, -1)),
    jvp=lambda inputs, outputs, tangents: inner(inputs[2], tangents[0], axes=2),
    vjp=lambda inputs, outputs, bars: (multiply(bars[0], inputs[2], axes=2), None, None),
    carried=(1, 2),
    core=0,
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


def _settled(U: Array, S: Array, Vh: Array, floor: Array, *, reflection: bool) -> Array:
    """S, zeros for what counts as zero, and the last value equal to the next where that is so.

    The quotients that are undefined are those by a sum of zero then.
    """
    xp, zero, n = array_namespace(S), floor[..., None] >= S, S.shape[-1]
    settled = xp.where(zero, xp.zeros_like(S), S)
    if reflection or n == 1:
        return settled
    next_to_last = settled[..., n - 2 : n - 1]
    last = xp.arange(n, device=device(S)) == n - 1
    tied = last & (next_to_last - S <= floor[..., None]) & (orientation(U, Vh) < 0)
    return xp.where(tied, next_to_last, settled)


settled = constant("settled", _settled)


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
