"""torch.func, forward mode and torch.autograd.functional, beside plain backward."""

from __future__ import annotations

from functools import partial

import torch
from modes_torch_functions import (
    each,
    fixed,
    gradient,
    jacobian,
    leaf,
    loss_of,
    paired,
    product,
    second,
    slope,
    stack_of,
    value,
)
from torch.autograd import forward_ad, functional
from torch.func import grad, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap


def found_by(transform, wanted):
    """A mode of what a transform of the function makes of x."""
    return lambda fun, x: [(transform(fun)(x), wanted(fun, x))]


def mapped(transform, wanted):
    """A mode of vmap over a stack of x."""
    return lambda fun, x: [
        (transform(fun)(stack_of(x)), each(partial(wanted, fun), stack_of(x))),
    ]


def vmap_twice(fun, x):
    stack = torch.stack([stack_of(x), stack_of(1.1 * x)])
    return [(vmap(vmap(fun))(stack), torch.stack([each(fun, s) for s in stack]))]


def vmap_of_another_axis(fun, x):
    stack = stack_of(x)
    return [(vmap(fun, in_dims=-1)(stack.movedim(0, -1).contiguous()), each(fun, stack))]


def grad_of_vmap(fun, x):
    total = lambda stack: vmap(loss_of(fun))(stack).sum()
    return [(grad(total)(stack_of(x)), each(partial(gradient, fun), stack_of(x)))]


def vmap_of_pullback(fun, x):
    y, pullback = vjp(fun, x)
    bars = torch.stack([fixed(y), torch.zeros_like(y), 2 * fixed(y)])
    return [(vmap(pullback)(bars)[0], torch.stack([c * gradient(fun, x) for c in (1, 0, 2)]))]


def vmap_of_tangent(fun, x):
    directions = torch.stack([fixed(x), torch.zeros_like(x), x])
    tangents = vmap(lambda dx: jvp(fun, (x,), (dx,))[1])(directions)
    return [(paired(t), slope(fun, x, dx)) for t, dx in zip(tangents, directions, strict=True)]


def tangent(fun, x):
    dx = fixed(x)
    y, dy = jvp(fun, (x,), (dx,))
    return [(y, value(fun, x)), (paired(dy), slope(fun, x, dx))]


def linearized(fun, x):
    dx = fixed(x)
    y, push = linearize(fun, x)
    return [(y, value(fun, x)), (paired(push(dx)), slope(fun, x, dx))]


def dual_numbers(fun, x):
    with forward_ad.dual_level():
        y, dy = forward_ad.unpack_dual(fun(forward_ad.make_dual(x.detach(), fixed(x))))
    return [(y, value(fun, x)), (paired(dy), slope(fun, x, fixed(x)))]


def dual_numbers_of_backward(fun, x):
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(leaf(x), fixed(x))
        (x_bar,) = torch.autograd.grad(loss_of(fun)(dual), dual, create_graph=True)
        moved = forward_ad.unpack_dual(x_bar).tangent
    moved = torch.zeros_like(x) if moved is None else moved
    return [(moved, product(fun, x, fixed(x)))]


def backward_of_dual_numbers(fun, x):
    x = leaf(x)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, fixed(x))
        dy = forward_ad.unpack_dual(loss_of(fun)(dual)).tangent
    found = torch.autograd.grad(dy, x, materialize_grads=True)[0]
    return [(found, product(fun, x, fixed(x)))]


def jvp_of_grad(fun, x):
    dx = fixed(x)
    return [(jvp(grad(loss_of(fun)), (x,), (dx,))[1], product(fun, x, dx))]


def grad_of_jvp(fun, x):
    dx = fixed(x)
    along = lambda x: jvp(loss_of(fun), (x,), (dx,))[1]
    return [(grad(along)(x), product(fun, x, dx))]


def functional_products(fun, x):
    loss, dx, wanted = loss_of(fun), fixed(x), product(fun, x, fixed(x))
    return [
        (functional.jvp(loss, x, dx)[1], slope(fun, x, dx)),
        (functional.vhp(loss, x, dx)[1], wanted),
        (functional.hvp(loss, x, dx)[1], wanted),
    ]


def batched_grads(fun, x):
    x = leaf(x)
    y = fun(x)
    bars = torch.stack([fixed(y), torch.zeros_like(y), 2 * fixed(y)])
    (found,) = torch.autograd.grad(y, x, bars, is_grads_batched=True)
    return [(found, torch.stack([c * gradient(fun, x) for c in (1, 0, 2)]))]


def functional_of(name, fun, **options):
    return partial(getattr(functional, name), fun, vectorize=True, **options)


def of_loss(transform):
    return lambda fun: transform(loss_of(fun))


TRANSFORMS = {
    "vmap": mapped(vmap, value),
    "vmap in chunks": mapped(partial(vmap, chunk_size=2), value),
    "vmap of vmap": vmap_twice,
    "vmap along the last axis": vmap_of_another_axis,
    "vmap of grad": mapped(lambda fun: vmap(grad(loss_of(fun))), gradient),
    "vmap of jacrev": mapped(lambda fun: vmap(jacrev(fun)), jacobian),
    "vmap of jacfwd": mapped(lambda fun: vmap(jacfwd(fun)), jacobian),
    "vmap of hessian": mapped(lambda fun: vmap(hessian(loss_of(fun))), second),
    "vmap of a pullback": vmap_of_pullback,
    "vmap of jvp": vmap_of_tangent,
    "grad of vmap": grad_of_vmap,
    "grad": found_by(of_loss(grad), gradient),
    "jvp": tangent,
    "linearize": linearized,
    "jacrev": found_by(jacrev, jacobian),
    "jacrev in chunks": found_by(partial(jacrev, chunk_size=1), jacobian),
    "jacfwd": found_by(jacfwd, jacobian),
    "hessian": found_by(of_loss(hessian), second),
    "jacfwd of jacrev": found_by(of_loss(lambda f: jacfwd(jacrev(f))), second),
    "jacrev of jacrev": found_by(of_loss(lambda f: jacrev(jacrev(f))), second),
    "jacrev of jacfwd": found_by(of_loss(lambda f: jacrev(jacfwd(f))), second),
    "jacfwd of jacfwd": found_by(of_loss(lambda f: jacfwd(jacfwd(f))), second),
    "jvp of grad": jvp_of_grad,
    "grad of jvp": grad_of_jvp,
    "dual numbers": dual_numbers,
    "dual numbers of backward": dual_numbers_of_backward,
    "backward of dual numbers": backward_of_dual_numbers,
    "functional.jacobian": found_by(lambda f: partial(functional.jacobian, f), jacobian),
    "functional.jacobian, vectorized": found_by(partial(functional_of, "jacobian"), jacobian),
    "functional.jacobian, forward": found_by(
        partial(functional_of, "jacobian", strategy="forward-mode"), jacobian
    ),
    "functional.hessian": found_by(of_loss(lambda f: partial(functional.hessian, f)), second),
    "functional.hessian, vectorized": found_by(of_loss(partial(functional_of, "hessian")), second),
    "functional.hessian, forward": found_by(
        of_loss(partial(functional_of, "hessian", outer_jacobian_strategy="forward-mode")), second
    ),
    "functional.jvp, vhp, hvp": functional_products,
    "is_grads_batched": batched_grads,
}
