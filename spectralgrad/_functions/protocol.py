"""The protocol of a scalar function: what a function of the spectrum asks of f."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .._bindings.array import Array


@dataclass(frozen=True, eq=False)
class Scalar:
    """A function f of one real variable, with its derivatives and divided differences.

    All methods are elementwise. `a`, `b`, `c` and `s` are real arrays that broadcast.
    """

    in_slices: ClassVar[bool] = True  # safe in threads, on slices of a stack
    parameter: ClassVar[str | None] = None  # the field that may hold an array

    @property
    def degree(self) -> Any:
        """d where f(c s) = c^d g(s), g being f or its like with another parameter; or None."""
        return None

    def parameter_in_units(self, value: Any, unit: Array) -> Any:
        """The parameter of g for c = unit; None if that is f's."""
        return None

    singular: ClassVar[bool] = False  # f' grows towards zero like a negative power

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

    def divided(self, a: Array, b: Array) -> Array:
        """The divided difference f[a, b], which is f'(a) where a = b."""
        raise NotImplementedError

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        """f[a, b, c], given f[a, b], f[b, c] and f[a, c]."""
        raise NotImplementedError

    def ratio(self, s: Array, fs: Array) -> Array:
        """f(s)/s, given fs = f(s), which those with bounded derivatives do without."""
        return fs / s

    def by_parameter(self) -> Scalar:
        """The derivative of f by its parameter, a function of s."""
        raise NotImplementedError

    def with_parameter(self, parameters: tuple[Array, ...], axes: int) -> Any:
        """f with its free parameter, if any, shaped for arrays with `axes` axes after the batch."""
        return self
