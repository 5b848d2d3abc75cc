"""PyTorch's compilers and tracers: what they make of an operation, beside plain backward."""

from __future__ import annotations

from functools import partial

import torch
from modes_torch_backward import Map
from modes_torch_functions import (
    each,
    fixed,
    gradient,
    jacobian,
    leaf,
    loss_of,
    second,
    stack_of,
    value,
)
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.fx.experimental.proxy_tensor import make_fx


def compiled(fun, **options):
    torch.compiler.reset()
    return torch.compile(fun, **options)


def jvp_of(fun):
    return lambda x: jvp(fun, (x,), (fixed(x),))[1]


def vjp_of(fun):
    def pulled(x):
        y, pullback = vjp(fun, x)
        return pullback(fixed(y))[0]

    return pulled


def backward_of(fun):
    """loss.backward() inside of what is compiled."""

    def inner(x):
        return torch.autograd.grad(loss_of(fun)(x), x)[0]

    return inner


def outside(wanted):
    """A mode of the derivative of what is compiled."""
    return lambda fun, x, **options: [(wanted(compiled(fun, **options), x), wanted(fun, x))]


def inside(transform, wanted, at=lambda x: x):
    """A mode of a compiled transform."""

    def mode(fun, x, **options):
        found = compiled(transform(fun), **options)(at(x))
        return [(found.detach(), wanted(fun, x))]

    return mode


def of_stack(wanted):
    return lambda fun, x: each(partial(wanted, fun), stack_of(x))


def of_sizes(fun, x, **options):
    """Of two sizes, the second of which takes what the first has compiled."""
    sized = compiled(fun, dynamic=True, **options)
    small = x[:3, :3].contiguous()
    return [(gradient(sized, y), gradient(fun, y)) for y in (x, small)]


# the modes that take the options of torch.compile
COMPILED = {
    "forward": outside(value),
    "backward": outside(gradient),
    "backward of two sizes": of_sizes,
    "double backward": outside(second),
    "vmap of compiled": lambda fun, x, **options: [
        (vmap(compiled(fun, **options))(stack_of(x)), of_stack(value)(fun, x))
    ],
    "grad of compiled": lambda fun, x, **options: [
        (grad(loss_of(compiled(fun, **options)))(x), gradient(fun, x))
    ],
    "loss.backward inside": inside(backward_of, gradient, at=leaf),
    "grad": inside(lambda fun: grad(loss_of(fun)), gradient),
    "vjp": inside(vjp_of, gradient),
    "jacrev": inside(jacrev, jacobian),
    "jacfwd": inside(jacfwd, jacobian),
    "jvp": inside(jvp_of, lambda fun, x: jvp_of(fun)(x)),
    "vmap": inside(vmap, of_stack(value), at=stack_of),
    "vmap of grad": inside(lambda fun: vmap(grad(loss_of(fun))), of_stack(gradient), at=stack_of),
    "hessian": inside(lambda fun: hessian(loss_of(fun)), second),
    "jacrev of jacrev": inside(lambda fun: jacrev(jacrev(loss_of(fun))), second),
    "double backward of grad": lambda fun, x, **options: [
        (jacobian(compiled(grad(loss_of(fun)), **options), x), second(fun, x))
    ],
}
OPTIONS = {
    "eager": {"backend": "eager", "fullgraph": True},
    "aot_eager": {"backend": "aot_eager", "fullgraph": True},
    "inductor": {"backend": "inductor", "fullgraph": True},
    "breaks": {"backend": "eager"},
}


def compiled_autograd(fun, x, *, backend="eager"):
    x = leaf(x)
    loss = loss_of(fun)(x)
    torch.compiler.reset()
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend=backend)):
        loss.backward()
    return [(x.grad, gradient(fun, x))]


def exported(fun, x, **options):
    return torch.export.export(Map(fun), (x,), **options).module()


def traced(fun, x, **options):
    return make_fx(fun, **options)(x)


def traced_by_jit(fun, x):
    return torch.jit.trace(fun, (x,), check_trace=False)


def value_of(make, **options):
    return lambda fun, x: [(make(fun, x, **options)(x), value(fun, x))]


def gradient_of(make, **options):
    """PyTorch's derivative of a program that has lost every Function."""
    return lambda fun, x: [(gradient(make(fun, x, **options), x), gradient(fun, x))]


def traced_gradient(fun, x, *, mode):
    return [(make_fx(grad(loss_of(fun)), tracing_mode=mode)(x)(x), gradient(fun, x))]


def without_values(fun, x):
    """Shapes of meta and of fake tensors, and of their gradients."""
    meta = gradient(fun, x.to("meta")), fun(x.to("meta"))
    mode = torch._subclasses.FakeTensorMode()
    held = mode.from_tensor(x.detach())
    with mode:
        fake = gradient(fun, held), fun(held)
    plain = gradient(fun, x), value(fun, x)
    shape = lambda y: torch.tensor(tuple(y.shape))
    return [(shape(a), shape(b)) for pair in (meta, fake) for a, b in zip(pair, plain, strict=True)]


TRACED = {
    "compiled autograd": compiled_autograd,
    "compiled autograd, aot_eager": partial(compiled_autograd, backend="aot_eager"),
    "export": value_of(exported),
    "export, strict": value_of(exported, strict=True),
    "export, then gradient": gradient_of(exported),
    "export, strict, then gradient": gradient_of(exported, strict=True),
    "make_fx": value_of(traced),
    "make_fx, fake": value_of(traced, tracing_mode="fake"),
    "make_fx, symbolic": value_of(traced, tracing_mode="symbolic"),
    "make_fx, then gradient": gradient_of(traced),
    "make_fx of grad": partial(traced_gradient, mode="real"),
    "make_fx of grad, symbolic": partial(traced_gradient, mode="symbolic"),
    "jit.trace": value_of(traced_by_jit),
    "jit.trace, then gradient": gradient_of(traced_by_jit),
    "meta and fake": without_values,
}
