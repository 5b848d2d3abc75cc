"""What decompositions leave of singular values that are zero: the survey behind docs/zero.md.

    python -m benchmarks.computed_zeros [--quick] [--output DIR]

Matrices of known rank, by kind, shape, precision and library. Their largest computed value that
should be zero, over eps times the largest of all, goes to zeros.json, and with the law
2 sqrt(max(m, n)) to zeros.png.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SHAPES = (
    [(n, n) for n in (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)]
    + [(m, n) for m in (100, 1000, 10000) for n in (2, 8, 32)]
    + [(30000, 2), (30000, 8), (3, 3000)]
)
RANK = 2


def gaussian(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    return rng.standard_normal((m, RANK)) @ rng.standard_normal((RANK, n))


def integer(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    left, right = rng.integers(-3, 4, (m, RANK)), rng.integers(-3, 4, (RANK, n))
    return (left @ right).astype(float)


def repeated(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    """Two different columns, again and again."""
    return rng.standard_normal((m, RANK))[:, np.arange(n) % RANK]


def graded(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    """Columns of sizes from 1 to 1e-6, in one space of two dimensions."""
    return gaussian(rng, m, n) * 10.0 ** -np.linspace(0, 6, n)


def constant(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    return np.full((m, n), rng.uniform(0.1, 10))


KINDS = (gaussian, integer, repeated, graded, constant)


def solvers() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """svd of NumPy, and of PyTorch and JAX where installed; SciPy's gesvd beside its gesdd."""
    found = {"NumPy (gesdd)": lambda x: np.linalg.svd(x, full_matrices=False)[1]}
    if importlib.util.find_spec("scipy"):
        from scipy.linalg import svd

        found["SciPy (gesvd)"] = lambda x: svd(x, full_matrices=False, lapack_driver="gesvd")[1]
    if importlib.util.find_spec("torch"):
        import torch

        found["PyTorch"] = lambda x: torch.linalg.svd(torch.asarray(x), False)[1].numpy()
    if importlib.util.find_spec("jax"):
        import jax

        jax.config.update("jax_enable_x64", True)
        found["JAX"] = lambda x: np.asarray(jax.numpy.linalg.svd(x, full_matrices=False)[1])
    return found


def survey(shapes: list[tuple[int, int]], repeats: int) -> Iterator[dict[str, Any]]:
    for solver, values_of in solvers().items():
        for m, n in shapes:
            for kind in KINDS:
                for dtype in (np.float64, np.float32):
                    worst = 0.0
                    for seed in range(repeats):
                        x = kind(np.random.default_rng(seed), m, n).astype(dtype)
                        if dtype is np.float32 and kind in (gaussian, repeated, graded):
                            # rounding of the entries is not the driver's: exact in the precision
                            x = np.ldexp(np.rint(np.ldexp(x, 8)), -8).astype(dtype)
                            if np.linalg.matrix_rank(x.astype(float)) > RANK:
                                continue
                        S = values_of(x)
                        rank = 1 if kind is constant else RANK
                        if len(S) > rank and S[0] > 0:
                            zero = float(S[rank]) / float(S[0]) / float(np.finfo(dtype).eps)
                            worst = max(worst, zero)
                    yield {
                        "solver": solver,
                        "kind": kind.__name__,
                        "shape": [m, n],
                        "dtype": np.dtype(dtype).name,
                        "zero": worst,
                    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for kind in KINDS:
        chosen = [row for row in rows if row["kind"] == kind.__name__ and row["zero"] > 0]
        sides = [max(row["shape"]) for row in chosen]
        axes.plot(sides, [row["zero"] for row in chosen], ".", label=kind.__name__, alpha=0.6)
    side = np.geomspace(2, 30000)
    axes.plot(side, 2 * np.sqrt(side), "k-", label="2 sqrt(side)")
    axes.plot(side, side, "k:", label="side")
    axes.set(xscale="log", yscale="log", xlabel="longer side", ylabel="computed zero / (eps $s_1$)")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.computed_zeros")
    parser.add_argument("--quick", action="store_true", help="small shapes, one matrix each")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/zeros"))
    arguments = parser.parse_args()
    shapes = [s for s in SHAPES if max(s) <= 128] if arguments.quick else list(SHAPES)
    rows = list(survey(shapes, 1 if arguments.quick else 3))
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "zeros.json").write_text(json.dumps(rows, indent=0) + "\n")
    plot(rows, arguments.output / "zeros.png")
    for kind in KINDS:
        worst = max(
            (r for r in rows if r["kind"] == kind.__name__),
            key=lambda r: r["zero"] / max(r["shape"]) ** 0.5,
        )
        law = worst["zero"] / max(worst["shape"]) ** 0.5
        print(f"{kind.__name__:9s} {law:5.2f} sqrt(side) at most: {worst}")


if __name__ == "__main__":
    main()
