r"""The factors at a tie, where a decomposition does not show them: continued from both sides.

Along an analytic path the vectors of a block are analytic functions of t, at ties too. So they are
the values there of polynomials through the vectors nearby, each turned to change least from one
frame (`polynomials`). On a callable path the nodes are Chebyshev's on an interval around t, which
is halved until the estimate of the error no longer falls; on given points they are the nearest.

What the decomposition at t knows better is kept: the span of all columns that are in question, and
the vectors themselves where noise/gap is less than the estimate, or where the polynomial differs
from them by more than both err. The values are Re u^H A v.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.polynomial import chebyshev

from .._bindings.array import Array
from .following import CLOSE, Unresolved
from .matching import Frame, guessed, match, off, polar_factor
from .points import KEPT, Path
from .polynomials import NO_FIT, Fit, Nodes, stacked
from .transport import rotation

NODES, DEGREE = 20, 11  # on an interval
GIVEN = 10  # the most given points that a polynomial goes through
LEVELS = 40  # of intervals, each half of the last
BACKWARD = 100  # the most rounding errors in a decomposition, in its norm
WORSE = 3  # intervals without an improvement: smaller ones only have more noise


class Continuation:
    """The factors at any point among frames that have been followed."""

    def __init__(self, path: Path, frames: list[Frame], guess: bool) -> None:
        self.path, self.frames, self.guess = path, frames, guess
        self._times = np.array([frame.t for frame in frames])
        self._interval = lru_cache(maxsize=None)(self._nodes_on)
        self.at = lru_cache(maxsize=len(path.t) + KEPT)(self._continued)
        self.fit = lru_cache(maxsize=len(path.t) + KEPT)(self._fit)

    def nearest(self, t: float) -> Frame:
        return self.frames[int(np.argmin(np.abs(self._times - t)))]

    def _continued(self, t: float) -> Frame:
        anchor, tolerances = self.nearest(t), self.path.tolerances
        found = anchor if anchor.t == t else match(anchor, self.path.at(t))
        if np.min(found.overlap) < CLOSE and found is not anchor:
            if not self.guess:
                worst = int(np.argmin(found.overlap))
                raise Unresolved(anchor, found, worst, "a tie hides how they turn")
            found = found if np.any(found.tied) else guessed(anchor, found.point)
        fits = {}
        for block in map(int, np.flatnonzero(found.gaps < tolerances.near)):
            fit, gap = self.fit(t, block), found.gaps[block]
            if gap > 0:
                if fit.error < tolerances.noise / gap:
                    fits[block] = fit
                continue
            if fit.error > tolerances.promised and not self.guess:
                raise Unresolved(anchor, found, block, "no polynomial continues them")
            fits[block] = fit if fit.error < 1 else _unchanged(anchor, block)
        return _with_fits(found, fits, tolerances.near) if fits else found

    def _fit(self, t: float, block: int) -> Fit:
        """The best polynomial for a block that the decomposition at t does not contradict."""
        best: Fit | None = None
        tolerances, worse = self.path.tolerances, 0
        found = match(self.nearest(t), self.path.at(t))
        for nodes in self._nodes(t, block):
            fit = nodes.fit(block, t, tolerances.noise)
            if _contradicted(fit, found, block, tolerances.noise):
                continue
            if best is None or fit.error < best.error:
                best, worse = fit, 0
            else:
                worse += 1
            if best.error <= tolerances.tie or worse == WORSE:
                break
        return NO_FIT if best is None else best

    def _nodes(self, t: float, block: int) -> Iterator[Nodes]:
        """Nodes around t, on intervals that become smaller, or those among given points."""
        if not self.path.refinable:
            yield self._given(t, block)
        elif len(self.path.t) > 1:
            for level in range(LEVELS):
                nodes = self._interval(level, self._start(t, level), block)
                if nodes is not None:
                    yield nodes

    def _start(self, t: float, level: int) -> int:
        """Which interval of a level has t nearest to its middle, in halves of its length."""
        lower, upper = self.path.t[0], self.path.t[-1]
        half = (upper - lower) / 2 ** (level + 1)
        return int(min(max(round((t - lower) / half) - 1, 0), 2 ** (level + 1) - 2))

    def _nodes_on(self, level: int, start: int, block: int) -> Nodes | None:
        """Frames at Chebyshev's nodes, or None where the block does not match at one."""
        lower, upper = self.path.t[0], self.path.t[-1]
        radius = (upper - lower) / 2 ** (level + 1)
        middle = lower + (start + 1) * radius
        x = chebyshev.chebpts1(NODES)
        anchor, frames = self.nearest(middle), []
        for place in sorted(x, key=lambda place: -abs(place)):  # those that fail come first
            frame = self._in_gauge(anchor, min(max(middle + radius * place, lower), upper))
            if frame.overlap[block] < CLOSE:
                return None
            frames.append(frame)
        return Nodes(frames, middle, radius, DEGREE)

    def _in_gauge(self, anchor: Frame, t: float) -> Frame:
        """The frame at t, turned to change least from another; without overlap where that differs.

        What is followed between the two may have been exchanged in an avoided crossing.
        """
        point = self.path.at(t)
        frame = match(anchor, point)
        same = (frame.group == match(self.nearest(t), point).group) | frame.tied
        return replace(frame, overlap=np.where(same, frame.overlap, 0.0))

    def _given(self, t: float, block: int) -> Nodes:
        anchor = self.nearest(t)
        usable = sorted((f for f in self.frames if f.gaps[block] > 0), key=lambda f: abs(f.t - t))
        frames = [self._in_gauge(anchor, frame.t) for frame in usable[:GIVEN]]
        frames = [frame for frame in frames if frame.overlap[block] > 0.5]
        times = np.array([frame.t for frame in frames] or [t])
        middle, radius = (np.max(times) + np.min(times)) / 2, np.ptp(times) / 2 or 1.0
        return Nodes(frames, middle, radius, len(frames) - 1)


