"""Powers of what lies above a cutoff: pseudoinverses and whitening of low rank."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from .._bindings.array import Array, Arrays
from .._spectrum.divided_differences import quotient, widest_quotient
from .named import NAN, Named, near, number, where
from .powers import Power, PowerLog


def power(p: Any, cutoff: Any = None) -> Named:
    """s^p for any real p; a whole p takes negative s too, unless there is a cutoff.

    Parameters
    ----------
    p : number or array
        Negative bases are NaN unless p is a whole number; zero has no derivative for p < 1 but 0.
        An array, with a number for each matrix, is differentiated by, and never counts as whole.
    cutoff : number or array, optional
        Above 0. What does not lie above it becomes 0, negative s too: power(-0.5, cutoff) whitens a
        covariance of low rank. At the cutoff, to the error of computed values, there is no
        derivative: NaN. An array, with a number for each matrix, is differentiated by: the
        derivative is 0.

    Raises
    ------
    TypeError, ValueError
        If p is neither an array nor a finite Python number, or the cutoff is none above 0.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.functions.power(2)(np.array([3.0, -1.0]))
    array([9., 1.])
    >>> sg.functions.power(-1, cutoff=0.1)(np.array([2.0, 1e-9]))
    array([0.5, 0. ])
    """
    if cutoff is None:
        return Power(p)
    return PowerAbove(Power(p).p, number(cutoff, "cutoff", above=0))


@dataclass(frozen=True, eq=False)
class PowerAbove(Named):
    """s^p (log s)^n above the cutoff, and 0 elsewhere: the n-th derivative by p."""

    p: Any
    cutoff: Any
    n: int = 0
    parameters: ClassVar[tuple[str, ...]] = ("p", "cutoff")
    bounded_derivatives = math.inf

    @property
    def degree(self) -> Any:
        return None if self.n else self.p

    def in_units(self, unit: Array) -> dict[str, Any]:
        return {"cutoff": self.cutoff / unit}

    @property
    def width(self) -> Any:
        return self.cutoff

    def breaks(self, s: Array, tolerance: Array, order: int) -> Any:
        return near(s, self.cutoff, tolerance)

    @property
    def _whole(self) -> Named:
        return PowerLog(self.p, self.n) if self.n else Power(self.p)

    def _kept(self, s: Array) -> Arrays:
        """Which arguments lie above, and these with 1 in place of the others."""
        kept = s > self.cutoff
        return kept, where(kept, s, 1.0)

    def __call__(self, s: Array) -> Array:
        kept, x = self._kept(s)
        invalid = ~(self.cutoff + 0.0 * s >= 0)
        return where(invalid, NAN, where(kept, self._whole(x), 0.0))

    def divided(self, a: Array, b: Array) -> Array:
        (a_kept, x), (b_kept, y) = self._kept(a), self._kept(b)
        across = quotient(self(a) - self(b), a, b, 0.0 * a)
        return where(a_kept & b_kept, self._whole.divided(x, y), across)

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        (a_kept, x), (b_kept, y), (c_kept, z) = map(self._kept, (a, b, c))
        across, _ = widest_quotient(a, b, c, ab, bc, ac, 0.0 * a)
        whole = self._whole.second(x, y, z, ab, bc, ac)
        return where(a_kept & b_kept & c_kept, whole, across)

    def by(self, name: str) -> Named:
        return replace(self, n=self.n + 1) if name == "p" else _ByCutoff(self.p, self.cutoff)


class InverseAbove(PowerAbove):
    """The function of the pseudoinverse, which knows itself when a value is at its threshold."""

    def breaks(self, s: Array, tolerance: Array, order: int) -> Any:
        return None


class _ByCutoff(PowerAbove):
    """The derivative by the place of the jump: 0, and none at the jump."""

    degree = None

    def __call__(self, s: Array) -> Array:
        return where(s == self.cutoff, NAN, 0.0 * s)

    def divided(self, a: Array, b: Array) -> Array:
        return 0.0 * (a + b)

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return 0.0 * (a + b + c)

    def by(self, name: str) -> Named:
        return self
