"""PyTorch's ways of running a backward: saved tensors, hooks, copies, threads, half precision."""

from __future__ import annotations

import copy
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
from modes_torch_functions import fixed, gradient, leaf, loss_of, product, value
from torch.autograd import graph
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts


def by_backward(fun, x, *, forward=nullcontext, backward=nullcontext):
    """Forward and backward, each within a context of its own."""
    x = leaf(x)
    with forward():
        loss = loss_of(fun)(x)
    with backward():
        loss.backward()
    return [(x.grad, gradient(fun, x))]


def throughout(context):
    """A mode of a forward and a backward inside of a context."""

    def mode(fun, x):
        with context():
            return by_backward(fun, x)

    return mode


def checkpointed(fun, x, *, reentrant):
    x = leaf(x)
    loss_of(lambda x: checkpoint(fun, x, use_reentrant=reentrant))(x).backward()
    return [(x.grad, gradient(fun, x))]


def selectively_checkpointed(fun, x):
    """The products are kept, and all else is computed again."""
    kept = partial(create_selective_checkpoint_contexts, [torch.ops.aten.mm.default])
    again = lambda x: checkpoint(fun, x, use_reentrant=False, context_fn=kept)
    return [(gradient(again, x), gradient(fun, x))]


def hooked(fun, x):
    seen, x = [], leaf(x)
    x.register_hook(lambda bar: seen.append(bar) or 2 * bar)
    y = fun(x)
    y.register_hook(lambda bar: 3 * bar)
    if y.grad_fn is not None:
        y.grad_fn.register_prehook(lambda bars: tuple(None if b is None else b / 3 for b in bars))
    loss = torch.real((fixed(y).conj() * y).sum())
    x.register_post_accumulate_grad_hook(lambda x: seen.append(x.grad))
    loss.backward()
    wanted = gradient(fun, x)
    return [(x.grad, 2 * wanted), (seen[0], wanted), (seen[1], 2 * wanted)]


def backward_twice(fun, x):
    x = leaf(x)
    loss = loss_of(fun)(x)
    loss.backward(retain_graph=True)
    loss.backward()
    return [(x.grad, 2 * gradient(fun, x))]


def double_backward(fun, x):
    x = leaf(x)
    (x_bar,) = torch.autograd.grad(loss_of(fun)(x), x, create_graph=True)
    (x_bar * fixed(x).conj()).sum().real.backward()
    return [(x.grad, product(fun, x, fixed(x))), (x_bar.detach(), gradient(fun, x))]


def gradchecked(fun, x):
    options = {"check_forward_ad": True, "check_batched_grad": True, "fast_mode": True}
    ok = torch.autograd.gradcheck(fun, (leaf(x),), **options)
    return [(torch.tensor(ok), torch.tensor(True))]


def gradgradchecked(fun, x):
    ok = torch.autograd.gradgradcheck(fun, (leaf(x),), (fixed(fun(x)),), fast_mode=True)
    return [(torch.tensor(ok), torch.tensor(True))]


def value_within(context):
    def mode(fun, x):
        with context():
            return [(fun(x).clone(), value(fun, x)), (fun(leaf(x)).clone(), value(fun, x))]

    return mode


def detached(fun, x):
    first = fun(leaf(x)).detach().requires_grad_()
    loss_of(torch.square)(first).backward()
    again = leaf(x).detach().requires_grad_()
    return [(first.grad, gradient(torch.square, first)), (gradient(fun, again), gradient(fun, x))]


def in_threads(fun, x):
    """Graphs of their own, and one that four threads share."""
    x = leaf(x)
    loss = loss_of(fun)(x)
    with ThreadPoolExecutor(4) as pool:
        own = list(pool.map(partial(gradient, fun), [x] * 4))
        shared = list(
            pool.map(lambda _: torch.autograd.grad(loss, x, retain_graph=True)[0], range(4))
        )
    return [(found, gradient(fun, x)) for found in own + shared]


def part_of_the_input(fun, x):
    wide = leaf(torch.stack([x.mT, x.mT], dim=-1).repeat_interleave(2, dim=0))
    inner = lambda wide: fun(wide[::2, :, 1].mT)
    wanted = torch.zeros_like(wide)
    wanted[::2, :, 1] = gradient(fun, x).mT
    return [(gradient(inner, wide), wanted)]


