r"""The moments of two point sets: their means and the covariance of the points about them.

    H = sum w_n q_n p_n^T,    p_n = (P_n - P_mean)/size_p,    q_n = (Q_n - Q_mean)/size_q.

All in one step: PyTorch takes as long for a node of its graph as for a pass over some points.
"""

from __future__ import annotations

from collections.abc import Callable

from .._bindings.array import Array, Arrays
from .._bindings.host import columns, in_order
from .._engine.linear import add, adjoint_of
from .._engine.primitive import Primitive
from .point_rounding import covariance_floor
from .point_sums import (
    about_mean,
    by_mean,
    centred_jvp,
    gram,
    moved,
    paired,
    sum_of,
    sum_of_outer,
    uncentred,
    zeros_for,
)
from .point_weights import units


def _moments(P: Array, Q: Array, *w: Array, alike: bool) -> Arrays:
    p, q = columns(P), columns(Q)
    (size_p, size_q), largest = units(p, q, *w, alike=alike)
    (p, P_mean), (q, Q_mean) = about_mean(p, size_p, *w), about_mean(q, size_q, *w)
    floor = covariance_floor(p, q, *largest, *w)
    H, P_mean, Q_mean = map(in_order, (sum_of_outer(q, p, *w), P_mean, Q_mean))
    return H, p, q, P_mean, Q_mean, size_p, size_q, floor


def _moments_jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays, *, alike: bool) -> Arrays:
    (P, Q, *w), (dP, dQ, *dw) = inputs, tangents
    _, p, q, P_mean, Q_mean, size_p, size_q, _ = outputs
    dp, dP_mean = centred_jvp((P, size_p, *w), (p, P_mean), (dP, None, *dw))
    dq, dQ_mean = centred_jvp((Q, size_q, *w), (q, Q_mean), (dQ, None, *dw))
    terms = [gram(q, p, d) for d in dw if d is not None]
    terms += [] if dp is None else [gram(q, dp, *w)]
    terms += [] if dq is None else [gram(dq, p, *w)]
    return sum_of(terms), dp, dq, dP_mean, dQ_mean, None, None, None


def _added(terms: list[Array | None]) -> Array | None:
    total = None
    for term in terms:
        total = term if total is None else total if term is None else add(total, term)
    return total


def _moments_vjp(inputs: Arrays, outputs: Arrays, bars: Arrays, *, alike: bool) -> Arrays:
    w = inputs[2:]
    _, p, q, P_mean, Q_mean, size_p, size_q, _ = outputs
    H_bar, p_bar, q_bar, P_mean_bar, Q_mean_bar, *_ = bars

    def of_set(
        turned: Callable[[], Array], own: Array | None, mean_bar: Array | None, *like: Array
    ) -> Arrays:
        z = _added([own, None if H_bar is None else turned()])
        return zeros_for((z, mean_bar), like)

    def of_p() -> Arrays:
        return of_set(lambda: moved(adjoint_of(H_bar), q, *w), p_bar, P_mean_bar, p, P_mean)

    def of_q() -> Arrays:
        return of_set(lambda: moved(H_bar, p, *w), q_bar, Q_mean_bar, q, Q_mean)

    def of_weights() -> Array | None:
        return _added(
            [
                None if H_bar is None else paired(H_bar, q, p),
                by_mean(of_p(), size_p, p),
                by_mean(of_q(), size_q, q),
            ]
        )

    return (
        lambda: uncentred(*of_p(), size_p, *w),
        lambda: uncentred(*of_q(), size_q, *w),
        *(of_weights for _ in w),
    )


# H, the points about their means, in columns and in units, the means, the units, and what counts as
# zero beside the values of H; units and floor are constants
moments = Primitive(
    "moments",
    _moments,
    _moments_jvp,
    _moments_vjp,
    outputs=8,
    core=2,
    unread=lambda **static: (0, 1),
)
