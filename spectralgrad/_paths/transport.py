r"""The phases of complex vectors, and the bases of multiplets, of minimal variation.

A block (U, V) may be replaced by (U W(t), V W(t)) with any unitary W(t): a phase for a complex
triplet, nothing but a constant sign for a real one. The integral of |U'|^2 + |V'|^2 is least where

    U^H U' + V^H V' = 0

(Bunse-Gerstner, Byers, Mehrmann and Nichols 1991; for one vector it is the parallel
transport of Berry's phase). From a point to the next, changing least by the polar factor of
`matching` satisfies this up to an error that has an expansion in even powers of the step, since it
is its own inverse backwards. So steps of 1, 1/2, 1/4, ... are extrapolated as in Romberg's
quadrature. In blocks of zeros U and V change by themselves, and not within the null spaces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .._bindings.array import Array
from .matching import Frame, carried_zeros, polar_factor

ROWS = 6  # of the extrapolation, the last in 32 steps


def carried(at: Callable[[float], Frame], start: Frame, t: float, tolerance: float) -> Frame:
    """The frame at t with the phases and bases that those of `start` become."""
    end = at(t)
    above: list[Array] = []
    for level in range(ROWS):
        frame = start
        for step in range(1, 2**level):
            frame = aligned(frame, at(start.t + (t - start.t) * step / 2**level))
        frame = aligned(frame, end)
        row = [np.concatenate([frame.U, frame.V])]
        for i, coarser in enumerate(above):
            row.append(row[-1] + (row[-1] - coarser) / (4 ** (i + 1) - 1))
        change = np.max(np.abs(row[-1] - above[-1])) if above else np.inf
        above = row
        if change <= tolerance:
            break
    m = end.U.shape[0]
    return aligned(replace(end, U=above[-1][:m], V=above[-1][m:]), end)


def aligned(frame: Frame, other: Frame) -> Frame:
    """The other frame with its blocks turned to change least from a frame."""
    blocks, (U, V) = other.blocks, (other.U.copy(), other.V.copy())
    phase = np.sum(U.conj() * frame.U, axis=0) + np.sum(V.conj() * frame.V, axis=0)
    phase = phase / np.where(phase == 0, 1.0, np.abs(phase))
    U, V = U * phase, V * phase
    for i, block in enumerate(blocks.columns):
        if blocks.is_zero[i]:  # beside which all columns are followed
            for W, X, Y in ((U, frame.U, other.U), (V, frame.V, other.V)):
                W[:, block] = carried_zeros(X, block, np.delete(Y, block, axis=1))[0]
        elif blocks.sizes[i] > 1:
            R = rotation(frame.U[:, block], frame.V[:, block], other.U[:, block], other.V[:, block])
            U[:, block], V[:, block] = other.U[:, block] @ R, other.V[:, block] @ R
    return replace(other, U=U, V=V)


def rotation(U: Array, V: Array, X: Array, Y: Array) -> Array:
    """What turns the vectors X and Y of a block to U and V."""
    return polar_factor(X.conj().T @ U + Y.conj().T @ V)[0]
