"""Calls as JAX primitives.

`op` computes. Its derivative binds `lin`, the rule's jvp, whose transpose is `pull`, the rule's
vjp: both are linear in their directions, which JAX has to know of what it linearizes, transposes
or solves with (custom_root). custom_jvp and custom_vjp do not serve: nested custom rules are
dropped in partial evaluation, and second derivatives came out silently zero. Tried with JAX 0.10.2.

JAX's cotangent is the conjugate of ours, dL = Re sum(ct * dx): `pull` conjugates both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from .array import Arrays
from .jax_calls import Mapped

op = Primitive("spectralgrad")
lin = Primitive("spectralgrad_lin")
pull = Primitive("spectralgrad_pull")
later = Primitive("spectralgrad_later")


_COMPILED: ContextVar[bool] = ContextVar("compiled", default=False)


@contextmanager
def _compiled(value: bool) -> Iterator[None]:
    token = _COMPILED.set(value)
    try:
        yield
    finally:
        _COMPILED.reset(token)


def is_followed(x: jax.Array) -> bool:
    """Whether a derivative of what is computed from x may be asked for.

    A rule is written out as a program of JAX's when that is compiled, and then it is too late; but
    the user's code that it calls may be traced there for more than this program.
    """
    return isinstance(x, jax.core.Tracer) and not _COMPILED.get()


def _written_out(function: Callable[..., Any]) -> Callable[..., Any]:
    def last(*arrays: jax.Array, **params: Any) -> Any:
        with _compiled("call" in params and not params["call"].foreign):
            return function(*arrays, **params)

    return last


def jvp(function: Callable[..., Any], primals: Arrays, tangents: Arrays) -> Any:
    """jax.jvp, inside of what is compiled too."""
    with _compiled(False):
        return jax.jvp(function, primals, tangents)


def vjp(function: Callable[..., Any], *primals: jax.Array) -> Any:
    with _compiled(False):
        return jax.vjp(function, *primals)


@contextmanager
def _unwatched() -> Iterator[None]:
    with _in_full(), jax.debug_nans(False), jax.debug_infs(False):
        yield


def _is_watched() -> bool:
    return bool(jax.config.jax_debug_nans or jax.config.jax_debug_infs)


def _in_full() -> AbstractContextManager[Any]:
    # by default JAX takes products in TF32 on a GPU, and in bfloat16 on a TPU
    precision: AbstractContextManager[Any] = jax.default_matmul_precision("highest")
    return precision


def computing() -> AbstractContextManager[Any]:
    """Rules make NaN and Inf on purpose, in places that nothing uses."""
    return _unwatched() if _is_watched() else _in_full()


def _op(*arrays: jax.Array, call: Any) -> tuple[jax.Array, ...]:
    with computing():
        return tuple(call.forward(*map(jnp.asarray, arrays)))  # jax.grad lets numbers through


def _lin(*args: jax.Array, call: Any, inputs: int, outputs: int, along: tuple[int, ...]) -> Arrays:
    """Tangents of the outputs; `along` says which inputs have one, at the end of `args`."""
    known, tangents = _split(args, inputs, outputs, along, inputs)
    result = call.jvp(known[:inputs], known[inputs:], tangents)
    pairs = zip(known[inputs:], result, strict=True)
    return tuple(jnp.zeros_like(y) if t is None else t for y, t in pairs)


def _pull(
    *args: jax.Array,
    call: Any,
    inputs: int,
    outputs: int,
    along: tuple[int, ...],
    given: tuple[int, ...],
) -> Arrays:
    """Cotangents of the inputs that are `given`, for those of the outputs `along`, JAX's both."""
    known, bars = _split(args, inputs, outputs, along, outputs)
    bars = tuple(None if bar is None else jnp.conj(bar) for bar in bars)
    result = call.vjp(known[:inputs], known[inputs:], bars, given)
    return tuple(
        jnp.zeros_like(known[i]) if result[i] is None else jnp.conj(result[i]) for i in given
    )


def _split(
    args: Arrays, inputs: int, outputs: int, along: tuple[int, ...], directions: int
) -> tuple[Arrays, Arrays]:
    """Inputs with outputs, and the directions, None for those that are not there."""
    args = tuple(jnp.asarray(arg) for arg in args)  # jax.jvp lets NumPy arrays through
    there = dict(zip(along, args[inputs + outputs :], strict=True))
    return args[: inputs + outputs], tuple(map(there.get, range(directions)))


def _later(*arrays: jax.Array, function: Callable[..., None]) -> Arrays:
    """Under vmap one call with the whole stack, where jax.debug.callback has one an element."""
    jax.debug.callback(function, *arrays)
    return ()


def _eager(fun: Callable[..., Any], *arrays: jax.Array, **params: Any) -> Arrays:
    with computing():
        out: Arrays = fun(*arrays, **params)
    # a step of JAX's own, where it looks for NaN and Inf in what came out
    if _is_watched():
        out = jax.lax.optimization_barrier(out)
    return out


