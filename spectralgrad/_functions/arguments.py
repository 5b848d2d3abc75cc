"""What a user may pass as f or as a number, made fit for a Primitive.

A function comes out hashable, with its parameter beside it if that is an array.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .._bindings.array import Array, Arrays, array_namespace, device, real
from .._bindings.lookup import autodiff_of, is_distributed, library_of
from .._engine.checks import check_parameter
from .._engine.errors import raise_captured
from .._engine.linear import broadcast, cast, dtype_name
from .._engine.tape import is_recorded
from .given import Autodiff, Given, ScalarFunction
from .learned import Learnable
from .named import FREE, Named, is_array
from .protocol import Scalar
from .truncated_powers import power

# what a user may pass as f
Function = Scalar | tuple[Callable[..., Any], ...] | Callable[..., Any]


def as_scalar_function(f: Any, x: Array, function: str) -> tuple[Any, tuple[Array, ...]]:
    """f without arrays, and those of its parameters that are, fit to broadcast against x.

    Pairs and callables are wrapped, once seen to lose no gradient.
    """
    if isinstance(f, Named):
        arrays = {name: getattr(f, name) for name in f.parameters if is_array(getattr(f, name))}
        values = tuple(as_parameter(v, x, function, name) for name, v in arrays.items())
        return (replace(f, **dict.fromkeys(arrays, FREE)), values) if arrays else (f, ())
    return _given(f, x, function), ()


def as_learnable(f: Any, params: Any, x: Array, function: str) -> tuple[Learnable, Arrays]:
    """f(s, params) without its parameters, and these as leaves."""
    library = autodiff_of(x)
    flat = None if library is None else library.flatten(params)
    if library is None or flat is None:
        raise TypeError(
            f"{function}: `params` came with x a {type(x).__name__}; wanted arrays of PyTorch or "
            "JAX, which differentiate f(s, params) themselves. Elsewhere use a named function of "
            "spectralgrad.functions, whose parameters may be arrays."
        )
    if isinstance(f, Scalar) or not callable(f):
        raise TypeError(
            f"{function}: `f` is a {type(f).__name__} and `params` were given; wanted a callable "
            "f(s, params). Parameters of a named function go to the function itself."
        )
    leaves, rebuild = flat
    strange = [leaf for leaf in leaves if not is_array(leaf) or library_of(leaf) is not library]
    if strange or not leaves:
        came = type(strange[0]).__name__ if strange else "no array"
        raise TypeError(
            f"{function}: `params` holds {came}; wanted a tree of {type(x).__name__} only, in "
            "nested tuples, lists, dicts and what else the library takes for one. Constants belong "
            "into f."
        )
    if any(map(is_distributed, leaves)):
        raise TypeError(
            f"{function}: `params` holds a DTensor, with which f(s, params) would need s as one; "
            "wanted plain tensors, the same on all devices. Give p.full_tensor(), which is "
            "differentiable."
        )
    learnable = Learnable(f, rebuild, library)
    xp = array_namespace(x)
    probe = xp.ones((1,), dtype=real(x).dtype, device=device(x))
    if library.captures_derivative(lambda s, *held: f(s, rebuild(held)), probe, *leaves):
        raise_captured(function, "`f`", "Give everything that is learned by `params`")
    return learnable, tuple(leaves)


def as_parameter(value: Array, x: Array, function: str, name: str) -> Array:
    """An array of numbers with x's real dtype, one for each matrix."""
    check_parameter(value, x, function, name)
    real = dtype_name(x).replace("complex128", "float64").replace("complex64", "float32")
    return broadcast(cast(value, real), tuple(x.shape[:-2]))


def _held(f: Any) -> list[Any]:
    """What a callable closes over, as far as Python shows."""
    held = [cell.cell_contents for cell in getattr(f, "__closure__", None) or ()]
    return [*held, *(getattr(f, "__defaults__", None) or ())]


def _given(f: Any, x: Array, function: str) -> Any:
    if f is power or (isinstance(f, type) and issubclass(f, Scalar)):
        wanted = "f, df" if f is ScalarFunction else ", ".join(getattr(f, "parameters", ("p",)))
        raise TypeError(
            f"{function}: `f` is sg.functions.{f.__name__} itself; wanted a function that it "
            f"makes, such as {f.__name__}({wanted})."
        )
    library = autodiff_of(x)
    if isinstance(f, tuple) and 2 <= len(f) <= 3 and all(callable(part) for part in f):
        f = ScalarFunction(*f)
    elif callable(f) and not isinstance(f, Given) and library is not None:
        f = Autodiff(f, library)
    if not isinstance(f, Given):
        raise TypeError(
            f"{function}: `f` is a {type(f).__name__}; wanted a function of spectralgrad.functions "
            "such as tanh or power(3), or a pair (f, df) of callables. A bare callable serves "
            "PyTorch and JAX arrays alone, where the library differentiates it."
        )
    parts = [
        part for part in (getattr(f, name, None) for name in ("f", "df", "d2f")) if part is not None
    ]
    sees = library is None or library.sees_context()
    lost = sees and any(is_recorded(held) for part in parts for held in _held(part))
    if library and not lost:
        xp = array_namespace(x)
        probe = xp.ones((1,), dtype=real(x).dtype, device=device(x))
        lost = any(library.captures_derivative(part, probe) for part in parts[:2])
    if lost:
        remedy = "Give it by `params`, or use a named function with a parameter"
        raise_captured(function, "`f`", remedy)
    return f
