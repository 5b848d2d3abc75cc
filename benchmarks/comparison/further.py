"""Beyond one gradient of one dense matrix: each case by the libraries that have it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import spectralgrad as sg

from .libraries import judged


@dataclass(frozen=True)
class Case:
    name: str
    call: str
    by: dict[str, Callable[[], str]]


def _torch() -> Any:
    return importlib.import_module("torch")


# At 2 I the symmetric part of a direction changes the values to first order, as eigenvalues; the
# skew part to second order only, by 1/s.
def _expected_hessian() -> np.ndarray[Any, Any]:
    n, s = 3, 2.0
    second, first = -2 * np.tanh(s) / np.cosh(s) ** 2, 1 / np.cosh(s) ** 2
    unit = np.eye(n * n).reshape(n, n, n, n)
    turned = unit.swapaxes(0, 1)
    return np.asarray(second * (unit + turned) / 2 + first / s * (unit - turned) / 2)


def _hessian_by_torch(values_sum: Callable[[Any], Any]) -> str:
    torch = _torch()
    x = 2 * torch.eye(3, dtype=torch.float64)
    try:
        found = torch.autograd.functional.hessian(values_sum, x)
    except RuntimeError as refused:
        return f"error: {str(refused).splitlines()[0][:60]}"
    return judged(found.numpy(), _expected_hessian())


def _hessian_by_jax() -> str:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    numpy = jax.numpy

    def loss(x: Any) -> Any:
        return numpy.sum(numpy.tanh(numpy.linalg.svd(x, compute_uv=False)))

    return judged(jax.hessian(loss)(2 * numpy.eye(3)), _expected_hessian())


HESSIAN = Case(
    "Hessian of the sum of tanh(s_i), at 2 I",
    "svdvals_sum",
    {
        "spectralgrad": lambda: _hessian_by_torch(lambda x: sg.svdvals_sum(x, sg.functions.tanh)),
        "PyTorch": lambda: _hessian_by_torch(lambda x: _torch().linalg.svdvals(x).tanh().sum()),
        "JAX": _hessian_by_jax,
    },
)


def _stack(svd: Callable[[Any], Any]) -> str:
    """Gradients of the largest value of three matrices, the second of which holds a NaN."""
    torch = _torch()
    x = torch.asarray(np.random.default_rng(0).standard_normal((3, 4, 4)))
    U, _, Vh = torch.linalg.svd(x)
    expected = U[..., :, :1] @ Vh[..., :1, :]
    x[1, 0, 0] = float("nan")
    x.requires_grad_()
    try:
        torch.where(torch.tensor([True, False, True]), svd(x)[..., 0], 0.0).sum().backward()
    except RuntimeError as refused:
        return f"error: {type(refused).__name__.strip('_')}"
    return judged(x.grad[::2].numpy(), expected[::2].numpy())


def _stack_by_jax() -> str:
    jax = importlib.import_module("jax")
    numpy, x = jax.numpy, np.random.default_rng(0).standard_normal((3, 4, 4))
    U, _, Vh = np.linalg.svd(x)
    expected = U[..., :, :1] @ Vh[..., :1, :]
    x[1, 0, 0] = np.nan

    def loss(x: Any) -> Any:
        largest = numpy.linalg.svd(x)[1][..., 0]
        return numpy.sum(numpy.where(numpy.asarray([True, False, True]), largest, 0.0))

    return judged(np.asarray(jax.grad(loss)(numpy.asarray(x)))[::2], expected[::2])


STACK = Case(
    "the other matrices of a stack, where one holds a NaN",
    "svd",
    {
        "spectralgrad": lambda: _stack(lambda x: sg.svd(x)[1]),
        "PyTorch": lambda: _stack(lambda x: _torch().linalg.svd(x)[1]),
        "JAX": _stack_by_jax,
    },
)


def _large(triplets: Callable[[Any], Any]) -> str:
    """The gradient of the sum of the four largest values of a 600 x 400 matrix, s_j = 0.95^j."""
    torch = _torch()
    rng = np.random.default_rng(0)
    U, _ = np.linalg.qr(rng.standard_normal((600, 400)))
    V, _ = np.linalg.qr(rng.standard_normal((400, 400)))
    x = torch.asarray((U * 0.95 ** np.arange(400)) @ V.T).requires_grad_()
    torch.manual_seed(0)
    U_4, _, V_4 = triplets(x)
    weights = torch.arange(1.0, 5.0, dtype=x.dtype)
    ((U_4 * weights) @ V_4).square()[:50].sum().backward()
    y = x.detach().clone().requires_grad_()
    U_4, _, Vh = torch.linalg.svd(y, full_matrices=False)
    ((U_4[:, :4] * weights) @ Vh[:4]).square()[:50].sum().backward()
    return judged(x.grad.numpy(), y.grad.numpy())


def _lowrank(x: Any) -> Any:
    U, S, V = _torch().svd_lowrank(x, q=12, niter=4)
    return U[:, :4], S[:4], V[:, :4].mT


def _xitorch(x: Any) -> Any:
    xitorch = importlib.import_module("xitorch")
    linalg = importlib.import_module("xitorch.linalg")
    U, S, Vh = linalg.svd(xitorch.LinearOperator.m(x), k=4, mode="uppest", method="davidson")
    return U.flip(-1), S.flip(-1), Vh.flip(-2)


LARGE = Case(
    "four triplets of a 600 x 400 matrix, by products with it",
    "truncated_svd",
    {
        "spectralgrad": lambda: _large(lambda x: sg.truncated_svd(x, 4)),
        "PyTorch": lambda: _large(_lowrank),
        "xitorch": lambda: _large(_xitorch),
    },
)

CASES = (HESSIAN, STACK, LARGE)
