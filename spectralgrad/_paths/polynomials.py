r"""Polynomials in t through the vectors of a block, weighted by what these are known to.

Vectors from a decomposition have errors of noise/gap. They are fitted with weights gap, in a basis
of Chebyshev polynomials. With Phi the basis at the nodes, D the diagonal matrix of gaps and phi the
basis at t, the fit is

    phi^T (D Phi)^+ D (vectors at the nodes),

its share of the noise is |phi^T (D Phi)^+|, and the error of the polynomial is what a lower degree
changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

from .._bindings.array import Array
from .matching import Frame

LOWER = 2  # the degree that shows the error of another is so much lower


class Fit(NamedTuple):
    """The vectors of a block, U over V, and their slope, each with its estimated error."""

    vectors: Array
    slope: Array
    error: float
    slope_error: float


NO_FIT = Fit(np.array(np.nan), np.array(np.nan), np.inf, np.inf)


@dataclass(frozen=True, eq=False)
class Nodes:
    """Frames in one gauge, and the polynomials of a degree through them."""

    frames: list[Frame]
    middle: float
    radius: float
    degree: int

    def fit(self, block: int, t: float, noise: float) -> Fit:
        gaps = np.array([frame.gaps[block] for frame in self.frames])
        if self.degree < LOWER or np.sum(gaps > noise) <= self.degree:
            return NO_FIT
        columns = self.frames[0].blocks.columns[block]
        data = np.stack([stacked(frame, columns) for frame in self.frames])
        value, slope, share = self._evaluated(gaps, data, t, self.degree)
        lower, lower_slope, _ = self._evaluated(gaps, data, t, self.degree - LOWER)
        changes = (np.max(np.abs(value - lower)), np.max(np.abs(slope - lower_slope)))
        errors = (noise * share + changes[0], changes[1] / self.radius)
        return Fit(value, slope / self.radius, *map(float, errors))

    def _evaluated(
        self, gaps: Array, data: Array, t: float, degree: int
    ) -> tuple[Array, Array, float]:
        """The value at t, the slope there by radius, and how much of the noise the value has."""
        x = (np.array([frame.t for frame in self.frames]) - self.middle) / self.radius
        place = (t - self.middle) / self.radius
        inverse = np.linalg.pinv(gaps[:, None] * chebyshev.chebvander(x, degree))
        at = chebyshev.chebvander(place, degree)[0]
        slopes = chebyshev.chebval(place, chebyshev.chebder(np.eye(degree + 1)))
        row, slope_row = at @ inverse, slopes @ inverse
        value = np.tensordot(row * gaps, data, 1)
        return value, np.tensordot(slope_row * gaps, data, 1), float(np.linalg.norm(row))


def stacked(frame: Frame, columns: slice) -> Array:
    return np.concatenate([frame.U[:, columns], frame.V[:, columns]])
