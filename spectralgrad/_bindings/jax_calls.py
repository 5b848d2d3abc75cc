"""What JAX binds in place of a call: that for each element of a batch, or over axes of devices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from .array import Arrays
from .rows import over_axes


@dataclass(frozen=True)
class _Instead:
    """What stands for a call."""

    call: Any

    @property
    def foreign(self) -> bool:
        return bool(self.call.foreign)

    def active(self, inputs: Arrays) -> list[int]:
        return list(self.call.active(inputs))


@dataclass(frozen=True)
class Mapped(_Instead):
    """A call for each element of a batch that shares nothing."""

    shares = True

    def forward(self, *inputs: jax.Array) -> Arrays:
        out: Arrays = jax.vmap(self.call.forward)(*inputs)
        return out

    def jvp(self, inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
        out: Arrays = jax.vmap(self.call.jvp)(inputs, outputs, tangents)
        self.explain(inputs, outputs, tangents, out)
        return out

    def vjp(
        self, inputs: Arrays, outputs: Arrays, cotangents: Arrays, wanted: tuple[int, ...]
    ) -> Arrays:
        rule = partial(self.call.vjp, wanted=wanted)
        out: Arrays = jax.vmap(rule)(inputs, outputs, cotangents)
        self.explain(inputs, outputs, cotangents, out)
        return out

    def explain(self, *groups: Arrays, batch: int = 0) -> None:
        """Where one element could not say why, since it saw no values."""
        self.call.explain(*groups, batch=batch + 1)


@dataclass(frozen=True)
class OverRows(_Instead):
    """A call with rows spread over axes of devices, which its rules are told whenever they run."""

    axes: tuple[str, ...]

    @property
    def shares(self) -> bool:
        return bool(self.call.shares)

    def forward(self, *inputs: jax.Array) -> Arrays:
        with over_axes(self.axes):
            out: Arrays = self.call.forward(*inputs)
        return out

    def jvp(self, inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
        with over_axes(self.axes):
            out: Arrays = self.call.jvp(inputs, outputs, tangents)
        return out

    def vjp(
        self, inputs: Arrays, outputs: Arrays, cotangents: Arrays, wanted: tuple[int, ...]
    ) -> Arrays:
        with over_axes(self.axes):
            out: Arrays = self.call.vjp(inputs, outputs, cotangents, wanted)
        return out

    def explain(self, *groups: Arrays, batch: int = 0) -> None:
        self.call.explain(*groups, batch=batch)
