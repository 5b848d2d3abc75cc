"""variPEPS, tensor networks in JAX, with `svd` in place of its own.

    pip install varipeps
    pip install "jax>=0.10"    # newer than variPEPS 1.5 asks for, and it runs with it
    python -m benchmarks.displacement.peps_jax

The energy of a random state of the Heisenberg model on the square lattice, its public example, and
the gradient through the fixed point of the corner transfer matrices: with its SVD and with this
library's, and of both the derivative along a direction beside a central difference of energies.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import varipeps
import varipeps.utils.svd as theirs
from varipeps.optimization.inner_function import (
    calc_ctmrg_expectation_custom,
    calc_ctmrg_expectation_custom_value_and_grad,
)

import spectralgrad as sg

NAMES = ("svd_wrapper", "svd_only_u", "svd_only_vt")
KEPT = {name: getattr(theirs, name) for name in NAMES}


def ours(ties: str) -> dict[str, Any]:
    svd = partial(sg.svd, full_matrices=False, ties=ties)
    return {
        "svd_wrapper": lambda a, use_qr=False: tuple(svd(a)),
        "svd_only_u": lambda a, use_qr=True: tuple(svd(a)[:2]),
        "svd_only_vt": lambda a, use_qr=True: tuple(svd(a)[1:]),
    }


def settle() -> None:
    config = varipeps.config
    config.ctmrg_convergence_eps, config.ctmrg_max_steps = 1e-11, 300
    config.ad_custom_convergence_eps, config.ad_custom_max_steps = 1e-10, 300
    config.ctmrg_print_steps = config.ad_custom_print_steps = False


def heisenberg() -> Any:
    spins = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]]) / 2
    gate = jnp.asarray(sum(np.kron(S, S) for S in spins))
    return varipeps.expectation.Two_Sites_Expectation_Value(
        horizontal_gates=(gate,), vertical_gates=(gate,)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chi", type=int, default=6, help="values kept in the environment")
    parser.add_argument("--seed", type=int, default=1)
    choices = ("own", "drop", "split", "nan")
    parser.add_argument("--runs", nargs="+", choices=choices, default=choices)
    options = parser.parse_args()
    settle()
    model = heisenberg()
    cell = varipeps.peps.PEPS_Unit_Cell.random(
        [[0]], 2, 2, options.chi, float, max_chi=options.chi, seed=options.seed
    )
    tensors = [t.tensor for t in cell.get_unique_tensors()]
    rng = np.random.default_rng(options.seed)
    directions = [jnp.asarray(rng.standard_normal(t.shape)) for t in tensors]
    version = getattr(varipeps, "__version__", "")
    print(f"variPEPS {version}, JAX {jax.__version__}, spectralgrad {sg.__version__}")
    print(f"one site, bond dimension 2, {options.chi} values kept, real")

    h, energies = 1e-5, []
    for step in (h, -h):
        moved = [t + step * d for t, d in zip(tensors, directions, strict=True)]
        energies.append(float(calc_ctmrg_expectation_custom(moved, cell, model, None)[0]))
    difference = (energies[0] - energies[1]) / (2 * h)
    print(f"derivative along a direction by differences: {difference:.9f}")
    for run in options.runs:
        functions = KEPT if run == "own" else ours(run)
        for name, function in functions.items():
            setattr(theirs, name, function)
        jax.clear_caches()
        began = time.perf_counter()
        (energy, _), gradient = calc_ctmrg_expectation_custom_value_and_grad(
            tensors, cell, model, None
        )
        slope = sum(float(jnp.sum(g * d)) for g, d in zip(gradient, directions, strict=True))
        seconds = time.perf_counter() - began
        print(f"{run:5} energy {float(energy):.12f}, derivative {slope:.9f}", end=", ")
        print(
            f"error {abs(slope / difference - 1):.0e}, {seconds:.0f} s with compiling", flush=True
        )


if __name__ == "__main__":
    main()
