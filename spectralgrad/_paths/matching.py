r"""Which vectors at one point continue those at another.

A *block* is what is followed: a triplet, or several whose values are equal all along, a multiplet.
Between two points near to each other let P = U^H U' and Q = V^H V'. The share of block B that lies
in group G of the other point is the mean of |P|^2 and |Q|^2, summed over G, for the vectors of B; B
continues in the group with the largest. If that group has B's size, the vectors change least for

    U' R, sigma V' R    with R the unitary polar factor of U'^H U + sigma V'^H V

over sigma = 1 and -1, the sign that the value has then taken (orthogonal Procrustes problem: Golub
and Van Loan, Matrix Computations, section 6.4.1; along a path: Bunse-Gerstner, Byers, Mehrmann and
Nichols 1991). The least singular value of half that sum is the *overlap*: 1 for vectors
that stay.

In a block of zeros U and V turn independently of each other, and on a long side the null space is
larger than the block. It is carried as a whole from the complement of O, all other vectors, to that
of O': with X = (I - O O^H) O' = L diag(sines) R^H, what changes null vectors U least is

    (I - O' O'^H) (I - X X^H)^(-1/2) U = (I - O' O'^H) (U + L diag(1/cosines - 1) L^H U),

the direct rotation of the two complements (Davis and Kahan 1970; Kato, Perturbation theory for
linear operators, section I.4.6).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .._bindings.array import Array
from .points import Point

LEAST_COSINE = 0.1  # of null spaces that are still carried, however badly


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks that are followed, in the order of the values where they were found."""

    starts: Array
    ends: Array
    zeros: bool  # whether the last block is of zeros
    coupled: bool  # whether a value at zero leaves u and v undetermined

    @cached_property
    def sizes(self) -> Array:
        return self.ends - self.starts

    @cached_property
    def is_zero(self) -> Array:
        return (np.arange(len(self.starts)) == len(self.starts) - 1) & self.zeros

    @cached_property
    def minds_zero(self) -> Array:
        """Which blocks lose vectors where their value passes zero."""
        return ~self.is_zero & (self.coupled | (self.sizes > 1))

    @property
    def columns(self) -> list[slice]:
        return [slice(a, b) for a, b in zip(self.starts, self.ends, strict=True)]


@dataclass(frozen=True, eq=False)
class Frame:
    """The followed vectors at a point; those of a tied block are not known there."""

    point: Point
    blocks: Blocks
    U: Array
    S: Array  # with its signs, for tied blocks too
    V: Array
    group: Array  # in which each block is
    overlap: Array  # with what it was matched to
    tied: Array  # whether the group holds more than the block
    split: Array  # whether it holds less

    @property
    def t(self) -> float:
        return self.point.t

    @cached_property
    def gaps(self) -> Array:
        """The distance of each block from what it would be mixed with, over the largest value."""
        gaps = self.point.gaps[self.group]
        heights = self.point.heights[self.group]
        gaps = np.where(self.blocks.minds_zero, np.minimum(gaps, heights), gaps)
        return np.where(self.tied, 0.0, gaps)


def first_frame(point: Point, k: int, coupled: bool) -> Frame:
    """The k leading triplets of a point, whose groups are the blocks. k splits no group."""
    count = int(np.searchsorted(point.starts, k))
    blocks = Blocks(
        point.starts[:count], point.ends[:count], point.has_zeros and k == len(point.S), coupled
    )
    none = np.zeros(count, dtype=bool)
    return Frame(
        point, blocks, point.U[:, :k], point.S[:k], point.V[:, :k],
        np.arange(count), np.ones(count), none, none,
    )  # fmt: skip


def match(frame: Frame, point: Point) -> Frame:
    """The vectors at another point that continue those of a frame."""
    blocks, (m, n) = frame.blocks, point.A.shape
    P, Q = frame.U.conj().T @ point.U, frame.V.conj().T @ point.V
    shares = _shares(P, point, m > n) + _shares(Q, point, n > m)
    shares = np.add.reduceat(shares, blocks.starts, axis=0) / (2 * blocks.sizes[:, None])
    group, share = np.argmax(shares, axis=1), np.max(shares, axis=1)

    in_zeros = point.has_zeros & (group == len(point.starts) - 1)
    tied = (point.sizes[group] > blocks.sizes) | (in_zeros & blocks.minds_zero)
    split = (point.sizes[group] < blocks.sizes) | (blocks.is_zero & ~in_zeros)

    first = np.repeat(point.starts[group], blocks.sizes)
    within = np.arange(len(first)) - np.repeat(blocks.starts, blocks.sizes)
    columns = np.minimum(first + within, len(point.S) - 1)
    rows = np.arange(len(first))
    sign, U, V, overlap = _turned(P[rows, columns], Q[rows, columns], point, columns)
    overlap = overlap[blocks.starts]
    for i, block in enumerate(blocks.columns):
        if split[i]:
            overlap[i] = 0.0
        elif tied[i]:
            members = slice(point.starts[group[i]], point.ends[group[i]])
            both = [_total(P[block, members] + s * Q[block, members]) for s in (1, -1)]
            sign[block] = 1 if both[0] >= both[1] else -1
            overlap[i] = min(1.0, share[i]) ** 0.5
        elif blocks.is_zero[i]:
            others = slice(0, point.starts[group[i]])
            U[:, block], a = carried_zeros(frame.U, block, point.U[:, others])
            V[:, block], b = carried_zeros(frame.V, block, point.V[:, others])
            sign[block], overlap[i] = 1, min(a, b)
        elif blocks.sizes[i] > 1:
            members = slice(point.starts[group[i]], point.ends[group[i]])
            U[:, block], V[:, block], sign[block], overlap[i] = continued(
                frame.U[:, block], frame.V[:, block], point.U[:, members], point.V[:, members]
            )
    return Frame(point, blocks, U, sign * point.S[columns], V, group, overlap, tied, split)


