"""The points of a path and their decompositions, in double precision on the host.

At a point the sorted singular values fall into *groups*: values that count as equal, by
`gap_rtol` times the largest. Within a group the decomposition is arbitrary, between groups its
vectors have an error of noise over gap. `gap_rtol` is noise^(3/4), and the noise eps unless a
caller says that a path is known to fewer digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from .._bindings.array import Array
from .._spectrum import factorizations

KEPT = 128  # points beside the given ones whose decompositions are kept for a second use


@dataclass(frozen=True)
class Tolerances:
    """Relative to the largest value."""

    tie: float  # gaps that count as zero

    @property
    def noise(self) -> float:
        """Of the matrix, in its norm."""
        return float(self.tie ** (4 / 3))

    @property
    def near(self) -> float:
        """Gaps that cost vectors more than noise^(2/3)."""
        return float(self.noise ** (1 / 3))

    @property
    def promised(self) -> float:
        """The largest estimated error of vectors at a tie."""
        return float(self.noise**0.5)


@dataclass(frozen=True, eq=False)
class Point:
    """A = U diag(S) V^H at t, with S sorted, and its groups."""

    t: float
    A: Array
    U: Array
    S: Array
    V: Array
    tolerance: float  # up to what gap values are in one group

    @property
    def top(self) -> float:
        return float(self.S[0])

    @cached_property
    def starts(self) -> Array:
        """The first column of each group."""
        return np.flatnonzero(np.append(True, self.S[:-1] - self.S[1:] > self.tolerance))

    @cached_property
    def ends(self) -> Array:
        return np.append(self.starts[1:], len(self.S))

    @cached_property
    def sizes(self) -> Array:
        return self.ends - self.starts

    @cached_property
    def has_zeros(self) -> bool:
        """Whether the last group counts as zero: its values equal their mirror images."""
        return bool(2 * self.S[-1] <= self.tolerance)

    @cached_property
    def gaps(self) -> Array:
        """The distance of each group to the nearest other, over the largest value."""
        unit = self.top or 1.0
        beyond = np.concatenate([[np.inf], self.S / unit, [np.inf]])
        above = beyond[self.starts] - beyond[self.starts + 1]
        below = beyond[self.ends] - beyond[self.ends + 1]
        below[-1] = np.inf
        return np.minimum(above, below)

    @cached_property
    def heights(self) -> Array:
        """The distance of each group to zero, over the largest value."""
        return self.S[self.ends - 1] / (self.top or 1.0)


class Path:
    """A path that can be asked for points: anywhere, or at the given parameters alone."""

    def __init__(
        self,
        matrix: Callable[[float], Array],
        t: Array,
        tolerances: Tolerances,
        rounded: Callable[[float], float] | None = None,
    ) -> None:
        self.t = t  # ascending
        self.tolerances = tolerances
        self.refinable = rounded is not None
        self._matrix, self._rounded = matrix, rounded or float
        self._point = lru_cache(maxsize=len(t) + KEPT)(self._decomposed)

    def at(self, t: float) -> Point:
        """The point at t, or at the nearest number of its precision."""
        return self._point(self._rounded(t))

    def _decomposed(self, t: float) -> Point:
        A = self._matrix(t)
        U, S, Vh = factorizations.svd(A)
        S = S + 0.0  # LAPACK's values of a zero matrix may be -0.0
        return Point(t, A, U, S, Vh.conj().T, self.tolerances.tie * float(S[0]))
