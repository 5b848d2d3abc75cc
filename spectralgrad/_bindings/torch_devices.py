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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from . import host, torch_state
from .array import Arrays, adjoint, svd_of_finite
from .rows import added_up
from .torch_state import is_tracing

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


def placement(x: Any, whole: bool) -> tuple[Any, ...] | None:
    """How a matrix has to lie for its rules, in blocks of its longer side; None if it does.

    What a device would have to hold as a `whole` lies on all, as does a matrix of which some
    device would have no row at all, whose maximum PyTorch does not know (2.13). What belongs to
    the batch stays.
    """
    if not is_spread(x) or is_tracing():
        return None
    from torch.distributed.tensor import Replicate, Shard

    own, rows, columns = _at(x), x.ndim - 2, x.ndim - 1
    longer = rows if x.shape[rows] >= x.shape[columns] else columns
    blocks = [n for n, p in zip(x.device_mesh.shape, own, strict=True) if _is_core(p, rows)]
    block = Replicate() if whole or 0 in _lengths(x.shape[longer], blocks) else Shard(longer)
    kept = (Shard, Replicate)  # not a sum, nor what PyTorch makes of several parallelisms
    wanted = tuple(
        block if _is_core(p, rows) else p if type(p) in kept else Replicate() for p in own
    )
    return None if wanted == own else wanted


def _is_core(place: Any, rows: int) -> bool:
    return place.is_shard() and place.dim >= rows


