"""Truncated SVDs: side by side with PyTorch's, and how their cost grows.

``python -m benchmarks.truncated`` writes scaling.png and scaling.json: seconds of forward and
backward of a sparse matrix against its entries and against k. ``--large`` measures one matrix of
1,000,000 x 100,000 with 10,000,000 entries alone, in memory too.
"""

from __future__ import annotations

import argparse
import json
import resource
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

import spectralgrad as sg

from .timing import Case

K = 16
SHAPE = (40_000, 20_000)  # whose products with 16,000,000 entries outweigh sums over vectors


def decaying(n: int) -> tuple[np.ndarray, np.ndarray]:
    """A matrix with s_j = 1/j and random vectors, and the weights C of a loss."""
    rng = np.random.default_rng(n)
    U, V = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    return (U / np.arange(1, n + 1)) @ V.T, rng.standard_normal((n, n))


def cotangents(C, U, S, Vh):
    """Those of <C, U S^2 V^H> for U, S and Vh."""
    CV = C @ Vh.T
    return CV * S**2, (U * CV).sum(0) * 2 * S, (U * S**2).T @ C


def gradient(x, C):
    out, pullback = sg.vjp(sg.truncated_svd, x, k=K)
    return pullback(cotangents(C, *out))[0]


def by_autograd(triplets: Callable, x, C):
    import torch

    U, S, Vh = triplets(x)
    bars = cotangents(C, *(part.detach() for part in (U, S, Vh)))
    return torch.autograd.grad((U, S, Vh), x, bars)[0]


def in_full(x):
    import torch

    U, S, Vh = torch.linalg.svd(x, full_matrices=False)
    return U[:, :K], S[:K], Vh[:K]


def randomized(x):
    import torch

    U, S, V = torch.svd_lowrank(x, q=48, niter=8)
    return U[:, :K], S[:K], V.T[:K]


def beside_pytorch(sizes: Sequence[int], _: str) -> Iterator[Case]:
    """Forward and backward of 16 triplets, each with the error of its gradient."""
    import torch

    n = 2 * max(sizes)
    x, C = decaying(n)
    leaf, weights = torch.asarray(x).requires_grad_(), torch.asarray(C)
    own = partial(sg.truncated_svd, k=K)
    exact = by_autograd(in_full, leaf, weights).numpy()

    def error(found):
        return float(np.linalg.norm(np.asarray(found) - exact) / np.linalg.norm(exact))

    ours = {
        "numpy": partial(gradient, x, C),
        "torch": partial(by_autograd, own, leaf, weights),
    }
    theirs = {
        "torch.linalg.svd": (partial(by_autograd, in_full, leaf, weights), 0.05),
        "torch.svd_lowrank, q=48, niter=8": (
            partial(by_autograd, randomized, leaf, weights),
            0.33,
        ),
    }
    for library, call in ours.items():
        for against, (other, target) in theirs.items():
            yield Case(
                name=f"truncated_svd k={K}, forward and backward",
                library=library,
                size=f"{n} x {n}",
                ours=call,
                theirs=other,
                against=against,
                target=target if n == 2048 else None,
                errors=(error(call()), error(other())),
            )


def sparse_matrix(m: int, n: int, entries: int):
    """Random places and entries, whose columns decay so that the leading spectrum does."""
    from scipy.sparse import csr_array

    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, m, entries), (n * rng.random(entries) ** 3).astype(np.int64)
    values = rng.standard_normal(entries) / (1 + cols) ** 0.3
    A = csr_array((values, (rows, cols)), shape=(m, n))
    A.sum_duplicates()
    return A


def measure(A, k: int, **options) -> dict[str, float]:
    """Seconds of a forward and of a backward, and the gradient on A's pattern."""
    start = perf_counter()
    (U, S, _), pullback = sg.vjp(sg.truncated_svd, A, k=k, **options)
    forward = perf_counter()
    (A_bar,) = pullback((np.random.default_rng(1).standard_normal(U.shape), S, None))
    A_bar.at(*A.nonzero())
    backward = perf_counter()
    return {
        "k": k,
        "entries": int(A.nnz),
        "shape": list(A.shape),
        "forward_s": forward - start,
        "backward_s": backward - forward,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def scaling() -> dict[str, list]:
    """One restart each, so that work and not luck is compared."""
    options = {"maxiter": 2, "tol": 1.0, "adjoint_tol": 1e-6}
    measure(sparse_matrix(*SHAPE, 1_000_000), 10, **options)  # starts threads, fills caches
    by_entries = [
        measure(sparse_matrix(*SHAPE, millions * 1_000_000), 10, **options)
        for millions in (1, 2, 4, 6, 8, 12, 16)
    ]
    A = sparse_matrix(*SHAPE, 16_000_000)
    by_k = [measure(A, k, **options) for k in (1, 2, 4, 8, 12, 16)]
    return {"entries": by_entries, "k": by_k}


def plot(found: dict[str, list], path: Path) -> None:
    """Times against entries and k, with straight lines fitted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, (variable, points) in zip(figure.subplots(1, 2), found.items(), strict=True):
        most = points[-1]["entries"] / 1e6
        x = np.array([point[variable] for point in points]) / (1e6 if variable == "entries" else 1)
        for part, color in (("forward_s", "#0072B2"), ("backward_s", "#D55E00")):
            y = np.array([point[part] for point in points])
            slope, offset = np.polyfit(x, y, 1)
            axes.plot(x, y, "o", color=color, label=part.partition("_")[0])
            axes.plot(x, offset + slope * x, color=color, linewidth=0.8)
        labels = {
            "entries": "million entries, k = 10",
            "k": f"k, {most:.1f} million entries",
        }
        axes.set_xlabel(labels[variable])
        axes.set_ylabel("seconds")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    rows, columns = found["k"][0]["shape"]
    figure.suptitle(f"truncated_svd of a sparse {rows:,} x {columns:,} matrix, with fitted lines")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truncated", description=__doc__)
    parser.add_argument("--large", action="store_true", help="one large matrix, and nothing else")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.large:
        found = measure(sparse_matrix(1_000_000, 100_000, 10_000_000), 10)
        name = "large.json"
    else:
        found, name = scaling(), "scaling.json"
        plot(found, arguments.output / "scaling.png")
    (arguments.output / name).write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
