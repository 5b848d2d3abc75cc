"""JAX's modes, each as a function that puts one function of a matrix through it.

A mode takes a `Function` and a real matrix, NumPy's, and returns pairs of arrays: what JAX got, and
what spectralgrad's own transforms make of NumPy's array.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from modes_jax_around import (
    at_compile_time,
    checked,
    checkpoint_by_name,
    cond,
    custom_jvp,
    custom_vjp,
    custom_vmap,
    export,
    export_of_any_batch,
    fori_loop,
    mapped_along_other_axes,
    on_sharded_array,
    partial_argument,
    pure_callback,
    repeated,
    scan,
    scanned,
    sequential_vmap,
    sharded,
    static_argnums,
    switch,
    vectorize,
    while_loop,
)
from modes_jax_functions import (
    DX,
    gradient,
    hessian,
    jacobian,
    loss_of,
    product,
    slope,
    tangent,
    value,
    weights,
)
from modes_jax_functions import (
    FUNCTIONS as FUNCTIONS,
)

POLICIES = jax.checkpoint_policies
TOLERANCE = {"single precision": 2e-4, "third order": 1e-6}  # of the largest; else 1e-8
REFUSED = {  # by a mode and a function: the words
    ("complex", name): "complex128; wanted real"
    for name in ("kabsch", "kabsch:msd", "nearest_rotation")
}
# JAX's own, of any product with a BCOO matrix (0.10.2): its gradient in a shard_map, and a stack of
# any size
REFUSED[("shard_map", "BCOO")] = "Expected cotangent type"
REFUSED[("export of any batch", "BCOO")] = "inconclusive"


def around(wrap=lambda fun: fun, *, reverse=True, forward=True, compiled=True):
    """The mode of a function that stands around another: its value, pullback and tangent."""

    def mode(fun, x):
        wrapped, bar, dx = wrap(fun), weights(np.asarray(value(fun, x))), DX.astype(x.dtype)
        found = [(wrapped, value)]
        if reverse:
            found.append((lambda x: jax.vjp(wrapped, x)[1](bar)[0], gradient))
        if forward:
            found.append((lambda x: jax.jvp(wrapped, (x,), (dx,))[1], tangent))
        run = lambda x: [derivative(x) for derivative, _ in found]
        got = (jax.jit(run) if compiled else run)(jnp.asarray(x))
        return list(zip(got, [wanted(fun, x) for _, wanted in found], strict=True))

    return mode


def of_gradient(run):
    """The mode of something done with the gradient of the loss."""
    return lambda fun, x: [(run(jax.grad(loss_of(fun)), jnp.asarray(x)), gradient(fun, x))]


def of_loss(transform, wanted=hessian):
    """The mode of a transform of the loss, compiled."""
    return lambda fun, x: [(jax.jit(transform(loss_of(fun)))(x), wanted(fun, x))]


def stacked(transform, shape=(2,)):
    """The mode of a map over multiples of x: values, gradients and tangents."""

    def mode(fun, x):
        scales = 1 + np.arange(math.prod(shape)) / 8
        many = jnp.asarray((scales[:, None, None] * x).reshape(*shape, 4, 4))
        of_one = lambda x, dx: (fun(x), jax.grad(loss_of(fun))(x), jax.jvp(fun, (x,), (dx,))[1])
        got = transform(of_one)(many, jnp.broadcast_to(DX, many.shape))
        wanted = (np.stack([f(fun, c * x) for c in scales]) for f in (value, gradient, tangent))
        return [(y, w.reshape(y.shape)) for y, w in zip(got, wanted, strict=True)]

    return mode


def within(context, mode):
    def inside(fun, x):
        with context():
            return mode(fun, x)

    return inside


def setting(name, chosen, mode):
    return within(lambda: getattr(jax, name)(chosen), mode)


def along_dx(fun):
    return lambda x: jax.jvp(fun, (x,), (jnp.asarray(DX),))[1]


def third_order(fun, x):
    """Right, or NaN throughout: the functions of a matrix have no rule of third order."""
    got = jax.jit(jax.grad(along_dx(along_dx(loss_of(fun)))))(x)
    wanted = slope(partial(product, fun), x, DX)
    return [(got, np.full_like(wanted, np.nan) if np.all(np.isnan(got)) else wanted)]


def linearize(fun, x):
    along = jax.linearize(fun, jnp.asarray(x))[1]
    (x_bar,) = jax.linear_transpose(along, x)(weights(np.asarray(value(fun, x))))
    return [(along(DX), tangent(fun, x)), (x_bar, gradient(fun, x))]


def transposed_pullback(fun, x):
    y, pullback = jax.vjp(fun, jnp.asarray(x))
    (dy,) = jax.linear_transpose(pullback, y)((jnp.asarray(DX),))
    return [(dy, tangent(fun, x))]


def custom_root(fun, x):
    """How the minimum y of |y - t x|^2 / 2 + loss(y) / 50 moves with t: (1 + H / 50)^-1 x."""
    small = lambda y: jax.grad(loss_of(fun))(y) / 50
    solve = lambda g, b: jnp.linalg.solve(jax.jacobian(g)(b).reshape(16, 16), b.ravel())

    def minimum(t):
        step = lambda _, y: t * x - small(y)
        return jax.lax.custom_root(
            lambda y: y - t * x + small(y),
            jnp.asarray(x),
            lambda _, start: jax.lax.fori_loop(0, 30, step, start),
            lambda g, b: solve(g, b).reshape(4, 4),
        )

    y, dy = jax.jit(lambda t: (minimum(t), jax.jacrev(minimum)(t)))(1.0)
    matrix = np.eye(16) + hessian(fun, np.asarray(y)).reshape(16, 16) / 50
    return [(dy, np.linalg.solve(matrix, x.ravel()).reshape(4, 4))]


def eval_shape(fun, x):
    shapes = jax.eval_shape(fun, x), jax.eval_shape(jax.grad(loss_of(fun)), x)
    return [(shapes[0].shape, np.shape(value(fun, x))), (shapes[1].shape, x.shape)]


def in_single_precision(fun, x):
    with jax.enable_x64(False):
        return around()(fun, x.astype(np.float32))


def turned_complex(fun, x):
    """A unitary similarity to a complex matrix, which is Hermitian if x is symmetric."""
    phases = np.exp(1j * np.arange(4.0))
    z = phases[:, None] * x * phases.conj()
    return [(jnp.conj(jax.jit(jax.grad(loss_of(fun)))(z)), gradient(fun, z))]


jitted, eager = around(), around(compiled=False)
MODES: dict[str, Callable] = {
    "jit": around(jax.jit),
    "jit of grad": of_gradient(lambda grad, x: jax.jit(grad)(x)),
    "vmap": stacked(lambda of_one: jax.jit(jax.vmap(of_one)), (4,)),  # as many as values
    "vmap of vmap": stacked(lambda of_one: jax.jit(jax.vmap(jax.vmap(of_one))), (2, 2)),
    "vmap along other axes": stacked(mapped_along_other_axes),
    "vmap with spmd_axis_name": stacked(lambda of_one: jax.vmap(of_one, spmd_axis_name="i")),
    "custom_vmap": stacked(custom_vmap),
    "sequential_vmap": stacked(sequential_vmap),
    "scan over a stack": stacked(scanned),
    "shard_map": stacked(sharded),
    "pmap": stacked(lambda of_one: jax.pmap(of_one), (1,)),
    "jacrev": lambda fun, x: [(jax.jit(jax.jacrev(fun))(x), jacobian(fun, x))],
    "jacfwd": lambda fun, x: [(jax.jit(jax.jacfwd(fun))(x), jacobian(fun, x))],
    "jacfwd of jacrev": of_loss(lambda loss: jax.jacfwd(jax.jacrev(loss))),
    "jacrev of jacfwd": of_loss(lambda loss: jax.jacrev(jax.jacfwd(loss))),
    "jacrev of jacrev": of_loss(lambda loss: jax.jacrev(jax.jacrev(loss))),
    "jacfwd of jacfwd": of_loss(lambda loss: jax.jacfwd(jax.jacfwd(loss))),
    "jvp of grad": of_loss(lambda loss: along_dx(jax.grad(loss)), product),
    "grad of jvp": of_loss(lambda loss: jax.grad(along_dx(loss)), product),
    "vjp of jvp": of_loss(lambda loss: lambda x: jax.vjp(along_dx(loss), x)[1](1.0)[0], product),
    "third order": third_order,
    "linearize and linear_transpose": linearize,
    "linear_transpose of a pullback": transposed_pullback,
    "custom_root": custom_root,
    "scan": around(repeated(scan)),
    "fori_loop": around(repeated(fori_loop)),
    "while_loop": around(repeated(while_loop), reverse=False),
    "cond": around(cond),
    "switch": around(switch),
    "checkpoint": around(jax.checkpoint),
    "checkpoint, dots saved": around(partial(jax.checkpoint, policy=POLICIES.dots_saveable)),
    "checkpoint, nothing saved": around(partial(jax.checkpoint, policy=POLICIES.nothing_saveable)),
    "checkpoint by name": around(checkpoint_by_name),
    "custom_vjp": around(custom_vjp, forward=False),
    "custom_jvp": around(custom_jvp),
    "export": around(export, forward=False),
    "export of any batch": of_gradient(export_of_any_batch),
    "vectorize": around(vectorize),
    "pure_callback": around(pure_callback, reverse=False, forward=False),
    "Partial": around(partial_argument),
    "static_argnums": around(static_argnums),
    "donate_argnums": of_gradient(lambda grad, x: jax.jit(grad, donate_argnums=0)(x)),
    "compiled ahead": of_gradient(lambda grad, x: jax.jit(grad).lower(x).compile()(x)),
    "eval_jaxpr": of_gradient(lambda grad, x: jaxpr_as_fun(jax.make_jaxpr(grad)(x))(x)[0]),
    "eval_shape": eval_shape,
    "sharded array": of_gradient(on_sharded_array),
    "ensure_compile_time_eval": of_gradient(at_compile_time),
    "checkify": of_gradient(checked),
    "complex": turned_complex,
    "single precision": in_single_precision,
    "disable_jit": setting("disable_jit", True, eager),
    "debug_nans": setting("debug_nans", True, jitted),
    "debug_nans, eager": setting("debug_nans", True, eager),
    "debug_infs": setting("debug_infs", True, jitted),
    "debug_infs, eager": setting("debug_infs", True, eager),
    "rank promotion refused": setting("numpy_rank_promotion", "raise", jitted),
    "strict dtypes": setting("numpy_dtype_promotion", "strict", jitted),
    "leaks checked": within(jax.checking_leaks, jitted),
}
