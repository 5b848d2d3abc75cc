"""``python -m spectralgrad``: are derivatives right on this machine, and where do they exist?

``check``: every operation is compared with central differences and by the adjoint identity, in
double precision, on real and complex matrices, and on repeated values where it has a derivative
there. The last line sums up.
``diagnose FILE``: which derivatives exist at the matrices in a file.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from . import __version__
from ._bindings.array import Array
from ._diagnosis.command import add_arguments, run
from ._operations.declaration import OPERATIONS, Operation, table
from .testing import tangent_errors

LIBRARIES = ("numpy", "array_api_strict", "torch", "jax", "cupy", "dask")
BOUND = 1e-9


def _matrices(operation: Operation) -> list[np.ndarray[Any, Any]]:
    """Complex and real ones that the operation takes, some of them with a triple value."""
    rng = np.random.default_rng(0)
    simple = rng.standard_normal((2, 4, 4)) + 1j * rng.standard_normal((2, 4, 4))
    U, _, Vh = np.linalg.svd(simple[0])
    tied = (U * np.array([2.0, 2.0, 2.0, 1.0])) @ (U.conj().T if operation.hermitian else Vh)
    if operation.definite:
        simple = simple @ np.conj(np.swapaxes(simple, -1, -2)) / 4 + np.eye(4)
    elif operation.hermitian:
        simple = simple + np.conj(np.swapaxes(simple, -1, -2))
    found = [simple, simple.real, *([tied] if operation.at_ties else [])]
    return [x for x in found if not (operation.real and np.iscomplexobj(x))]


def _worst_errors(
    asarray: Callable[[np.ndarray[Any, Any]], Array],
    compiled: Callable[..., Any],
    operations: list[str],
) -> Iterator[tuple[str, float]]:
    for operation in OPERATIONS.values():
        if operation.name not in operations:
            continue
        fun = compiled(partial(operation.function, **operation.example))
        errors: list[float] = []
        for values in _matrices(operation):
            # a second argument, if it takes one, is the first with its rows turned round
            x = [asarray(values[..., ::step, :].copy()) for step in (1, -1)[: operation.arrays]]
            errors += tangent_errors(fun, *x)  # whose sum bounds that of the pullback
        yield operation.name, max(errors, key=lambda error: np.inf if np.isnan(error) else error)


def _devices(library: str) -> dict[str, Callable[[np.ndarray[Any, Any]], Array]]:
    """The devices that a library finds, and how an array gets there."""
    module = importlib.import_module(library)
    if library == "torch":
        names = ["cpu", "cuda"] if module.cuda.is_available() else ["cpu"]
        return {name: partial(module.asarray, device=name) for name in names}
    if library == "jax":
        module.config.update("jax_enable_x64", True)
        devices = [*module.devices("cpu")[:1], *module.devices()[:1]]
        return {
            d.platform.replace("gpu", "cuda"): partial(module.device_put, device=d) for d in devices
        }
    if library == "cupy":
        return {"cuda": module.asarray} if module.cuda.is_available() else {}
    if library == "dask":
        from_array = importlib.import_module("dask.array").from_array
        return {"cpu": lambda x: from_array(x, chunks=(1, *x.shape[1:]) if x.ndim > 2 else -1)}
    return {"cpu": module.asarray}


def check(libraries: list[str], device: str | None, operations: list[str]) -> bool:
    """Print the table; return whether every row is right."""
    row = "{:<17} {:<12} {:<6} {:<24} {:>9}  {}".format
    print(row("library", "version", "device", "operation", "error", "verdict"))
    wrong, rows, seen = [], 0, []
    for library in libraries:
        module = importlib.import_module(library)
        version = module.__version__
        compiled = module.jit if library == "jax" else lambda fun: fun  # as its users do
        for name, asarray in _devices(library).items():
            if device in (None, name):
                for operation, error in _worst_errors(asarray, compiled, operations):
                    ok, rows = error <= BOUND, rows + 1
                    verdict = "right" if ok else f"WRONG (over {BOUND:g})"
                    print(row(library, version, name, operation, f"{error:.1e}", verdict))
                    wrong += [] if ok else [f"{operation} ({library}, {name})"]
                seen.append(f"{library} ({name})")
    if rows == 0:
        print(f"nothing to check: no library of {', '.join(libraries)} has a device {device!r}")
        return False
    found = f"wrong: {', '.join(wrong)}" if wrong else "all right"
    print(f"{rows} checks of {len(operations)} operations on {', '.join(seen)}: {found}")
    return not wrong


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m spectralgrad", description=__doc__)
    parser.add_argument("--version", action="version", version=f"spectralgrad {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("check", help="check derivatives on the libraries installed")
    command.add_argument("--library", choices=LIBRARIES, help="only this one")
    command.add_argument("--device", help="such as cpu or cuda; default all")
    command.add_argument(
        "operations", nargs="*", metavar="OPERATION", help="such as svd; default all"
    )
    commands.add_parser("operations", help="print the table of operations, in Markdown")
    add_arguments(
        commands.add_parser("diagnose", help="which derivatives exist at a file's matrices")
    )
    options = parser.parse_args(argv)
    if options.command == "diagnose":
        return run(options)
    if options.command == "operations":
        print(table())
        return 0
    unknown = [name for name in options.operations if name not in OPERATIONS]
    if unknown:
        parser.error(f"no operation {unknown[0]!r}; there are {', '.join(OPERATIONS)}")
    installed = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
    if options.library and options.library not in installed:
        parser.error(f"{options.library} is not installed; found {', '.join(installed)}")
    libraries = [options.library] if options.library else installed
    passed = check(libraries, options.device, options.operations or list(OPERATIONS))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
