"""Factorizations of stacks of tiny matrices, which PyTorch's compiler takes as one operation.

Jacobi's method is a thousand steps: inductor compiles them for minutes (2.13), and NumPy takes them
as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .array import OPAQUE


def _computed(name: str, x: Tensor) -> list[Tensor]:
    factors = OPAQUE[name](x.numpy(force=True))
    return [torch.from_numpy(y if y.base is None else y.copy()) for y in factors]


def _svd(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    U, S, Vh = _computed("svd", x)
    return U, S, Vh


def _shapes_of_svd(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    *batch, m, n = x.shape
    k = min(m, n)
    S = x.new_empty((*batch, k), dtype=x.real.dtype)
    return x.new_empty((*batch, m, k)), S, x.new_empty((*batch, k, n))


def _eigh(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    w, Q = _computed("eigh", x)
    return w, Q


def _shapes_of_eigh(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape[:-1], dtype=x.real.dtype), x.new_empty(x.shape)


OPERATIONS = {
    "svd": torch.library.custom_op("spectralgrad::svd", _svd, mutates_args=()),
    "eigh": torch.library.custom_op("spectralgrad::eigh", _eigh, mutates_args=()),
}
OPERATIONS["svd"].register_fake(_shapes_of_svd)
OPERATIONS["eigh"].register_fake(_shapes_of_eigh)
