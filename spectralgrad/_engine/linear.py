"""Linear and bilinear steps between decompositions, as Primitives.

Each has rules made of Primitives only, so that every order of derivative exists on every library,
those without a tape of their own included. Stacks go along: a batch may be put in front of every
array, and no static argument counts leading axes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._bindings.array import (
    Array,
    Arrays,
    adjoint,
    any_row,
    array_namespace,
    conj,
    device,
    expand,
    herm,
    is_complex,
    nan_where,
    real,
)
from .._bindings.lookup import placed, placement
from .._bindings.matrix_products import product
from .._bindings.rows import sum_across
from .primitive import Primitive, constant


def first(**static: Any) -> tuple[int]:
    """What linear functions need not keep."""
    return (0,)


def _unary(
    name: str,
    function: Callable[..., Any],
    transposed: Callable[..., Any] | None = None,
    **facts: Any,
) -> Primitive:
    """A linear function of one array, and the Primitive that transposes it (itself if None)."""

    def jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays, **static: Any) -> Array:
        return primitive(tangents[0], **static)

    def vjp(inputs: Arrays, outputs: Arrays, cotangents: Arrays, **static: Any) -> Arrays:
        return ((transposed or primitive)(cotangents[0], **static),)

    primitive = Primitive(name, function, jvp, vjp, unread=first, reads_outputs=False, **facts)
    return primitive


def _dtype(x: Array, name: str) -> Any:
    return getattr(array_namespace(x), name)


def dtype_name(x: Array) -> str:
    # NumPy's names say nothing of the order of bytes, which str does
    return getattr(x.dtype, "name", None) or str(x.dtype).rpartition(".")[2]


adjoint_of = _unary("adjoint", adjoint)
hermitian_part = _unary("hermitian_part", herm)

# Vectors (..., n) as matrices (..., 1, n), and back.
row: Primitive = _unary("row", lambda x: x[..., None, :], lambda bar: unrow(bar))
unrow: Primitive = _unary("unrow", lambda x: x[..., 0, :], lambda bar: row(bar))


def _cast(x: Array, *, source: str, target: str) -> Array:
    return array_namespace(x).astype(x, _dtype(x, target))


def cast(x: Array, target: str) -> Array:
    source = dtype_name(x)
    return x if source == target else _casting(x, source=source, target=target)


_casting: Primitive = _unary(
    "cast",
    _cast,
    lambda bar, *, source, target: _casting(bar, source=target, target=source),
    foreign=True,  # NumPy has no bfloat16
)


# A DTensor of PyTorch where it shall lie; the binding sees to it that cotangents lie as x does.
_placing = Primitive(
    "place",
    lambda x, *, placements: placed(x, placements),
    jvp=lambda inputs, outputs, tangents, *, placements: tangents[0],
    vjp=lambda inputs, outputs, bars, *, placements: bars,
    unread=first,
    reads_outputs=False,
)


def place(x: Array, whole: bool) -> Array:
    at = placement(x, whole)
    return x if at is None else _placing(x, placements=at)


def _aligned(x: Array, own: int, shape: tuple[int, ...]) -> tuple[tuple[int, ...], Any]:
    """The shape of x with the axes that broadcasting adds between its batch and its `own` axes."""
    lead, tail = x.shape[: x.ndim - own], x.shape[x.ndim - own :]
    return (*lead, *(1,) * (len(shape) - own), *tail), lead


def _spread(x: Array, *, own: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    xp = array_namespace(x)
    aligned, lead = _aligned(x, len(own), shape)
    return xp.broadcast_to(xp.reshape(x, aligned), (*lead, *shape))


def _collect(x: Array, *, own: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    xp = array_namespace(x)
    lead = x.ndim - len(shape)
    padded = (1,) * (len(shape) - len(own)) + own
    axes = tuple(lead + i for i, n in enumerate(padded) if n == 1 and shape[i] != 1)
    x = xp.sum(x, axis=axes, keepdims=True) if axes else x
    return xp.reshape(x, (*x.shape[:lead], *own))


_spreading: Primitive = _unary(
    "broadcast", _spread, lambda bar, **static: _collecting(bar, **static)
)
_collecting: Primitive = _unary("sum_to", _collect, lambda bar, **static: _spreading(bar, **static))


def broadcast(x: Array, shape: tuple[int, ...]) -> Array:
    own = tuple(x.shape)
    return x if own == tuple(shape) else _spreading(x, own=own, shape=tuple(shape))


def _bilinear(
    name: str, core: int | str, product: Callable[..., Array], cotangents: Callable[..., Arrays]
) -> Primitive:
    """product(a, b); `cotangents` gives thunks for those of a and b."""

    def jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays, **static: Any) -> Array:
        (a, b), (da, db) = inputs, tangents
        terms = [] if da is None else [primitive(da, b, **static)]
        terms += [] if db is None else [primitive(a, db, **static)]
        return sum(terms[1:], start=terms[0])

    def vjp(inputs: Arrays, outputs: Arrays, bars: Arrays, **static: Any) -> Arrays:
        return cotangents(*inputs, bars[0], **static)

    primitive = Primitive(name, product, jvp, vjp, core=core, reads_outputs=False)
    return primitive


# multiply(a, b): b times numbers a that are constant along its last `axes` axes.
_scaling = _bilinear(
    "scale",
    "axes",
    lambda a, b, *, axes: expand(a, axes) * b,
    lambda a, b, bar, *, axes: (
        partial(inner, b, bar, axes=axes),
        partial(multiply, a, bar, axes=axes),
    ),
)


def _inner_product(a: Array, b: Array, *, axes: int) -> Array:
    product = real(conj(a) * b)
    if axes == 0:
        return product
    total = array_namespace(a, b).sum(product, axis=tuple(range(-axes, 0)))
    return sum_across(total) if axes == 2 else total


# inner(a, b): Re sum conj(a) b over the last `axes` axes.
_pairing = _bilinear(
    "inner",
    0,
    _inner_product,
    lambda a, b, bar, *, axes: (
        partial(multiply, bar, b, axes=axes),
        partial(multiply, bar, a, axes=axes),
    ),
)


def multiply(a: Array, b: Array, *, axes: int) -> Array:
    return _scaling(a, b, axes=axes)


def inner(a: Array, b: Array, *, axes: int) -> Array:
    return _pairing(a, b, axes=axes)


def _product(a: Array, b: Array, *, left: bool, right: bool) -> Array:
    return product(adjoint(a) if left else a, adjoint(b) if right else b)


# With A = a or a^H and B = b or b^H: A_bar = bar B^H, B_bar = A^H bar.
_multiplying = _bilinear(
    "matmul",
    2,
    _product,
    lambda a, b, bar, *, left, right: (
        partial(matmul, b, bar, left=right, right=True)
        if left
        else partial(matmul, bar, b, right=not right),
        partial(matmul, bar, a, left=True, right=left)
        if right
        else partial(matmul, a, bar, left=not left),
    ),
)


def matmul(a: Array, b: Array, *, left: bool = False, right: bool = False) -> Array:
    """a b, with the adjoint of a if `left` and that of b if `right`."""
    return _multiplying(a, b, left=left, right=right)


nan_if: Primitive = Primitive(
    "nan_if",
    forward=lambda x, bad: x + nan_where(bad != 0, x)[..., None, None],
    jvp=lambda inputs, outputs, tangents: nan_if(tangents[0], inputs[1]),
    vjp=lambda inputs, outputs, bars: (nan_if(bars[0], inputs[1]), None),
    carried=(1,),
    core=2,
    unread=first,
    reads_outputs=False,
)


def nan_derivative(where: Callable[..., Array], **explained: Any) -> Primitive:
    """x, whose derivative is NaN for the batch elements that where(known, **static) tells.

    `known` is the second input, and `explained` what the Primitive has to know to explain a NaN.
    """

    def mask(known: Array, **static: Any) -> Array:
        return array_namespace(known).astype(where(known, **static), known.dtype)

    undefined_at = constant("undefined_at", mask)

    def behind(direction: Array, known: Array, undefined: Any = None, **static: Any) -> Array:
        return nan_if(direction, undefined_at(known, **static))

    return Primitive(
        "nan_derivative",
        forward=lambda x, known, **static: x + 0.0,
        jvp=lambda inputs, outputs, dots, **static: behind(dots[0], inputs[1], **static),
        vjp=lambda inputs, outputs, bars, **static: (behind(bars[0], inputs[1], **static), None),
        carried=(1,),
        core=2,
        unread=first,
        reads_outputs=False,
        **explained,
    )


def _not_finite(x: Array) -> Array:
    xp = array_namespace(x)
    if 0 in x.shape[-2:]:
        return xp.zeros(x.shape[:-2], dtype=real(x).dtype, device=device(x))
    found = xp.any(any_row(~xp.isfinite(x)), axis=-1)  # Dask has no largest of an empty block
    return xp.astype(found, real(x).dtype)


not_finite = constant("not_finite", _not_finite)


def nan_unless_finite(x: Array) -> Array:
    """x, NaN in batch elements with a NaN or an Inf: products of Inf warn (NumPy 2.4)."""
    return nan_if(x, not_finite(x))


def _add_jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Array:
    da, db = tangents
    return da if db is None else db if da is None else da + db


add = Primitive(
    "add",
    forward=lambda a, b: a + b,
    jvp=_add_jvp,
    vjp=lambda inputs, outputs, cotangents: (cotangents[0], cotangents[0]),
    unread=lambda: (0, 1),
    reads_outputs=False,
)


negative = _unary("negative", lambda x: -x)


def subtract(a: Array, b: Array) -> Array:
    return add(a, negative(b))


def _complexified(x: Array) -> Array:
    xp = array_namespace(x)
    return xp.astype(x, xp.complex64 if x.dtype == xp.float32 else xp.complex128)


_widening: Primitive = _unary("complex", _complexified, lambda bar: _real_part(bar))
_real_part: Primitive = _unary("real", real, lambda bar: _widening(bar))
_turning: Primitive = _unary(
    "times_i", lambda x, *, sign: sign * 1j * x, lambda bar, *, sign: _turning(bar, sign=-sign)
)


def add_imaginary(a: Array, b: Array) -> Array:
    """a + i b, of real or complex arrays."""
    a, b = (x if is_complex(x) else _widening(x) for x in (a, b))
    return add(a, _turning(b, sign=1))
