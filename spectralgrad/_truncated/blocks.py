"""Orthonormal bases as rows of one array, and noise to start them from.

A basis B is kept as the rows of B^H: products with it then go along memory, and none takes a
conjugate of all of it. Its array has the size that it grows to, and zeros in what is not used yet.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._bindings.array import Array, Arrays, adjoint, array_namespace, device, eps, real
from .._bindings.lookup import adjoint_times, qr
from .._bindings.loops import loop, used, written
from .._bindings.matrix_products import columnwise_dot
from .._spectrum import factorizations


class Noise(NamedTuple):
    """Random columns, and a phase for each row from which another block comes at each place.

    The blocks are independent: one that a shift of rows makes of the last would lie in the span of
    a basis that a matrix which shifts has grown.
    """

    block: Array
    phase: Array

    @property
    def rows(self) -> int:
        return int(self.block.shape[0])

    def __call__(self, place: Any, columns: int) -> Array:
        xp = array_namespace(self.block)
        turns = self.phase * place
        weights = 1 - 2 * (turns - xp.floor(turns))  # a cosine takes twenty times as long
        return self.block[:, :columns] * xp.astype(weights, self.block.dtype)[:, None]


def noise_for(rows: int, columns: int, like: Array, seed: int) -> Noise:
    """From the host: the same in every library."""
    xp, generator = array_namespace(like), np.random.default_rng(seed)
    normal, phase = generator.standard_normal((rows, columns)), generator.uniform(1, 1e3, rows)
    return Noise(
        xp.asarray(normal, dtype=like.dtype, device=device(like)),
        xp.asarray(phase, dtype=real(like).dtype, device=device(like)),
    )


class Basis(NamedTuple):
    """`count` orthonormal vectors, the first rows of B^H."""

    rows: Array
    count: Any

    def with_block(self, F: Array) -> Basis:
        """With the columns of F besides."""
        return Basis(written(self.rows, adjoint(F), self.count), self.count + F.shape[1])

    def beyond(self, W: Array) -> tuple[Array, Array]:
        """W - B B^H W and B^H W."""
        rows, Wh = used(self.rows, self.count), adjoint(W)
        Ch = Wh @ adjoint(rows)  # BLAS takes 1.4 times as long for rows @ W (OpenBLAS 0.3)
        return adjoint(Wh - Ch @ rows), adjoint(Ch)

    def combined(self, Y: Array) -> Array:
        """B Y."""
        rows = used(self.rows, self.count)
        return adjoint(adjoint(Y[: rows.shape[0], :]) @ rows)


def empty_basis(size: int, rows: int, like: Array) -> Basis:
    xp = array_namespace(like)
    return Basis(xp.zeros((size, rows), dtype=like.dtype, device=device(like)), 0)


ROUNDING = 8  # eps: above what is left of vectors in a basis that they were made orthogonal to


def orthonormal(
    W: Array, basis: Basis, noise: Noise, scale: Any, place: Any
) -> tuple[Array, Array, Array]:
    """F, R and C with W = B C + F R, orthonormal columns F beyond a basis B."""
    rest, C = basis.beyond(disturbed(W, noise, scale, place))
    return *factorized(rest, basis), C


def disturbed(W: Array, noise: Noise, scale: Any, place: Any) -> Array:
    """W with noise that stands in for what is linearly dependent.

    It is `scale` times the level of rounding, well above what that leaves of W in the basis, so
    that its own part decides. It also brings in copies of a value that no block has met yet.
    """
    xp, level = array_namespace(W), ROUNDING * eps(W) / W.shape[0] ** 0.5 * scale
    return W + xp.where(level > 0, level, 1.0) * noise(place, W.shape[1])


def factorized(W: Array, basis: Basis) -> tuple[Array, Array]:
    """F and R with W = F R but for what W has in the basis B, orthonormal columns F beyond B.

    From G = B E + F with orthonormal columns G, F^H F = I - E^H E: a second factorization has
    nothing to do where what is left of G in the basis is so small that this is I to rounding.
    """
    xp = array_namespace(W)

    def again(state: Arrays) -> Arrays:
        G, step = qr(state[0])
        F, E = basis.beyond(G)
        return F, step @ state[1], E

    def not_yet(state: Arrays) -> Array:
        return xp.sum(xp.abs(state[2]) ** 2) > 0.1 * eps(W)

    eye = xp.eye(W.shape[1], dtype=W.dtype, device=device(W))
    F, R, _ = loop(not_yet, again, again((W, eye)), 3, traced=1)
    return F, R


def polar_factors(W: Array) -> tuple[Array, Array]:
    """P and R with W = P R, orthonormal columns P, for nearly orthogonal columns of any lengths D.

    By W = X D and G = X^H X = I + E, P = X G^(-1/2) and R = G^(1/2) D, which is no triangle: two
    products where a factorization by reflections takes ten times as long. That comes where E is not
    small. P^H P is I to the rounding of G, a sum over rows: a few eps, or some hundred of 10^6 rows
    that round alike.
    """
    xp, lengths = array_namespace(W), norms(W)
    lengths = xp.where(lengths == 0, 1.0, lengths)
    X, eye = W / lengths[None, :], xp.eye(W.shape[1], dtype=W.dtype, device=device(W))
    G = adjoint_times(X, X)

    def apart(_: Arrays) -> Array:
        return xp.sum(xp.abs(G - eye)) > 0.5

    g, Y = factorizations.eigh(G)
    root = xp.sqrt(xp.where(g > 0.1, g, 1.0))
    found = X @ ((Y / root[None, :]) @ adjoint(Y)), (Y * root[None, :]) @ adjoint(Y) * lengths
    P, R = loop(apart, lambda _: qr(W), found, 1, traced=1)
    return P, R


def norms(R: Array) -> Array:
    """Norms of the columns, without a square that overflows, or of the longest is lost."""
    xp = array_namespace(R)
    top = xp.max(xp.abs(R), axis=(-2, -1), keepdims=True)
    unit = xp.where(top == 0, 1.0, top)
    R = R / unit
    return unit[..., 0] * xp.sqrt(real(columnwise_dot(R, R)))


def largest_norm(R: Array, S: Array) -> Array:
    """The greatest column norm over S[0]."""
    xp, top = array_namespace(R), S[..., 0]
    return xp.max(norms(R), axis=-1) / xp.where(top == 0, 1.0, top)
