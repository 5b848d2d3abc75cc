"""DTensors of PyTorch: where they lie, and moves between devices that differentiate to any order.

PyTorch's own `redistribute`, `from_local` and `to_local` do not (2.13): a cotangent that lies
otherwise than what it belongs to is returned by `from_local` without its own derivative, and where
there is none a plain tensor of zeros comes in its place.
"""

from __future__ import annotations

from typing import Any

import torch

from .owners import is_imported

Places = tuple[Any, ...]  # for each axis of the mesh


def is_spread(x: Any) -> bool:
    """Whether x is a DTensor."""
    if not is_imported("torch.distributed.tensor"):  # seconds
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(x, DTensor)


def inside(x: Any) -> Any:
    """x without the wrappings that transforms of torch.func put around it."""
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    return x


def placements_of(x: Any) -> Places:
    return tuple(x.placements)


def placed(x: Any, at: Places) -> Any:
    """A DTensor where it shall lie, on all devices in place of in parts of a sum."""
    from torch.distributed.tensor import Replicate

    at = tuple(Replicate() if p.is_partial() else p for p in at)
    return x if placements_of(x) == at else _Placed.apply(x, at)


def whole_of(y: torch.Tensor, mesh: Any, at: Places, shape: Any) -> Any:
    """The DTensor of that shape of which each device has its part y."""
    return _Whole.apply(y, mesh, at, torch.Size(shape))


def local_of(x: Any, bar: Places) -> torch.Tensor:
    """The part of x on this device; its cotangents are parts of one that lies as `bar` says."""
    local: torch.Tensor = _Local.apply(x, bar)
    return local


class _Placed(torch.autograd.Function):
    @staticmethod
    def forward(x: Any, at: Places) -> Any:
        return x.redistribute(placements=at)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.at = placements_of(inputs[0])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, bar: Any) -> Any:
        return None if bar is None else placed(bar, ctx.at), None


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(y: torch.Tensor, mesh: Any, at: Places, shape: torch.Size) -> Any:
        from torch.distributed.tensor import DTensor

        strides = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(y, mesh, at, run_check=False, shape=shape, stride=strides)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.at = placements_of(output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, bar: Any) -> Any:
        own = None if bar is None else placed(bar, ctx.at)
        return own if own is None else local_of(own, ctx.at), None, None, None


class _Local(torch.autograd.Function):
    @staticmethod
    def forward(x: Any, bar: Places) -> torch.Tensor:
        local: torch.Tensor = x.to_local()
        return local.view_as(local)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, ctx.bar = inputs
        ctx.mesh, ctx.shape = x.device_mesh, x.shape
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, bar: torch.Tensor | None) -> Any:
        return None if bar is None else whole_of(bar, ctx.mesh, ctx.bar, ctx.shape), None