def _lengths(length: int, pieces: Sequence[int]) -> set[int]:
    """The lengths of blocks, after one axis of devices and the next."""
    lengths = {length}
    for p in pieces:
        each = {n: -(-n // p) for n in lengths}
        lengths = {min(c, max(0, n - i * c)) for n, c in each.items() for i in range(p)}
    return lengths


def placed(x: Any, at: tuple[Any, ...]) -> Any:
    """x where it shall lie; as it is where it lies on one device."""
    return x.redistribute(placements=at) if is_spread(x) and _at(x) != at else x


def apply(function: Callable[[Any, Arrays], Arrays], call: Any, arrays: Arrays) -> Arrays:
    """function(call, arrays), for arrays of which some are DTensors."""
    spread = [x for x in arrays if is_spread(x)]
    mesh = spread[0].device_mesh
    if any(x.device_mesh != mesh for x in spread):
        raise ValueError(
            f"{call.name}: arrays came that lie on different meshes of devices; wanted all on one. "
            "Redistribute some of them first, by full_tensor() and distribute_tensor."
        )
    arrays = tuple(_on_mesh(x, mesh) for x in arrays)
    batch = _batch_axes(call, arrays)
    if batch is None:
        return function(OnBlocks(call), arrays)
    return _by_stacks(function, call, arrays, batch)


def _on_mesh(x: torch.Tensor, mesh: Any) -> Any:
    """x, or a plain tensor as shared by all devices."""
    if is_spread(x):
        return x
    from torch.distributed.tensor import DTensor, Replicate

    return DTensor.from_local(x, mesh, [Replicate()] * mesh.ndim, run_check=False)


def _batch_axes(call: Any, arrays: Arrays) -> int | None:
    """How many axes of a stack there are, if that is all that the arrays are sharded along.

    When in doubt None: a rule that runs on the DTensors is right, however they lie.
    """
    static = dict(call.static)
    lie = {p for x in arrays for p in _at(x)}
    if any(getattr(value, "shares", False) for value in static.values()):
        if call.primitive.batched is None:  # nobody knows which are shared
            return None
    axes = max(max(x.ndim - 2, getattr(x, STACK, 0)) for x in arrays[: call.primitive.batched])
    if all(p.is_replicate() for p in lie):
        return axes
    if "shape" in static:  # that of the whole
        return None
    batched = arrays[: call.primitive.batched]
    if any(x.ndim < axes for x in batched):
        return None
    from torch.distributed.tensor import Replicate, Shard

    known = all(type(p) in (Shard, Replicate) for p in lie)
    stacked = all(not p.is_shard() or p.dim < axes for x in batched for p in _at(x))
    return axes if known and stacked else None


def _by_stacks(
    function: Callable[[Any, Arrays], Arrays], call: Any, arrays: Arrays, axes: int
) -> Arrays:
    from torch.distributed.tensor import DTensor, Partial, Replicate

    mesh = arrays[0].device_mesh
    batched = len(arrays) if call.primitive.batched is None else call.primitive.batched
    at, sizes = _stack_placements(call, arrays[:batched])
    local = []
    for i, x in enumerate(arrays):
        own = tuple(at) if i < batched else (Replicate(),) * mesh.ndim
        # of what is shared each device has the part of the cotangent that its elements make
        bar = [Partial() if p != q else q for p, q in zip(at, own, strict=True)]
        local.append(placed(x, own).to_local(grad_placements=bar))

    def whole(y: torch.Tensor) -> Any:
        shape = torch.Size(sizes.get(d, n) for d, n in enumerate(y.shape))
        y = y.resolve_conj()  # which collectives would ignore (2.13)
        out = DTensor.from_local(y, mesh, at, run_check=False, shape=shape, stride=_strides(shape))
        setattr(out, STACK, axes)
        return out

    return tuple(map(whole, function(call, tuple(local))))


def _stack_placements(call: Any, arrays: Arrays) -> tuple[list[Any], dict[int, int]]:
    """How a stack is sharded, by those of its arrays that are, and its lengths along those axes."""
    at, sizes = [], {}
    for i, own in enumerate(_at(arrays[0])):
        split = {_at(x)[i] for x in arrays if _at(x)[i].is_shard()}
        if len(split) > 1:
            raise ValueError(
                f"{call.name}: arrays came that are sharded along different axes of a stack, "
                f"{sorted(map(str, split))}; wanted one. Redistribute one of them first."
            )
        at.append(split.pop() if split else own)
    for x in arrays:
        sizes.update({p.dim: x.shape[p.dim] for p in _at(x) if p.is_shard()})
    return at, sizes


def _strides(shape: torch.Size) -> tuple[int, ...]:
    strides: tuple[int, ...] = torch.empty(shape, device="meta").stride()
    return strides


class _SharedConstants(TorchFunctionMode):
    """Plain tensors beside DTensors count as shared by all devices.

    As `torch.distributed.tensor.experimental.implicit_replication` has it while it is entered: there
    the derivative of an operation, which comes later, would meet the plain tensor again (2.13).
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        leaves, structure = tree_flatten((args, kwargs or {}))
        spread = next(filter(is_spread, leaves), None)
        if spread is not None and any(map(_is_plain, leaves)):
            mesh = spread.device_mesh
            leaves = [_on_mesh(x, mesh) if _is_plain(x) else x for x in leaves]
            args, kwargs = tree_unflatten(leaves, structure)
        return func(*args, **(kwargs or {}))


def _is_plain(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and not is_spread(x)


@contextmanager
def _on_devices(x: Any) -> Iterator[None]:
    with torch_state.computing(x), _SharedConstants():
        yield


def computing(x: Any) -> AbstractContextManager[Any]:
    """What holds while a rule computes from x."""
    return torch_state.computing(x) if is_tracing() or not is_spread(x) else _on_devices(x)


def _aligned(arrays: Arrays, likes: Arrays) -> Arrays:
    """Directions that lie as what they belong to does, or on all devices if that is a sum."""
    from torch.distributed.tensor import Replicate

    def one(x: Any, like: Any) -> Any:
        if not isinstance(x, torch.Tensor) or not is_spread(like):
            return x
        at = tuple(Replicate() if p.is_partial() else p for p in _at(like))
        return placed(_on_mesh(x, like.device_mesh), at)

    return tuple(one(x, like) for x, like in zip(arrays, likes, strict=True))


@dataclass(frozen=True)
class OnBlocks:
    """A call whose rules run on DTensors."""

    call: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.call, name)

    def forward(self, *inputs: Any) -> Arrays:
        with _SharedConstants():
            return tuple(map(added_up, self.call.forward(*inputs)))

    def jvp(self, inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
        with _SharedConstants():
            tangents = _aligned(tangents, inputs)
            return _aligned(self.call.jvp(inputs, outputs, tangents), outputs)

    def vjp(
        self, inputs: Arrays, outputs: Arrays, cotangents: Arrays, wanted: Any = None
    ) -> Arrays:
        with _SharedConstants():
            cotangents = _aligned(cotangents, outputs)
            return _aligned(self.call.vjp(inputs, outputs, cotangents, wanted), inputs)


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
