"""What PyTorch is doing: tracing, transforming, differentiating, and in which precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from .array import Arrays


def is_tracing() -> bool:
    return torch.compiler.is_compiling()


def levels() -> list[Any]:
    """The transforms of torch.func that are at work, the outermost first."""
    return [level.key() for level in torch._C._functorch.get_interpreter_stack() or ()]


def has_values(x: torch.Tensor) -> bool:
    modes = torch._C._TorchDispatchModeKey
    if is_tracing() or torch._C._get_dispatch_mode(modes.PROXY) is not None:
        return False
    return not (x.is_meta or isinstance(x, torch._subclasses.FakeTensor))


def may_differentiate(arrays: Arrays) -> bool:
    """The same of any of these, None among them, and True for all inside of torch.func."""
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        return True
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in arrays)


def computing(x: torch.Tensor) -> AbstractContextManager[Any]:
    """Without autocast, which would take products in half precision, and their results with it."""
    device = x.device.type
    # torch.compile has no rule for is_autocast_available (2.9)
    known = device != "meta" if is_tracing() else torch.amp.is_autocast_available(device)
    if known and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    if x.dtype not in (torch.float32, torch.complex64) or is_tracing():
        return nullcontext()
    products = torch.backends.cuda.matmul if x.is_cuda else torch.backends.mkldnn.matmul
    return nullcontext() if products.fp32_precision in ("none", "ieee") else _in_full(products)


@contextmanager
def _in_full(products: Any) -> Iterator[None]:
    """Without TF32 or bfloat16 in products, as torch.set_float32_matmul_precision allows."""
    chosen = products.fp32_precision
    products.fp32_precision = "ieee"
    try:
        yield
    finally:
        products.fp32_precision = chosen