def guessed(frame: Frame, point: Point) -> Frame:
    """The same, each block in the free columns that share most with it, the best match first."""
    blocks = frame.blocks
    P, Q = frame.U.conj().T @ point.U, frame.V.conj().T @ point.V
    shares = np.add.reduceat(np.abs(P) ** 2 + np.abs(Q) ** 2, blocks.starts, axis=0)
    U, S, V = frame.U.copy(), frame.S.copy(), frame.V.copy()
    first, overlap = np.zeros_like(blocks.starts), np.ones(len(blocks.starts))
    for i in np.argsort(-np.max(shares / blocks.sizes[:, None], axis=1)):
        block, members = blocks.columns[i], np.argsort(-shares[i])[: blocks.sizes[i]]
        shares[:, members] = -1.0
        U[:, block], V[:, block], sign, overlap[i] = continued(
            frame.U[:, block], frame.V[:, block], point.U[:, members], point.V[:, members]
        )
        S[block], first[i] = sign * point.S[members], np.min(members)
    group = np.searchsorted(point.starts, first, side="right") - 1
    none = np.zeros(len(group), dtype=bool)
    return Frame(point, blocks, U, S, V, group, overlap, none, none)


def _shares(P: Array, point: Point, long: bool) -> Array:
    """The part of each vector in each group; on a long side zeros have the whole complement."""
    shares = np.add.reduceat(np.abs(P) ** 2, point.starts, axis=1)
    if long and point.has_zeros:
        shares[:, -1] = 1 - np.sum(shares[:, :-1], axis=1)
    return shares


def _turned(p: Array, q: Array, point: Point, columns: Array) -> tuple[Array, Array, Array, Array]:
    """Signs, vectors and overlaps of blocks of one."""
    sign = np.where(np.abs(p + q) >= np.abs(p - q), 1.0, -1.0)
    total = p + sign * q
    size = np.abs(total)
    phase = np.conj(total) / np.where(size == 0, 1.0, size)
    return sign, point.U[:, columns] * phase, point.V[:, columns] * (sign * phase), size / 2


def continued(U: Array, V: Array, X: Array, Y: Array) -> tuple[Array, Array, float, float]:
    """X R and sign Y R nearest to U and V, the sign, and the overlap."""
    P, Q = X.conj().T @ U, Y.conj().T @ V
    sign = 1.0 if _total(P + Q) >= _total(P - Q) else -1.0
    R, least = polar_factor(P + sign * Q)
    return X @ R, sign * Y @ R, sign, least / 2


def polar_factor(M: Array) -> tuple[Array, float]:
    """The nearest matrix with orthonormal columns, and the least singular value."""
    left, values, right = np.linalg.svd(M, full_matrices=False)
    return left @ right, float(values[-1])


def carried_zeros(U: Array, block: slice, others: Array) -> tuple[Array, float]:
    """A block of null vectors, of U, carried to the complement of `others`, and the overlap."""
    X = off(others, np.delete(U, block, axis=1))
    L, sines, _ = np.linalg.svd(X, full_matrices=False)
    cosines = np.sqrt(np.maximum((1 - sines) * (1 + sines), 0.0))
    stretch = 1 / np.maximum(cosines, LEAST_COSINE) - 1
    carried = U[:, block] + L @ (stretch[:, None] * (L.conj().T @ U[:, block]))
    return polar_factor(off(carried, others))[0], float(np.min(cosines, initial=1.0))


def off(U: Array, W: Array) -> Array:
    """U less its part in the span of W."""
    return U - W @ (W.conj().T @ U)


def _total(M: Array) -> float:
    return float(np.sum(np.linalg.svd(M, compute_uv=False)))
