"""The functions that PyTorch's modes are tried on, and what plain backward says of each."""

from __future__ import annotations

import torch
from operations import OPERATIONS

import spectralgrad as sg

F = sg.functions


def joined(result):
    """One tensor of what a loss may use: the leading part, and the values."""
    if not isinstance(result, tuple):
        return result
    if isinstance(result, sg.PolarResult):
        return torch.cat(result)
    U, S, Vh = result if len(result) == 3 else (result[1], result[0], result[1].mH)
    part = (U[:, None, :2] * S[:2] * Vh.mT[None, :, :2]).sum(-1)  # no @, which autocast narrows
    return torch.cat([part.flatten(), S.to(part.dtype)])


def fixed(y, dtype=None):
    """Numbers like y, the same ones for each shape; what is complex has two different parts."""
    count = torch.arange(1, y.numel() + 1, dtype=torch.float64, device=y.device)
    numbers = torch.cos(count * count).reshape(y.shape).to(dtype or y.dtype)
    return numbers * (1 + 0.5j) if numbers.is_complex() else numbers


def loss_of(fun):
    def loss(x):
        y = fun(x)
        return torch.real((fixed(y).conj() * y).sum())

    return loss


def points(x):
    return fixed(x.detach()[:, :3])


def network(s, params):
    return s * torch.tanh(params["a"] * s) + params["b"][0] * s


def parameters(x):
    return {"a": x[0, 0].real, "b": [x[1, 1].real]}


def of_one_tensor(call):
    return lambda x: joined(call(x))


FUNCTIONS = {op.name: of_one_tensor(op.call) for op in OPERATIONS} | {
    # by size: with solver="krylov" a program has all steps of an iteration, and takes minutes
    "truncated_eigh": of_one_tensor(lambda x: sg.truncated_eigh(x, 2)),
    "kabsch": lambda x: sg.kabsch(x[:, :-1], x[:, 1:]).rotation,
    "procrustes": lambda x: sg.procrustes(x[:, :3], points(x)).rotation,
    "msd": lambda x: sg.kabsch(x[:, :3], points(x), x[:, -1] ** 2).msd,
    "svd_function:bare": lambda x: sg.svd_function(x, lambda s: s**3 / (1 + s * s)),
    "svd_function:params": lambda x: sg.svd_function(x, network, params=parameters(x)),
    "svdvals_sum:params": lambda x: sg.svdvals_sum(x, network, params=parameters(x)),
    "tikhonov:array": lambda x: sg.svd_function(x, F.tikhonov(x[0, 0].real)),
}


def leaf(x):
    return x.detach().clone().requires_grad_()


def gradient(fun, x):
    x = leaf(x)
    return torch.autograd.grad(loss_of(fun)(x), x)[0]


def jacobian(fun, x):
    """By one backward for each number."""
    x = leaf(x)
    y = fun(x)
    rows = [torch.autograd.grad(v, x, retain_graph=True)[0] for v in y.reshape(-1)]
    return torch.stack(rows).reshape(*y.shape, *x.shape)


def second(fun, x):
    """The Hessian of the loss, by backward of backward."""
    return jacobian(lambda x: torch.autograd.grad(loss_of(fun)(x), x, create_graph=True)[0], x)


def product(fun, x, dx):
    """The Hessian times dx."""
    x = leaf(x)
    (x_bar,) = torch.autograd.grad(loss_of(fun)(x), x, create_graph=True)
    return torch.autograd.grad((x_bar * dx.conj()).sum().real, x, materialize_grads=True)[0]


def value(fun, x):
    return fun(x.detach()).detach()


def slope(fun, x, dx):
    """The derivative of the loss along dx, by its gradient."""
    return torch.real((gradient(fun, x).conj() * dx).sum())


def paired(dy):
    """The same from the tangent of the function."""
    return torch.real((fixed(dy).conj() * dy).sum())


def stack_of(x):
    return torch.stack([x, 1.25 * x, 0.9 * x])


def each(fun, stack):
    return torch.stack([fun(x).detach() for x in stack])
