"""JAX: jit, vmap, grad, jvp, hessian, checkpoint and scan work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp

from . import host, jax_primitives, jax_programs
from .array import Arrays, expand
from .host import is_compiled as is_compiled
from .host import unmapped as unmapped
from .jax_calls import OverRows
from .jax_rows import blocked_svd as blocked_svd
from .jax_rows import is_blocked as is_blocked
from .jax_rows import qr as qr
from .matrix_products import FEW, stack_size
from .rows import named_axes, product_across

autodiff = True
blocks = False
# x + x^H overflows before it is halved (0.10)
hermitian = {"symmetrize_input": False}


def apply(call: Any, arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    axes = named_axes()
    if axes:
        call = OverRows(call, axes)
    return tuple(jax_primitives.op.bind(*_varying_alike(arrays, axes), call=call))


def _varying_alike(arrays: tuple[jax.Array, ...], apart: tuple[str, ...]) -> tuple[jax.Array, ...]:
    """The arrays, varying over the same axes inside of `shard_map`.

    What all devices share is cast, and the transpose of that adds up its cotangents. But rules know
    of axes that rows are spread over.
    """
    axes = [jax.typeof(x).manual_axis_type.varying for x in arrays]
    union = frozenset().union(*axes) - set(apart)
    return tuple(
        jax.lax.pcast(x, tuple(union - own), to="varying") if union - own else x
        for x, own in zip(arrays, axes, strict=True)
    )


def computing(x: jax.Array) -> AbstractContextManager[Any]:
    return jax_primitives.computing()


def sees_context() -> bool:
    return True


def is_traced(x: jax.Array) -> bool:
    return isinstance(x, jax.core.Tracer)


def values(x: jax.Array) -> jax.Array | None:
    while hasattr(x, "primal"):  # of what jvp and grad trace (0.10)
        x = x.primal
    return None if is_traced(x) else x


def truth(flag: jax.Array) -> bool | None:
    return None if is_traced(flag) else bool(flag)


def call_later(function: Callable[..., None], arrays: Arrays) -> None:
    jax_primitives.later.bind(*arrays, function=function)


def is_on_host(x: jax.Array) -> bool:
    if is_traced(x):
        return bool(jax.default_backend() == "cpu")
    return all(device.platform == "cpu" for device in x.devices())


def exact_one(x: jax.Array) -> jax.Array:
    """Ones of which XLA cannot know: (a b) 1 + c is rounded twice, contracted or not.

    XLA computes a number again in each loop that it fuses, and LLVM contracts each differently: at
    a tie one loop sees d < 0 and another d > 0 (JAX 0.10.2).
    """
    return 0.0 * x + 1.0


def fuses(x: jax.Array) -> bool:
    return is_traced(x)  # else each step would be a program


def can_loop(x: jax.Array) -> bool:
    return True


is_differentiated = jax_primitives.is_followed


def after(y: jax.Array, batch: int, arrays: Arrays) -> Arrays:
    """By a condition that holds, of which XLA cannot know that.

    What may run beside LAPACK sends that to a thread of XLA's pool, where its loop over a stack has
    one thread instead of all (JAX 0.10.2, CPU). A barrier is gone by the time that is decided.
    """
    if not is_traced(y) or 0 in y.shape[batch:]:
        return arrays
    first = jnp.real(y[(..., *(0,) * (y.ndim - batch))])
    holds = (first == first) | (first != first)
    return tuple(jnp.where(expand(holds, x.ndim - batch), x, 1.0) for x in arrays)


CACHED = 2**15  # numbers that stay in a core's cache with what Jacobi's method makes of them


def each(
    function: Callable[..., Arrays], cores: tuple[tuple[int, ...], ...], *arrays: jax.Array
) -> Arrays:
    """Of a long stack of tiny matrices one slice after the other on a CPU.

    Each step of a loop goes through all memory that it is about (JAX 0.10.2). A stack that is
    shared by several devices is not cut.
    """
    if jax.device_count() > 1:
        return function(*arrays)
    batch, (rows, columns) = arrays[0].shape[:-2], arrays[0].shape[-2:]
    count = stack_size(arrays[0])
    pieces = -(-count * rows * columns // CACHED)
    if pieces < 2 or max(rows, columns) > 2 * FEW or not is_on_host(arrays[0]):
        return function(*arrays)
    step = -(-count // pieces)

    def cut(x: jax.Array) -> jax.Array:
        flat = jnp.reshape(x, (count, *x.shape[len(batch) :]))
        padding = [(0, pieces * step - count)] + [(0, 0)] * (flat.ndim - 1)
        return jnp.reshape(jnp.pad(flat, padding), (pieces, step, *flat.shape[1:]))

    def of_pieces(*cut_arrays: jax.Array) -> Arrays:
        out: Arrays = jax.lax.map(lambda slices: function(*slices), cut_arrays)
        return out

    results = jax_programs.run(of_pieces, *map(cut, arrays))
    return tuple(
        jnp.reshape(jnp.reshape(y, (-1, *y.shape[2:]))[:count], (*batch, *y.shape[2:]))
        for y in results
    )


def vjp(fun: Callable[..., Any], *primals: jax.Array) -> tuple[Any, Callable[..., Any]]:
    """jax.vjp in our convention of the cotangent."""
    out, pullback = jax_primitives.vjp(fun, *primals)
    return out, lambda bar: jax.tree.map(jnp.conj, pullback(jax.tree.map(jnp.conj, bar)))


jvp = jax_primitives.jvp


def pushforward(f: Callable[..., Any], primals: Arrays, tangents: Arrays) -> Any:
    """The derivative of f along tangents."""
    return jvp(f, primals, tangents)[1]


def adjoint_times(U: jax.Array, B: jax.Array) -> jax.Array:
    # XLA folds the transpose into the product and takes twice as long on the CPU (JAX 0.10.2).
    return product_across(U, B, jax.lax.optimization_barrier(jnp.conj(U.mT)) @ B)


def sum_over_rows(body: Callable[..., Any], arrays: tuple[jax.Array, ...]) -> jax.Array:
    """By a scan over the rows, since a loop of k steps would compile k times."""
    if arrays[0].shape[-2] == 0:
        return host.sum_over_rows(body, arrays)
    rows = tuple(jnp.moveaxis(a, -2, 0)[..., None, :] for a in arrays)
    # of the data, since it varies over devices as they do; nothing of it is computed
    zero = jnp.zeros_like(body(*(row[0] for row in rows)))

    def total(zero: jax.Array, *rows: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda total, row: (total + body(*row), None), zero, rows)[0]

    result: jax.Array = jax_programs.run(total, zero, *rows)
    return result


def derivative(f: Callable[..., Any], s: jax.Array) -> jax.Array:
    return jvp(f, (s,), (jnp.ones_like(s),))[1]


def flatten(tree: Any) -> tuple[list[Any], Callable[[Any], Any]]:
    leaves, structure = jax.tree.flatten(tree)
    return leaves, structure.unflatten  # equal for equal structures


def captures_derivative(f: Callable[..., Any], *probes: jax.Array) -> bool:
    """Whether f closes over a traced value."""
    shapes = (jax.ShapeDtypeStruct(probe.shape, probe.dtype) for probe in probes)
    return any(isinstance(c, jax.core.Tracer) for c in jax.make_jaxpr(f)(*shapes).consts)


def stepped(body: Callable[..., Any], state: Arrays, count: int) -> Arrays:
    def whole(*state: Any) -> Any:
        return jax.lax.fori_loop(0, count, lambda i, state: body(i, *state), state)

    found: Arrays = jax_programs.run(whole, *state)
    return found


def written(x: jax.Array, part: jax.Array, row: Any, column: Any) -> jax.Array:
    return jax.lax.dynamic_update_slice(x, part, (row, column))


def used(x: jax.Array, count: Any) -> jax.Array:
    return x


def rows_at(x: jax.Array, start: Any, count: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(x, start, count)


def as_one(function: Callable[..., Arrays], arrays: Arrays) -> Arrays:
    found: Arrays = jax_programs.run(function, *arrays)
    return found


def one_by_one(function: Callable[..., Arrays], arrays: Arrays) -> Arrays:
    def whole(*arrays: jax.Array) -> Any:
        return jax.lax.map(lambda one: function(*one), arrays)

    found: Arrays = jax_programs.run(whole, *arrays)
    return found


def loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    state: Arrays,
    most: int,
    traced: int,
) -> Arrays:

    def going(counted: Arrays) -> jax.Array:
        return (counted[0] < most) & cond(counted[1])

    def whole(state: Arrays) -> Any:
        return jax.lax.while_loop(going, lambda c: (c[0] + 1, body(c[1])), (0, state))[1]

    return jax_programs.run(whole, state)
