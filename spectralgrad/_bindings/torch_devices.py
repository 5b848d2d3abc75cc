"""DTensors of PyTorch: stacks that are sharded along the batch, and tall matrices by rows.

What is sharded along the batch alone is computed where it lies: a call runs on the local tensors,
and its results are sharded as its arguments are. An argument that all devices share has a cotangent
of which each device has a part of the sum.

The rules of a matrix in blocks of rows run on the DTensors themselves, whose products know what is
to be added up, and constants that rules make count as shared by all. `torch_rows` factorizes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from . import host, torch_state
from .array import Arrays
from .rows import added_up
from .torch_places import Places, inside, is_spread, local_of, placed, placements_of, whole_of
from .torch_state import is_tracing

STACK = "_spectralgrad_stack"  # on what belongs to a stack: how many axes that has
OF_WHOLE = frozenset({"shape", "placements"})  # static arguments that no shard goes by


def is_blocked(x: torch.Tensor) -> bool:
    """Whether x is a matrix, or a stack of such, in blocks of rows or of columns."""
    return (
        is_spread(x)
        and x.ndim > 1
        and any(p.is_shard(d) for p in placements_of(x) for d in _core(x))
    )


def _core(x: Any) -> range:
    """The axes of a matrix; of none where x is known to have one number, or a row, for each."""
    return range(max(x.ndim - 2, getattr(x, STACK, 0)), x.ndim)


def placement(x: Any, whole: bool) -> Places | None:
    """How a matrix has to lie for its rules, in blocks of its longer side; None if it does so.

    What a device would have to hold as a `whole` lies on all, as does a matrix of which some
    device would have no row at all, whose maximum PyTorch does not know (2.13). What belongs to
    the batch stays.
    """
    if not is_spread(x) or is_tracing():
        return None
    from torch.distributed.tensor import Replicate, Shard

    own, rows, columns = placements_of(x), x.ndim - 2, x.ndim - 1
    longer = rows if x.shape[rows] >= x.shape[columns] else columns
    blocks = [n for n, p in zip(x.device_mesh.shape, own, strict=True) if _is_core(p, rows)]
    whole = whole or 0 in x.shape or 0 in _lengths(x.shape[longer], blocks)
    block = Replicate() if whole else Shard(longer)
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


def apply(function: Callable[[Any, Arrays], Arrays], call: Any, arrays: Arrays) -> Arrays:
    """function(call, arrays), for arrays of which some are DTensors."""
    mesh = next(filter(is_spread, arrays)).device_mesh
    if any(is_spread(x) and x.device_mesh != mesh for x in arrays):
        raise ValueError(
            f"{call.name}: arrays came that lie on different meshes of devices; wanted all on one. "
            "Collect some of them first, by full_tensor(), and use distribute_tensor."
        )
    arrays = tuple(_on_mesh(x, mesh) for x in arrays)
    axes = _batch_axes(call, arrays)
    if axes is None:
        if "placements" not in dict(call.static):  # which is a move itself
            largest = max(arrays, key=lambda x: x.numel())
            arrays = tuple(_beside(x, largest) for x in arrays)
        return function(OnBlocks(call), arrays)
    return _by_stacks(function, call, arrays, axes)


def _on_mesh(x: torch.Tensor, mesh: Any) -> Any:
    """x, or a plain tensor as shared by all devices."""
    return x if is_spread(x) else whole_of(x, mesh, _shared(mesh), x.shape)


def _shared(mesh: Any) -> Places:
    from torch.distributed.tensor import Replicate

    return (Replicate(),) * mesh.ndim


def _beside(x: Any, largest: Any) -> Any:
    """x where PyTorch can use it beside the largest array, which lies as it shall.

    It does not broadcast an axis of length one of which one device has all, nor multiply a stack
    in uneven shards by one that lies otherwise (2.13).
    """
    from torch.distributed.tensor import Replicate

    at = list(placements_of(x))
    for i, (p, q) in enumerate(zip(at, placements_of(largest), strict=True)):
        if p.is_shard() and (x.shape[p.dim] == 1 or (p.dim < x.ndim - 2 and p != q)):
            at[i] = q if x.shape == largest.shape else Replicate()
    return placed(x, tuple(at))


def _batch_axes(call: Any, arrays: Arrays) -> int | None:
    """How many axes of a stack there are, if the largest array is sharded along nothing else.

    When in doubt None: a rule that runs on the DTensors is right, however they lie.
    """
    static, batched = dict(call.static), call.primitive.batched
    if not OF_WHOLE.isdisjoint(static):
        return None
    if batched is None and any(getattr(value, "shares", False) for value in static.values()):
        return None  # nobody knows which are shared
    own = arrays[:batched]
    axes: int = max(max(x.ndim - 2, getattr(x, STACK, 0)) for x in own)
    if any(x.ndim < axes for x in own) and not all(map(_is_shared, own)):
        return None
    largest = max(own, key=lambda x: x.numel())
    if any(_is_batch(p, axes) for p in placements_of(largest)):
        own = (largest,)  # the others are moved
    places = [p for x in own for p in placements_of(x)]
    return axes if all(p.is_replicate() or _is_batch(p, axes) for p in places) else None


def _is_shared(x: Any) -> bool:
    return all(p.is_replicate() for p in placements_of(x))


def _is_batch(place: Any, axes: int) -> bool:
    from torch.distributed.tensor import Shard

    return type(place) is Shard and place.dim < axes


def _by_stacks(
    function: Callable[[Any, Arrays], Arrays], call: Any, arrays: Arrays, axes: int
) -> Arrays:
    from torch.distributed.tensor import Partial

    mesh = arrays[0].device_mesh
    batched = len(arrays) if call.primitive.batched is None else call.primitive.batched
    at, sizes = _stack_placements(arrays[:batched], axes)
    local = []
    for i, x in enumerate(arrays):
        own = at if i < batched else _shared(mesh)
        # of what is shared each device has the part of the cotangent that its elements make
        bar = tuple(Partial() if p != q else q for p, q in zip(at, own, strict=True))
        local.append(local_of(placed(x, own), bar))

    def whole(y: torch.Tensor) -> Any:
        shape = torch.Size(sizes.get(d, n) for d, n in enumerate(y.shape))
        out = whole_of(y.resolve_conj(), mesh, at, shape)  # collectives ignore a conjugation (2.13)
        setattr(out, STACK, axes)
        return out

    return tuple(map(whole, function(call, tuple(local))))


def _stack_placements(arrays: Arrays, axes: int) -> tuple[Places, dict[int, int]]:
    """How a stack is sharded, by the largest array that is, and its lengths along those axes."""
    largest = max(arrays, key=lambda x: x.numel())
    lie = zip(*map(placements_of, (largest, *arrays)), strict=True)
    split = [[p for p in places if _is_batch(p, axes)] for places in lie]
    shared = _shared(largest.device_mesh)
    at = tuple(own[0] if own else p for own, p in zip(split, shared, strict=True))
    return at, {d: largest.shape[d] for d in range(axes)}


class _SharedConstants(TorchFunctionMode):
    """Plain tensors beside DTensors count as shared by all devices.

    PyTorch's own `implicit_replication` holds while it is entered: the derivative of an operation,
    which comes later, would meet the plain tensor again. It also ends that of a caller (2.13).
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves, structure = tree_flatten((args, kwargs or {}))
        own = [inside(x) if isinstance(x, torch.Tensor) else None for x in leaves]
        spread = next(filter(is_spread, own), None)
        if spread is not None and not all(x is None or is_spread(x) for x in own):
            mesh = spread.device_mesh
            leaves = [
                x if y is None or is_spread(y) else _on_mesh(x, mesh)
                for x, y in zip(leaves, own, strict=True)
            ]
            args, kwargs = tree_unflatten(leaves, structure)
        return func(*args, **(kwargs or {}))


