"""Programs that PyTorch keeps as its own operations: torch.export, make_fx and torch.jit.trace.

They lose each autograd Function, and PyTorch would differentiate what its forward calls by the
rules of its own SVD: finite and wrong at a tie, whatever was asked of ties (2.13). So the factors
get a zero from a function without a derivative, of which PyTorch says so in an error.
"""

from __future__ import annotations

from typing import Any

import torch

from .array import Arrays


def is_kept() -> bool:
    """Whether a program is being recorded that may be differentiated later."""
    if torch.compiler.is_exporting():
        return True
    if torch.compiler.is_compiling():  # with its backward
        return False
    proxy = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY)
    return proxy is not None or torch._C._get_tracing_state() is not None


def forward(call: Any, arrays: Arrays) -> Arrays:
    """call.forward(*arrays), whose derivative PyTorch refuses where it calls LAPACK."""
    outputs: Arrays = call.forward(*arrays)
    about = call.primitive
    if about.decomposes or about.iterates or about.foreign:
        return tuple(map(_without_derivative, outputs))
    return outputs


def differentiated_once(bars: Arrays, inputs: Arrays) -> Arrays:
    """Cotangents of inputs from a compiled backward, whose own derivative is NaN.

    PyTorch would leave that out without a word, as it does of its own functions that keep their
    result alone (2.13): nothing that is kept leads to the input. Here a zero does, and the backends
    that refuse double backward notice.
    """
    with torch.enable_grad():  # which Dynamo has off in a backward
        return tuple(
            bar if bar is None else bar + _zero_of_undefined_slope(x)
            for bar, x in zip(bars, inputs, strict=True)
        )


def _zero_of_undefined_slope(x: torch.Tensor) -> torch.Tensor:
    return torch.nan_to_num(torch.sqrt(0.0 * (x.real if x.is_complex() else x)))


def _without_derivative(y: torch.Tensor) -> torch.Tensor:
    # of the zeta function PyTorch has no derivative by its first argument
    zeta = torch.special.zeta(2.0 + 0.0 * (y.real if y.is_complex() else y), 1.0)
    return y + 0.0 * zeta
