"""What an operation costs in PyTorch as an autograd Function and as a named operator.

    python -m benchmarks.named_operators

The polar factor of one matrix and of a stack, forward and backward: as `orthogonalize`, as an
autograd Function of a plain rule, and as an operator of torch.library with the same rule.
Then what each mode makes of it: right, wrong, or the error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import spectralgrad as sg


def polar(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    U, S, Vh = torch.linalg.svd(x, full_matrices=False)
    return U @ Vh, U, S, Vh


def pulled(U: torch.Tensor, S: torch.Tensor, Vh: torch.Tensor, bar: torch.Tensor) -> torch.Tensor:
    """The cotangent of a square x: U (2 skew(U^H bar V)/(s_i + s_j)) V^H."""
    inner = U.mH @ bar @ Vh.mH
    return U @ ((inner - inner.mH) / (S[..., :, None] + S[..., None, :])) @ Vh


class Polar(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        Q, *factors = polar(x)
        ctx.save_for_backward(*factors)
        return Q

    @staticmethod
    def backward(ctx: Any, bar: torch.Tensor) -> torch.Tensor:
        return pulled(*ctx.saved_tensors, bar)


@torch.library.custom_op("spectralgrad_benchmark::polar", mutates_args=())
def named(x: torch.Tensor) -> list[torch.Tensor]:
    return [y.contiguous() for y in polar(x)]


@named.register_fake
def _(x: torch.Tensor) -> list[torch.Tensor]:
    S = x.new_empty(x.shape[:-1], dtype=x.real.dtype)
    return [torch.empty_like(x), torch.empty_like(x), S, torch.empty_like(x)]


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*output[1:])


def _backward(ctx: Any, bars: Any) -> torch.Tensor:
    return pulled(*ctx.saved_tensors, bars[0])


named.register_autograd(_backward, setup_context=_setup)


def as_operator(x: torch.Tensor) -> torch.Tensor:
    return named(x)[0]


FORMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "orthogonalize": sg.orthogonalize,
    "autograd Function": Polar.apply,
    "named operator": as_operator,
}


def seconds(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> float:
    """The median of forward and backward, of 300 calls or one second."""
    leaf, times = x.clone().requires_grad_(), []
    function(leaf).sum().backward()
    began = time.perf_counter()
    while len(times) < 300 and time.perf_counter() < began + 1:
        start = time.perf_counter()
        function(leaf).sum().backward()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def modes(function: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Callable[[], Any]]:
    x = torch.eye(3, dtype=torch.float64) + 0.1 * torch.arange(9.0).reshape(3, 3)
    leaf = x.clone().requires_grad_()

    class Module(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(x)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return function(x)[0].sum()

    def exported() -> torch.Tensor:
        program = torch.export.export(Module(), (x,))
        return torch.autograd.grad(program.module()(leaf)[0].sum(), leaf)[0]

    return {
        "torch.func.grad": lambda: torch.func.grad(loss)(x),
        "double backward": lambda: torch.autograd.functional.hessian(loss, x),
        "torch.func.jvp": lambda: torch.func.jvp(loss, (x,), (x,))[1],
        "torch.func.vmap": lambda: torch.func.vmap(function)(torch.stack([x, 2 * x])),
        "vmap of grad": lambda: torch.func.vmap(torch.func.grad(loss))(torch.stack([x, 2 * x])),
        "torch.func.hessian": lambda: torch.func.hessian(loss)(x),
        "gradient of an exported program": exported,
    }


def main() -> None:
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}, forward and backward in microseconds")
    stacks = {
        "one 3 x 3": torch.randn(3, 3, dtype=torch.float64),
        "1000 of 3 x 3": torch.randn(1000, 3, 3, dtype=torch.float64),
        "one 128 x 128": torch.randn(128, 128, dtype=torch.float64),
    }
    for title, x in stacks.items():
        found = {name: 1e6 * seconds(function, x) for name, function in FORMS.items()}
        print(f"{title:15}", ", ".join(f"{name} {t:.0f}" for name, t in found.items()))
    expected = {
        name: run() for name, run in modes(sg.orthogonalize).items() if "export" not in name
    }
    expected["gradient of an exported program"] = expected["torch.func.grad"]
    for form in ("orthogonalize", "named operator"):
        print(f"\n{form}")
        for mode, run in modes(FORMS[form]).items():
            try:
                word = "right" if torch.allclose(run(), expected[mode]) else "wrong"
            except Exception as error:  # whatever a mode raises is the finding
                word = f"{type(error).__name__}: {str(error).splitlines()[0][:70]}"
            print(f"  {mode}: {word}")


if __name__ == "__main__":
    main()