def _op_jvp(primals: Arrays, tangents: Arrays, *, call: Any) -> Arrays:
    outputs = op.bind(*primals, call=call)
    given = tuple(i for i in call.active(primals) if type(tangents[i]) is not ad.Zero)
    if not given:
        return outputs, [ad.Zero(jax.typeof(y).to_tangent_aval()) for y in outputs]
    dots = [ad.instantiate_zeros(tangents[i]) for i in given]
    return outputs, lin.bind(
        *primals, *outputs, *dots, call=call, inputs=len(primals), outputs=len(outputs), along=given
    )


def _lin_transpose(
    cotangents: Arrays, *args: Any, inputs: int, outputs: int, along: tuple[int, ...], call: Any
) -> list[Any]:
    known, shown = args[: inputs + outputs], _nonzero(cotangents)
    if not shown:
        return [None] * len(args)
    sizes = {"inputs": inputs, "outputs": outputs}
    bars = (cotangents[i] for i in shown)
    found = pull.bind(*known, *bars, call=call, along=shown, given=along, **sizes)
    return [None] * len(known) + list(found)


def _pull_transpose(
    cotangents: Arrays, *args: Any, along: tuple[int, ...], given: tuple[int, ...], **params: Any
) -> list[Any]:
    known, shown = args[: params["inputs"] + params["outputs"]], _nonzero(cotangents)
    if not shown:
        return [None] * len(args)
    dots = (cotangents[i] for i in shown)
    found = lin.bind(*known, *dots, along=tuple(given[i] for i in shown), **params)
    return [None] * len(known) + [found[i] for i in along]


def _nonzero(directions: Arrays) -> tuple[int, ...]:
    return tuple(i for i, d in enumerate(directions) if type(d) is not ad.Zero)


def _lin_jvp(primals: Arrays, tangents: Arrays, **params: Any) -> Arrays:
    """Linear in its directions: along them it is its own derivative at every point."""
    size = params["inputs"] + params["outputs"]
    out, terms = lin.bind(*primals, **params), []
    moving, shown = _nonzero(tangents[:size]), _nonzero(tangents[size:])
    if moving:
        terms.append(_moved(_lin, primals, tangents, moving, params))
    if shown:
        along = tuple(params["along"][i] for i in shown)
        dots = (tangents[size + i] for i in shown)
        terms.append(lin.bind(*primals[:size], *dots, **params | {"along": along}))
    return out, [reduce(ad.add_tangents, parts) for parts in zip(*terms, strict=True)]


def _pull_jvp(primals: Arrays, tangents: Arrays, **params: Any) -> Arrays:
    """Along everything at once.

    The cotangents of a loss that is blind to the phases of vectors say so at every point. What
    they become along a direction does not say so alone, without what the vectors become.
    """
    moved = _moved(_pull, primals, tangents, _nonzero(tangents), params)
    return pull.bind(*primals, **params), moved


def _moved(
    fun: Callable[..., Any],
    primals: Arrays,
    tangents: Arrays,
    moving: tuple[int, ...],
    params: dict[str, Any],
) -> Arrays:
    """The derivative of fun along those tangents, by its arithmetic."""

    def of_moving(*moved: jax.Array) -> Arrays:
        there = dict(zip(moving, moved, strict=True))
        out: Arrays = fun(*(there.get(i, x) for i, x in enumerate(primals)), **params)
        return out

    along: Arrays = jvp(of_moving, *(tuple(a[i] for i in moving) for a in (primals, tangents)))
    return along[1]


def _batch(primitive: Primitive, args: Arrays, dims: Arrays, **params: Any) -> Arrays:
    """Every array gets the batch in front: rules work on (..., m, n).

    But what all matrices share is none of a batch.
    """
    if "call" in params and params["call"].shares:
        params["call"] = Mapped(params["call"])
    size = next(x.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
    front = [
        jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(args, dims, strict=True)
    ]
    out = primitive.bind(*front, **params)
    return out, [0] * len(out)


def _avals(fun: Callable[..., Any], *avals: Any, **params: Any) -> list[Any]:
    function = partial(_written_out(fun), **params)
    jaxpr = jax.make_jaxpr(function)(*avals)  # which minds axes of a shard_map
    return [aval.strip_weak_type() for aval in jaxpr.out_avals]


def _effects(*avals: Any, **params: Any) -> tuple[list[Any], Any]:
    """Those of the callback, without which nothing would keep a call that returns nothing."""
    return [], jax.make_jaxpr(partial(_later, **params))(*avals).effects


for _primitive, _fun in ((op, _op), (lin, _lin), (pull, _pull), (later, _later)):
    _primitive.multiple_results = True
    _primitive.def_impl(partial(_eager, _fun))
    _primitive.def_abstract_eval(partial(_avals, _fun))
    batching.primitive_batchers[_primitive] = partial(_batch, _primitive)
    mlir.register_lowering(_primitive, mlir.lower_fun(_written_out(_fun), multiple_results=True))
later.def_effectful_abstract_eval(_effects)
ad.primitive_jvps[later] = lambda primals, tangents, **params: (later.bind(*primals, **params), [])
ad.primitive_transposes[later] = lambda cotangents, *args, **params: [None] * len(args)
ad.primitive_jvps[op] = _op_jvp
ad.primitive_jvps[lin], ad.primitive_transposes[lin] = _lin_jvp, _lin_transpose
ad.primitive_jvps[pull], ad.primitive_transposes[pull] = _pull_jvp, _pull_transpose
