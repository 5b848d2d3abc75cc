"""The array libraries under test, each with its own way in, out and through its autodiff."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

import spectralgrad as sg
from spectralgrad.testing import to_numpy

NAMES = ("numpy", "array_api_strict", "torch", "jax", "cupy")
AUTODIFF = ("torch", "jax")


def is_available(name: str, device: str) -> bool:
    if importlib.util.find_spec(name) is None:
        return False
    if device == "cpu":
        return name != "cupy"
    if name == "torch":
        import torch

        return torch.cuda.is_available()
    if name == "jax":
        import jax

        return any(found.platform == "gpu" for found in jax.devices())
    return name == "cupy"


@dataclass(frozen=True)
class Library:
    """One library on one device; `vjp` and `jvp` are its own autodiff, or ours if it has none."""

    name: str
    device: str

    @property
    def xp(self) -> Any:
        if self.name == "torch":
            import array_api_compat.torch as xp
        elif self.name == "jax":
            import jax.numpy as xp
        elif self.name == "array_api_strict":
            import array_api_strict as xp
        elif self.name == "cupy":
            import array_api_compat.cupy as xp
        else:
            import array_api_compat.numpy as xp
        return xp

    def array(self, values: Any, dtype: str | None = None) -> Any:
        values = np.array(values)
        if self.name == "torch":
            import torch

            out = torch.asarray(values, device=self.device)
        elif self.name == "jax":
            import jax

            out = jax.device_put(values, jax.devices(self.device)[0])
        else:
            out = self.xp.asarray(values)
        return out if dtype is None else self.xp.astype(out, getattr(self.xp, dtype))

    def vjp(self, fun: Callable, *primals: Any) -> tuple[Any, Callable]:
        """In spectralgrad's convention of the cotangent."""
        if self.name == "torch":
            return _torch_backward(fun, *primals)
        if self.name == "jax":
            import jax

            out, pullback = jax.vjp(self.compiled(fun), *primals)
            conj = lambda tree: jax.tree.map(self.xp.conj, tree)
            return out, lambda bar: conj(pullback(conj(bar)))
        return sg.vjp(fun, *primals)

    def jvp(self, fun: Callable, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
        if self.name == "torch":
            import torch

            return torch.func.jvp(fun, primals, tangents)
        if self.name == "jax":
            import jax

            return jax.jvp(self.compiled(fun), primals, tangents)
        return sg.jvp(fun, primals, tangents)

    def compiled(self, fun: Callable) -> Callable:
        """fun, which JAX alone compiles: as a whole, and not operation by operation."""
        if self.name != "jax":
            return fun
        import jax

        return jax.jit(fun)

    def warns(self, match: str) -> Any:
        """A derivative's warning, which arrays on the host alone have."""
        import pytest

        if self.device != "cpu":
            return nullcontext()
        return pytest.warns(sg.DerivativeUndefinedWarning, match=match)

    def brief(self, shapes: Any) -> Any:
        """All, or the first for JAX, which compiles every operation for every shape."""
        return shapes[:1] if self.name == "jax" else shapes

    numpy = staticmethod(to_numpy)


def _torch_backward(fun: Callable, *primals: Any) -> tuple[Any, Callable]:
    """`backward` as a user calls it: outputs without a cotangent are left out."""
    import torch

    leaves = [x.detach().clone().requires_grad_() for x in primals]
    out = fun(*leaves)

    def pullback(cotangent: Any) -> tuple:
        outs, bars = ((out,), (cotangent,)) if isinstance(out, torch.Tensor) else (out, cotangent)
        used = [(o, bar) for o, bar in zip(outs, bars, strict=True) if bar is not None]
        for leaf in leaves:
            leaf.grad = None
        torch.autograd.backward(*zip(*used, strict=True), retain_graph=True)
        return tuple(leaf.grad for leaf in leaves)

    return out, pullback
