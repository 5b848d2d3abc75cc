"""Named scalar functions: hashable objects that know their divided differences."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .._bindings.array import Array, Arrays, array_namespace
from .._engine.errors import raise_glue
from .._engine.tape import is_recording
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

    def by_parameter(self) -> Named:
        return Nowhere()

    def with_parameter(self, parameters: tuple[Array, ...], axes: int) -> Any:
        """With the number, if it is free, fit for arrays with that many axes behind a batch's."""
        if not parameters:
            return self
        return self._with(parameters[0][(..., *(None,) * axes)])

    def _with(self, value: Any) -> Any:
        """Another of its kind with that parameter."""
        return replace(self, **{str(self.parameter): value})


class Nowhere(Named):
    """The derivative of what has none that is known: NaN."""

    def __call__(self, s: Array) -> Array:
        return NAN * s

    def divided(self, a: Array, b: Array) -> Array:
        return NAN * (a + b)

    def with_parameter(self, parameters: tuple[Array, ...], axes: int) -> Any:
        return self


def in_units(f: Any, parameters: Arrays, unit: Array) -> tuple[Any, Arrays, Array, Array]:
    """g, its parameters, u and c = u^(d/2 - 1) with f(u t) = u^d g(t), for second derivatives.

    D2F(A)[H, K] = D2G(A/u)[c H, c K] leaves the range of the dtype only where it has to. u is
    `unit`, (..., 1), where f has a degree d, and 1 where it has a scale of its own.
    """
    degree = f.with_parameter(parameters, 1).degree
    if degree is None:
        one = array_namespace(unit).ones_like(unit)
        return f, parameters, one, one
    value = parameters[0] if parameters else getattr(f, f.parameter or "", None)
    value = f.parameter_in_units(value, unit[..., 0])
    if value is not None:
        f, parameters = f._with(FREE), (value,)
    return f, parameters, unit, unit ** (degree / 2 - 1)


def magnitude(s: Array) -> Array:
    """|s|; PyTorch's abs has derivative 0 at 0, where a one-sided one is wanted."""
    return where(s < 0, -s, s)


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
    if not math.isfinite(value):
        raise ValueError(f"sg.functions: `{name}` is {value!r}; wanted a finite number.")
    if (above is not None and not value > above) or (least is not None and not value >= least):
        bound = f"above {above}" if above is not None else f"at least {least}"
        raise ValueError(f"sg.functions: `{name}` is {value!r}; wanted a number {bound}.")
    return float(value)


def is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, np.generic)
