"""The root of a mean square: its gradient at a kink is 0, and second derivatives are NaN.

Where the mean square e is zero, so is its derivative along whatever the points do, and a rule of
sqrt(e) that sees e alone cannot tell a direction that moves points from none. So the gradient has a
term that is zero, with a derivative by the points that is NaN at a kink.
"""

from __future__ import annotations

from functools import partial

from .._bindings.array import Array, Arrays, array_namespace
from .._bindings.lookup import library_of
from .._engine.linear import add, inner, multiply, nan_derivative, negative
from .._engine.primitive import Primitive, constant
from .._engine.zero_directions import is_followed
from .._spectrum.undefined import KEEP_OUT, Undefined
from .point_sums import sum_of


def _power_of_root(e: Array, floor: Array, *, order: int) -> Array:
    """The derivative of sqrt(e) of that order; at a root that counts as zero 0, then NaN."""
    xp = array_namespace(e)
    kink = e <= floor
    if order == 0:
        return xp.sqrt(e)
    safe = xp.where(kink, 1.0, e)
    value = 0.5 / xp.sqrt(safe)
    for i in range(1, order):
        value = value * (0.5 - i) / safe
    return xp.where(kink, 0.0 if order == 1 else float("nan"), value)


def _has_kink(e: Array, floor: Array, p: Array, *w: Array) -> Array:
    """1 where e counts as zero and several points count, else 0: of one point e is always zero."""
    xp = array_namespace(e)
    several = xp.sum(xp.astype(w[0] != 0, e.dtype), axis=-1) > 1 if w else p.shape[-1] > 1
    return xp.astype((e <= floor) & several, e.dtype)


has_kink = constant("has_kink", _has_kink)


def _why_kink(
    inputs: Arrays, outputs: Arrays, directions: Arrays, result: Arrays, *, undefined: Undefined
) -> Exception | None:
    kink, what = inputs[1][..., None], "rmsd has a kink where it is zero to rounding; msd has none"
    return undefined.explain(kink, directions, result[0], lambda values: what, KEEP_OUT, order=2)


_with_kink = nan_derivative(
    lambda kink: kink != 0, undefined=_why_kink, insists=lambda *, undefined: undefined.insists
)


def _flat(x: Array, inputs: Arrays, undefined: Undefined) -> Array:
    """Zeros like the points x, whose derivative is NaN where the root of e has a kink."""
    e, floor, _, _, *w = inputs
    return add(x, negative(_with_kink(x, has_kink(e, floor, x, *w), undefined=undefined)))


def _root_jvp(
    inputs: Arrays, outputs: Arrays, tangents: Arrays, *, undefined: Undefined, order: int = 0
) -> Array:
    (e, _, p, q, *_), (de, _, dp, dq, *_) = inputs, tangents
    slope = partial(root, *inputs, undefined=undefined, order=order + 1)
    terms = [] if de is None else [multiply(de, slope(), axes=0)]
    if order == 0 and is_followed(library_of(e), (e, p, q)):
        along = [(x, dx) for x, dx in ((p, dp), (q, dq)) if dx is not None]
        terms += [inner(_flat(x, inputs, undefined), dx, axes=2) for x, dx in along]
    return sum_of(terms) if terms else None


def _root_vjp(
    inputs: Arrays, outputs: Arrays, bars: Arrays, *, undefined: Undefined, order: int = 0
) -> Arrays:
    (e, _, p, q, *w), (bar,) = inputs, bars
    slope = partial(root, *inputs, undefined=undefined, order=order + 1)
    followed = order == 0 and is_followed(library_of(e), (e, p, q, bar))

    def of_points(x: Array) -> Array:
        return multiply(bar, _flat(x, inputs, undefined), axes=2)

    return (
        lambda: multiply(bar, slope(), axes=0),
        None,
        *(partial(of_points, x) if followed else None for x in (p, q)),
        *(None for _ in w),
    )


# sqrt(e) of e, what counts as zero, the points and weights if there are any. Where e is zero its
# derivatives are zero too, whatever the points do: that it has no second one, the points say.
root: Primitive = Primitive(
    "root",
    lambda e, floor, *points, undefined, order=0: _power_of_root(e, floor, order=order),
    _root_jvp,
    _root_vjp,
    carried=(1, 4),
    core=0,
    reads_outputs=False,
)
