"""Scalar functions of the user's: values and derivatives from callables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .._bindings.array import Array
from .._bindings.lookup import native
from .._spectrum.divided_differences import by_quadrature, second_by_quadrature
from .protocol import Scalar


class Given(Scalar):
    """A function f of the user's, whose derivatives the subclass knows.

    It is taken to vanish at zero: where it does not, the result is NaN at a zero value.
    """

    in_slices = False  # the user's own code is called once, in one thread
    f: Callable[[Array], Array]

    def __call__(self, s: Array) -> Array:
        return checked(self.f, s)

    def derivative(self, s: Array) -> Array:
        raise NotImplementedError

    def second_derivative(self, s: Array) -> Array:
        raise NotImplementedError

    def divided(self, a: Array, b: Array) -> Array:
        return by_quadrature(self, self.derivative, a, b)

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return second_by_quadrature(self.second_derivative, a, b, c, ab, bc, ac)


@dataclass(frozen=True, eq=False)
class ScalarFunction(Given):
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
    16 points: a named function is much faster there.

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


@dataclass(frozen=True, eq=False)
class Autodiff(Given):
    """A bare callable, differentiated by the library that owns the array."""

    f: Callable[[Array], Array]

    def derivative(self, s: Array) -> Array:
        return native(s).derivative(self.f, s)

    def second_derivative(self, s: Array) -> Array:
        return native(s).derivative(self.derivative, s)
