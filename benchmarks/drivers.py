"""``python -m benchmarks.drivers``: the drivers of thin SVDs over sizes, and whom to choose.

Each driver factorizes the same stacks in turn; an error is the largest of residual and
orthonormality in eps. What would be chosen is the fastest of those whose error is below 1000.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from spectralgrad._bindings.array import adjoint, array_namespace, eps
from spectralgrad._bindings.matrix_products import FEW
from spectralgrad._spectrum.drivers import SVD, svd_driver

from .timing import Case, nothing, time_pair

SIDES = (2, 3, 4, 6, 8, 16, 32, 33, 64, 128)
NUMBERS = 2_000_000  # in a stack
LIBRARIES = {"cpu": ("numpy", "torch"), "cuda": ("cupy", "torch")}


def own(x: Any) -> Any:
    return tuple(array_namespace(x).linalg.svd(x, full_matrices=False))


def error(x: Any, U: Any, S: Any, Vh: Any) -> float:
    """The largest entry of residual and of both lacks of orthonormality, in eps."""
    xp = array_namespace(x)
    one = xp.eye(S.shape[-1], dtype=x.dtype, device=x.device)
    parts = (
        (x - (U * S[..., None, :]) @ Vh) / S[..., :1, None],
        adjoint(U) @ U - one,
        Vh @ adjoint(Vh) - one,
    )
    return max(float(xp.max(xp.abs(part))) for part in parts) / eps(x)


def stack(library: str, device: str, dtype: str, side: int) -> tuple[Any, Callable[[], None]]:
    """A random stack of matrices of that side, and what waits for the device."""
    count = max(2, NUMBERS // side**3)
    x = np.random.default_rng(side).standard_normal((count, side, side)).astype(dtype)
    xp = import_module(library)
    if library == "torch":
        return xp.asarray(x, device=device), nothing if device == "cpu" else xp.cuda.synchronize
    if library == "cupy":
        return xp.asarray(x), xp.cuda.Device().synchronize
    return x, nothing


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drivers", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    console = Console(width=120, highlight=False)
    table = Table(caption="times over the library's own; errors in eps")
    for column in ("library", "dtype", "shape", *SVD, "fastest", "chosen now"):
        table.add_column(column)
    for library in LIBRARIES[arguments.device]:
        for dtype in ("float32", "float64"):
            for side in arguments.sides:
                x, wait = stack(library, arguments.device, dtype, side)
                ratios, cells = {"own": 1.0}, []
                for name, by in SVD.items():
                    if name == "jacobi" and side > FEW:
                        cells.append("")
                        continue
                    shape = " x ".join(map(str, x.shape))
                    case = Case(
                        name=name,
                        library=library,
                        size=shape,
                        ours=partial(by, x),
                        theirs=partial(own, x),
                        against="own",
                        synchronize=wait,
                    )
                    ratio = float(time_pair(case, repeats=arguments.repeats).summary()["ratio"])
                    found = error(x, *by(x))
                    cells.append(f"{ratio:.2f} ({found:.0f})")
                    if found < 1000:
                        ratios[name] = ratio
                fastest = min(ratios, key=ratios.__getitem__)
                table.add_row(library, dtype, shape, *cells, fastest, svd_driver(x))
                console.print(library, dtype, shape, *cells, fastest)
    console.print(table)


if __name__ == "__main__":
    main()
