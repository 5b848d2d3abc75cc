"""PyTorch tensors as NumPy's views of the same memory.

What a small matrix takes are calls, not arithmetic: a rule makes a hundred, and one of NumPy's
costs a half to a third of PyTorch's (NumPy 2.4, PyTorch 2.13). What an iteration takes are products
with few columns, in which NumPy's BLAS is faster. The code is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import numpy as np
import torch

from .array import Arrays
from .host import SMALL as SIDE
from .host import TINY, quiet
from .matrix_products import FEW, MANY

# Numbers in the largest of the tensors. Beyond 64 x 64 products, and beyond 32 x 32 the blocks of
# LAPACK, go to threads of NumPy's BLAS, which those of PyTorch would have to wait for.
SMALL = 64 * 64
SMALL_FOR_LAPACK = 32 * 32
ITERATED = inf  # MKL takes twice as long for products of few columns, whatever the matrix
MODERATE = 2**20  # numbers in stacks of point sets: threads are worth it beyond


def forward(call: Any, arrays: Arrays) -> Arrays:
    """call.forward(*arrays), by NumPy if that is faster."""
    most = SMALL_FOR_LAPACK if call.primitive.decomposes else SMALL
    return _computed(call, lambda views: call.forward(*views), (arrays,), most)


def vjp(call: Any, *known: Arrays, wanted: Any) -> Arrays:
    """call.vjp(*known, wanted) of what no derivative is asked for, by NumPy if that is faster."""
    return _computed(call, partial(call.vjp, wanted=wanted), known, SMALL)


def _computed(
    call: Any, function: Callable[..., Arrays], groups: tuple[Arrays, ...], most: float
) -> Arrays:
    first = groups[0][0]
    if call.primitive.iterates:
        most = ITERATED
    elif _is_stack(first):
        most = inf
    elif _is_thin_stack(first) and not call.primitive.decomposes:
        most = MODERATE
    views = None if call.foreign or _is_watched() else _views(groups, most)
    if views is None:
        return function(*groups)
    with quiet():
        return tuple(map(_tensor, function(*views)))


def _is_stack(x: torch.Tensor) -> bool:
    """Whether x is a stack for which NumPy has ways of its own (`host.in_slices`).

    Those of a hundred tiny matrices and more, and threads over slices of larger ones.
    """
    if x.ndim < 3:
        return False
    size = x.shape[-2] * x.shape[-1]
    return bool(TINY < size <= SIDE * SIDE or (size <= TINY and x.numel() >= MANY))


def _is_thin_stack(x: torch.Tensor) -> bool:
    """Whether x is a long stack of matrices of few rows or columns: point sets.

    PyTorch takes products of them one by one, and waits for its threads after each operation.
    """
    if x.ndim < 3 or min(x.shape[-2:]) > FEW:
        return False
    return bool(x.numel() >= MANY * x.shape[-2] * x.shape[-1] > 0)


def _is_watched() -> bool:
    """Whether PyTorch has to see each operation: in transforms, of fake tensors, in a trace."""
    return bool(
        torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or torch._ops._len_torch_dispatch_stack_pre_dispatch()
        or torch._C._get_tracing_state() is not None
    )


def _views(groups: tuple[Arrays, ...], most: float) -> list[Arrays] | None:
    """None for what is large, on a device, or of a kind that NumPy does not know."""
    views = []
    for group in groups:
        found: list[Any] = []
        for x in group:
            if x is None:
                found.append(None)
            elif type(x) is torch.Tensor and x.is_cpu and x.numel() <= most:
                if x._is_zerotensor():  # of no memory, which NumPy is told to read (2.13)
                    x = x.clone()
                try:
                    # forced: out of the graph, and without a conjugation that is still to be done
                    found.append(x.numpy(force=True))
                except (RuntimeError, TypeError):  # batched gradients; bfloat16 (2.13)
                    return None
            else:
                return None
        views.append(tuple(found))
    return views


def _tensor(y: Any) -> Any:
    """A tensor of its own memory."""
    if y is None:
        return None
    y = np.asarray(y)
    return torch.from_numpy(y if y.base is None else y.copy())
