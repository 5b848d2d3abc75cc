r"""The phases of complex vectors, and the bases of multiplets, of minimal variation.

A block (U, V) may be replaced by (U W(t), V W(t)) with any unitary W(t): a phase for a complex
triplet, nothing but a constant sign for a real one. The integral of |U'|^2 + |V'|^2 is least where

    U^H U' + V^H V' = 0

(Bunse-Gerstner, Byers, Mehrmann and Nichols 1991, section 4; for one vector it is the parallel
transport of Berry's phase). From a point to the next, changing least by the polar factor of
`matching` satisfies this up to an error that has an expansion in even powers of the step, since it is its
own inverse backwards. So steps of 1, 1/2, 1/4, ... are extrapolated as in Romberg's quadrature. In
blocks of zeros U^H U' = 0 and V^H V' = 0, each by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .._bindings.array import Array
from .matching import Frame, polar_factor

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
    U, V = other.U.copy(), other.V.copy()
    for zero, block in zip(other.blocks.is_zero, other.blocks.columns, strict=True):
        X, Y = U[:, block], V[:, block]
        left, right = rotation(frame.U[:, block], frame.V[:, block], X, Y, zero)
        U[:, block], V[:, block] = X @ left, Y @ right
    return replace(other, U=U, V=V)


def rotation(U: Array, V: Array, X: Array, Y: Array, zero: bool) -> tuple[Array, Array]:
    """What turns the vectors X and Y of a block to U and V: one for both, but in a zero block."""
    P, Q = X.conj().T @ U, Y.conj().T @ V
    if zero:
        return polar_factor(P)[0], polar_factor(Q)[0]
    R = polar_factor(P + Q)[0]
    return R, R
