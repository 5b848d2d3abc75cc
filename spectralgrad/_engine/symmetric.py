r"""Functions of a matrix whose derivatives are symmetric, as Primitives to every order.

For F(A) = U f(S) V^H, for Q f(w) Q^H and for the gradient of a norm,

    <C, D^n F(A)[H_1, ..., H_n]>,    <X, Y> = Re sum(conj(X) Y),

does not change when C, H_1, ..., H_n trade places: for n = 1 the derivative is self-adjoint. So one
map serves all modes of its order. The tangent of D^n F along dA is D^(n+1) F[..., dA], the
cotangent of A is D^(n+1) F[..., C], and the cotangent of a direction is D^n F with C in its place.
`symmetric` makes a Primitive of each order from the maps of order 0, 1 and 2, each the rule of the
one below. What has no map is NaN, never a guess.

The factors of A are inputs, carried by A. A function f with free parameters has them as its last
inputs; f.by_parameter(i) is the derivative of f by the i-th, and that of D^n F is D^n F of it. A
`potential` is a scalar function of A whose gradient is such a function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .._bindings.array import Array, Arrays, array_namespace
from .._bindings.host import in_slices
from .linear import inner, multiply
from .primitive import Primitive

Map = Callable[..., Array]


def symmetric(
    name: str, factors: int, *maps: Map, explained: Mapping[str, Any] | None = None
) -> Primitive:
    """The Primitive of order 0; inputs are A, directions, factors and parameters, in that order.

    Each of `maps` takes (factors, directions, parameters, **static) as tuples. That of order 1 is
    told to be `lenient` if it shall leave out what is undefined. `explained` is what order 0 has to
    know to explain a NaN.
    """
    return _of_order(name, factors, maps, 0, explained or {})


def at_next_order(explained: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the Primitive of one order more has to know to explain a NaN."""
    if not explained:
        return explained
    return {**explained, "undefined": explained["undefined"].at_next_order(), "no_value": None}


def _of_order(
    name: str, factors: int, maps: tuple[Map, ...], order: int, explained: Mapping[str, Any]
) -> Primitive:
    above = None
    if order < len(maps):
        above = _of_order(name, factors, maps, order + 1, at_next_order(explained))
    first_parameter = 1 + order + factors

    def forward(*inputs: Array, undefined: Any = None, **static: Any) -> Array:
        if order == 1 and undefined is not None and undefined.lenient:
            static["lenient"] = True
        directions, held = inputs[1 : 1 + order], inputs[1 + order : first_parameter]
        if above is None:
            xp = array_namespace(inputs[0])
            return xp.full_like(inputs[0], float("nan"))
        if "f" in static and static["f"].foreign:
            return maps[order](held, directions, inputs[first_parameter:], **static)

        def of_stack(*arrays: Array) -> Array:
            k, p = len(held), len(held) + order
            return maps[order](arrays[:k], arrays[k:p], arrays[p:], **static)

        arrays = (*held, *directions, *inputs[first_parameter:])
        return in_slices(of_stack, tuple(inputs[0].shape[:-2]), *arrays)

    def along(i: int, direction: Array, inputs: Arrays, static: dict[str, Any]) -> Array:
        """Derivative along a direction of input i; with a cotangent for it, that of input i."""
        if i == 0:
            if above is None:
                return primitive(*inputs, **static)  # NaN
            return above(*inputs[: 1 + order], direction, *inputs[1 + order :], **static)
        if i <= order:
            return primitive(*inputs[:i], direction, *inputs[i + 1 :], **static)
        return multiply(direction, by_parameter(i, inputs, static), axes=2)

    def by_parameter(i: int, inputs: Arrays, static: dict[str, Any]) -> Array:
        f = static["f"].by_parameter(i - first_parameter)
        return primitive(*inputs, **static | {"f": f})

    def of_parameter(i: int, bar: Array, inputs: Arrays, static: dict[str, Any]) -> Array:
        return inner(bar, by_parameter(i, inputs, static), axes=2)

    def jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays, **static: Any) -> Array:
        terms = [
            along(i, tangent, inputs, static)
            for i, tangent in enumerate(tangents)
            if tangent is not None and i not in primitive.carried
        ]
        return sum(terms[1:], start=terms[0])

    def vjp(inputs: Arrays, outputs: Arrays, cotangents: Arrays, **static: Any) -> Arrays:
        bars: list[Any] = [None] * len(inputs)
        for i in range(1 + order):
            bars[i] = partial(along, i, cotangents[0], inputs, static)
        for i in range(first_parameter, len(inputs)):
            bars[i] = partial(of_parameter, i, cotangents[0], inputs, static)
        return tuple(bars)

    primitive: Primitive = Primitive(
        name + "'" * order,
        forward,
        jvp,
        vjp,
        carried=tuple(range(1 + order, first_parameter)),
        core=2,
        reads_outputs=False,
        nominal=True,
        **explained,
    )
    return primitive


def potential(
    name: str,
    factors: int,
    value: Map,
    gradient: Primitive,
    explained: Mapping[str, Any] | None = None,
) -> Primitive:
    """The scalar function of A with that gradient; `value` takes (factors, parameters, **static).

    Inputs are A, factors and parameters.
    """
    first_parameter = 1 + factors

    def by_parameter(i: int, inputs: Arrays, static: dict[str, Any]) -> Array:
        f = static["f"].by_parameter(i - first_parameter)
        return primitive(*inputs, **static | {"f": f})

    def jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays, **static: Any) -> Array:
        terms = []
        if tangents[0] is not None:
            terms.append(inner(gradient(*inputs, **static), tangents[0], axes=2))
        for i in range(first_parameter, len(inputs)):
            if tangents[i] is not None:
                terms.append(multiply(tangents[i], by_parameter(i, inputs, static), axes=0))
        return sum(terms[1:], start=terms[0])

    def vjp(inputs: Arrays, outputs: Arrays, cotangents: Arrays, **static: Any) -> Arrays:
        (bar,) = cotangents
        of_parameters = (
            lambda i=i: multiply(bar, by_parameter(i, inputs, static), axes=0)
            for i in range(first_parameter, len(inputs))
        )
        return (
            lambda: multiply(bar, gradient(*inputs, **static), axes=2),
            *(None,) * factors,
            *of_parameters,
        )

    def forward(x: Array, *held: Array, undefined: Any = None, **static: Any) -> Array:
        return value(held[:factors], held[factors:], **static)

    carried = tuple(range(1, first_parameter))
    primitive: Primitive = Primitive(
        name,
        forward,
        jvp,
        vjp,
        carried=carried,
        core=0,
        reads_outputs=False,
        nominal=True,
        **explained or {},
    )
    return primitive