def refuse_transforms(arrays: Arrays) -> None:
    """Raise for DTensors that torch.func follows, whose wrapping hides what they are (2.13)."""
    if any(is_spread(inside(x)) for x in arrays):
        raise NotImplementedError(
            "spectralgrad: a DTensor came inside of a transform of torch.func, such as grad or "
            "vmap; wanted a plain tensor there. Differentiate DTensors by backward() or "
            "torch.autograd.grad, twice for second derivatives, or by sg.vjp, sg.jvp and sg.hvp."
        )


@contextmanager
def _on_devices(x: Any) -> Iterator[None]:
    with torch_state.computing(x), _SharedConstants():
        yield


def computing(x: Any) -> AbstractContextManager[Any]:
    """What holds while a rule computes from x."""
    return torch_state.computing(x) if is_tracing() or not is_spread(x) else _on_devices(x)


def _aligned(arrays: Arrays, likes: Arrays) -> Arrays:
    """Directions that lie as what they belong to does."""
    return tuple(
        placed(_on_mesh(x, like.device_mesh), placements_of(like))
        if isinstance(x, torch.Tensor) and is_spread(like)
        else x
        for x, like in zip(arrays, likes, strict=True)
    )


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


def written(x: torch.Tensor, part: torch.Tensor, row: Any, column: Any) -> Any:
    """As `host.written`; a DTensor cannot be written into a plain tensor (2.13)."""
    if is_spread(part):
        raise NotImplementedError(
            "an iteration on a DTensor in blocks of rows or columns came, as of truncated_svd with "
            "solver='krylov'; wanted a plain tensor, or a stack that is sharded along the batch. "
            "Where the shorter side is short take svd(x, full_matrices=False) or low_rank, which "
            "exchange little."
        )
    if torch._C._are_functorch_transforms_active():  # vmap writes nothing of its own into others
        x = x + torch.zeros_like(part.sum())
    return host.written(x, part, row, column)
