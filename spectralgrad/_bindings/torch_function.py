"""Calls as PyTorch autograd Functions: backward, torch.func and torch.compile work.

One opaque `call` object travels as the first argument; statics passed as tuples would break
torch.func.hessian. Tried with PyTorch 2.13.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import torch

from . import numpy_views, torch_devices, torch_kept
from .array import Arrays
from .explaining import is_explaining
from .owners import is_imported
from .torch_places import is_spread
from .torch_state import computing, is_tracing, levels, may_differentiate


class _Reverse(torch.autograd.Function):
    """Reverse mode only: a Function that also has `jvp` does not compile with fullgraph=True."""

    @staticmethod
    def forward(call: Any, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with computing(arrays[0]):
            return _forward(call, arrays)

    @staticmethod
    def setup_context(ctx: Any, inputs: Arrays, output: Arrays) -> None:
        ctx.call, *arrays = inputs
        ctx.set_materialize_grads(False)
        ctx.count = len(arrays)
        both = (*arrays, *output)
        kept = ctx.call.kept(arrays, output) if _is_plain(both) else both
        ctx.missing = [
            (i, x.shape, x.dtype, x.device)
            for i, (x, y) in enumerate(zip(both, kept, strict=True))
            if y is None
        ]
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> Arrays:
        if _in_compiled_autograd():  # which adds None to tensors (2.13)
            return None, *_without_none(ctx, cotangents)
        if all(c is None for c in cotangents):
            return (None,) * (1 + ctx.count)
        saved = _saved(ctx)
        known = saved[: ctx.count], saved[ctx.count :], cotangents
        if is_tracing():  # under torch.func Dynamo says that no input needs a gradient (2.13)
            bars = ctx.call.vjp(*known)
            return None, *torch_kept.differentiated_once(bars, known[0])
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad[1:]) if needed]
        if may_differentiate((*saved, *cotangents)):
            return None, *ctx.call.vjp(*known, wanted)
        return None, *numpy_views.vjp(ctx.call, *known, wanted=wanted)


def _is_plain(arrays: Arrays) -> bool:
    """Whether these are tensors that stand-ins can replace: no transform nor trace is under way."""
    if is_tracing() or torch._C._are_functorch_transforms_active():
        return False
    if torch.autograd.forward_ad._current_level >= 0:
        return False
    return all(type(x) in (torch.Tensor, torch.nn.Parameter) for x in arrays)


def _saved(ctx: Any) -> Arrays:
    """What was saved, with stand-ins of their shapes for what no rule reads."""
    saved = list(ctx.saved_tensors)
    for i, *facts in ctx.missing:
        saved[i] = _stand_in(*facts)
    return tuple(saved)


def _stand_in(shape: Any, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A tensor without memory, NaN wherever somebody should read it after all."""
    watched = is_tracing() or torch._C._len_torch_dispatch_stack()  # perhaps by fake tensors
    return (_nan if watched else _one_nan)(dtype, device).expand(shape)


def _nan(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):
        return torch.full((), float("nan"), dtype=dtype, device=device)


_one_nan = cache(_nan)


class _Nominal(torch.autograd.Function):
    """A stand-in for x in the graph: x itself is not kept, and may be overwritten."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return _stand_in(x.shape, x.dtype, x.device)

    @staticmethod
    def backward(ctx: Any, bar: torch.Tensor | None) -> torch.Tensor | None:
        return bar


def _in_compiled_autograd() -> bool:
    if not is_imported("torch._dynamo.compiled_autograd"):  # a second
        return False
    from torch._dynamo import compiled_autograd

    return bool(getattr(compiled_autograd, "in_compiled_autograd_region", False))


def _without_none(ctx: Any, cotangents: Arrays) -> Arrays:
    saved = _saved(ctx)
    inputs, outputs = saved[: ctx.count], saved[ctx.count :]
    bars = ctx.call.vjp(inputs, outputs, cotangents)
    return tuple(
        torch.zeros_like(x) if bar is None else bar for x, bar in zip(inputs, bars, strict=True)
    )


def _forward(call: Any, arrays: Arrays) -> Arrays:
    if torch_kept.is_kept():
        return torch_kept.forward(call, arrays)
    return call.forward(*arrays) if is_tracing() else numpy_views.forward(call, arrays)


class _Both(_Reverse):
    """Reverse and forward mode, and torch.func.vmap."""

    generate_vmap_rule = True

    @staticmethod
    def forward(call: Any, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # An output that is a view of an input would want a tangent that is one too.
        with computing(arrays[0]):
            outputs = _forward(call, arrays)
            return tuple(y.clone() if y._is_view() else y for y in outputs)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: torch.Tensor | None) -> Arrays:
        saved = _saved(ctx)
        outputs = saved[ctx.count :]
        result = ctx.call.jvp(saved[: ctx.count], outputs, tangents)
        # A pending conjugation would keep users from .numpy(); None fails under vmap (2.13).
        return tuple(
            (torch.zeros_like(y) if _is_floating(y) else None) if t is None else t.resolve_conj()
            for y, t in zip(outputs, result, strict=True)
        )


def _is_floating(x: torch.Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()


@cache
def _both(name: str) -> type[_Both]:
    """_Both under the name of a Primitive, which PyTorch's nodes and anomaly mode show."""
    words = "".join(word.capitalize() for word in re.findall("[A-Za-z0-9]+", name))
    return type(words + "Derivative" * name.count("'"), (_Both,), {})


