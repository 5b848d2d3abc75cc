"""What does not fit: time, CPU seconds and peak memory of Dask's workers, for docs/scale.md.

python -m benchmarks.past_memory tall --rows 10000000 --kill
python -m benchmarks.past_memory grid
python -m benchmarks.past_memory weak
python -m benchmarks.past_memory stack
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
from threadpoolctl import threadpool_limits

import spectralgrad as sg


class Npy:
    """A .npy file that is written block by block, from any process."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str) -> None:
        self.path, self.shape = path, shape
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

    def __setitem__(self, place: Any, values: Any) -> None:
        np.load(self.path, mmap_mode="r+")[place] = values

    def norm(self) -> float:
        whole = np.load(self.path, mmap_mode="r")
        return sum(float(np.sum(part**2)) for part in np.array_split(whole, 100)) ** 0.5


def _seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _pid() -> int:
    return os.getpid()


@contextlib.contextmanager
def cluster(workers: int, limit: str) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    options = {"n_workers": workers, "threads_per_worker": 1, "memory_limit": limit}
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(**options, dashboard_address=":0", local_directory=folder) as own,
        Client(own) as client,
    ):
        yield client


@contextlib.contextmanager
def measured(client: Any, what: str) -> Iterator[dict[str, float]]:
    found: dict[str, float] = {}
    start, before = time.perf_counter(), sum(client.run(_seconds).values())
    yield found
    found["wall"] = time.perf_counter() - start
    found["cpu"] = sum(client.run(_seconds).values()) - before
    peaks = " ".join(f"{peak:.0f}" for peak in client.run(_peak).values())
    print(f"{what:42s} {found['wall']:7.1f} s {found['cpu']:7.1f} CPU s   {peaks} MB", flush=True)


@contextlib.contextmanager
def one_killed(client: Any, after: float) -> Iterator[None]:
    """One of the workers is killed once some seconds have passed."""
    pids = list(client.run(_pid).values())
    timer = threading.Timer(after, os.kill, (pids[0], signal.SIGKILL))
    timer.start()
    yield
    timer.join()
    client.wait_for_workers(len(pids))
    print(f"    (a worker was killed after {after:.0f} s)")


def _rows(block_id: tuple[int, int], rows: int, columns: int) -> Any:
    generator = np.random.default_rng(block_id)
    return generator.standard_normal((rows, columns)) * np.linspace(2.0, 1.0, columns)


def tall_matrix(rows: int, columns: int, block: int) -> Any:
    chunks = ((block,) * (rows // block), (columns,))
    like = {"dtype": float, "meta": np.empty((0, 0))}
    return da.map_blocks(_rows, chunks=chunks, rows=block, columns=columns, **like)


def leading(x: Any) -> tuple[Any, Any, Any, Any]:
    """A loss of the first three columns of U, its gradient, S and Vh."""
    (U, S, Vh), pullback = sg.vjp(sg.svd, x, full_matrices=False)
    weights = np.array([1.0] * 3 + [0.0] * (x.shape[1] - 3))
    (gradient,) = pullback((4 * U * U * U * weights, None, None))
    return (U * U * U * U * weights).sum(), gradient, S, Vh


def tall(rows: int, columns: int, block: int, workers: int, kill: bool) -> None:
    x = tall_matrix(rows, columns, block)
    print(f"{rows} x {columns}, {x.nbytes / 1e9:.1f} GB, {x.npartitions} blocks, {workers} workers")
    loss, gradient, S, Vh = leading(x)
    folder = tempfile.TemporaryDirectory()
    with folder as path, cluster(workers, "1GB") as client, sg.in_passes():
        with measured(client, "S and V"):
            S, Vh = dask.compute(S, Vh)
        with measured(client, "S, V and a loss of U"):
            value = loss.compute()
        print("    loss", value)
        for case in ("", ", a worker killed")[: 1 + kill]:
            file = Npy(Path(path) / "gradient.npy", x.shape, "f8")
            around = one_killed(client, 30.0) if case else contextlib.nullcontext()
            with measured(client, f"loss and gradient, to disk{case}"), around:
                stored = da.store(gradient, file, lock=False, compute=False)
                value, _ = dask.compute(loss, stored)
            print("    loss", value, "norm of the gradient", file.norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    of_tall = kinds.add_parser("tall")
    of_tall.add_argument("--rows", type=int, default=10**7)
    of_tall.add_argument("--columns", type=int, default=50)
    of_tall.add_argument("--block", type=int, default=50_000)
    of_tall.add_argument("--workers", type=int, default=2)
    of_tall.add_argument("--kill", action="store_true")
    options = vars(parser.parse_args())
    with threadpool_limits(1):
        globals()[options.pop("kind")](**options)


if __name__ == "__main__":
    main()
