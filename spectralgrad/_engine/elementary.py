"""Elementary functions of numbers as Primitives of every order, and constants made of arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._bindings.array import Array, Arrays, array_namespace, device, expand, real
from .._bindings.lookup import library_of
from .linear import first, multiply
from .primitive import Primitive, constant


def _filled(x: Array, *, value: float, axes: int, ones: int) -> Array:
    """The value in the shape of x without its last `axes` axes, and with `ones` new ones."""
    shape = (*x.shape[: x.ndim - axes], *(1,) * ones)
    return array_namespace(x).full(shape, value, dtype=x.dtype, device=device(x))


filled = constant("filled", _filled)


def _largest_entry(x: Array) -> Array:
    xp = array_namespace(x)
    if 0 in x.shape[-2:]:
        return xp.zeros(x.shape[:-2], dtype=real(x).dtype, device=device(x))
    return xp.max(xp.abs(x), axis=(-2, -1))


largest_entry = constant("largest_entry", _largest_entry)


def _over(x: Array, size: Array, *, axes: int, inverse: bool) -> Array:
    """x / size, or x * size if inverse; a size of zero counts as 1."""
    xp = array_namespace(x)
    size = expand(xp.where(size == 0, 1.0, size), axes)
    return x * size if inverse else x / size


def _over_rule(inputs: Arrays, outputs: Arrays, directions: Arrays, **static: Any) -> Array:
    return measured(directions[0], inputs[1], **static)


measured: Primitive = Primitive(
    "measured",
    forward=_over,
    jvp=_over_rule,
    vjp=lambda inputs, outputs, bars, **static: (
        _over_rule(inputs, outputs, bars, **static),
        None,
    ),
    carried=(1,),
    core="axes",
    unread=first,
    reads_outputs=False,
)


def _elementary(name: str, derivative: Callable[..., Array]) -> Primitive:
    """A function of numbers; `derivative(a, *carried, order)` is that of each order."""

    def slope(inputs: Arrays, order: int) -> Array:
        return primitive(*inputs, order=order + 1)

    primitive: Primitive = Primitive(
        name,
        forward=lambda *inputs, order=0: derivative(*inputs, order=order),
        jvp=lambda inputs, outputs, tangents, order=0: multiply(
            tangents[0], slope(inputs, order), axes=0
        ),
        vjp=lambda inputs, outputs, bars, order=0: (
            partial(multiply, bars[0], slope(inputs, order), axes=0),
            *(None,) * (len(inputs) - 1),
        ),
        carried=(1,),
        core=0,
        reads_outputs=False,
    )
    return primitive


def _power_of_inverse(a: Array, floor: Array, *, order: int, at_zero: float) -> Array:
    """The derivative of 1/a of that order, and `at_zero` where a counts as zero."""
    xp = array_namespace(a)
    zero = a <= floor
    safe = xp.where(zero, 1.0, a)
    value = 1 / safe
    for i in range(order):
        value = -value * (i + 1) / safe
    return xp.where(zero, at_zero, value)


def once_differentiable(values: Array, mask: Callable[[], Array]) -> Any:
    """Zeros whose derivative by `values` is NaN where the mask is set.

    Added to a first derivative that exists where a second does not, for the libraries that
    differentiate through rules: they get NaN there instead of what a `where` leaves.
    """
    if not library_of(values).is_differentiated(values):
        return 0.0
    xp, set_ = array_namespace(values), mask()
    root = xp.sqrt(xp.where(set_, values - values, 1.0))  # sqrt has no derivative at zero
    return root - xp.where(set_, 0.0, xp.ones_like(values))


inverse = _elementary("inverse", partial(_power_of_inverse, at_zero=float("nan")))
inverse_or_zero = _elementary("inverse_or_zero", partial(_power_of_inverse, at_zero=0.0))
