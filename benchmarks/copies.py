"""``python -m benchmarks.copies [COUNT]``: how often copies of a value are left out.

Random sparse matrices I (x) B have each value of B as often as I has rows. `truncated_svd` and
`truncated_eigh`, and ARPACK by `svds` and `eigsh` of scipy.sparse.linalg, are asked for the k
largest values of COUNT of them, 150 if it is left out. A table says how many results lack one.
Warnings that residuals did not come down to tol are left out: the values may be right.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import eigsh, svds

import spectralgrad as sg

SOLVERS: dict[str, Callable[[Any, int], Any]] = {
    "truncated_svd": lambda A, k: sg.truncated_svd(A, k, solver="krylov").S,
    "svds": lambda A, k: svds(A, k, return_singular_vectors=False),
    "truncated_eigh": lambda A, k: sg.truncated_eigh(A, k, solver="krylov").eigenvalues,
    "eigsh": lambda A, k: eigsh(A, k, which="LA", return_eigenvectors=False),
}


def largest(values: Any, k: int) -> Any:
    return np.sort(values)[::-1][:k]


def draw(rng: np.random.Generator) -> tuple[Any, int, int]:
    """B, the number of its copies, and k; the whole has at least 8 k rows."""
    while True:
        side, copies, k = (int(rng.integers(*bounds)) for bounds in ((12, 60), (2, 40), (2, 30)))
        if side * copies >= 8 * k:
            break
    full = rng.standard_normal((side, side))
    return (full if rng.random() < 0.5 else (full > 0.8).astype(float)), copies, k


def lacking(B: Any, copies: int, k: int) -> list[str]:
    """The solvers whose k values are not those of I (x) B, or of I (x) (B + B^T)."""
    found = []
    for name, solve in SOLVERS.items():
        block = B if "svd" in name else B + B.T
        values = np.linalg.svd(B)[1] if "svd" in name else np.linalg.eigvalsh(block)
        wanted = largest(np.repeat(values, copies), k)
        A = scipy.sparse.csr_array(np.kron(np.eye(copies), block))
        error = np.abs(largest(solve(A, k), k) - wanted).max()
        found += [name] if error > 1e-9 * np.abs(wanted).max() else []
    return found


def main(count: int = 150) -> None:
    warnings.simplefilter("ignore", sg.ConvergenceWarning)
    rng = np.random.default_rng(0)
    lacked = Counter(name for _ in range(count) for name in lacking(*draw(rng)))
    print(f"| solver | results that lack a copy, of {count} |\n|---|---|")
    for name in SOLVERS:
        print(f"| `{name}` | {lacked[name]} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
