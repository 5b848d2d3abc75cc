"""The protocol of a scalar function: what a function of the spectrum asks of f."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from .._bindings.array import Array


@dataclass(frozen=True, eq=False)
class Scalar:
    """A function f of one real variable, with its derivatives and divided differences.

    All methods are elementwise. `a`, `b`, `c` and `s` are real arrays that broadcast.
    """

    foreign: ClassVar[bool] = False  # the user's code: called once, with the library's arrays
    parameters: ClassVar[tuple[str, ...]] = ()  # the fields that may hold arrays

    @property
    def degree(self) -> Any:
        """d where f(c s) = c^d g(s), g being f or its like with other parameters; or None."""
        return None

    def in_units(self, unit: Array) -> dict[str, Any]:
        """The parameters of g for c = unit, as far as they are not f's."""
        return {}

    @property
    def width(self) -> Any:
        """Where f stops growing towards zero, if it has a degree below 0 and does; or None."""
        return None

    singular: ClassVar[bool] = False  # f' grows towards zero like a negative power
    jumps_at_zero: ClassVar[bool] = False  # so that a zero has to be one exactly

    @property
    def nonnegative(self) -> bool:
        """Whether f jumps, ends or has a kink at zero."""
        return False

    def breaks(self, s: Array, tolerance: Array, order: int) -> Any:
        """Where F has no derivative of that order since s lies at a jump or a kink; None: nowhere.

        What is zero is another matter.
        """
        return None

    @property
    def bounded_derivatives(self) -> float:
        """How many derivatives of the odd extension are bounded around zero.

        A derivative of order n needs no test for zero values if n + 1 of them are: what a zero
        that was computed as 1e-17 does to it is of that size.
        """
        return 0

    # not a dataclass's: PyTorch 2.9, where it traces a call, hashes an object without its fields
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).items()))

    @property
    def vanishes(self) -> bool | None:
        """Whether f(0) = 0; None where only its value tells."""
        return True

    def __call__(self, s: Array) -> Array:
        """f(s)."""
        raise NotImplementedError

    def derivative(self, s: Array) -> Array:
        """f'(s)."""
        return self.divided(s, s)

    def slope(self) -> Scalar:
        """f' as a function of its own."""
        return Slope(self)

    def of_singular_values(self) -> Scalar:
        """What f is on values that are not negative."""
        return self

    def divided(self, a: Array, b: Array) -> Array:
        """The divided difference f[a, b], which is f'(a) where a = b."""
        raise NotImplementedError

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        """f[a, b, c], given f[a, b], f[b, c] and f[a, c]."""
        raise NotImplementedError

    def ratio(self, s: Array, fs: Array) -> Array:
        """f(s)/s, given fs = f(s), which those with bounded derivatives do without."""
        return fs / s

    def by_parameter(self, index: int) -> Scalar:
        """The derivative of f by one of its free parameters, a function of s."""
        raise NotImplementedError

    def with_parameters(self, values: tuple[Array, ...], axes: int) -> Any:
        """f with its free parameters, if any, fit for arrays with `axes` axes after the batch."""
        return self


@dataclass(frozen=True, eq=False)
class Slope(Scalar):
    """f', times a number, by the differences of f: f'[a, b] = f[a, a, b] + f[a, b, b]."""

    f: Any
    factor: float = 1.0
    vanishes: ClassVar[bool | None] = None

    @property
    def nonnegative(self) -> bool:
        return bool(self.f.nonnegative)

    def breaks(self, s: Array, tolerance: Array, order: int) -> Any:
        return self.f.breaks(s, tolerance, order + 1)

    def __call__(self, s: Array) -> Array:
        return self.factor * self.f.derivative(s)

    def divided(self, a: Array, b: Array) -> Array:
        f = self.f
        at_a, at_b, ab = f.derivative(a), f.derivative(b), f.divided(a, b)
        return self.factor * (f.second(a, a, b, at_a, ab, ab) + f.second(a, b, b, ab, at_b, ab))

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return float("nan") * (a + b + c)

    def by_parameter(self, index: int) -> Scalar:
        return replace(self, f=self.f.by_parameter(index))

    def with_parameters(self, values: tuple[Array, ...], axes: int) -> Any:
        return replace(self, f=self.f.with_parameters(values, axes))
