"""What JAX's modes put around a function, a gradient, or a function that a stack is mapped over."""

from __future__ import annotations

import importlib.util
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import checkify
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from modes_jax_functions import value

MESH = jax.make_mesh((1,), ("i",), axis_types=(AxisType.Auto,))
ALONG = PartitionSpec("i")

# functions that stand around another


def repeated(loop):
    """fun(x) in three parts, added up while x is carried along."""

    def wrap(fun):
        body = lambda x, total: (x, total + fun(x) / 3)
        return lambda x: loop(body, (x, jnp.zeros_like(fun(x))))[1]

    return wrap


def scan(body, state):
    return jax.lax.scan(lambda state, _: (body(*state), None), state, length=3)[0]


def fori_loop(body, state):
    return jax.lax.fori_loop(0, 3, lambda _, state: body(*state), state)


def while_loop(body, state):
    step = lambda counted: (counted[0] + 1, body(*counted[1]))
    return jax.lax.while_loop(lambda counted: counted[0] < 3, step, (0, state))[1]


def cond(fun):
    return lambda x: jax.lax.cond(x[0, 0] < 9, fun, lambda x: 0 * fun(x), x)


def switch(fun):
    return lambda x: jax.lax.switch(jnp.int32(x[0, 0] < 9), [lambda x: 0 * fun(x), fun], x)


def custom_vjp(fun):
    outer = jax.custom_vjp(fun)
    outer.defvjp(lambda x: jax.vjp(fun, x), lambda pullback, y_bar: pullback(y_bar))
    return outer


def custom_jvp(fun):
    outer = jax.custom_jvp(fun)
    outer.defjvp(lambda primals, tangents: jax.jvp(fun, primals, tangents))
    return outer


def checkpoint_by_name(fun):
    policy = jax.checkpoint_policies.save_only_these_names("out")
    return jax.checkpoint(lambda x: checkpoint_name(fun(x), "out"), policy=policy)


def export(fun):
    found = jax.export.export(jax.jit(fun))(jax.ShapeDtypeStruct((4, 4), jnp.float64))
    if importlib.util.find_spec("flatbuffers"):  # what JAX saves with
        found = jax.export.deserialize(found.serialize(vjp_order=1))
    return found.call


def vectorize(fun):
    def call(x):
        axes = ",".join("abc"[: jax.eval_shape(fun, x).ndim])
        return jnp.vectorize(fun, signature=f"(m,n)->({axes})")(jnp.stack([x, x]))[1]

    return call


def pure_callback(fun):
    host = lambda x: np.asarray(value(fun, np.asarray(x)))
    return lambda x: jax.pure_callback(host, jax.eval_shape(fun, x), x, vmap_method="sequential")


def partial_argument(fun):
    return partial(jax.jit(lambda f, x: f(x)), jax.tree_util.Partial(fun))


def static_argnums(fun):
    return partial(jax.jit(lambda k, x: fun(x), static_argnums=0), 1)


# what is done with a gradient


def export_of_any_batch(grad, x):
    stack = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 4, 4"), x.dtype)
    return jax.export.export(jax.jit(jax.vmap(grad)))(stack).call(jnp.stack([x] * 3))[2]


def checked(grad, x):
    errors = checkify.float_checks | checkify.index_checks
    error, x_bar = checkify.checkify(jax.jit(grad), errors=errors)(x)
    error.throw()
    return x_bar


def on_sharded_array(grad, x):
    return jax.jit(grad)(jax.device_put(x, NamedSharding(MESH, ALONG)))


def at_compile_time(grad, x):
    def traced(one):
        with jax.ensure_compile_time_eval():
            x_bar = grad(x)
        return one * x_bar

    return jax.jit(traced)(1.0)


# maps over a stack


def mapped_along_other_axes(of_one):
    move = jnp.moveaxis
    mapped = jax.vmap(of_one, in_axes=(1, -1), out_axes=-1)
    return jax.jit(lambda x, dx: [move(y, -1, 0) for y in mapped(move(x, 0, 1), move(dx, 0, -1))])


def scanned(of_one):
    return jax.jit(lambda *xs: jax.lax.scan(lambda c, x: (c, of_one(*x)), 0, xs)[1])


def sharded(of_one):
    return jax.jit(jax.shard_map(jax.vmap(of_one), mesh=MESH, in_specs=ALONG, out_specs=ALONG))


def custom_vmap(of_one):
    outer = jax.custom_batching.custom_vmap(of_one)
    outer.def_vmap(lambda size, batched, *args: (jax.vmap(of_one)(*args), (True,) * 3))
    return jax.jit(jax.vmap(outer))


def sequential_vmap(of_one):
    return jax.jit(jax.vmap(jax.custom_batching.sequential_vmap(of_one)))
