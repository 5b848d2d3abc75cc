"""Matrices with structure that an iteration may trip over: shifts, graphs, copies, low rank."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from matrices import orthonormal, random, with_spectrum

N = 300  # the side of most squares, so that JAX compiles for few shapes


class Case(NamedTuple):
    """A matrix to build, and how many of its triplets are wanted.

    Where it is `hard` the wanted values and many others lie within a relative 1e-3 of their
    neighbours, and an iteration may give up with a warning.
    """

    build: Callable[[], np.ndarray]
    k: int = 4
    hard: bool = False


def shift(m, n, by):
    """Row i + by of the result is row i of the identity; what leaves comes in again."""
    return np.roll(np.eye(m, n), by, axis=0)


def permutation(n, seed=0):
    return np.eye(n)[np.random.default_rng(seed).permutation(n)]


def star(nodes):
    """The adjacency matrix: rank 2, of values sqrt(nodes - 1)."""
    x = np.zeros((nodes, nodes))
    x[0, 1:] = x[1:, 0] = 1
    return x


def copies(x, count):
    """`count` equal diagonal blocks."""
    return np.kron(np.eye(count), x)


def projector(n, rank):
    Q = orthonormal(n, rank, seed=3, is_complex=False)
    return Q @ Q.T


def path_incidence(nodes):
    """Edges by nodes."""
    return np.eye(nodes - 1, nodes, k=1) - np.eye(nodes - 1, nodes)


def path(nodes):
    """The Laplacian of a path."""
    D = path_incidence(nodes)
    return D.T @ D


def grid(rows, columns):
    """The Laplacian of a grid; that of a square one has pairs of equal values."""
    return np.kron(path(rows), np.eye(columns)) + np.kron(np.eye(rows), path(columns))


def cycle(nodes):
    """The Laplacian of a cycle, whose values come in pairs."""
    return 2 * np.eye(nodes) - shift(nodes, nodes, 1) - shift(nodes, nodes, -1)


def bipartite(left, right):
    x = np.zeros((left + right, left + right))
    x[:left, left:] = x[left:, :left] = 1
    return x


def hadamard(n):
    """Orthogonal but for a factor sqrt(n); n is a power of 2."""
    x = np.ones((1, 1))
    while len(x) < n:
        x = np.block([[x, x], [x, -x]])
    return x


def fourier(n):
    i = np.arange(n)
    return np.exp(-2j * np.pi * np.outer(i, i) / n)


def hilbert(m, n):
    return 1 / (1 + np.arange(m)[:, None] + np.arange(n))


def toeplitz(m, n, ratio):
    """ratio^|i - j|, whose leading values lie close together."""
    return ratio ** np.abs(np.arange(m)[:, None] - np.arange(n))


def of_rank(m, n, rank):
    return random((m, rank), seed=1) @ random((rank, n), seed=2)


def diagonal(values, m, n):
    x = np.zeros((m, n))
    np.fill_diagonal(x, [*values, *np.linspace(0.5, 0.1, min(m, n) - len(values))])
    return x


def rotated(values, m, n):
    """The same values with random vectors."""
    return with_spectrum(m, n, [*values, *np.linspace(0.5, 0.1, min(m, n) - len(values))])


def few_rows(m, n, rows):
    """All but some rows are zero."""
    return np.eye(m, rows, k=-7) @ random((rows, n))


SQUARE = {
    "zero": Case(lambda: np.zeros((N, N))),
    "identity": Case(lambda: np.eye(N)),
    "cyclic shift": Case(lambda: shift(N, N, 1)),
    "cyclic shift by 7": Case(lambda: shift(N, N, 7)),
    "cyclic shift back": Case(lambda: shift(N, N, -1)),
    "shift, complex": Case(lambda: shift(N, N, 1) + 0j),
    "nilpotent below": Case(lambda: np.eye(N, k=-1)),
    "nilpotent above": Case(lambda: np.eye(N, k=1)),
    "nilpotent by 5": Case(lambda: np.eye(N, k=-5)),
    "weighted shift": Case(lambda: np.diag(np.linspace(1, 2, N - 1), k=-1)),
    "two shifts": Case(lambda: copies(shift(N // 2, N // 2, 1), 2)),
    "shift with signs": Case(lambda: shift(N, N, 1) * (-1) ** np.arange(N)),
    "Jordan block": Case(lambda: 0.9 * np.eye(N) + np.eye(N, k=1), hard=True),
    "reversal": Case(lambda: np.eye(N)[::-1]),
    "permutation": Case(lambda: permutation(N)),
    "star": Case(lambda: star(N)),
    "star, k = 2": Case(lambda: star(601), 2),
    "stars, 5": Case(lambda: copies(star(60), 5)),
    "complete": Case(lambda: N * np.eye(N) - 1),
    "complete bipartite": Case(lambda: bipartite(100, 200)),
    "path": Case(lambda: path(N), hard=True),
    "cycle": Case(lambda: cycle(N), hard=True),
    "grid": Case(lambda: grid(15, 20)),
    "projector": Case(lambda: projector(N, 100)),
    "projector of rank 3": Case(lambda: projector(N, 3)),
    "projector on axes": Case(lambda: np.diag(np.arange(N) % 3 == 0).astype(float)),
    "reflection": Case(lambda: np.eye(N) - 2 / N),
    "Fourier": Case(lambda: fourier(N)),
    "Hilbert": Case(lambda: hilbert(N, N)),
    "Toeplitz": Case(lambda: toeplitz(N, N, 0.9)),
    "Toeplitz, narrow": Case(lambda: toeplitz(N, N, 0.1), hard=True),
    "lower triangle of ones": Case(lambda: np.tril(np.ones((N, N)))),
    "constant": Case(lambda: np.ones((N, N))),
    "graded": Case(lambda: with_spectrum(N, N, 0.5 ** np.arange(N))),
    "one entry": Case(lambda: np.eye(N, k=20) * (np.arange(N) == 150)),
    "one row": Case(lambda: few_rows(N, N, 1)),
    "rank 3": Case(lambda: of_rank(N, N, 3)),
    "cluster at the cut": Case(
        lambda: rotated([3, 2, 1, 1, 1 - 1e-12, 1 - 1e-9, 1 - 1e-6, 0.9], N, N)
    ),
    "copies across the cut": Case(lambda: rotated([2.0] * 3 + [1.0] * 20, N, N)),
    "copies of the first": Case(lambda: diagonal([1.0] * 40, N, N)),
    "nearly all equal": Case(lambda: rotated(1 - 1e-10 * np.arange(N), N, N), hard=True),
    "normal": Case(lambda: random((N, N))),
}
LARGER = {
    "star, k = 1": Case(lambda: star(257), 1),
    "stars, 5, k = 8": Case(lambda: copies(star(120), 5), 8),
    "stars, 5, k = 16": Case(lambda: copies(star(120), 5), 16),
    "stars, 40": Case(lambda: copies(star(10), 40), 20),
    "stars of two sizes": Case(
        lambda: np.block(
            [
                [copies(star(20), 15), np.zeros((300, 300))],
                [np.zeros((300, 300)), copies(star(10), 30)],
            ]
        ),
        32,
    ),
    "blocks, 20": Case(lambda: copies(hilbert(15, 15), 20), 30),
    "square grid": Case(lambda: grid(20, 20), 9),
    "Hadamard": Case(lambda: hadamard(512), 16),
    "Hadamard, tall": Case(lambda: hadamard(512)[:, :300], 5),
    "shift, tall": Case(lambda: shift(700, 300, 1), 5),
    "shift, wide": Case(lambda: shift(300, 700, 1), 5),
    "nilpotent, tall": Case(lambda: np.eye(700, 257, k=-1), 4),
    "nilpotent, wide": Case(lambda: np.eye(257, 700, k=1), 4),
    "path, edges by nodes": Case(lambda: path_incidence(601), 6, hard=True),
    "star, nodes by edges": Case(lambda: np.vstack([np.ones((1, 400)), np.eye(400)]), 6),
    "constant, tall": Case(lambda: np.ones((700, 257)), 3),
    "constant, wide": Case(lambda: np.ones((257, 700)), 3),
    "Hilbert, tall": Case(lambda: hilbert(700, 300), 12),
    "Toeplitz, wide": Case(lambda: toeplitz(300, 700, 0.99), 8),
    "rank 5 of 12, tall": Case(lambda: of_rank(700, 300, 5), 12),
    "rank 5 of 12, wide": Case(lambda: of_rank(300, 700, 5), 12),
    "few rows": Case(lambda: few_rows(600, 300, 10), 12),
    "copies fill k": Case(lambda: rotated([1.0] * 20, 400, 300), 20),
    "copies below k": Case(lambda: rotated([1.0] * 12 + [0.9, 0.8, 0.7, 0.6], 400, 300), 16),
    "copies after one": Case(lambda: diagonal([3.0] + [2.0] * 15, 400, 300), 16),
    "copies across k": Case(lambda: diagonal([3.0] * 5 + [2.0] * 30, 300, 400), 16),
    "copies, and one beside": Case(lambda: diagonal([1.0] * 24 + [1 - 1e-7], 400, 300), 25),
    "two clusters": Case(
        lambda: rotated([*(2 + 1e-9 * np.arange(8)), *(1 + 1e-9 * np.arange(12))], 300, 400), 12
    ),
    "normal, tall": Case(lambda: random((700, 300)), 10),
}
CASES = SQUARE | LARGER
COMPLEX = ("shift, complex", "Fourier")


@cache
def matrix(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """The matrix in double precision and all of its singular values, by NumPy.

    Where a complex one is wanted a real one gets a phase, which keeps what makes it hard; two with
    complex entries of their own are left out of the real tests.
    """
    x = CASES[name].build()
    if dtype in ("complex64", "complex128") and not np.iscomplexobj(x):
        x = x * np.exp(0.7j)
    values = np.linalg.svd(x, compute_uv=False)
    x.flags.writeable = values.flags.writeable = False
    return x, values
