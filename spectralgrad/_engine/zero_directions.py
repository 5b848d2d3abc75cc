"""Batch elements along which nothing is asked: what their zero directions make of a call.

The functions of the Primitives that `primitive` makes for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any, Literal

from .._bindings.array import Array, Arrays, array_namespace, expand, is_zero, real
from .._bindings.library import Library
from .._bindings.lookup import is_dense
from .operators import LowRank
from .tape import current_tape, is_differentiated

Mode = Literal["jvp", "vjp"]


def is_followed(library: Library, arrays: Arrays) -> bool:
    """Whether a derivative may be asked for of what is computed from one of these."""
    if current_tape(arrays[0]) is not None:
        return True
    return any(x is not None and library.is_differentiated(x) for x in arrays)


def has_derivative(x: Any) -> bool:
    """Whether x is an array of numbers whose derivative may be asked for."""
    if not is_dense(x) or not is_differentiated(x):
        return False
    return bool(array_namespace(x).isdtype(x.dtype, ("real floating", "complex floating")))


def idle_elements(*directions: Array, axes: tuple[int, ...]) -> Array:
    """1 where all directions, arrays with so many axes of their own, are zero, else 0."""
    zero = reduce(and_, (is_zero(d, n) for d, n in zip(directions, axes, strict=True)))
    return array_namespace(zero).astype(zero, real(directions[0]).dtype)


def blanked(x: Array, mask: Array, *, axes: int, keep: bool = False) -> Array:
    """x with zeros where the mask is 1, or (keep) where it is 0."""
    xp = array_namespace(x)
    pair = (x, xp.zeros_like(x)) if keep else (xp.zeros_like(x), x)
    return xp.where(expand(mask, axes) != 0, *pair)


def zeroed(mask: Array, x: Any, batch: int) -> Any:
    """A result with zeros where the mask, of the batch, is 1."""
    if x is None or isinstance(x, LowRank):
        return x if x is None else LowRank(*(zeroed(mask, W, batch) for W in (x.left, x.right)))
    return blanked(x, mask, axes=x.ndim - batch)


def copies(mask: Array, *arrays: Array, axes: tuple[int, ...]) -> Arrays:
    # They depend on the mask: under vmap PyTorch sums the cotangent of what only the rules know to
    # be batched too often (2.13).
    return tuple(x + 0.0 * expand(mask, n) for x, n in zip(arrays, axes, strict=True))


@dataclass(frozen=True)
class Shielded:
    """A call in one mode, with the places of its results and of its directions that are arrays."""

    call: Any  # of a Primitive
    mode: Mode
    shown: tuple[int, ...]
    given: tuple[int, ...]
    inputs: int

    @property
    def foreign(self) -> bool:
        return bool(self.call.foreign)

    @property
    def shares(self) -> bool:
        return bool(self.call.shares)

    def split(self, arrays: Arrays) -> tuple[Arrays, Arrays, Arrays, Arrays]:
        """Results, directions, inputs and outputs."""
        a, b = len(self.shown), len(self.shown) + len(self.given)
        return arrays[:a], arrays[a:b], arrays[b : b + self.inputs], arrays[b + self.inputs :]

    def straight(self, inputs: Arrays, outputs: Arrays, directions: Arrays) -> Arrays:
        """The results along other directions."""
        found = self._run(self.mode, inputs, outputs, self.given, directions, self.shown)
        return tuple(found[i] for i in self.shown)

    def turned(self, inputs: Arrays, outputs: Arrays, bars: Arrays) -> Arrays:
        """The cotangents of the directions."""
        other: Mode = "jvp" if self.mode == "vjp" else "vjp"
        found = self._run(other, inputs, outputs, self.shown, bars, self.given)
        return tuple(found[i] for i in self.given)

    def _run(
        self,
        mode: Mode,
        inputs: Arrays,
        outputs: Arrays,
        places: tuple[int, ...],
        arrays: Arrays,
        wanted: tuple[int, ...],
    ) -> Arrays:
        at = dict(zip(places, arrays, strict=True))
        directions = tuple(at.get(i) for i in range(len(inputs if mode == "jvp" else outputs)))
        options = () if mode == "jvp" else (wanted,)
        found: Arrays = getattr(self.call, mode)(inputs, outputs, directions, *options)
        return found


def shielded(mask: Array, *arrays: Array, of: Shielded, axes: tuple[int, ...]) -> Arrays:
    results, *_ = of.split(arrays)
    # with strict=False torch.compile refuses what is not of one length (2.9)
    pairs = zip(results, axes[: len(results)], strict=True)
    return tuple(blanked(r, mask, axes=n) for r, n in pairs)