def _apply_both(call: Any, arrays: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return _both(call.name).apply(call, *arrays)


_untraced = torch.compiler.disable(
    _apply_both,
    reason="Dynamo asks an autograd.Function for its backward alone. Compile inside of the "
    "transforms of torch.func, or leave fullgraph=True out.",
)


def _is_transformed() -> bool:
    return bool(levels())


def _follows_backward() -> bool:
    """Whether Dynamo differentiates what is traced now by the Function's backward.

    In forward mode it would differentiate what the Function calls, which is wrong near ties, and
    vmap has no rule for it (2.13).
    """
    kinds = torch._C._functorch.TransformType
    keys = levels()
    if len(keys) > 1 and kinds.Grad in keys and keys[-1] != kinds.Jvp:
        raise NotImplementedError(
            "transforms of torch.func inside of each other, such as vmap of grad or hessian, came "
            "inside of torch.compile, which cannot follow them into a custom function (PyTorch "
            "2.13). Leave torch.compile out around them, or use one alone, such as jacrev."
        )
    return not keys or keys == [kinds.Grad]


# they run while Dynamo traces
_compiles = torch.compiler.assume_constant_result(_follows_backward)
_transforms = torch.compiler.assume_constant_result(_is_transformed)
_explains = torch.compiler.assume_constant_result(is_explaining)


def apply(call: Any, arrays: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    if is_tracing():
        if not _compiles():
            return _untraced(call, arrays)
        if _explains():
            return _explained(call, arrays)
        if not call.active(arrays):
            # Dynamo cannot trace a Function that computes constants alone (2.13)
            arrays = tuple(x.detach() for x in arrays)
        elif torch.is_grad_enabled() and _transforms():
            # Dynamo does not know that torch.func.grad differentiates by its argument, whose
            # `requires_grad` it has read before, and would differentiate what the Function calls,
            # by PyTorch's own rules. Of what is computed from it, it does know (2.13).
            arrays = tuple(x.clone() for x in arrays)
        # Where nothing is differentiated Dynamo can apply no Function (2.13): of constants, and in
        # the rules that it traces, since a compiled backward is never differentiated.
        if not torch.is_grad_enabled() or not any(x.requires_grad for x in arrays):
            with computing(arrays[0]):
                return _forward(call, arrays)
        # one tensor given twice does not trace (2.13)
        repeated = [any(x is y for y in arrays[:i]) for i, x in enumerate(arrays)]
        return _Reverse.apply(
            call, *(x.clone() if twice else x for x, twice in zip(arrays, repeated, strict=True))
        )
    _refuse_nested_forward_mode()
    if not isinstance(call, torch_devices.OnBlocks) and any(map(is_spread, arrays)):
        return torch_devices.apply(apply, call, arrays)
    node = _both(call.name)
    if torch._C._are_functorch_transforms_active():
        torch_devices.refuse_transforms(arrays)
        return node.apply(call, *arrays)
    constant = not call.active(arrays) and torch.autograd.forward_ad._current_level < 0
    if constant or not may_differentiate(arrays):
        with torch.no_grad(), computing(arrays[0]):
            return _forward(call, arrays)
    arrays = torch._functorch.utils.unwrap_dead_wrappers(arrays)
    if call.primitive.nominal and _is_plain(arrays):
        arrays = (_apply(_Nominal, arrays[0]), *arrays[1:])
    return _apply(node, call, *arrays)


def _apply(node: type[torch.autograd.Function], *args: Any) -> Any:
    """Function.apply, less its look at the signature, a fifth of a small call (2.13)."""
    return super(torch.autograd.Function, node).apply(*args)


_explained = torch.compiler.disable(
    apply, reason="sg.explain_nan reads values. Compile outside of it, or without fullgraph=True."
)


def _refuse_nested_forward_mode() -> None:
    # A custom Function under torch.func.jvp of torch.func.jvp has derivative zero, whatever its
    # rules say (PyTorch 2.13); reverse in either place is right.
    if levels().count(torch._C._functorch.TransformType.Jvp) > 1:
        raise NotImplementedError(
            "torch.func.jvp inside torch.func.jvp (as in jacfwd of jacfwd) came; PyTorch would "
            "return zero for any custom function there. Use reverse mode for one of the two: "
            "torch.func.hessian, jacfwd(jacrev(f)) or jacrev(jacfwd(f))."
        )
