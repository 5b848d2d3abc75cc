"""``python -m benchmarks.memory_table``: the memory that a truncated SVD and its gradient take.

A row is measured in a process of its own: MiB of the matrix, and the most that the forward, and the
backward with the gradient on the pattern, take beyond what is there before them (`memory.peak`).
"Basis" is what the docstring names: 100 + 5 (k + 8) vectors of the shorter side, twice, and 4
blocks of k + 8 vectors of the longer one. It prints the table of docs/large-matrices.md.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np

import spectralgrad as sg

from . import sparse_matrices
from .memory import peak
from .truncated import sparse_matrix

CASES: list[tuple[str, Callable[..., Any], tuple[int, ...], int]] = [
    ("sparse", sparse_matrices.decaying, (100_000, 20_000), 16),
    ("sparse", sparse_matrices.decaying, (100_000, 20_000), 64),
    ("sparse", sparse_matrices.decaying, (400_000, 2_000), 16),
    ("sparse", sparse_matrix, (1_000_000, 100_000, 10_000_000), 10),
    ("array", lambda m, n: sparse_matrices.decaying(m, n).toarray(), (20_000, 2_000), 16),
]


def measure(place: int, results: Any) -> None:
    """The row of one case, in MiB: matrix, forward, backward."""
    _, make, arguments, k = CASES[place]
    A = make(*arguments)
    is_array = isinstance(A, np.ndarray)
    size = A.nbytes if is_array else A.data.nbytes + A.indices.nbytes + A.indptr.nbytes
    sg.vjp(sg.truncated_svd, np.eye(300), k=2, solver="krylov")  # what is loaded once
    found: list[Any] = []
    forward = peak(lambda: found.append(sg.vjp(sg.truncated_svd, A, k=k)))
    (U, S, _), pullback = found[0]
    bars = (np.random.default_rng(1).standard_normal(U.shape), S, None)
    pattern = None if is_array else A.nonzero()

    def backward() -> None:
        (A_bar,) = pullback(bars)
        found.append(A_bar if pattern is None else A_bar.at(*pattern))

    results.put((A.shape, None if is_array else A.nnz, size / 2**20, forward, peak(backward)))


def basis(shape: tuple[int, int], k: int) -> float:
    """MiB of the vectors that the forward keeps."""
    short, long, block = min(shape), max(shape), k + 8
    return 8 * (2 * (100 + 5 * block) * short + 4 * block * long) / 2**20


def main() -> None:
    context = multiprocessing.get_context("spawn")
    print("| matrix | k | matrix, MiB | basis | forward | backward |")
    print("|---|---|---|---|---|---|", flush=True)
    for place, (kind, _, _, k) in enumerate(CASES):
        results = context.SimpleQueue()
        process = context.Process(target=measure, args=(place, results))
        process.start()
        process.join()
        shape, entries, *sizes = results.get()
        what = f"{shape[0]:,} x {shape[1]:,} {kind}"
        what += "" if entries is None else f", {entries / 1e6:.1f} million entries"
        numbers = (sizes[0], basis(shape, k), *sizes[1:])
        cells = " | ".join("-" if size is None else f"{size:,.0f}" for size in numbers)
        print(f"| {what} | {k} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
