"""Tensors outside of PyTorch's vmap, to say why one of them is NaN."""

from __future__ import annotations

from typing import Any

import torch
from torch._functorch.pyfunctorch import coerce_cinterpreter, temporarily_clear_interpreter_stack

_FUNCTORCH = torch._C._functorch


def unmapped(x: torch.Tensor) -> Any:
    """x outside of torch.func, with the axes of each vmap in front, on the host."""
    levels, found = _levels(), []
    while _FUNCTORCH.is_functorch_wrapped_tensor(x):
        inner = _FUNCTORCH.get_unwrapped(x)
        if _FUNCTORCH.is_batchedtensor(x):
            found.append(_FUNCTORCH.maybe_get_level(x))
            inner = inner.movedim(_FUNCTORCH.maybe_get_bdim(x), 0)
        x = inner
    with temporarily_clear_interpreter_stack():  # which would wrap what is computed
        if x._is_zerotensor():  # of no memory, which NumPy is told to read (2.13)
            x = x.clone()
        for axis, (level, size) in enumerate(levels):
            if level not in found:
                x = x.unsqueeze(axis).expand(*x.shape[:axis], size, *x.shape[axis:])
        return x.numpy(force=True)


def _levels() -> list[tuple[int, int]]:
    """Level and size of each vmap around, the outermost first."""
    stack = _FUNCTORCH.get_interpreter_stack() or ()
    mapped = (level for level in stack if level.key() == _FUNCTORCH.TransformType.Vmap)
    return [(level.level(), coerce_cinterpreter(level).batch_size()) for level in mapped]
