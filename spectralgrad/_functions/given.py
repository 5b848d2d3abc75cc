"""Scalar functions of the user's: values and derivatives from callables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .._bindings.array import Array, Arrays, ArrayT, array_namespace, device, eps, is_complex, real
from .._bindings.library import AutodiffLibrary
from .._bindings.owners import unboxed
from .._engine.errors import public_name
from .._engine.linear import add_imaginary
from .._engine.reading import read
from .._spectrum.divided_differences import by_quadrature, second_by_quadrature
from .protocol import Scalar


class Given(Scalar):
    """A function f of the user's, whose derivatives the subclass knows.

    Where it does not vanish at zero, the derivative is NaN at a zero value.
    """

    foreign = True
    vanishes: ClassVar[bool | None] = None
    f: Callable[[Array], Array]

    def __call__(self, s: Array) -> Array:
        return checked(self.f, s)

    def derivative(self, s: Array) -> Array:
        raise NotImplementedError

    def second_derivative(self, s: Array) -> Array:
        raise NotImplementedError

    def slope(self) -> Scalar:
        return ScalarFunction(self.derivative, self.second_derivative)

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
    try:
        array_namespace(value, s)
    except TypeError:
        raise TypeError(
            f"the scalar function {f!r} returned a {type(value).__name__} for a "
            f"{type(s).__name__}; wanted the array's own library. Write it with its operations."
        ) from None
    return value


@dataclass(frozen=True, eq=False)
class Autodiff(Given):
    """A bare callable, differentiated by the library that owns the array."""

    f: Callable[[Array], Array]
    library: AutodiffLibrary

    def derivative(self, s: Array) -> Array:
        return self.library.derivative(self.f, s)

    def second_derivative(self, s: Array) -> Array:
        return self.library.derivative(self.derivative, s)


@dataclass(frozen=True)
class Part:
    """The real or the imaginary part of a complex-valued callable."""

    f: Callable[[Array], Array]
    imaginary: bool

    def __call__(self, *args: Any) -> Array:
        value = self.f(*args)
        xp = array_namespace(value)
        return xp.imag(value) if self.imaginary else xp.real(value)


def _part(f: Given, imaginary: bool) -> Given:
    given = {name: getattr(f, name, None) for name in ("f", "df", "d2f")}
    return replace(
        f, **{name: Part(part, imaginary) for name, part in given.items() if part is not None}
    )


def _check_elementwise(values: Array, of_first: Callable[[], Array], rounding: float) -> None:
    """Raise where the first of the values is another one alone, if that can be known."""
    together = read(values, insist=False)
    alone = None if together is None else read(of_first(), insist=False)
    if together is None or alone is None:
        return
    apart = abs(complex(together[0]) - complex(alone[0]))
    if apart > rounding**0.5 * abs(complex(alone[0])):
        raise ValueError(
            f"{public_name('svd_function')}: `f` is not elementwise: its value at 1 is "
            f"{complex(alone[0]):.3g} alone and {complex(together[0]):.3g} beside another number. "
            "Write it with elementwise operations; a scale that depends on all values belongs to "
            "the matrix, outside of f."
        )


def apply_in_parts(
    of: Callable[..., Any],
    f: Any,
    x: Array,
    narrow: Callable[[Any], ArrayT],
    parameters: Arrays = (),
) -> ArrayT:
    """of(f=f), which takes a real-valued f; of both parts if f is complex-valued.

    A function of a spectrum is linear in f over the real numbers: F = F_re + i F_im, with all
    derivatives.
    """
    if isinstance(f, Given):
        of_numbers = f.with_parameters(parameters, 0)
        dtype = real(unboxed(x)).dtype
        probe = array_namespace(x).linspace(1, 2, 2, dtype=dtype, device=device(x))
        # its values there do not matter, and only NumPy's functions warn of them
        quiet = np.errstate(all="ignore") if isinstance(probe, np.ndarray) else nullcontext()
        with quiet:
            values = of_numbers(probe)
            _check_elementwise(values, partial(of_numbers, probe[:1]), eps(probe))
        if is_complex(values):
            total: ArrayT = add_imaginary(
                *(of(f=_part(f, imaginary)) for imaginary in (False, True))
            )
            return total
    return narrow(of(f=f))
