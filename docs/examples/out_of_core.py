"""
Principal components of a matrix larger than memory
===================================================

Which rows bend the principal components of a matrix that does not fit in memory?

The rows of x are observations of a plane in 50 dimensions with noise, and a few are outliers. The
matrix, 640 MB, is made block by block from a seed, and the process gives itself less memory than
that: an attempt to hold x ends with a MemoryError.

P = V_2 V_2^T is the projector on the two leading principal directions, of x with its columns
centred, and P_0 that on the true plane. The loss L = 2 - <P_0, P> is the sum of the squared sines
of the angles between the planes. Its gradient by x has a row for each observation: those with the
longest rows bend the plane most. The derivative of the centring would take the column means out of
the gradient. They are zero: it lies in the span of U, whose columns are centred.

Nothing is computed before `dask.compute`. Then there are passes over the blocks: for the means, for
the triangles of a QR decomposition, from which come S and V, for the sums of the derivative, and
for the gradient, of which the lengths of its rows are kept.
"""

import argparse
import resource
import threading
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
from dask.diagnostics import ProgressBar

import spectralgrad as sg

# %%
# The process limits its own memory, so this runs as a program, not while the site is built.

COLUMNS, BLOCK = 50, 20_000
OUTLIERS = 5  # in the first block
LIMIT = 500e6  # bytes, of what the process may allocate


def plane():
    return np.linalg.qr(np.random.default_rng(1).standard_normal((COLUMNS, 2)))[0]


def block_of(block_id, rows):
    """Observations: 3 and 2 in the directions of the plane, noise, and an offset."""
    generator = np.random.default_rng(block_id)
    scores = generator.standard_normal((rows, 2)) * np.array([3.0, 2.0])
    found = scores @ plane().T + generator.standard_normal((rows, COLUMNS)) + 5.0
    if block_id[0] == 0:
        found[:OUTLIERS] += 300 * generator.standard_normal((OUTLIERS, COLUMNS))
    return found


def matrix(blocks):
    like = {"dtype": float, "meta": np.empty((0, 0))}
    return da.map_blocks(block_of, chunks=((BLOCK,) * blocks, (COLUMNS,)), rows=BLOCK, **like)


def loss_and_influence(x):
    """L, the singular values of centred x, and the length of each row of the gradient of L."""
    centred = x - x.mean(axis=0)
    P, pullback = sg.vjp(sg.singular_projector, centred, k=2, side="right")
    P_0 = da.from_array(plane() @ plane().T, chunks=-1)
    (gradient,) = pullback(-P_0)
    return 2 - da.sum(P_0 * P), sg.svdvals(centred), da.sqrt(da.sum(gradient**2, axis=1))


class Memory(threading.Thread):
    """The memory in use, twenty times a second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.times, self.bytes, self.start_time, self.done = [], [], time.perf_counter(), False

    def run(self):
        while not self.done:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.times.append(time.perf_counter() - self.start_time)
            self.bytes.append(pages * resource.getpagesize())
            time.sleep(0.05)


def draw(memory, size, path):
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    axes.axhline(size / 1e6, color="0.5", linestyle=":", label="the matrix")
    axes.axhline(LIMIT / 1e6, color="C3", linestyle="--", label="what may be allocated")
    axes.plot(memory.times, np.array(memory.bytes) / 1e6, label="memory in use")
    axes.set(xlabel="seconds", ylabel="MB", ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--blocks", type=int, default=80, help=f"of {BLOCK} rows")
    parser.add_argument("--output", type=Path, help="a picture of memory over time")
    options = parser.parse_args()
    x = matrix(options.blocks)
    print(f"{x.shape[0]} x {x.shape[1]}, {x.nbytes / 1e6:.0f} MB, limit {LIMIT / 1e6:.0f} MB")
    memory = Memory()
    memory.start()
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(LIMIT), limits[1]))
    with sg.in_passes(), ProgressBar(), dask.config.set(scheduler="threads", num_workers=2):
        loss, S, influence = dask.compute(*loss_and_influence(x))
    resource.setrlimit(resource.RLIMIT_DATA, limits)
    memory.done = True
    memory.join()
    print(f"sin^2 of the angles to the true plane: {loss:.6f}")
    print("singular values over sqrt(m):", *(S[:4] / len(influence) ** 0.5).round(3))
    print("rows that bend the plane most:", *np.argsort(influence)[::-1][:OUTLIERS])
    print(f"most memory in use: {max(memory.bytes) / 1e6:.0f} MB, {memory.times[-1]:.0f} s")
    assert set(np.argsort(influence)[::-1][:OUTLIERS]) == set(range(OUTLIERS))
    if options.output:
        draw(memory, x.nbytes, options.output)


if __name__ == "__main__":
    main()
