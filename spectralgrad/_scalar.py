"""What a user may pass as f, made into one hashable object that knows its divided differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._array import Array, array_namespace
from ._divided import by_quadrature
from ._primitive import library_of

NAN = float("nan")


class Named:
    """A function that knows itself: value, derivative and divided differences in closed form."""

    vanishes = True  # f(0) = 0

    def __call__(self, s: Array) -> Array:
        raise NotImplementedError

    def derivative(self, s: Array) -> Array:
        return self.divided(s, s)

    def divided(self, a: Array, b: Array) -> Array:
        raise NotImplementedError

    def ratio(self, s: Array, fs: Array) -> Array:
        """f(s)/s, as f[s, 0] where f(0) = 0: s^2 may underflow where s does not."""
        return self.divided(s, array_namespace(s).zeros_like(s)) if self.vanishes else fs / s


def magnitude(s: Array) -> Array:
    """|s|; PyTorch's abs has derivative 0 at 0, where a one-sided one is wanted."""
    return where(s < 0, -s, s)


def where(condition: Array, x: Any, otherwise: Any) -> Array:
    return array_namespace(condition).where(condition, x, otherwise)


def number(value: Any, name: str, *, above: float | None = None, least: float | None = None):
    """A Python number; an array would be constant to autodiff, and its gradient lost."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(
            f"sg.functions: `{name}` is a {type(value).__name__}; wanted a Python number. An array "
            "or tensor would be taken for a constant and its gradient lost without a word."
        )
    if not math.isfinite(value):
        raise ValueError(f"sg.functions: `{name}` is {value!r}; wanted a finite number.")
    if (above is not None and not value > above) or (least is not None and not value >= least):
        bound = f"above {above}" if above is not None else f"at least {least}"
        raise ValueError(f"sg.functions: `{name}` is {value!r}; wanted a number {bound}.")
    return float(value)


class _Given:
    """A function f of the user's, whose derivative the subclass knows."""

    f: Callable[[Array], Array]

    def __call__(self, s: Array) -> Array:
        return checked(self.f, s)

    def derivative(self, s: Array) -> Array:
        raise NotImplementedError

    def divided(self, a: Array, b: Array) -> Array:
        return by_quadrature(self, self.derivative, a, b)

    def ratio(self, s: Array, fs: Array) -> Array:
        return fs / s


@dataclass(frozen=True)
class ScalarFunction(_Given):
    """A function given by its values and its derivative.

    Parameters
    ----------
    f, df : callable
        The function and its derivative, of an array of any shape, elementwise.
    d2f : callable, optional
        The second derivative. Gradients and tangents never call it: it is kept for derivatives of
        second order, where nothing replaces it.

    Notes
    -----
    Divided differences come from 8-node Gauss-Legendre quadrature of `df` where it explains the
    quotient to within the quotient's rounding error, and from the quotient where it does not: to
    about 1e-13 for smooth, steep and kinked functions alike.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> square_root = sg.functions.ScalarFunction(np.sqrt, lambda s: 0.5 / np.sqrt(s))
    >>> sg.svd_function(np.diag([9.0, 4.0]), square_root)
    array([[3., 0.],
           [0., 2.]])
    """

    f: Callable[[Array], Array]
    df: Callable[[Array], Array]
    d2f: Callable[[Array], Array] | None = None

    def derivative(self, s: Array) -> Array:
        return checked(self.df, s)


def checked(f: Callable[[Array], Array], s: Array) -> Array:
    """f(s), which must be elementwise."""
    value = f(s)
    if getattr(value, "shape", None) != s.shape:
        raise ValueError(
            f"the scalar function {f!r} returned {type(value).__name__} of shape "
            f"{getattr(value, 'shape', 'none')} for an array of shape {tuple(s.shape)}; wanted one "
            "value for each. Write it with elementwise operations of the array's own library."
        )
    return value


@dataclass(frozen=True)
class _Autodiff(_Given):
    """A bare callable, differentiated by the library that owns the array."""

    f: Callable[[Array], Array]

    def derivative(self, s: Array) -> Array:
        return library_of(s).derivative(self.f, s)


def as_scalar_function(f: Any, x: Array, function: str) -> Any:
    """A named function as it is; pairs and callables wrapped, once seen to lose no gradient."""
    if isinstance(f, Named):
        return f
    library = library_of(x)
    if isinstance(f, tuple) and 2 <= len(f) <= 3 and all(callable(part) for part in f):
        f = ScalarFunction(*f)
    elif callable(f) and not isinstance(f, _Given) and library is not None:
        f = _Autodiff(f)
    if not isinstance(f, _Given):
        raise TypeError(
            f"{function}: `f` is a {type(f).__name__}; wanted a function of spectralgrad.functions "
            "such as tanh or power(3), or a pair (f, df) of callables. A bare callable serves "
            "PyTorch and JAX arrays alone, where the library differentiates it."
        )
    if library is not None and library.captures_derivative(f.f, x):
        raise TypeError(
            f"{function}: `f` closes over a value that is being differentiated or traced, whose "
            "gradient would be lost without a word. Use a named function of "
            "spectralgrad.functions for a parameter, or detach the value if it is a constant."
        )
    return f
