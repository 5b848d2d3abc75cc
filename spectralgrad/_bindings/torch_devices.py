"""DTensors of PyTorch: stacks that are sharded along the batch, and tall matrices by rows.

What is sharded along the batch alone is computed where it lies: a call runs on the local tensors,
and its results are sharded as its arguments are. An argument that all devices share has a cotangent
of which each device has a part of the sum.

A matrix in blocks of rows is factorized as in `jax_rows`: devices gather triangles of n x n
numbers. Its rules run on the DTensors themselves, whose products know what is to be added up, and
constants that rules make count as shared by all.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from . import host
from .array import Arrays, adjoint, svd_of_finite
from .rows import added_up

STACK = "_spectralgrad_stack"  # on what belongs to a stack: how many axes that has


def _tensor_class() -> Any:
    module = sys.modules.get("torch.distributed.tensor")  # seconds to import
    return None if module is None else module.DTensor


def is_spread(x: Any) -> bool:
    """Whether x is a DTensor."""
    kind = _tensor_class()
    return kind is not None and isinstance(x, kind)


def is_blocked(x: torch.Tensor) -> bool:
    """Whether x is a matrix, or a stack of such, in blocks of rows or of columns."""
    return is_spread(x) and x.ndim > 1 and any(p.is_shard(d) for p in _at(x) for d in _core(x))


def _at(x: Any) -> tuple[Any, ...]:
    return tuple(x.placements)


def _core(x: Any) -> range:
    """The axes of a matrix; of none where x is known to have one number, or a row, for each."""
    return range(max(x.ndim - 2, getattr(x, STACK, 0)), x.ndim)


def apply(function: Callable[[Any, Arrays], Arrays], call: Any, arrays: Arrays) -> Arrays:
    """function(call, arrays), for arrays of which some are DTensors."""
    spread = [x for x in arrays if is_spread(x)]
    largest = max(spread, key=lambda x: x.ndim)
    if is_blocked(largest) or any(p.is_partial() for x in spread for p in _at(x)):
        with _shared_constants():
            return tuple(map(added_up, function(OnBlocks(call), arrays)))
    return _by_stacks(function, call, arrays, spread)


def _by_stacks(
    function: Callable[[Any, Arrays], Arrays], call: Any, arrays: Arrays, spread: Sequence[Any]
) -> Arrays:
    mesh, module = spread[0].device_mesh, sys.modules["torch.distributed.tensor"]
    at, sizes = _stack_placements(call, spread)
    axes = max(max(x.ndim - 2, getattr(x, STACK, 0)) for x in spread)
    batched = len(arrays) if call.primitive.batched is None else call.primitive.batched
    local = []
    for i, x in enumerate(arrays):
        if not is_spread(x):  # shared by all, as where PyTorch itself replicates
            every = [module.Replicate()] * mesh.ndim
            x = module.DTensor.from_local(x, mesh, every, run_check=False)
        of_elements = i < batched and x.ndim >= axes
        own = tuple(at) if of_elements else _at(x)
        if own != _at(x):
            x = x.redistribute(placements=own)
        # of what is shared each device has the part of the cotangent that its elements make
        bar = [
            module.Partial() if p.is_shard() and q.is_replicate() else q
            for p, q in zip(at, own, strict=True)
        ]
        local.append(x.to_local(grad_placements=bar))

    def whole(y: torch.Tensor) -> Any:
        shape = torch.Size(sizes.get(d, n) for d, n in enumerate(y.shape))
        y = y.resolve_conj()  # which collectives would ignore (2.13)
        out = spread[0].from_local(
            y, mesh, at, run_check=False, shape=shape, stride=_strides(shape)
        )
        setattr(out, STACK, axes)
        return out

    return tuple(map(whole, function(call, tuple(local))))


def _stack_placements(call: Any, spread: Sequence[Any]) -> tuple[list[Any], dict[int, int]]:
    """How a stack is sharded, by those of its arrays that are, and its lengths along those axes."""
    at, sizes = [], {}
    for i in range(spread[0].device_mesh.ndim):
        split = {_at(x)[i] for x in spread if _at(x)[i].is_shard()}
        if len(split) > 1:
            raise ValueError(
                f"{call.name}: arrays came that are sharded along different axes of a stack, "
                f"{sorted(map(str, split))}; wanted one. Redistribute one of them first."
            )
        at.append(split.pop() if split else _at(spread[0])[i])
    for x in spread:
        sizes.update({p.dim: x.shape[p.dim] for p in _at(x) if p.is_shard()})
    return at, sizes


def _strides(shape: torch.Size) -> tuple[int, ...]:
    strides: tuple[int, ...] = torch.empty(shape, device="meta").stride()
    return strides


@contextmanager
def _shared_constants() -> Iterator[None]:
    """Plain tensors count as shared by all devices."""
    from torch.distributed.tensor.experimental import implicit_replication

    kind = _tensor_class()
    if kind._op_dispatcher._allow_implicit_replication:  # it would end with the inner one (2.13)
        yield
        return
    with implicit_replication(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found a non-scalar tensor", UserWarning)
        yield


@dataclass(frozen=True)
class OnBlocks:
    """A call whose rules run on DTensors."""

    call: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.call, name)

    def forward(self, *inputs: Any) -> Arrays:
        with _shared_constants():
            return tuple(map(added_up, self.call.forward(*inputs)))

    def jvp(self, inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
        with _shared_constants():
            return tuple(map(added_up, self.call.jvp(inputs, outputs, tangents)))

    def vjp(
        self, inputs: Arrays, outputs: Arrays, cotangents: Arrays, wanted: Any = None
    ) -> Arrays:
        with _shared_constants():
            return tuple(map(added_up, self.call.vjp(inputs, outputs, cotangents, wanted)))


def blocked_svd(x: Any) -> Arrays:
    """The thin SVD of a matrix, or a stack of such, in blocks of rows, or of columns if wide."""
    if x.shape[-2] < x.shape[-1]:
        U, S, Vh = blocked_svd(adjoint(x))
        return adjoint(Vh), S, adjoint(U)
    from torch.distributed.tensor import Replicate

    rows, columns = x.ndim - 2, x.ndim - 1
    at = [Replicate() if p.is_shard(columns) else p for p in _at(x)]
    x = x.redistribute(placements=at)
    places = [i for i, p in enumerate(at) if p.is_shard(rows)]
    shared = [Replicate() if i in places else p for i, p in enumerate(at)]
    batch, k = tuple(x.shape[:-2]), x.shape[-1]
    U, S, Vh = _spread_svd(x.to_local(), x.device_mesh, places)

    def whole(y: torch.Tensor, shape: tuple[int, ...], placements: Any) -> Any:
        size = torch.Size((*batch, *shape))
        return x.from_local(
            y, x.device_mesh, placements, run_check=False, shape=size, stride=_strides(size)
        )

    return whole(U, (x.shape[-2], k), at), whole(S, (k,), shared), whole(Vh, (k, k), shared)


def written(x: torch.Tensor, part: torch.Tensor, row: Any, column: Any) -> Any:
    """As `host.written`; a DTensor cannot be written into a plain tensor (2.13)."""
    if is_spread(part):
        raise NotImplementedError(
            "an iteration on a DTensor in blocks of rows or columns came, as of truncated_svd with "
            "solver='krylov'; wanted a plain tensor, or a stack that is sharded along the batch. "
            "Where the shorter side is short take svd(x, full_matrices=False) or low_rank, which "
            "exchange little."
        )
    return host.written(x, part, row, column)


def _spread_svd(x: torch.Tensor, mesh: Any, places: Sequence[int]) -> Arrays:
    """Of matrices whose rows are spread over these axes of the mesh, the last of them first."""
    if not places:
        return svd_of_finite(x)
    from torch.distributed import _functional_collectives as collectives

    # that of before 2.13
    gather = getattr(collectives, "all_gather_single", None) or collectives.all_gather_tensor
    *others, place = places
    n = x.shape[-1]
    short = max(0, n - x.shape[-2])  # a block may have fewer rows than columns
    padded = torch.nn.functional.pad(x, (0, 0, 0, short)) if short else x
    Q, R = torch.linalg.qr(padded)
    stack = gather(R.contiguous()[None], 0, (mesh, place))
    whole = stack.movedim(0, -3).reshape(*x.shape[:-2], -1, n)
    W, S, Vh = _spread_svd(whole, mesh, others)
    start = n * mesh.get_local_rank(place)
    U = Q @ W[..., start : start + n, :]
    return U[..., : x.shape[-2], :], S, Vh
