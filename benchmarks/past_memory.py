"""What does not fit: time, CPU seconds and peak memory of Dask's workers, for docs/scale.md.

python -m benchmarks.past_memory tall --rows 10000000 --kill
python -m benchmarks.past_memory grid
python -m benchmarks.past_memory weak
python -m benchmarks.past_memory stack

With OMP_NUM_THREADS=1, but for `stack`, which takes as many threads as BLAS.
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
    """MB, of this program alone: `ru_maxrss` begins with what the process had that started it."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 1e3


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
        found: dict[str, float] = {}
        for case in ("", ", a worker killed")[: 1 + kill]:
            file = Npy(Path(path) / "gradient.npy", x.shape, "f8")
            # in the last of three passes, which writes the gradient
            around = one_killed(client, 0.8 * found["wall"]) if case else contextlib.nullcontext()
            with measured(client, f"loss and gradient, to disk{case}") as found, around:
                stored = da.store(gradient, file, lock=False, compute=False)
                value, _ = dask.compute(loss, stored)
            print("    loss", value, "norm of the gradient", file.norm())


def _tile(
    block_id: tuple[int, int], rows: int, columns: int, blocks: tuple[int, int], scale: Any
) -> Any:
    """Part of a matrix of twenty large values, which decay, and noise."""
    left, right = (
        np.random.default_rng([side, i]).standard_normal((n, 20), dtype="f4") / (n * count) ** 0.5
        for side, (i, n, count) in enumerate(zip(block_id, (rows, columns), blocks, strict=True))
    )
    generator = np.random.Generator(np.random.SFC64([2, *block_id]))
    noise = generator.random((rows, columns), dtype="f4")  # made in a fifth of a normal one's time
    noise -= 0.5
    noise *= 12**0.5
    noise += (left * scale) @ right.T
    return noise


def grid(rows: int, columns: int, tiles: int, workers: int) -> None:
    tile = rows // tiles, columns // tiles
    scale = np.asarray(4000 * 0.8 ** np.arange(20), dtype="f4")
    own = {"rows": tile[0], "columns": tile[1], "blocks": (tiles, tiles), "scale": scale}
    x = da.map_blocks(
        _tile,
        chunks=tuple((n,) * tiles for n in tile),
        dtype="f4",
        meta=np.empty((0, 0), "f4"),
        **own,
    )
    print(f"{rows} x {columns}, {x.nbytes / 1e9:.1f} GB, {x.npartitions} tiles, {workers} workers")
    folder = tempfile.TemporaryDirectory()
    with folder as path, cluster(workers, "1GB") as client:
        with measured(client, "10 triplets"):
            (U, S, _), pullback = sg.vjp(sg.truncated_svd, x, k=10)
            print("    S", *S.compute().round(3))
        with measured(client, "the cotangent of a loss of U, as factors"):
            (gradient,) = pullback((4 * U * U * U, None, None))
        file = Npy(Path(path) / "gradient.npy", x.shape, "f4")
        with measured(client, "the gradient, to disk"):
            da.store(gradient, file, lock=False)
        print(f"    most memory of the caller {_peak():.0f} MB; norm of the gradient {file.norm()}")


def weak(rows: int, columns: int, block: int) -> None:
    for workers in (1, 2):
        tall(rows * workers, columns, block, workers, kill=False)


def stack(size: int, side: int, repeats: int) -> None:
    """A stack in four chunks, the threaded scheduler, and NumPy's array with as many threads."""
    x = np.random.default_rng(0).standard_normal((size, side, side))
    lazy = da.from_array(x, chunks=(size // 4, side, side))

    def of_numpy() -> Any:
        value, pullback = sg.vjp(sg.orthogonalize, x)
        return value, *pullback(value)

    def of_dask() -> Any:
        value, pullback = sg.vjp(sg.orthogonalize, lazy)
        with threadpool_limits(1):  # as for all that has a thread for each core
            return dask.compute(value, *pullback(lazy), scheduler="threads", num_workers=2)

    ratios = []
    for _ in range(repeats):
        times = []
        for function in (of_dask, of_numpy):
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            times.append((time.perf_counter() - wall, time.process_time() - cpu))
        ratios.append([a / b for a, b in zip(*times, strict=True)])
    wall, cpu = np.median(ratios, axis=0)
    print(f"{size} x {side} x {side}: wall {wall:.2f}, CPU {cpu:.2f} of NumPy's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    numbers = {
        "tall": {"rows": 10**7, "columns": 50, "block": 100_000, "workers": 2},
        "grid": {"rows": 40_000, "columns": 30_000, "tiles": 10, "workers": 2},
        "weak": {"rows": 500_000, "columns": 50, "block": 50_000},
        "stack": {"size": 4000, "side": 32, "repeats": 9},
    }
    for kind, given in numbers.items():
        own = kinds.add_parser(kind)
        for name, default in given.items():
            own.add_argument(f"--{name}", type=int, default=default)
        if kind == "tall":
            own.add_argument("--kill", action="store_true")
    options = vars(parser.parse_args())
    globals()[options.pop("kind")](**options)


if __name__ == "__main__":
    main()
