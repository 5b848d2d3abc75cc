"""``python -m spectralgrad check``: are derivatives right on this machine, library by library?

Every operation is held against central differences and the adjoint identity, in double precision,
on real and complex matrices, and on repeated singular values where it has a derivative there.
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

import spectralgrad as sg

from ._bindings.array import Array
from .testing import pullback_error, tangent_errors

LIBRARIES = ("numpy", "array_api_strict", "torch", "jax", "cupy")
BOUND = 1e-9


def _thin(x: Array) -> Any:
    return sg.svd(x, full_matrices=False)


AT_SIMPLE = {"svd": _thin, "svdvals": sg.svdvals, "eigh": sg.eigh, "eigvalsh": sg.eigvalsh}
AT_TIES: dict[str, Callable] = {
    "orthogonalize": sg.orthogonalize,
    "polar": sg.polar,
    "pinv": sg.pinv,
    "low_rank": lambda x: sg.low_rank(x, 3),
    "projector": lambda x: sg.singular_projector(x, 3),
    "nuclear_norm": sg.nuclear_norm,
    "schatten_norm": lambda x: sg.schatten_norm(x, 3.0),
    "ky_fan_norm": lambda x: sg.ky_fan_norm(x, 3),
    "svd_function tanh": lambda x: sg.svd_function(x, sg.functions.tanh),
    "expm": sg.expm,
}


def _matrices() -> tuple[np.ndarray, np.ndarray]:
    """A stack of two with simple spectra, and one with a triple singular value, both complex."""
    rng = np.random.default_rng(0)
    simple = rng.standard_normal((2, 4, 4)) + 1j * rng.standard_normal((2, 4, 4))
    U, _, Vh = np.linalg.svd(simple[0])
    return simple, (U * np.array([2.0, 2.0, 2.0, 1.0])) @ Vh


def _worst_errors(
    asarray: Callable[[np.ndarray], Array], compiled: Callable[..., Any]
) -> Iterator[tuple[str, float]]:
    simple, tied = _matrices()
    for name, plain in (AT_SIMPLE | AT_TIES).items():
        fun = compiled(plain)
        inputs = [simple, simple.real, *([tied] if name in AT_TIES else [])]
        errors = []
        for values in inputs:
            x = asarray(values)
            errors += [pullback_error(fun, x), *tangent_errors(fun, x)]
        yield name, max(errors, key=lambda error: np.inf if np.isnan(error) else error)


def _devices(library: str) -> dict[str, Callable[[np.ndarray], Array]]:
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
    return {"cpu": module.asarray}


def check(libraries: list[str], device: str | None) -> bool:
    """Print the table; whether every row is right."""
    row = "{:<17} {:<12} {:<6} {:<18} {:>9}  {}".format
    print(row("library", "version", "device", "operation", "error", "verdict"))
    passed, rows = True, 0
    for library in libraries:
        module = importlib.import_module(library)
        version = module.__version__
        compiled = module.jit if library == "jax" else lambda fun: fun  # as its users do
        for name, asarray in _devices(library).items():
            if device in (None, name):
                for operation, error in _worst_errors(asarray, compiled):
                    ok, rows = error <= BOUND, rows + 1
                    verdict = "right" if ok else f"WRONG (over {BOUND:g})"
                    print(row(library, version, name, operation, f"{error:.1e}", verdict))
                    passed = passed and ok
    if rows == 0:
        print(f"nothing to check: no library of {', '.join(libraries)} has a device {device!r}")
    return passed and rows > 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m spectralgrad", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("check", help="check derivatives on the libraries installed")
    command.add_argument("--library", choices=LIBRARIES, help="this one alone")
    command.add_argument("--device", help="such as cpu or cuda; default all")
    options = parser.parse_args(argv)
    installed = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
    if options.library and options.library not in installed:
        parser.error(f"{options.library} is not installed; found {', '.join(installed)}")
    return 0 if check([options.library] if options.library else installed, options.device) else 1


if __name__ == "__main__":
    sys.exit(main())
