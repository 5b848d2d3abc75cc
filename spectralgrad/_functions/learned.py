"""Functions with parameters that the library differentiates by: f(s, params)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from .._bindings.array import Array, Arrays
from .._bindings.library import AutodiffLibrary
from .given import Autodiff, Given
from .protocol import Scalar


@dataclass(frozen=True, eq=False)
class Learnable(Given):
    """f(s, theta), differentiated by theta along as many tangents as `order` says.

    Its parameters are the leaves of theta and of each tangent, one after the other.
    """

    f: Callable[..., Any]
    rebuild: Callable[[Arrays], Any]  # theta from its leaves
    library: AutodiffLibrary
    order: int = 0

    def along(self) -> Learnable:
        """The derivative along one more tangent of theta."""
        return replace(self, order=self.order + 1)

    def with_parameters(self, values: Arrays, axes: int) -> Any:
        count = len(values) // (1 + self.order)
        parts = [values[i * count : (i + 1) * count] for i in range(1 + self.order)]
        return Autodiff(partial(self._derivative, parts), self.library)

    def _derivative(self, parts: list[Arrays], s: Array) -> Array:
        theta, *tangents = parts
        if not tangents:
            return self.f(s, self.rebuild(theta))

        def lower(*leaves: Array) -> Array:
            return self._derivative([leaves, *tangents[:-1]], s)

        return self.library.pushforward(lower, theta, tangents[-1])

    def slope(self) -> Scalar:
        return _LearnableSlope(self)


@dataclass(frozen=True, eq=False)
class _LearnableSlope(Given):
    f: Any

    @property
    def order(self) -> int:
        return int(self.f.order)

    def with_parameters(self, values: Arrays, axes: int) -> Any:
        return self.f.with_parameters(values, axes).slope()
