r"""Followed triplets from one point of a path to the next, refined where vectors turn.

From a point to the next the vectors are matched (`matching`). A step is taken if every overlap is
above `CLOSE`, also with a point between, so that half a turn is not taken for none; else it is
halved. That leaves values that have changed places in one step: they have
crossed, or come close and turned apart within it, an *avoided crossing*, whose vectors swap within
a width of gap over slope. Both look the same from outside. So the place where the followed values
meet is found by regula falsi: if all vectors are followed there and the difference is within the
tolerance of a tie, the values cross; if not, vectors mix there, and the step is halved around that
place until the turning is resolved.

At a tie the overlap is that with all that is tied. How vectors turn within is seen shortly before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from .._bindings.array import Array
from .matching import Frame, guessed, match
from .points import Path

CLOSE = 0.9  # the least overlap of a step
HALVINGS = 60  # of a step: beyond it parameters in double precision are neighbours
SECANTS = 100  # steps of regula falsi
WITHIN = 0.382  # of a step: where it is looked at, no simple fraction, which turns may repeat
BESIDE = 63 / 64  # of a step to a tie: where vectors are seen
FRACTIONS = (0.5, 0.375, 0.625, 0.4375, 0.5625, 0.25, 0.75)  # where a step is divided


@dataclass
class Unresolved(Exception):
    """What cannot be followed: a block, from a frame to another one."""

    frame: Frame
    other: Frame
    block: int
    reason: str


def follow(path: Path, start: Frame, targets: Array, guess: bool) -> list[Frame]:
    """Frames at the targets, one after the other, and wherever else the path was refined.

    There is none where a block is tied. With `guess`, what cannot be resolved is matched as it is.
    """
    frames = [start]
    for t in targets:
        try:
            frames += _reach(path, frames[-1], t, HALVINGS)
        except Unresolved:
            if not guess:
                raise
            found = match(frames[-1], path.at(t))
            frames += [] if np.any(found.tied) else [guessed(frames[-1], found.point)]
    return frames[1:]


def _reach(path: Path, start: Frame, t: float, halvings: int) -> list[Frame]:
    found = match(start, path.at(t))
    kept = _untied(path, start, found)
    worst = min((found, *kept), key=lambda frame: float(np.min(frame.overlap)))
    block = int(np.argmin(worst.overlap))
    between, reason = start.t + FRACTIONS[0] * (t - start.t), "their overlap is too small"
    if worst.overlap[block] >= CLOSE and path.refinable:
        within = start.t + WITHIN * (t - start.t)
        if not _confirms(match(start, path.at(within)), found):
            worst = replace(found, overlap=np.zeros_like(found.overlap))
            between, reason = within, "they turn away and back between"
    if worst.overlap[block] >= CLOSE:
        mixture = next(_mixtures(path, start, [found, *kept]), None) if path.refinable else None
        if mixture is None:
            return kept
        (between, block), reason = mixture, "values change places and do not meet"
    if not path.refinable or halvings == 0:
        raise Unresolved(start, worst, block, reason)
    middle = _divide(path, start, found, between)
    if middle is None:
        reason = f"{reason}, and no point between them is free of ties"
        raise Unresolved(start, worst, block, reason)
    first = _reach(path, start, middle, halvings - 1)
    return first + _reach(path, first[-1] if first else start, t, halvings - 1)


def _untied(path: Path, start: Frame, end: Frame) -> list[Frame]:
    """The end of a step, or a frame shortly before a tie there, which hides what turns within."""
    if path.refinable and np.any(end.tied):
        end = match(start, path.at(start.t + BESIDE * (end.t - start.t)))
    return [] if np.any(end.tied) else [end]


def _confirms(within: Frame, end: Frame) -> bool:
    """Whether vectors within a step agree with those at its end, which are matched to its start."""
    if np.min(within.overlap) < CLOSE or np.any(within.tied) or np.any(end.tied):
        return bool(np.min(within.overlap) >= CLOSE)
    back = match(end, within.point)
    left = np.sum(within.U.conj() * back.U, axis=0)
    right = np.sum(within.V.conj() * back.V, axis=0)
    return bool(np.min(back.overlap) >= CLOSE and np.min((left + right).real) >= 2 * CLOSE)


def _divide(path: Path, start: Frame, end: Frame, between: float) -> float | None:
    """Where to divide a step: at a point without a tie."""
    for t in (between, *(start.t + f * (end.t - start.t) for f in FRACTIONS)):
        found = match(start, path.at(t))
        inside = min(start.t, end.t) < found.t < max(start.t, end.t)
        if inside and not np.any(found.tied):
            return found.t
    return None


def _mixtures(path: Path, start: Frame, ends: list[Frame]) -> Iterator[tuple[float, int]]:
    """Where values that change places from a frame to others do not meet, and a block of theirs."""
    for end in dict.fromkeys(ends):
        for difference, block in _events(start, end):
            if any(abs(difference(f)) <= f.point.tolerance for f in (start, end)):
                continue  # they meet there
            t = _unmet(path, start, end, difference)
            if t is not None:
                yield t, block


Difference = Callable[[Frame], float]


def _events(start: Frame, end: Frame) -> Iterator[tuple[Difference, int]]:
    """The differences of values that change their sign, and a block that they are about."""
    at, zero = start.blocks.starts, start.blocks.is_zero
    for sign in (-1, 1):
        before, after = (np.sign(f.S[at][:, None] + sign * f.S[at]) for f in (start, end))
        changed = np.triu(before * after < 0, k=(1 - sign) // 2)  # i = j: a value and its mirror
        for i, j in zip(*np.nonzero(changed & ~zero & ~zero[:, None]), strict=True):
            yield _difference_of(i, j, sign), int(i)
    if start.S.shape[0] == start.point.S.shape[0]:
        return
    for i, column in enumerate(at):
        places = [int(np.sum(_rest(f) > f.S[column])) for f in (start, end)]
        for place in range(*sorted(places)):
            yield _difference_from(i, place), i


def _difference_of(i: int, j: int, sign: int) -> Difference:
    def difference(frame: Frame) -> float:
        in_zeros = frame.point.has_zeros & (frame.group == len(frame.point.starts) - 1)
        if (in_zeros & frame.tied)[[i, j]].all():
            return 0.0  # whatever the values of a chain of ties are
        a, b = frame.S[frame.blocks.starts[[i, j]]]
        return float(a + sign * b)

    return difference


def _difference_from(block: int, place: int) -> Difference:
    def difference(frame: Frame) -> float:
        other, point, group = _rest(frame)[place], frame.point, frame.group[block]
        members = point.S[point.starts[group] : point.ends[group]]
        if frame.tied[block] and members[-1] <= abs(other) <= members[0]:
            return 0.0  # which of these the block is cannot be told
        return float(frame.S[frame.blocks.starts[block]] - other)

    return difference


def _rest(frame: Frame) -> Array:
    """The values that are not followed and their mirror images, descending."""
    point = frame.point
    taken = np.zeros(len(point.S), dtype=bool)
    followed = zip(point.starts[frame.group], frame.blocks.sizes, strict=True)
    for start, size in followed:
        free = np.flatnonzero(~taken[start:])[:size] + start
        taken[free] = True
    rest = point.S[~taken]
    return np.concatenate([rest, -rest[::-1]])


def _unmet(path: Path, start: Frame, end: Frame, difference: Difference) -> float | None:
    """Where the vectors of values that change places mix, or None if the values meet."""
    (a, b), (f, g) = (start.t, end.t), (difference(start), difference(end))
    middle, moved = a, 0
    for _ in range(SECANTS):
        middle = a - f * ((b - a) / (g - f))
        if not min(a, b) < middle < max(a, b):
            middle = a + (b - a) / 2
        found = match(start, path.at(middle))
        middle = found.t  # rounded, where t is in single precision
        if middle in (a, b):
            return middle
        if np.min(found.overlap) < CLOSE:
            return middle  # first: where vectors mix, two may be matched to the same value
        h = difference(found)
        if abs(h) <= found.point.tolerance:
            return None
        # Illinois: an end that stays twice counts half
        if (h < 0) == (g < 0):
            b, g, f, moved = middle, h, f / (2 if moved == 1 else 1), 1
        else:
            a, f, g, moved = middle, h, g / (2 if moved == -1 else 1), -1
    return middle
