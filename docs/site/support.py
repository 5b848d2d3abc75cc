"""Fill the tables of docs/support.md by trying every operation on every library that is installed.

    python docs/site/support.py [--print]

First derivatives, both modes, are compared with central differences, and second ones (`sg.hvp`)
with differences of pullbacks, in double precision on the CPU. A cell says up to which order they
are right.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import re
import tomllib
import warnings
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tables import fill

import spectralgrad as sg
from spectralgrad.__main__ import BOUND, _devices, _matrices
from spectralgrad._bindings.array import to_numpy
from spectralgrad._operations.declaration import OPERATIONS, Operation
from spectralgrad.testing import normal_like, random_cotangent, tangent_errors

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "support.md"
LIBRARIES = {"NumPy": "numpy", "PyTorch": "torch", "JAX": "jax", "Dask": "dask", "CuPy": "cupy"}
BOUND_OF_SECOND = 1e-7  # differences of pullbacks, of second order in the step


def _second_error(fun: Any, *x: Any) -> float:
    """Relative difference of `sg.hvp` from a central difference of the pullback."""
    rng, h = np.random.default_rng(0), 1e-5
    dx = tuple(normal_like(array, rng) for array in x)
    out_bar = random_cotangent(fun(*x))
    found = np.stack([to_numpy(part) for part in sg.hvp(fun, x, dx, out_bar)])
    sides = [tuple(a + s * da for a, da in zip(x, dx, strict=True)) for s in (h, -h)]
    pulled = (sg.vjp(fun, *side)[1](out_bar) for side in sides)
    ahead, behind = (np.stack([to_numpy(part) for part in parts]) for parts in pulled)
    wanted = (ahead - behind) / (2 * h)
    return float(np.max(np.abs(found - wanted)) / (np.max(np.abs(wanted)) + 1))


def _cell(operation: Operation, asarray: Any) -> str:
    fun = partial(operation.function, **operation.example)
    tried = [
        [asarray(values[..., ::step, :].copy()) for step in (1, -1)[: operation.arrays]]
        for values in _matrices(operation)
    ]
    for arrays in tried:
        if not max(tangent_errors(fun, *arrays)) <= BOUND:
            return "WRONG"
    if not operation.second:
        return "1"
    return "1, 2" if _second_error(fun, *tried[0]) <= BOUND_OF_SECOND else "1, 2 WRONG"


def _version(module: str) -> str | None:
    try:
        return importlib.metadata.version(module).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def operations() -> str:
    """Operations against libraries."""
    arrays = {}
    for name, module in LIBRARIES.items():
        found = _devices(module) if _version(module) else {}
        arrays[name] = found.get("cpu")
    lines = ["| operation | " + " | ".join(LIBRARIES) + " |", "|---|" + "---|" * len(LIBRARIES)]
    for group in dict.fromkeys(operation.group for operation in OPERATIONS.values()):
        lines.append(f"| **{group}** |" + " |" * len(LIBRARIES))
        for operation in OPERATIONS.values():
            if operation.group == group:
                cells = [_cell(operation, a) if a else "not run" for a in arrays.values()]
                lines.append(f"| `{operation.name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def versions() -> str:
    """Libraries against the oldest version that is allowed and the one that was run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    oldest = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?>=([\d.]+)", "\n".join(wanted), re.M))
    rows = {
        "Python": (project["requires-python"].removeprefix(">="), _python()),
        "NumPy": (oldest["numpy"], _version("numpy")),
        "array-api-compat": (oldest["array-api-compat"], _version("array-api-compat")),
        "PyTorch": (oldest["torch"], _version("torch")),
        "JAX": (oldest["jax"], _version("jax")),
        "Dask": (oldest["dask"], _version("dask")),
        "HIPS autograd": (oldest["autograd"], _version("autograd")),
        "CuPy": (oldest["cupy-cuda13x"], None),
    }
    lines = ["| package | from | the tables were made with |", "|---|---|---|"]
    lines += [f"| {name} | {low} | {run or 'not run'} |" for name, (low, run) in rows.items()]
    return "\n".join(lines)


def _python() -> str:
    return platform.python_version()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--print", action="store_true", help="write no file")
    only_print = parser.parse_args().print
    warnings.simplefilter("ignore")
    for name, text in (("operations", operations()), ("versions", versions())):
        print(text, end="\n\n")
        if not only_print:
            fill(PAGE, name, text)


if __name__ == "__main__":
    main()
