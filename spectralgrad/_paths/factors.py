"""The factors along a path: where to begin, what is followed, and in which order it is returned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._bindings.array import Array
from .continuation import Continuation
from .derivatives import derivatives
from .following import follow
from .matching import Blocks, Frame, first_frame
from .points import Path, Point
from .transport import aligned, carried

INWARD = (0.5, 0.25, 0.75)  # of the first step: where to begin if there is a tie at its start


class CutError(Exception):
    """k is no number of triplets that can be followed by themselves; with the point."""


def factors(
    path: Path, order: Array, k: int, slope: Callable[[float], Array] | None, guess: bool
) -> list[tuple[Array, ...]]:
    """U, S, V, and dU, dS, dV if the path's slope is known, at the parameters in `order`."""
    start = _start(path, order, k)
    t = path.t
    frames = [
        *reversed(follow(path, start, t[t < start.t][::-1], guess)),
        start,
        *follow(path, start, t[t > start.t], guess),
    ]
    continuation = Continuation(path, frames, guess)
    first = continuation.at(float(order[0]))
    columns, signs = _arranged(first, k)
    found = []
    for frame in _at_each(path, continuation, order):
        arrays: tuple[Array, ...] = (frame.U, frame.S, frame.V)
        if slope is not None:
            arrays += derivatives(continuation, frame, slope(frame.t))
        turned = (1.0, signs, signs) * 2
        found.append(tuple(x[..., columns] * s for x, s in zip(arrays, turned, strict=False)))
    return found


def _start(path: Path, order: Array, k: int) -> Frame:
    """The first point whose k leading values are apart, or are so more than elsewhere."""
    candidates = [float(order[0])]
    if path.refinable and len(order) > 1:
        candidates += [float(order[0] + f * (order[1] - order[0])) for f in INWARD]
    best: tuple[float, ...] = ()
    for t in (*candidates, *map(float, order[1:])):
        point = path.at(t)
        count = int(np.searchsorted(point.ends, k, side="right"))
        zeros = point.has_zeros and count == len(point.starts)
        apart = np.minimum(point.gaps, point.heights)[: count - zeros]
        score = (count - zeros, float(np.min(apart, initial=1.0)))
        if score > best[:2]:
            best = (*score, t)
        if score[0] == k and score[1] >= path.tolerances.near:
            break
    point, first = path.at(best[2]), path.at(candidates[0])
    if k < len(point.S) and k not in point.starts:
        raise CutError(point if k in first.starts else first)
    return first_frame(point, k, point.A.shape[0] != point.A.shape[1] or np.iscomplexobj(point.A))


def _arranged(first: Frame, k: int) -> tuple[Array, Array]:
    """The columns in descending order of their values at the first point, and their signs."""
    blocks, point = first.blocks, first.point
    if np.any(point.starts[first.group] >= k):
        raise CutError(point)
    ordered = np.argsort(first.group, kind="stable")
    columns = np.concatenate([np.arange(len(first.S))[blocks.columns[i]] for i in ordered])
    return columns, np.where(first.S[columns] < -point.tolerance, -1.0, 1.0)


def _at_each(path: Path, continuation: Continuation, order: Array) -> list[Frame]:
    """The factors at the given points, in the gauge of minimal variation."""
    blocks = continuation.frames[0].blocks
    if not _turns(blocks, path.at(order[0])):
        return list(map(continuation.at, order))
    stations = np.union1d(order, [frame.t for frame in continuation.frames])
    stations = stations[:: 1 if order[0] <= order[-1] else -1]
    stations = stations[list(stations).index(order[0]) :]
    given, found = set(order), []
    frame = continuation.at(order[0])
    for t in stations:
        if t != frame.t:
            if path.refinable:
                frame = carried(continuation.at, frame, t, path.tolerances.tie)
            else:
                frame = aligned(frame, continuation.at(t))
        if t in given:
            found.append(frame)
    return found


def _turns(blocks: Blocks, point: Point) -> bool:
    """Whether anything but a sign is free in the vectors of a block."""
    return bool(np.iscomplexobj(point.A) or np.any(blocks.sizes > 1) or blocks.zeros)
