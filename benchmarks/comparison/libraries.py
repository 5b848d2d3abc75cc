"""The gradient of a row by each library, and whether it is right."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .rows import Row, inner

BOUND = 1e-6


def _differences(row: Row) -> np.ndarray[Any, Any]:
    """The gradient of the loss in NumPy by central differences of order 4, Hermitian if x is."""
    factors = np.linalg.eigh if row.hermitian else np.linalg.svd

    def loss(x: np.ndarray[Any, Any]) -> float:
        return float(row.composed((x + x.conj().T) / 2 if row.hermitian else x, factors))

    gradient, h = np.zeros_like(row.x), 1e-3
    for unit in (1.0, 1j) if np.iscomplexobj(row.x) else (1.0,):
        for place in np.ndindex(row.x.shape):
            dx = np.zeros_like(row.x)
            dx[place] = unit
            near, far = (loss(row.x + s * dx) - loss(row.x - s * dx) for s in (h, 2 * h))
            gradient[place] += unit * (8 * near - far) / (12 * h)
    return gradient


def _verdict(row: Row, gradient: Any) -> str:
    gradient = np.asarray(gradient)
    if row.hermitian:
        gradient = (gradient + gradient.conj().T) / 2
    return judged(gradient, _differences(row))


def judged(found: Any, expected: np.ndarray[Any, Any]) -> str:
    found = np.asarray(found)
    if np.isnan(found).any():
        return "NaN"
    error = np.max(np.abs(found - expected)) / np.max(np.abs(expected))
    return "right" if error < BOUND else f"off by {error:.0e}"


def by_torch(row: Row, loss: Callable[[Any], Any]) -> str:
    torch = importlib.import_module("torch")
    x = torch.asarray(row.x).requires_grad_()
    try:
        loss(x).backward()
    except (RuntimeError, ValueError) as refused:
        return f"error: {str(refused).splitlines()[0][:60]}"
    return _verdict(row, x.grad.numpy())


def by_jax(row: Row, loss: Callable[[Any], Any]) -> str:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    return _verdict(row, np.conj(np.asarray(jax.grad(loss)(jax.numpy.asarray(row.x)))))


def _spectralgrad(row: Row) -> str:
    found = {by(row, row.ours) for by in (by_torch, by_jax)}
    return " / ".join(sorted(found))


def _torch(row: Row) -> str:
    linalg = importlib.import_module("torch").linalg
    factors = linalg.eigh if row.hermitian else lambda x: linalg.svd(x, full_matrices=False)
    return by_torch(row, lambda x: row.composed(x, factors))


def _jax(row: Row) -> str:
    linalg = importlib.import_module("jax").numpy.linalg
    factors = linalg.eigh if row.hermitian else lambda x: linalg.svd(x, full_matrices=False)
    return by_jax(row, lambda x: row.composed(x, factors))


def _xitorch(row: Row) -> str:
    xitorch = importlib.import_module("xitorch")
    linalg = importlib.import_module("xitorch.linalg")
    factors = linalg.symeig if row.hermitian else linalg.svd

    def loss(x: Any) -> Any:
        operator = xitorch.LinearOperator.m(x, is_hermitian=row.hermitian)
        found = factors(operator)
        return row.composed(x, lambda _: found if row.hermitian else _descending(*found))

    return by_torch(row, loss)


def _descending(U: Any, S: Any, Vh: Any) -> tuple[Any, Any, Any]:
    """xitorch has the values ascending."""
    return U.flip(-1), S.flip(-1), Vh.flip(-2)


def _roma(row: Row) -> str:
    if not row.rotation:
        return "-"
    roma = importlib.import_module("roma")
    return by_torch(row, lambda x: inner(x, roma.special_procrustes(x)))


GRADIENTS = {
    "spectralgrad": _spectralgrad,
    "PyTorch": _torch,
    "JAX": _jax,
    "xitorch": _xitorch,
    "RoMa": _roma,
}
