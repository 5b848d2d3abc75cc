"""RoMa, rotations in PyTorch, with `orthogonalize` and `nearest_rotation` in place of its SVD.

    pip install roma
    git clone https://github.com/naver/roma
    python -m benchmarks.displacement.rotations --tests roma

Its functions `procrustes` and `special_procrustes`, each in a form with a derivative of its own and
in one that PyTorch differentiates, are replaced, and its tests run with and without. Two of them
begin at a matrix that has no nearest rotation, where this library's derivative is NaN unless it is
asked for what is left, undefined="least_norm". Then gradients are compared with differences.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import roma
import torch

import spectralgrad as sg

THEIRS = {
    name: getattr(roma.mappings, name)
    for name in ("procrustes", "special_procrustes", "procrustes_naive", "special_procrustes_naive")
}


undefined = "nan"


def procrustes(
    M: torch.Tensor,
    force_rotation: bool = False,
    regularization: float = 0.0,
    gradient_eps: float = 0.0,
    return_singular_values: bool = False,
) -> Any:
    """RoMa's function; its `regularization`, a term of the loss in the backward, is added to R."""
    function = sg.nearest_rotation if force_rotation else sg.orthogonalize
    R = function(M, undefined=undefined)
    if regularization:
        R = R + _Regularization.apply(M, R.detach(), regularization)
    if not return_singular_values:
        return R
    S = sg.svdvals(M)
    if not force_rotation:
        return R, S
    sign = torch.linalg.det(M).detach().sign()
    return R, torch.cat([S[..., :-1], (sign[..., None] * S[..., -1:])], dim=-1)


class _Regularization(torch.autograd.Function):
    """Zero, with the gradient `amount` (M - R), as RoMa documents it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(M: torch.Tensor, R: torch.Tensor, amount: float) -> torch.Tensor:
        return torch.zeros_like(M)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.amount = inputs[2]

    @staticmethod
    def backward(ctx: Any, _: torch.Tensor) -> Any:
        M, R = ctx.saved_tensors
        return ctx.amount * (M - R), None, None

    @staticmethod
    def jvp(ctx: Any, dM: torch.Tensor, *_: Any) -> torch.Tensor:
        return torch.zeros_like(dM)


def special(M: torch.Tensor, *args: Any, **options: Any) -> Any:
    return procrustes(M, True, *args, **options)


OURS = {
    "procrustes": procrustes,
    "special_procrustes": special,
    "procrustes_naive": lambda M, force_rotation=False, return_singular_values=False: procrustes(
        M, force_rotation, return_singular_values=return_singular_values
    ),
    "special_procrustes_naive": lambda M, return_singular_values=False: special(
        M, return_singular_values=return_singular_values
    ),
}


def put(functions: dict[str, Callable[..., Any]]) -> None:
    for name, function in functions.items():
        for module in (roma, roma.mappings):
            setattr(module, name, function)


def run_tests(folder: Path) -> None:
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    global undefined
    runs = {"with its own": THEIRS, "with ours": OURS, 'with ours, undefined="least_norm"': OURS}
    for title, functions in runs.items():
        put(functions)
        undefined = "least_norm" if "least_norm" in title else "nan"
        suite = unittest.defaultTestLoader.discover("test", top_level_dir=".")
        found = unittest.TextTestRunner(io.StringIO()).run(suite)
        failed = [test.id() for test, _ in found.failures + found.errors]
        print(f"its tests {title}: {found.testsRun} run, {len(failed)} failed")
        print(*(f"  {name}\n" for name in failed), sep="", end="")
    put(THEIRS)
    undefined = "nan"


def gradient_error(function: Callable[..., Any], M: torch.Tensor, h: float = 1e-6) -> float:
    weights = torch.linspace(-1, 2, 9, dtype=M.dtype).reshape(3, 3).cos()
    leaf = M.clone().requires_grad_()
    (weights * function(leaf)).sum().backward()
    steps = h * torch.eye(9, dtype=M.dtype).reshape(9, 3, 3)
    ahead, behind = (THEIRS["special_procrustes_naive"](M + s) for s in (steps, -steps))
    wanted = ((weights * (ahead - behind)).sum((-2, -1)) / (2 * h)).reshape(3, 3)
    return float((leaf.grad - wanted).norm() / wanted.norm())


def compare_gradients() -> None:
    torch.manual_seed(0)
    Q, R = torch.linalg.qr(torch.randn(2, 3, 3, dtype=torch.float64))[0]
    print("\nerror of the gradient of special_procrustes, by central differences")
    print(f"{'singular values':24}{'its naive form':>16}{'its own':>12}{'ours':>12}")
    for values in ([3.0, 2.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1e-3], [1e-5, 1e-5, 0.5e-5]):
        M = Q @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ R
        M = M * torch.linalg.det(M).sign()
        step = 1e-4 * min(values)
        errors = [
            gradient_error(function, M, step)
            for function in (
                THEIRS["special_procrustes_naive"],
                THEIRS["special_procrustes"],
                OURS["special_procrustes"],
            )
        ]
        print(f"{values!s:24}{errors[0]:16.0e}{errors[1]:12.0e}{errors[2]:12.0e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tests", type=Path, help="a checkout of RoMa, whose tests are run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"RoMa {roma.__version__}, PyTorch {torch.__version__}, spectralgrad {sg.__version__}")
    if options.tests:
        run_tests(options.tests.resolve())
    compare_gradients()


if __name__ == "__main__":
    main()