def _contradicted(fit: Fit, frame: Frame, block: int, noise: float) -> bool:
    """Whether a polynomial misses the decomposed vectors by more than both may err.

    It does so inside of a narrow avoided crossing, if its nodes are outside.
    """
    gap, columns, m = frame.gaps[block], frame.blocks.columns[block], len(frame.U)
    if gap == 0 or frame.blocks.is_zero[block] or not np.isfinite(fit.error):
        return False
    U, V = fit.vectors[:m], fit.vectors[m:]
    R = rotation(U, V, frame.U[:, columns], frame.V[:, columns])
    miss = np.max(np.abs(fit.vectors - stacked(frame, columns) @ R))
    return bool(miss > fit.error + BACKWARD * noise / gap)


def _unchanged(frame: Frame, block: int) -> Fit:
    vectors = stacked(frame, frame.blocks.columns[block])
    return Fit(vectors, np.nan * vectors, np.inf, np.inf)


def _with_fits(frame: Frame, fits: dict[int, Fit], near: float) -> Frame:
    """The frame with its near blocks orthonormal, in the span that the decomposition knows."""
    point, blocks = frame.point, frame.blocks
    U, S, V = frame.U.copy(), frame.S.copy(), frame.V.copy()
    m, n = point.A.shape
    for block, fit in fits.items():
        U[:, blocks.columns[block]], V[:, blocks.columns[block]] = fit.vectors[:m], fit.vectors[m:]
    chosen = (frame.gaps < near) | np.isin(np.arange(len(frame.gaps)), list(fits))
    columns = np.repeat(chosen, blocks.sizes)
    doubtful, at_zero = _doubtful(frame, chosen, near)
    for W, all_columns, is_long in ((U, point.U, m > n), (V, point.V, n > m)):
        X = W[:, columns]
        span = all_columns[:, doubtful]
        X = off(X, all_columns[:, ~doubtful]) if is_long and at_zero else span @ (span.conj().T @ X)
        W[:, columns] = polar_factor(X)[0]
    S[columns] = np.real(np.sum(U[:, columns].conj() * (point.A @ V[:, columns]), axis=0))
    return replace(frame, U=U, S=S, V=V)


def _doubtful(frame: Frame, chosen: Array, near: float) -> tuple[Array, bool]:
    """Which columns of the decomposition the chosen blocks may be mixed of; whether zeros are."""
    point = frame.point
    groups = point.gaps < near
    groups[frame.group[chosen]] = True
    at_zero = bool(point.heights[-1] < near)
    groups[-1] |= at_zero and point.A.shape[0] != point.A.shape[1]
    return np.repeat(groups, point.sizes), at_zero
