"""The arguments of `analytic_svd`: a path and its derivative on the host, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._bindings.array import Array, array_namespace, device, eps, is_array, to_numpy
from .._bindings.lookup import library_of
from .._engine.arguments import enter

NAME = "analytic_svd"


def parameters(t: Any) -> tuple[Array, Callable[[float], Any]]:
    """The values of t on the host, and what turns a number into what a path is called with."""
    if is_array(t):
        _check_not_differentiated(t, "t")
    values = np.asarray(to_numpy(t) if is_array(t) else t)
    if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "iuf":
        raise ValueError(
            f"{NAME}: `t` has shape {values.shape} and dtype {values.dtype}; wanted real numbers "
            "in one axis, at least one."
        )
    values = values.astype(float)
    steps = np.diff(values)
    if not (np.isfinite(values).all() and (np.all(steps > 0) or np.all(steps < 0))):
        raise ValueError(
            f"{NAME}: `t` is not strictly increasing or decreasing, or not finite; wanted "
            "parameters in the order of the path, each once. Sort them with numpy.unique."
        )
    if isinstance(t, np.ndarray) or not is_array(t) or np.asarray(to_numpy(t)).dtype.kind != "f":
        return values, float
    xp = array_namespace(t)
    return values, lambda value: xp.asarray(value, dtype=t.dtype, device=device(t))


@dataclass
class Matrices:
    """Matrices of one kind, that of the first one seen."""

    like: Any = None
    narrow: Callable[[Any], Any] | None = None

    def host(self, x: Any, argument: str, where: str = "") -> Array:
        """x in double precision."""
        wide, narrow = enter(x, NAME, argument)
        if self.like is None:
            self.like, self.narrow = wide, narrow
            self.noise = eps(x)
        name = f"{NAME}: `{argument}`{where}"
        if type(wide) is not type(self.like) or wide.dtype != self.like.dtype:
            raise TypeError(
                f"{name} is a {type(wide).__name__} of {wide.dtype}; wanted a "
                f"{type(self.like).__name__} of {self.like.dtype}, as `path` began with."
            )
        if tuple(wide.shape) != tuple(self.like.shape):
            raise ValueError(
                f"{name} has shape {tuple(wide.shape)}; wanted {tuple(self.like.shape)}, as `path` "
                "began with."
            )
        _check_not_differentiated(wide, argument)
        values = np.asarray(to_numpy(wide))
        values = values.astype(complex if values.dtype.kind == "c" else float)
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds NaN or Inf; wanted finite matrices all along the path.")
        return values

    def back(self, values: Array) -> Any:
        """An array of the kind of the first matrix, of its real dtype for real values."""
        assert self.narrow is not None
        dtype = np.asarray(to_numpy(self.like)).dtype
        if values.dtype.kind == "f":
            dtype = np.finfo(dtype).dtype
        xp = array_namespace(self.like)
        return self.narrow(xp.asarray(values.astype(dtype), device=device(self.like)))


def matrices_of(
    path: Any, argument: str, t: Array, number: Callable[[float], Any], matrices: Matrices
) -> Callable[[float], Array]:
    """t -> matrix, in double precision on the host."""
    if callable(path):

        def called(value: float) -> Array:
            x = path(number(value))
            if is_array(x) and x.ndim != 2:
                raise ValueError(
                    f"{NAME}: `{argument}` returned an array of shape {tuple(x.shape)}; wanted one "
                    "matrix (m, n)."
                )
            return matrices.host(x, argument, f" at t = {value:.6g}")

        return called
    stack = matrices.host(path, argument)
    if stack.ndim != 3 or len(stack) != len(t):
        raise ValueError(
            f"{NAME}: `{argument}` has shape {tuple(stack.shape)}; wanted ({len(t)}, m, n), one "
            "matrix for each entry of `t`, or a callable."
        )
    entries = dict(zip(t, stack, strict=True))
    return entries.__getitem__


def _check_not_differentiated(x: Any, argument: str) -> None:
    if library_of(x).is_differentiated(x):
        raise TypeError(
            f"{NAME}: `{argument}` is being differentiated or traced, and the factors of a path "
            "have no derivative here: they are found by decisions on values. Detach it (in PyTorch "
            "`x.detach()` or torch.no_grad()), or call this outside of jit and grad. Derivatives "
            "along the path itself come with `derivative`."
        )
