r"""Derivatives of the factors along a path, in the gauge of minimal variation.

For a block with vectors U, V and value s (signed), and all other triplets U_o, s_o, V_o at a point,
let X = U_o^H dA V and Y = V_o^H dA^H U. As in `svd` of the operations, with signed values,

    U_o^H dU = ((X + Y)/(s - s_o) + (X - Y)/(s + s_o))/2
    V_o^H dV = ((X + Y)/(s - s_o) - (X - Y)/(s + s_o))/2
    U^H dU = -V^H dV = skew(U^H dA V)/(2 s)
    (I - U_all U_all^H) dU = (I - U_all U_all^H) dA V/s,   alike dV with dA^H U

and ds = Re diag(U^H dA V), at ties too, for analytic vectors (Bunse-Gerstner, Byers, Mehrmann and
Nichols 1991). A block of zeros stays at right angles to all others, and has no change in the null
spaces: its dU is -U_o (dU_o^H U). At a tie the quotients are 0/0, and near to one they err by
noise/gap^2. There dU and dV are the slopes of the polynomials that continue the vectors, less their
parts along the block.
"""

from __future__ import annotations

import numpy as np

from .._bindings.array import Array, skew
from .continuation import Continuation
from .matching import Frame
from .polynomials import Fit
from .transport import rotation


def derivatives(continuation: Continuation, frame: Frame, dA: Array) -> tuple[Array, Array, Array]:
    """dU, dS and dV at a frame, for a change dA of its matrix; NaN where no polynomial fits."""
    path, blocks, m = continuation.path, frame.blocks, len(frame.U)
    span, tolerances = path.t[-1] - path.t[0], path.tolerances
    flow, flow_back = dA @ frame.V, dA.conj().T @ frame.U
    dS = np.real(np.sum(frame.U.conj() * flow, axis=0))
    dU, dV = _by_quotients(frame, flow, flow_back)
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = np.max(np.abs(dA)) * dA.size**0.5 / (frame.gaps * frame.point.top)
        errors = tolerances.noise * quotients * (1 + 1 / frame.gaps)
    doubtful = ~(errors * span <= tolerances.promised) & ~blocks.is_zero
    for block in map(int, np.flatnonzero(doubtful)):
        columns, fit = blocks.columns[block], continuation.fit(frame.t, block)
        if frame.gaps[block] == 0 and not fit.slope_error * span <= tolerances.promised**0.5:
            dU[:, columns] = dV[:, columns] = np.nan
        elif not fit.slope_error >= errors[block]:
            slope = _along(frame, block, fit)
            dU[:, columns], dV[:, columns] = slope[:m], slope[m:]
    if blocks.zeros:
        own = slice(blocks.starts[-1], blocks.ends[-1])
        for W, dW in ((frame.U, dU), (frame.V, dV)):
            others = slice(0, blocks.starts[-1])
            dW[:, own] = -W[:, others] @ (dW[:, others].conj().T @ W[:, own])
    return dU, dS, dV


def _by_quotients(frame: Frame, flow: Array, flow_back: Array) -> tuple[Array, Array]:
    point, blocks, s = frame.point, frame.blocks, frame.S
    X, Y = point.U.conj().T @ flow, point.V.conj().T @ flow_back
    group = np.repeat(frame.group, blocks.sizes)
    own = np.repeat(np.arange(len(point.starts)), point.sizes)[:, None] == group
    less = (X + Y) / np.where(own, np.inf, s - point.S[:, None])
    more = (X - Y) / np.where(own, np.inf, s + point.S[:, None])
    dU, dV = point.U @ (less + more) / 2, point.V @ (less - more) / 2

    nonzero = np.repeat(~blocks.is_zero, blocks.sizes) & (s != 0)
    inverse = np.where(nonzero, 1 / np.where(nonzero, s, 1.0), 0.0)
    if len(dU) > len(dV):
        dU += (flow - point.U @ X) * inverse
    if len(dV) > len(dU):
        dV += (flow_back - point.V @ Y) * inverse
    for columns in blocks.columns:
        U, V = frame.U[:, columns], frame.V[:, columns]
        turn = skew(U.conj().T @ flow[:, columns]) * (inverse[columns] / 2)
        dU[:, columns] += U @ turn
        dV[:, columns] -= V @ turn
    return dU, dV


def _along(frame: Frame, block: int, fit: Fit) -> Array:
    """The slope of a polynomial, in the gauge of the frame and without its part in the block."""
    columns, m = frame.blocks.columns[block], len(frame.U)
    U, V = frame.U[:, columns], frame.V[:, columns]
    R = rotation(U, V, fit.vectors[:m], fit.vectors[m:])
    dU, dV = fit.slope[:m] @ R, fit.slope[m:] @ R
    part = (U.conj().T @ dU + V.conj().T @ dV) / 2
    return np.concatenate([dU - U @ part, dV - V @ part])
