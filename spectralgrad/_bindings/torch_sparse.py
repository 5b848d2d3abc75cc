"""Sparse tensors of PyTorch, as values, rows and columns. Tried with PyTorch 2.13."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from .torch import is_differentiated


def parts(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values, rows and columns, one entry for each place; the gradient flows to the values."""
    if A.layout == torch.sparse_csr and A.dense_dim() == 0:
        # to_sparse_coo has no derivative for complex values, nor has a view a conjugate (2.13)
        rows, cols = _rows(A.crow_indices()), A.col_indices()
        return _one_for_each_place(_Values.apply(A), rows, cols, A.shape[1])
    if A.layout != torch.sparse_coo or A.dense_dim() != 0:
        raise TypeError(
            f"truncated_svd: argument `x` is a tensor of layout {A.layout} with {A.dense_dim()} "
            "dense axes; wanted COO or CSR without any. Convert it with to_sparse_coo()."
        )
    A = A.coalesce()
    rows, cols = A.indices()
    return A.values(), rows, cols


class _Values(torch.autograd.Function):
    """The values of a CSR tensor.

    The gradient of those that PyTorch gives has no derivative itself, and is lost (2.13).
    """

    @staticmethod
    def forward(A: torch.Tensor) -> torch.Tensor:
        return A.values().clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
        (A,) = inputs
        ctx.shape = A.shape
        ctx.save_for_backward(A.crow_indices(), A.col_indices())

    @staticmethod
    def backward(ctx: Any, bar: torch.Tensor) -> torch.Tensor:
        starts, cols = ctx.saved_tensors
        return _OfValues.apply(bar, starts, cols, ctx.shape)


class _OfValues(torch.autograd.Function):
    """The CSR tensor with these values.

    PyTorch's own derivative takes the columns of each row to be in order (2.13).
    """

    @staticmethod
    def forward(
        values: torch.Tensor, starts: torch.Tensor, cols: torch.Tensor, shape: torch.Size
    ) -> torch.Tensor:
        return _csr(starts, cols, values, shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
        _, *places, ctx.shape = inputs
        ctx.save_for_backward(*places)

    @staticmethod
    def backward(ctx: Any, bar: torch.Tensor) -> Any:
        starts, cols = ctx.saved_tensors
        if bar.layout == torch.strided:
            return bar[_rows(starts), cols], None, None, None
        found = _order(bar.crow_indices(), bar.col_indices(), ctx.shape)
        places = torch.argsort(_order(starts, cols, ctx.shape))
        return _Values.apply(bar)[found[places]], None, None, None


def _order(starts: torch.Tensor, cols: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Of the entries of a CSR tensor, by rows and columns."""
    return torch.argsort(_places(_rows(starts), cols, shape[1]), stable=True)


def _places(rows: torch.Tensor, cols: torch.Tensor, width: int) -> torch.Tensor:
    """Their numbers by rows and columns, which 32 bits of a CSR's indices may not hold."""
    return rows.to(torch.int64) * width + cols


def _rows(starts: torch.Tensor) -> torch.Tensor:
    return torch.repeat_interleave(starts.diff())


def _one_for_each_place(
    values: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The entries, those of one place added: a CSR that PyTorch does not check may have several."""
    place = _places(rows, cols, width)
    if bool(torch.all(place[1:] > place[:-1])):
        return values, rows, cols
    place, index = torch.unique(place, return_inverse=True)
    total = values.new_zeros(len(place)).index_add(0, index, values)
    return total, place // width, place % width


def sparse_matrix(
    values: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor, shape: tuple[int, ...]
) -> torch.Tensor:
    indices = torch.stack([rows, cols])
    return torch.sparse_coo_tensor(indices, values, shape, check_invariants=False).coalesce()


def _compressed(
    values: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor, shape: tuple[int, ...]
) -> torch.Tensor:
    """As CSR, by a sort; entries of one place stay apart, and products add them."""
    order = torch.argsort(rows, stable=True)
    starts = torch.searchsorted(rows[order], torch.arange(shape[0] + 1, device=rows.device))
    return _csr(starts, cols[order], values[order], shape)


def _csr(
    starts: torch.Tensor, cols: torch.Tensor, values: torch.Tensor, shape: tuple[int, ...]
) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(starts, cols, values, shape, check_invariants=False)


def sparse_product(
    values: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor, shape: tuple[int, ...]
) -> Callable[..., Any]:
    """X -> A X."""
    if not is_differentiated(values):
        A = _compressed(values, rows, cols, shape)
        return lambda X: A @ X
    # The gradient of a sparse tensor's values has no derivative itself, and is lost (2.13).
    return lambda X: X.new_zeros((shape[0], X.shape[-1])).index_add(
        0, rows, values[:, None] * X[cols]
    )
