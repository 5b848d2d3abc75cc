r"""Symmetric functions of a matrix and of parameters theta that f takes, in PyTorch and JAX.

As in `symmetric`, F(A) = U f(S; theta) V^H has derivatives D^n F that are symmetric in their
directions. They are linear in f, so that of D^n F along d theta is D^n G for the function

    g(s; theta, d theta) = d f(s; theta)/d theta . d theta,

another function with parameters. The cotangent of theta for a cotangent C of D^n F[H_1, ..., H_n],

    theta_bar = the gradient by theta of <C, D^n F[H_1, ..., H_n]>,

is what the library's own autodiff makes of the map. It is a Primitive of its own, whose derivatives
are known: that along C or H_i has the change in its place, that along dA is the cotangent of
D^(n+1) F[..., dA], and, the other way round, for a cotangent w of theta_bar, C_bar is
D^n G[H_1, ..., H_n] with d theta = w, and A_bar is D^(n+1) G[..., C].

`learned` makes these Primitives from the maps of order 0, 1 and 2, and `learned_potential` those of
a scalar function whose gradient is such a function. f knows how many tangents of theta it takes
(`f.along()` takes one more), and is told all of them as its parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from .._bindings.array import Array, Arrays, array_namespace, expand, is_zero
from .._bindings.lookup import native
from .linear import inner, multiply
from .primitive import Primitive, once
from .symmetric import at_next_order

Map = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Learned:
    """A function of A and theta, and the cotangent of theta that belongs to it."""

    function: Primitive
    of_theta: Primitive


def _harmless(C: Array, axes: int, arrays: Arrays) -> Arrays:
    """Factors and directions; where C is zero, such as no f can be NaN at."""
    idle, batch = is_zero(C, axes), C.ndim - axes
    found = []
    for x in arrays:
        xp, own = array_namespace(x), x.ndim - batch
        safe = xp.ones_like(x) if own == 1 else xp.zeros_like(x)
        found.append(xp.where(expand(idle, own), safe, x))
    return tuple(found)


def _filled(tangents: Arrays, like: Arrays) -> Arrays:
    """The tangents, zeros for None."""
    pairs = zip(tangents, like, strict=True)
    return tuple(array_namespace(x).zeros_like(x) if t is None else t for t, x in pairs)


def _is_given(tangents: Arrays) -> bool:
    return any(t is not None for t in tangents)


def _nan_like(arrays: Arrays) -> Arrays:
    return tuple(array_namespace(x).full_like(x, float("nan")) for x in arrays)


def along_theta(
    function: Primitive, first: int, inputs: Arrays, dots: Arrays, static: dict[str, Any]
) -> list[Array]:
    """The terms of a tangent that changes of the leaves, from input `first` on, give.

    They are theta and the tangents of theta that f takes already, in each of which it is linear.
    """
    f, leaves, dots = static["f"], inputs[first:], dots[first:]
    n, terms = len(leaves) // (1 + f.order), []
    if _is_given(dots[:n]):
        moved = _filled(dots[:n], leaves[:n])
        terms.append(function(*inputs, *moved, **static | {"f": f.along()}))
    for place in (slice(j * n, (j + 1) * n) for j in range(1, 1 + f.order)):
        if _is_given(dots[place]):
            moved = leaves[: place.start], _filled(dots[place], leaves[place]), leaves[place.stop :]
            terms.append(function(*inputs[:first], *sum(moved, ()), **static))
    return terms


def _of_theta(
    function: Primitive,
    value: Map,
    first: int,
    axes: int,
    along: Callable[..., list[Arrays]],
    turned: Callable[..., Array],
) -> Primitive:
    """The gradient by the leaves of <C, value(inputs)>; inputs are C and those of the function.

    `along(C, inputs, dots, static)` gives its terms for changes of A and of directions, and
    `turned(i, C, inputs, static)` the cotangent of input i for <C, function>.
    """

    def raw(C: Array, held: Arrays, static: dict[str, Any]) -> Callable[..., Arrays]:
        def gradient(*leaves: Array) -> Arrays:
            pull = native(leaves[0]).vjp(lambda *theta: value(*held, *theta, **static), *leaves)[1]
            return tuple(pull(C))

        return gradient

    def forward(C: Array, *inputs: Array, **static: Any) -> Arrays:
        held = (inputs[0], *_harmless(C, axes, inputs[1:first]))
        return raw(C, held, static)(*inputs[first:])

    def jvp(inputs: Arrays, outputs: Arrays, dots: Arrays, **static: Any) -> Arrays:
        C, *rest = inputs
        leaves, terms = tuple(rest[first:]), []
        if dots[0] is not None:
            terms.append(primitive(dots[0], *rest, **static))
        terms += along(C, tuple(rest), dots[1 : 1 + first], static)
        if _is_given(dots[1 + first :]):
            moved = _filled(dots[1 + first :], leaves)
            gradient = raw(C, (rest[0], *_harmless(C, axes, tuple(rest[1:first]))), static)
            terms.append(native(leaves[0]).pushforward(gradient, leaves, moved))
        return tuple(sum(parts[1:], start=parts[0]) for parts in zip(*terms, strict=True))

    def vjp(inputs: Arrays, outputs: Arrays, bars: Arrays, **static: Any) -> Arrays:
        C, *rest = inputs
        leaves = tuple(rest[first:])
        if static["f"].order:  # of third order
            return (*_nan_like(inputs[:2]), *(None,) * (first - 1), *_nan_like(leaves))
        w = _filled(bars, leaves)
        moved, options = (*rest, *w), static | {"f": static["f"].along()}

        @once
        def of_leaves() -> Arrays:
            gradient = raw(C, (rest[0], *_harmless(C, axes, tuple(rest[1:first]))), static)
            return tuple(native(leaves[0]).vjp(gradient, *leaves)[1](w))

        return (
            lambda: function(*moved, **options),
            *(
                None if i in function.carried else partial(turned, i, C, moved, options)
                for i in range(first)
            ),
            *(lambda i=i: of_leaves()[i] for i in range(len(leaves))),
        )

    primitive: Primitive = Primitive(
        function.name + " by theta",
        forward,
        jvp,
        vjp,
        outputs=2,  # or however many
        carried=tuple(1 + i for i in function.carried),
        batched=1 + first,
    )
    return primitive


def learned(
    name: str, factors: int, *maps: Map, explained: Mapping[str, Any] | None = None
) -> Learned:
    """Order 0; inputs are A, directions, factors and the leaves of theta, in that order."""
    return _of_order(name, factors, maps, 0, explained or {})


def _of_order(
    name: str, factors: int, maps: tuple[Map, ...], order: int, explained: Mapping[str, Any]
) -> Learned:
    above = None
    if order < len(maps):
        above = _of_order(name, factors, maps, order + 1, at_next_order(explained))
    first, name = 1 + order + factors, name + "'" * order

    def forward(*inputs: Array, undefined: Any = None, **static: Any) -> Array:
        if above is None:
            return _nan_like(inputs[:1])[0]
        if order == 1 and undefined is not None and undefined.lenient:
            static["lenient"] = True
        directions, held = inputs[1 : 1 + order], inputs[1 + order : first]
        return maps[order](held, directions, inputs[first:], **static)

    def turned(i: int, direction: Array, inputs: Arrays, static: dict[str, Any]) -> Array:
        """Derivative along a direction of A or of a direction; the cotangent of input i for one."""
        if i:
            return function(*inputs[:i], direction, *inputs[i + 1 :], **static)
        if above is None:
            return function(*inputs, **static)  # NaN
        return above.function(*inputs[: 1 + order], direction, *inputs[1 + order :], **static)

    def jvp(inputs: Arrays, outputs: Arrays, dots: Arrays, **static: Any) -> Array:
        given = (i for i in range(1 + order) if dots[i] is not None)
        terms = [turned(i, dots[i], inputs, static) for i in given]
        terms += along_theta(function, first, inputs, dots, static)
        return sum(terms[1:], start=terms[0])

    def vjp(inputs: Arrays, outputs: Arrays, cotangents: Arrays, **static: Any) -> Arrays:
        (C,) = cotangents
        leaves = once(lambda: of_theta(C, *inputs, **static))
        return (
            *(partial(turned, i, C, inputs, static) for i in range(1 + order)),
            *(None,) * factors,
            *(lambda i=i: leaves()[i] for i in range(len(inputs) - first)),
        )

    def along(C: Array, inputs: Arrays, dots: Arrays, static: dict[str, Any]) -> list[Arrays]:
        terms = []
        if dots[0] is not None:
            moved = (*inputs[: 1 + order], dots[0], *inputs[1 + order :])
            terms.append(
                _nan_like(inputs[first:]) if above is None else above.of_theta(C, *moved, **static)
            )
        for i in range(1, 1 + order):
            if dots[i] is not None:
                terms.append(of_theta(C, *inputs[:i], dots[i], *inputs[i + 1 :], **static))
        return terms

    carried = tuple(range(1 + order, first))
    function = Primitive(
        name,
        forward,
        jvp,
        vjp,
        carried=carried,
        core=2,
        batched=first,
        reads_outputs=False,
        nominal=True,
        **explained,
    )
    of_theta = _of_theta(function, forward, first, 2, along, turned)
    return Learned(function, of_theta)


def learned_potential(name: str, factors: int, value: Map, gradient: Learned) -> Learned:
    """The scalar function of A with that gradient; inputs are A, factors and leaves of theta."""
    first = 1 + factors

    def forward(x: Array, *inputs: Array, **static: Any) -> Array:
        return value(inputs[:factors], inputs[factors:], **static)

    def turned(i: int, bar: Array, inputs: Arrays, static: dict[str, Any]) -> Array:
        return multiply(bar, gradient.function(*inputs, **static), axes=2)

    def jvp(inputs: Arrays, outputs: Arrays, dots: Arrays, **static: Any) -> Array:
        terms = []
        if dots[0] is not None:
            terms.append(inner(gradient.function(*inputs, **static), dots[0], axes=2))
        terms += along_theta(function, first, inputs, dots, static)
        return sum(terms[1:], start=terms[0])

    def vjp(inputs: Arrays, outputs: Arrays, cotangents: Arrays, **static: Any) -> Arrays:
        (bar,) = cotangents
        leaves = once(lambda: of_theta(bar, *inputs, **static))
        return (
            partial(turned, 0, bar, inputs, static),
            *(None,) * factors,
            *(lambda i=i: leaves()[i] for i in range(len(inputs) - first)),
        )

    def along(bar: Array, inputs: Arrays, dots: Arrays, static: dict[str, Any]) -> list[Arrays]:
        if dots[0] is None:
            return []
        return [gradient.of_theta(multiply(bar, dots[0], axes=2), *inputs, **static)]

    carried = tuple(range(1, first))
    function = Primitive(
        name,
        forward,
        jvp,
        vjp,
        carried=carried,
        core=0,
        batched=first,
        reads_outputs=False,
        nominal=True,
    )
    of_theta = _of_theta(function, forward, first, 0, along, turned)
    return Learned(function, of_theta)
