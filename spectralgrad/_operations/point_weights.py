"""Weights of points: what they leave out, their sum in range, and the extent of what they count."""

from __future__ import annotations

from .._bindings.array import Array, Arrays, adjoint, array_namespace, device, eps, real
from .._engine.elementary import measured
from .._engine.linear import nan_if, row, unrow
from .._engine.primitive import Primitive, constant
from .._spectrum.entries import power_of_two


def _extent(x: Array, *w: Array) -> Array:
    """The largest entry of the points, in columns, that have a weight."""
    xp, size = array_namespace(x), array_namespace(x).abs(x)
    counted = xp.where(w[0][..., None, :] != 0, size, xp.zeros_like(x)) if w else size
    return xp.max(counted, axis=(-2, -1))


def _unit(size: Array) -> Array:
    """A power of two, so that nothing is rounded, with an inverse that is in range."""
    xp = array_namespace(size)
    least = float(xp.finfo(size.dtype).smallest_normal)
    power, u = power_of_two(size)
    unit = power / u
    return xp.where(xp.isfinite(size), xp.where(unit < least, least, unit), float("nan"))


def units(p: Array, q: Array, *w: Array, alike: bool) -> tuple[Arrays, Arrays]:
    """Units of the points, one if `alike`, and their largest entries in these units.

    A unit is 1 where all are zero, and NaN where one is not finite.
    """
    xp, extents = array_namespace(p), [_extent(x, *w) for x in (p, q)]
    sizes = extents
    if alike:
        a, b = extents
        sizes = [xp.where(a < b, b, a) + 0.0 * b] * 2  # NaN of either
    found = tuple(map(_unit, sizes))
    return found, tuple(extent / unit for extent, unit in zip(extents, found, strict=True))


def _idle(X: Array, w: Array) -> Array:
    """1 at points without weight that are not finite, or too far out to be squared; else 0."""
    xp = array_namespace(X)
    extent = _extent(adjoint(X), w)
    bound = xp.where(extent == 0, float("inf"), extent / eps(X) ** 2)[..., None]
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


def _masked(mask: Array, X: Array) -> Array:
    """1 at the points that a mask leaves out, else 0."""
    xp = array_namespace(X)
    return xp.astype(~xp.broadcast_to(mask, X.shape[:-1]), real(X).dtype)


masked = constant("masked", _masked)


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


def _equal_weights(X: Array) -> Array:
    return array_namespace(X).ones(X.shape[:-1], dtype=real(X).dtype, device=device(X))


equal_weights = constant("equal_weights", _equal_weights)
