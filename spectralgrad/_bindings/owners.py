"""Which library an object is of, with no library imported to find out."""

from __future__ import annotations

import sys
from typing import Any

__all__ = [
    "is_box",
    "is_dask_array",
    "is_imported",
    "is_torch_array",
    "unboxed",
]


def is_imported(name: str) -> bool:
    """Whether the program has imported that module."""
    return name in sys.modules


# What torch.compiler.assume_constant_result sets: Dynamo calls the function. It would read
# sys.modules item by item, and fail where one is imported meanwhile (PyTorch 2.13).
is_imported._dynamo_marked_constant = True  # type: ignore[attr-defined]


# array_api_compat's (1.15) ask a cache, of which Dynamo warns the user
def is_torch_array(x: Any) -> bool:
    if not is_imported("torch"):
        return False
    import torch

    return isinstance(x, torch.Tensor)


def is_dask_array(x: Any) -> bool:
    if not is_imported("dask.array"):
        return False
    import dask.array

    return isinstance(x, dask.array.Array)


def is_box(x: Any) -> bool:
    """Whether x is an array that HIPS autograd follows."""
    if not is_imported("autograd.numpy.numpy_boxes"):
        return False
    from autograd.numpy.numpy_boxes import ArrayBox

    return isinstance(x, ArrayBox)


def unboxed(x: Any) -> Any:
    """What autograd follows, at every level."""
    while is_box(x):
        x = x._value
    return x
