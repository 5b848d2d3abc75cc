"""Named scalar functions: hashable objects that know their divided differences."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .._bindings.array import Array, Arrays, array_namespace, expand
from .._engine.errors import raise_glue
from .._engine.tape import is_recording
from .._spectrum.ties import least_of, unit_of
from .protocol import Scalar

NAN = float("nan")


class _Free:
    """Stands in a function for a parameter that travels beside it, as an array."""

    def __repr__(self) -> str:
        return "free"


FREE = _Free()


class Named(Scalar):
    """A function with its value, derivative and divided differences in closed form."""

    @property
    def odd(self) -> bool:
        """Whether f(-s) = -f(s) without the odd extension."""
        return False

    @property
    def bounded_derivatives(self) -> float:
        return math.inf if self.odd and self.vanishes else 0

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return NAN * (a + b + c)

    def ratio(self, s: Array, fs: Array) -> Array:
        """f(s)/s, as f[s, 0] where f(0) = 0: s^2 may underflow where s does not."""
        return self.divided(s, array_namespace(s).zeros_like(s)) if self.vanishes else fs / s

    @property
    def free(self) -> tuple[str, ...]:
        """The parameters that travel beside the function."""
        return tuple(name for name in self.parameters if getattr(self, name) is FREE)

    def by(self, name: str) -> Scalar:
        """The derivative by a parameter."""
        return Nowhere()

    def by_parameter(self, index: int) -> Scalar:
        return self.by(self.free[index])

    def with_parameters(self, values: tuple[Array, ...], axes: int) -> Any:
        if not values:
            return self
        # NumPy's 0-d results are numbers (2.4), which would be checked as the user's
        arrays = (np.asarray(v) if isinstance(v, np.generic) else v for v in values)
        shaped = (expand(value, axes) for value in arrays)
        return replace(self, **dict(zip(self.free, shaped, strict=True)))


class Nowhere(Named):
    """The derivative of what has none that is known: NaN."""

    def __call__(self, s: Array) -> Array:
        return NAN * s

    def divided(self, a: Array, b: Array) -> Array:
        return NAN * (a + b)

    def with_parameters(self, values: tuple[Array, ...], axes: int) -> Any:
        return self


def in_units(f: Any, values: Arrays, w: Array, order: int) -> tuple[Any, Arrays, Array, Any]:
    """g, its parameters, w/u and c = u^((d - n)/2) with f(u t) = u^d g(t), for order n.

    c DG(A/u)[c H] = DF(A)[H] and D2G(A/u)[c H, c K] = D2F(A)[H, K] leave the range of the dtype
    only where they have to. Where f has a degree d, u is the largest of the spectrum w, or for
    negative powers the least that is not zero, or the width of f; it is 1, and c the number 1.0,
    where f has no degree. The shape of c is (..., 1).
    """
    held = f.with_parameters(values, 1)
    degree = held.degree
    if degree is None:
        return f, values, w, 1.0
    if isinstance(degree, (int, float)):
        unit = unit_of(w) if degree >= 0 else _steepest(w, held)
    else:
        unit = where(degree >= 0, unit_of(w), _steepest(w, held))
    unit = unit + 0.0 * unit  # NaN where the spectrum overflows
    moved = f.with_parameters(values, 0).in_units(unit[..., 0])
    if moved:
        given = dict(zip(f.free, values, strict=True)) | moved
        f = replace(f, **dict.fromkeys(moved, FREE))
        values = tuple(given[name] for name in f.free)
    return f, values, w / unit, unit ** ((degree - order) / 2)


def _steepest(w: Array, f: Any) -> Array:
    """Where in the spectrum a function of negative degree is steepest, as a positive scale."""
    least = least_of(w)
    return least if f.width is None else where(least < f.width, f.width, least)


def scaled(x: Array, c: Any) -> Array:
    """x times numbers c of its batch elements, (..., 1), or the number 1.0."""
    return x if isinstance(c, float) else c[..., None] * x


def magnitude(s: Array) -> Array:
    """|s|; PyTorch's abs has derivative 0 at 0, where a one-sided one is wanted."""
    return where(s < 0, -s, s)


def near(s: Array, place: Any, tolerance: Array) -> Array:
    """Whether s lies at a place, to the error of computed values, and no nearer to zero."""
    half = magnitude(place + 0.0 * s) / 2
    return magnitude(s - place) <= where(tolerance < half, tolerance, half)


def where(condition: Array, x: Any, otherwise: Any) -> Array:
    return array_namespace(condition).where(condition, x, otherwise)


def number(value: Any, name: str, *, above: float | None = None, least: float | None = None) -> Any:
    """A Python number, or an array of numbers to differentiate by, which is left as it is."""
    if value is FREE or is_array(value):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(
            f"sg.functions: `{name}` is a {type(value).__name__}; wanted a Python number, or an "
            "array of the library that x is of, to differentiate by."
        )
    if isinstance(value, np.floating) and is_recording():
        raise_glue(f"`{name}` of a scalar function is a {type(value).__name__}, a NumPy number")
    if not -math.inf < value < math.inf:  # Dynamo has no math.isfinite of a variable (2.13)
        raise ValueError(f"sg.functions: `{name}` is {value!r}; wanted a finite number.")
    if (above is not None and not value > above) or (least is not None and not value >= least):
        bound = f"above {above}" if above is not None else f"at least {least}"
        raise ValueError(f"sg.functions: `{name}` is {value!r}; wanted a number {bound}.")
    return float(value)


def is_array(value: Any) -> bool:
    if isinstance(value, (int, float, np.generic)):  # of which Dynamo may not be asked more (2.13)
        return False
    return hasattr(value, "shape") and hasattr(value, "dtype")
