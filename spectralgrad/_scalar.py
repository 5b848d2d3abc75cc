"""What a user may pass as f, made into one hashable object that knows its divided differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._array import Array, array_namespace
from ._divided import by_quadrature, second_by_quadrature, widest_quotient
from ._errors import check_parameter, raise_glue
from ._linear import broadcast, cast, dtype_name
from ._primitive import is_noting, library_of

NAN = float("nan")


class _Free:
    """Stands in a function for a parameter that travels beside it, as an array."""

    def __repr__(self) -> str:
        return "free"


FREE = _Free()


class Named:
    """A function that knows itself: value, derivative and divided differences in closed form."""

    vanishes = True  # f(0) = 0
    odd = False  # f(-s) = -f(s) as it stands, without being extended so
    parameter: str | None = None  # the field that may hold an array

    def __call__(self, s: Array) -> Array:
        raise NotImplementedError

    def derivative(self, s: Array) -> Array:
        return self.divided(s, s)

    def divided(self, a: Array, b: Array) -> Array:
        raise NotImplementedError

    def second(self, a, b, c, ab, bc, ac) -> Array:
        """f[a, b, c], given f[a, b], f[b, c] and f[a, c]."""
        return NAN * (a + b + c)

    def mirrored_second(self, a, b, c, ab, bc, ac) -> Array:
        """f[a, b, c] of the odd extension, given its first differences, for signs that differ.

        Where that is no closed form, f is not smooth at zero either: the quotient loses no more
        there than the third derivative does.
        """
        if self.odd:
            return self.second(a, b, c, ab, bc, ac)
        return widest_quotient(a, b, c, ab, bc, ac, 0.0)[0]

    def ratio(self, s: Array, fs: Array) -> Array:
        """f(s)/s, as f[s, 0] where f(0) = 0: s^2 may underflow where s does not."""
        return self.divided(s, array_namespace(s).zeros_like(s)) if self.vanishes else fs / s

    def by_parameter(self) -> Named:
        """The derivative of f by its parameter, a function of s."""
        return Nowhere()

    def with_parameter(self, parameters: tuple[Array, ...], axes: int) -> Any:
        """With the number, if it is free, aligned to arrays with that many axes behind a batch's."""
        if not parameters:
            return self
        return self._with(parameters[0][(..., *(None,) * axes)])

    def _with(self, value: Any) -> Any:
        """Another of its kind with that parameter."""
        return type(self)(**(vars(self) | {str(self.parameter): value}))


@dataclass(frozen=True)
class Nowhere(Named):
    """The derivative of what has none that is known: NaN."""

    def __call__(self, s: Array) -> Array:
        return NAN * s

    def divided(self, a: Array, b: Array) -> Array:
        return NAN * (a + b)

    def with_parameter(self, parameters: tuple[Array, ...], axes: int) -> Any:
        return self


def magnitude(s: Array) -> Array:
    """|s|; PyTorch's abs has derivative 0 at 0, where a one-sided one is wanted."""
    return where(s < 0, -s, s)


def where(condition: Array, x: Any, otherwise: Any) -> Array:
    return array_namespace(condition).where(condition, x, otherwise)


def number(value: Any, name: str, *, above: float | None = None, least: float | None = None):
    """A Python number, or an array of numbers to differentiate by, which is left as it is."""
    if value is FREE or is_array(value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(
            f"sg.functions: `{name}` is a {type(value).__name__}; wanted a Python number, or an "
            "array of the library that x is of, to differentiate by."
        )
    if isinstance(value, np.floating) and is_noting():
        raise_glue(f"`{name}` of a scalar function is a {type(value).__name__}, a NumPy number")
    if not math.isfinite(value):
        raise ValueError(f"sg.functions: `{name}` is {value!r}; wanted a finite number.")
    if (above is not None and not value > above) or (least is not None and not value >= least):
        bound = f"above {above}" if above is not None else f"at least {least}"
        raise ValueError(f"sg.functions: `{name}` is {value!r}; wanted a number {bound}.")
    return float(value)


def is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, np.generic)


class _Given:
    """A function f of the user's, whose derivatives the subclass knows."""

    vanishes = True  # at any rate where it matters: f(0) != 0 is NaN at a zero value
    f: Callable[[Array], Array]

    def __call__(self, s: Array) -> Array:
        return checked(self.f, s)

    def derivative(self, s: Array) -> Array:
        raise NotImplementedError

    def second_derivative(self, s: Array) -> Array:
        raise NotImplementedError

    def divided(self, a: Array, b: Array) -> Array:
        return by_quadrature(self, self.derivative, a, b)

    def second(self, a, b, c, ab, bc, ac) -> Array:
        return second_by_quadrature(self.second_derivative, a, b, c, ab, bc, ac)

    def mirrored_second(self, a, b, c, ab, bc, ac) -> Array:
        """f[a, b, c] of the odd extension; the user's own is asked for positive numbers alone."""

        def second_derivative(s):
            value = self.second_derivative(magnitude(s))
            return where(s < 0, -value, value)

        return second_by_quadrature(second_derivative, a, b, c, ab, bc, ac)

    def ratio(self, s: Array, fs: Array) -> Array:
        return fs / s

    def with_parameter(self, parameters: tuple[Array, ...], axes: int) -> _Given:
        return self


@dataclass(frozen=True)
class ScalarFunction(_Given):
    """A function given by its values and its derivatives.

    Parameters
    ----------
    f, df : callable
        The function and its derivative, of an array of any shape, elementwise.
    d2f : callable, optional
        The second derivative, which derivatives of second order need. Gradients and tangents never
        call it.

    Raises
    ------
    TypeError
        From a derivative of second order where d2f is missing.

    Notes
    -----
    Divided differences come from 8-node Gauss-Legendre quadrature of `df` where it explains the
    quotient to within the quotient's rounding error, and from the quotient where it does not: to
    about 1e-13 for smooth, steep and kinked functions alike. Second order takes `d2f` likewise, at
    16 points for each of k^3 triples: a named function is much faster there.

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

    def second_derivative(self, s: Array) -> Array:
        if self.d2f is None:
            raise TypeError(
                f"a derivative of second order was asked of {self!r}, which has no d2f. Give the "
                "second derivative too, (f, df, d2f), or use a named function of "
                "spectralgrad.functions; first derivatives do without."
            )
        return checked(self.d2f, s)


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

    def second_derivative(self, s: Array) -> Array:
        return library_of(s).derivative(self.derivative, s)


def as_scalar_function(f: Any, x: Array, function: str) -> tuple[Any, tuple[Array, ...]]:
    """f without arrays, and its parameter if that is one, fit to broadcast against x.

    Pairs and callables are wrapped, once seen to lose no gradient.
    """
    if isinstance(f, Named):
        value = getattr(f, f.parameter) if f.parameter else None
        if f.parameter is None or not is_array(value):
            return f, ()
        return f._with(FREE), (as_parameter(value, x, function, f.parameter),)
    return _given(f, x, function), ()


def as_parameter(value: Array, x: Array, function: str, name: str) -> Array:
    """An array of numbers with x's real dtype, one for each matrix."""
    check_parameter(value, x, function, name)
    real = dtype_name(x).replace("complex128", "float64").replace("complex64", "float32")
    return broadcast(cast(value, real), tuple(x.shape[:-2]))


def _given(f: Any, x: Array, function: str) -> Any:
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