def written_in_place(fun, x):
    x = leaf(x)
    y = fun(x * 1)
    y.mul_(2)
    return [(torch.autograd.grad(loss_of(lambda y: y)(y), x)[0], 2 * gradient(fun, x))]


def input_overwritten(fun, x):
    x = leaf(x)
    held = x * 1
    loss = loss_of(fun)(held)
    held.mul_(2)
    return [(torch.autograd.grad(loss, x)[0], gradient(fun, x))]


class Module(torch.nn.Module):
    """The function of its weight."""

    def __init__(self, fun, x):
        super().__init__()
        self.fun, self.weight = fun, torch.nn.Parameter(x.detach().clone())

    def forward(self):
        return self.fun(self.weight)


class Map(torch.nn.Module):
    """The function of what it is given, for parametrize and export."""

    def __init__(self, fun):
        super().__init__()
        self.fun = fun

    def forward(self, x):
        return self.fun(x)


def functional_call(fun, x):
    module = Module(fun, 0 * x)
    called = lambda x: torch.func.functional_call(module, {"weight": x}, ())
    return [(gradient(called, x), gradient(fun, x))]


def copied(fun, x):
    module = copy.deepcopy(Module(fun, x))
    loss_of(lambda _: module())(x).backward()
    result = copy.deepcopy(value(fun, x))
    return [(module.weight.grad, gradient(fun, x)), (result, value(fun, x))]


def parametrized(fun, x):
    """Its state goes to another layer."""

    def layer(start):
        made = torch.nn.Linear(4, 4, bias=False, dtype=x.dtype)
        made.weight = torch.nn.Parameter(start.clone())
        torch.nn.utils.parametrize.register_parametrization(made, "weight", Map(fun), unsafe=True)
        return made

    first, second = layer(x.detach()), layer(torch.eye(4, dtype=x.dtype))
    second.load_state_dict(first.state_dict())
    loss_of(lambda _: second.weight)(x).backward()
    return [
        (second.weight.detach(), value(fun, x)),
        (second.parametrizations.weight.original.grad, gradient(fun, x)),
    ]


def distributed(fun, x):
    with tempfile.TemporaryDirectory() as folder:
        store = torch.distributed.FileStore(str(Path(folder) / "store"), 1)
        options = {"rank": 0, "world_size": 1, "timeout": timedelta(seconds=20)}
        torch.distributed.init_process_group("gloo", store=store, **options)
        try:
            module = torch.nn.parallel.DistributedDataParallel(Module(fun, x))
            loss_of(lambda _: module())(x).backward()
            return [(module.module.weight.grad, gradient(fun, x))]
        finally:
            torch.distributed.destroy_process_group()


def half(dtype, inside):
    """Autocast around float32, or float32 and complex64."""
    cast = partial(torch.autocast, "cpu", dtype=dtype)

    def mode(fun, x):
        x = x.to(torch.complex64 if x.is_complex() else torch.float32)
        return by_backward(fun, x, forward=cast, backward=cast if inside else nullcontext)

    return mode


def hooks():
    return graph.saved_tensors_hooks(lambda t: t.numpy(force=True).copy(), torch.as_tensor)


BACKWARD = {
    "checkpoint": partial(checkpointed, reentrant=False),
    "checkpoint, reentrant": partial(checkpointed, reentrant=True),
    "checkpoint, selective": selectively_checkpointed,
    "saved-tensor hooks": partial(by_backward, forward=hooks),
    "save on CPU": partial(by_backward, forward=graph.save_on_cpu),
    "hooks": hooked,
    "backward twice": backward_twice,
    "double backward": double_backward,
    "gradcheck": gradchecked,
    "gradgradcheck": gradgradchecked,
    "no grad": value_within(torch.no_grad),
    "inference mode": value_within(torch.inference_mode),
    "detached": detached,
    "threads": in_threads,
    "anomaly mode": throughout(partial(torch.autograd.detect_anomaly, check_nan=True)),
    "strided input": part_of_the_input,
    "result written in place": written_in_place,
    "input written in place": input_overwritten,
    "functional_call": functional_call,
    "deepcopy": copied,
    "parametrize": parametrized,
    "DDP": distributed,
    "bfloat16 autocast": half(torch.bfloat16, inside=False),
    "bfloat16 autocast, backward too": half(torch.bfloat16, inside=True),
    "float16 autocast": half(torch.float16, inside=False),
    "float16 autocast, backward too": half(torch.float16, inside=True),
}
