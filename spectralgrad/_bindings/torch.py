"""PyTorch: what the library asks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from .array import Arrays
from .host import adjoint_times as adjoint_times
from .host import after as after
from .host import as_one as as_one
from .host import call_later as call_later
from .host import each as each
from .host import exact_one as exact_one
from .host import one_by_one as one_by_one
from .host import qr as qr
from .host import repeat
from .host import rows_at as rows_at
from .host import stepped as stepped
from .host import sum_over_rows as sum_over_rows
from .host import used as used
from .torch_devices import computing as computing
from .torch_devices import is_blocked as is_blocked
from .torch_devices import placement as placement
from .torch_devices import written as written
from .torch_function import apply as apply
from .torch_places import is_spread as is_spread
from .torch_places import placed as placed
from .torch_rows import blocked_svd as blocked_svd
from .torch_state import has_values, is_tracing, levels

autodiff = True
blocks = False
hermitian: dict[str, bool] = {}


def sees_context() -> bool:
    # Dynamo can read neither a ContextVar nor a closure (2.13)
    return not is_tracing()


def values(x: torch.Tensor) -> torch.Tensor | None:
    """x outside of every derivative; None while it is traced, under vmap, and without values.

    Those of a DTensor would have to be collected from devices.
    """
    if not has_values(x) or is_spread(x):
        return None
    if torch._C._functorch.TransformType.Vmap in levels():
        return None
    try:
        return x.detach()
    except RuntimeError:  # the vmap of batched gradients has no other sign (2.13)
        return None


def unmapped(x: torch.Tensor, insist: bool) -> Any:
    if not has_values(x) or not torch._C._are_functorch_transforms_active():
        return x
    if not (x.is_cpu or insist):
        return x
    from . import torch_vmap

    return torch_vmap.unmapped(x)


def truth(flag: torch.Tensor) -> bool | None:
    known = values(flag)
    try:
        return None if known is None else bool(known)
    except RuntimeError:  # as above, in a backward; fake tensors
        return None


def is_on_host(x: torch.Tensor) -> bool:
    return x.device.type in ("cpu", "meta")


def fuses(x: torch.Tensor) -> bool:
    return False  # inductor takes minutes for a thousand steps (2.13)


def is_compiled(x: torch.Tensor) -> bool:
    return is_tracing() and not torch.compiler.is_exporting()


def opaque(name: str, x: torch.Tensor) -> Arrays:
    from . import torch_opaque  # a third of a second

    factors: Arrays = torch_opaque.OPERATIONS[name](x)
    return factors


def can_loop(x: torch.Tensor) -> bool:
    return values(x) is not None


loop = partial(repeat, truth)


def is_differentiated(x: torch.Tensor) -> bool:
    if is_tracing():
        return True
    # Under torch.func and in forward mode a tensor does not show it by requires_grad.
    plain = type(x) is torch.Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(x)
    reverse = torch.is_grad_enabled() and x.requires_grad
    return not plain or reverse or torch.autograd.forward_ad._current_level >= 0


vjp = torch.func.vjp


jvp = torch.func.jvp


def pushforward(f: Callable[..., Any], primals: Arrays, tangents: Arrays) -> Any:
    """The derivative of f along tangents, as the adjoint of its adjoint.

    torch.func.jvp refuses to nest inside torch.autograd.forward_ad (2.13).
    """
    out, pullback = torch.func.vjp(f, *primals)
    zeros = tuple(map(torch.zeros_like, out)) if isinstance(out, tuple) else torch.zeros_like(out)
    return torch.func.vjp(pullback, zeros)[1](tangents)[0]


def derivative(f: Callable[..., Any], s: torch.Tensor) -> torch.Tensor:
    # f is elementwise, so its pullback of ones is its derivative; torch.func.jvp refuses to nest
    # inside torch.autograd.forward_ad (2.13).
    return torch.func.vjp(f, s)[1](torch.ones_like(s))[0]


def flatten(tree: Any) -> tuple[list[Any], Callable[[Any], Any]]:
    leaves, structure = tree_flatten(tree)
    return leaves, _Rebuilt(structure)


@dataclass(frozen=True)
class _Rebuilt:
    """The tree of other leaves; equal for equal structures."""

    structure: Any

    def __call__(self, leaves: Any) -> Any:
        return tree_unflatten(list(leaves), self.structure)


def captures_derivative(f: Callable[..., Any], *probes: torch.Tensor) -> bool:
    """Whether f's value depends on a tensor, other than its arguments, with a derivative."""
    with torch.enable_grad():
        value = f(*(probe.detach() for probe in probes))
    if not isinstance(value, torch.Tensor):
        return False
    if is_tracing() or value.requires_grad:
        return value.requires_grad
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    level = torch.autograd.forward_ad._current_level
    dual = level >= 0 and torch.autograd.forward_ad.unpack_dual(value).tangent is not None
    return dual or (wrapped(value) and not any(map(wrapped, probes)))


def is_sparse(A: torch.Tensor) -> bool:
    """Or nested, which is no array either."""
    if is_tracing():  # Dynamo bans `layout` in a backward
        return False
    return A.layout != torch.strided or A.is_nested
