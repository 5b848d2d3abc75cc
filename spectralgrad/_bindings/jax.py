"""Calls as two JAX primitives: jit, vmap, grad, jvp, hessian, checkpoint and scan work.

`op` computes; its derivative binds `lin`, which computes the rule's jvp and transposes to the
rule's vjp. custom_jvp and custom_vjp do not serve: nested custom rules are dropped in partial
evaluation, and second derivatives came out silently zero. Tried with JAX 0.10.2.

JAX's cotangent is the conjugate of ours, dL = Re sum(ct * dx): the transpose conjugates both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import sparse
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import host
from .array import Arrays
from .host import each as each
from .host import is_blocked as is_blocked
from .host import unmapped as unmapped

autodiff = True
op = Primitive("spectralgrad")
lin = Primitive("spectralgrad_lin")
later = Primitive("spectralgrad_later")


def apply(call: Any, arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    return tuple(op.bind(*_varying_alike(arrays), call=call))


def _varying_alike(arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """The arrays, varying over the same axes inside of `shard_map`.

    What all devices share is cast, and the transpose of that adds up its cotangents.
    """
    axes = [jax.typeof(x).manual_axis_type.varying for x in arrays]
    union = frozenset().union(*axes)
    return tuple(
        x if own == union else jax.lax.pcast(x, tuple(union - own), to="varying")
        for x, own in zip(arrays, axes, strict=True)
    )


def computing(x: jax.Array) -> AbstractContextManager[Any]:
    # rules divide by infinite gaps on purpose; a NaN is meant to be found
    return jax.debug_infs(False) if jax.config.jax_debug_infs else nullcontext()


def sees_context() -> bool:
    return True


def values(x: jax.Array) -> jax.Array | None:
    return None if is_differentiated(x) else x


def truth(flag: jax.Array) -> bool | None:
    return None if is_differentiated(flag) else bool(flag)


def call_later(function: Callable[..., None], arrays: Arrays) -> None:
    later.bind(*arrays, function=function)


def can_loop(x: jax.Array) -> bool:
    return True


def is_differentiated(x: jax.Array) -> bool:
    return isinstance(x, jax.core.Tracer)


def vjp(fun: Callable[..., Any], *primals: jax.Array) -> tuple[Any, Callable[..., Any]]:
    """jax.vjp in our convention of the cotangent."""
    out, pullback = jax.vjp(fun, *primals)
    return out, lambda bar: jax.tree.map(jnp.conj, pullback(jax.tree.map(jnp.conj, bar)))


jvp = jax.jvp


def pushforward(f: Callable[..., Any], primals: Arrays, tangents: Arrays) -> Any:
    """The derivative of f along tangents."""
    return jax.jvp(f, primals, tangents)[1]


def adjoint_times(U: jax.Array, B: jax.Array) -> jax.Array:
    # XLA folds the transpose into the product and takes twice as long on the CPU (JAX 0.10.2).
    return jax.lax.optimization_barrier(jnp.conj(U.mT)) @ B


def sum_over_rows(body: Callable[..., Any], arrays: tuple[jax.Array, ...]) -> jax.Array:
    """By a scan over the rows, since a loop of k steps would compile k times."""
    if arrays[0].shape[-2] == 0:
        return host.sum_over_rows(body, arrays)
    rows = tuple(jnp.moveaxis(a, -2, 0)[..., None, :] for a in arrays)
    # of the data, since it varies over devices as they do; nothing of it is computed
    zero = jnp.zeros_like(body(*(row[0] for row in rows)))
    return jax.lax.scan(lambda total, row: (total + body(*row), None), zero, rows)[0]


def derivative(f: Callable[..., Any], s: jax.Array) -> jax.Array:
    return jax.jvp(f, (s,), (jnp.ones_like(s),))[1]


def _op(*arrays: jax.Array, call: Any) -> tuple[jax.Array, ...]:
    return call.forward(*map(jnp.asarray, arrays))  # jax.grad lets Python numbers through


def _lin(*args: jax.Array, call: Any, inputs: int, outputs: int, given: tuple[int, ...]) -> Arrays:
    """Tangents of the outputs; `given` says which inputs have one, at the end of `args`."""
    args = tuple(jnp.asarray(arg) for arg in args)  # jax.jvp lets NumPy arrays through
    tangents = [None] * inputs
    for i, tangent in zip(given, args[inputs + outputs :], strict=True):
        tangents[i] = tangent
    out = args[inputs : inputs + outputs]
    result = call.jvp(args[:inputs], out, tuple(tangents))
    return tuple(jnp.zeros_like(y) if t is None else t for y, t in zip(out, result, strict=True))


def _later(*arrays: jax.Array, function: Callable[..., None]) -> Arrays:
    """Under vmap one call with the whole stack, where jax.debug.callback has one an element."""
    jax.debug.callback(function, *arrays)
    return ()


def _op_jvp(primals: Arrays, tangents: Arrays, *, call: Any) -> Arrays:
    outputs = op.bind(*primals, call=call)
    given = tuple(i for i in call.active(primals) if type(tangents[i]) is not ad.Zero)
    if not given:
        return outputs, [ad.Zero(jax.typeof(y).to_tangent_aval()) for y in outputs]
    dots = [ad.instantiate_zeros(tangents[i]) for i in given]
    return outputs, lin.bind(
        *primals, *outputs, *dots, call=call, inputs=len(primals), outputs=len(outputs), given=given
    )


def _lin_transpose(
    cotangents: Arrays,
    *args: Any,
    call: Any,
    inputs: int,
    outputs: int,
    given: tuple[int, ...],
) -> list[Any]:
    known = tuple(jnp.asarray(arg) for arg in args[: inputs + outputs])
    bars = call.vjp(
        known[:inputs],
        known[inputs:],
        tuple(None if type(c) is ad.Zero else jnp.conj(c) for c in cotangents),
        given,
    )
    dots = args[inputs + outputs :]
    return [None] * (inputs + outputs) + [
        ad.Zero(dot.aval) if bars[i] is None else jnp.conj(bars[i])
        for i, dot in zip(given, dots, strict=True)
    ]


def _lin_jvp(primals: Arrays, tangents: Arrays, **params: Any) -> Arrays:
    return jax.jvp(
        partial(_lin, **params), primals, tuple(ad.instantiate_zeros(t) for t in tangents)
    )


def _batch(primitive: Primitive, args: Arrays, dims: Arrays, **params: Any) -> Arrays:
    """Every array gets the batch in front: rules work on (..., m, n)."""
    size = next(x.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
    front = [
        jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(args, dims, strict=True)
    ]
    out = primitive.bind(*front, **params)
    return out, [0] * len(out)


def _avals(fun: Callable[..., Any], *avals: Any, **params: Any) -> list[Any]:
    jaxpr = jax.make_jaxpr(partial(fun, **params))(*avals)  # which minds axes of a shard_map
    return [aval.strip_weak_type() for aval in jaxpr.out_avals]


def _effects(*avals: Any, **params: Any) -> tuple[list[Any], Any]:
    """Those of the callback, without which nothing would keep a call that returns nothing."""
    return [], jax.make_jaxpr(partial(_later, **params))(*avals).effects


for _primitive, _fun in ((op, _op), (lin, _lin), (later, _later)):
    _primitive.multiple_results = True
    _primitive.def_impl(_fun)
    _primitive.def_abstract_eval(partial(_avals, _fun))
    batching.primitive_batchers[_primitive] = partial(_batch, _primitive)
    mlir.register_lowering(_primitive, mlir.lower_fun(_fun, multiple_results=True))
later.def_effectful_abstract_eval(_effects)
ad.primitive_jvps[later] = lambda primals, tangents, **params: (later.bind(*primals, **params), [])
ad.primitive_transposes[later] = lambda cotangents, *args, **params: [None] * len(args)
ad.primitive_jvps[op] = _op_jvp
ad.primitive_jvps[lin] = _lin_jvp
ad.primitive_transposes[lin] = _lin_transpose


def flatten(tree: Any) -> tuple[list[Any], Callable[[Any], Any]]:
    leaves, structure = jax.tree.flatten(tree)
    return leaves, structure.unflatten  # equal for equal structures


def captures_derivative(f: Callable[..., Any], *probes: jax.Array) -> bool:
    """Whether f closes over a traced value."""
    shapes = (jax.ShapeDtypeStruct(probe.shape, probe.dtype) for probe in probes)
    return any(isinstance(c, jax.core.Tracer) for c in jax.make_jaxpr(f)(*shapes).consts)


def loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    state: Arrays,
    most: int,
    traced: int,
) -> Arrays:

    def going(counted: Arrays) -> jax.Array:
        return (counted[0] < most) & cond(counted[1])

    return jax.lax.while_loop(going, lambda c: (c[0] + 1, body(c[1])), (0, state))[1]


def parts(A: sparse.BCOO) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Values, rows and columns, of one entry for each place.

    What is left over of duplicates, and the places that pad a BCOO and lie outside, are zeros.
    """
    if not isinstance(A, sparse.BCOO) or A.n_batch or A.n_dense:
        raise TypeError(
            f"truncated_svd: argument `x` is a {type(A).__name__}; wanted a BCOO matrix without "
            "batch or dense axes. Convert it with BCOO.fromdense or bcoo_update_layout."
        )
    rows, cols = A.indices[:, 0], A.indices[:, 1]
    inside = (rows < A.shape[0]) & (cols < A.shape[1])
    data, rows, cols = (jnp.where(inside, part, 0) for part in (A.data, rows, cols))
    if A.unique_indices:
        return data, rows, cols
    order = jnp.lexsort((cols, rows))
    data, rows, cols = (part[order] for part in (data, rows, cols))
    new = jnp.concatenate([jnp.ones(1, bool), (jnp.diff(rows) != 0) | (jnp.diff(cols) != 0)])
    place = jnp.cumsum(new) - 1
    total = jax.ops.segment_sum(data, place, num_segments=len(data))
    return total, jnp.zeros_like(rows).at[place].set(rows), jnp.zeros_like(cols).at[place].set(cols)


def sparse_matrix(
    values: jax.Array, rows: jax.Array, cols: jax.Array, shape: tuple[int, ...]
) -> Any:
    return sparse.BCOO((values, jnp.stack([rows, cols], axis=-1)), shape=shape)


def sparse_product(
    values: jax.Array, rows: jax.Array, cols: jax.Array, shape: tuple[int, ...]
) -> Callable[..., Any]:
    A = sparse_matrix(values, rows, cols, shape)
    return lambda X: A @ X
