r"""Linear systems N z = b as Primitives, which every library differentiates to every order.

N is self-adjoint, and depends on factors and on the leaves of an operand. With z = N^-1 b,

    dz = N^-1 (db - dN z),    b_bar = N^-1 z_bar,    N_bar = -b_bar z^H,

so the derivative takes solves with the same N, and dN z and its adjoint come from the library's own
autodiff of the product N z.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._bindings.array import Array, Arrays, array_namespace, eps
from .._bindings.lookup import native, project_out
from .._engine.primitive import Primitive
from .._engine.products import Products
from .blocks import norms
from .options import Options

FLOATING = ("real floating", "complex floating")


def spans_all(W: Array, options: Options) -> bool:
    """Whether nothing is outside of the kept vectors, whatever an adaptive rank is."""
    return _is_square(W) and options.rank is None


def outside(W: Array, R: Array, options: Options) -> Array:
    """R - W W^H R, without its rounding where W spans all: it would be divided by small values."""
    xp = array_namespace(W)
    if spans_all(W, options):
        return xp.zeros_like(R)
    if not _is_square(W):
        return project_out(W, R)
    every = xp.all(xp.any(W != 0, axis=-2), axis=-1)  # no column that the rank leaves out
    return xp.where(every[..., None, None], 0.0, project_out(W, R))


def _is_square(W: Array) -> bool:
    return bool(W.shape[-1] == W.shape[-2])


def significant(part: Array, whole: Array) -> Array:
    """Columns of a part of something, zero where they are no more than its rounding.

    `whole` has the norms of what it is a part of.
    """
    rounding = norms(part) <= 32 * eps(part) * whole
    return array_namespace(part).where(rounding[..., None, :], 0.0, part)


def implicit_solve(
    name: str,
    forward: Callable[..., Any],
    product: Callable[[Products, Arrays, Arrays, Any], Arrays],
    *,
    unknowns: int,
    factors: int,
    carried: int,
) -> Primitive:
    """The Primitive of a solve.

    Its inputs are the right-hand sides, as many as unknowns, the factors that N depends on, arrays
    that help to solve (`carried`), and the operand's leaves; `product(A, factors, z, options)` is
    N z.
    """
    first_leaf = unknowns + factors + carried
    own = list(range(unknowns, unknowns + factors))

    def dependence(
        inputs: Arrays, z: Arrays, operand: Any, options: Any
    ) -> tuple[Callable[..., Arrays], list[int]]:
        """N z as a function of what N depends on, and the places of that among the inputs."""
        xp = array_namespace(inputs[0])
        leaves = range(first_leaf, len(inputs))
        places = own + [i for i in leaves if xp.isdtype(inputs[i].dtype, FLOATING)]

        def times(*arrays: Any) -> Arrays:
            held = dict(enumerate(inputs)) | dict(zip(places, arrays, strict=True))
            A = operand.products(*(held[i] for i in leaves))
            return product(A, tuple(held[i] for i in own), z, options)

        return times, places

    def filled(arrays: Arrays, like: Arrays) -> Arrays:
        xp = array_namespace(like[0])
        return tuple(
            xp.zeros_like(x) if a is None else a for a, x in zip(arrays, like, strict=True)
        )

    def solved(rhs: Arrays, inputs: Arrays, **static: Any) -> Arrays:
        found = solve(*rhs, *inputs[unknowns:], **static)
        return found if unknowns > 1 else (found,)

    def jvp(inputs: Arrays, z: Arrays, tangents: Arrays, **static: Any) -> Any:
        times, places = dependence(inputs, z, **static)
        dots = filled(tangents, inputs)
        rhs = dots[:unknowns]
        if any(tangents[i] is not None for i in places):
            primals = tuple(inputs[i] for i in places)
            moved = native(inputs[0]).pushforward(times, primals, tuple(dots[i] for i in places))
            rhs = tuple(b - db for b, db in zip(rhs, moved, strict=True))
        found = solved(rhs, inputs, **static)
        return found if unknowns > 1 else found[0]

    def vjp(inputs: Arrays, z: Arrays, bars: Arrays, **static: Any) -> Arrays:
        b_bars = solved(filled(bars, z), inputs, **static)
        times, places = dependence(inputs, z, **static)
        pullback = native(inputs[0]).vjp(times, *(inputs[i] for i in places))[1]
        by_place = dict(zip(places, pullback(tuple(-b for b in b_bars)), strict=True))
        return *b_bars, *(by_place.get(i) for i in range(unknowns, len(inputs)))

    solve: Primitive = Primitive(
        name,
        forward,
        jvp,
        vjp,
        outputs=unknowns,
        carried=tuple(range(unknowns + factors, first_leaf)),
        foreign=True,  # its rules differentiate products by the library's own autodiff
        iterates=True,
    )
    return solve
