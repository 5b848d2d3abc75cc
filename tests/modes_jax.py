"""JAX's modes, each as a function that puts one operation through it.

A mode takes `fun`, from a real matrix to one array, and the matrix as NumPy's array; it returns
pairs of arrays, what JAX got and what spectralgrad's own transforms make of NumPy's array.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import checkify, sparse
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from matrices import SPECTRA, hermitian, random, with_spectrum
from operations import OPERATIONS

import spectralgrad as sg

F = sg.functions
POLICIES = jax.checkpoint_policies
DX, POINTS = random((4, 4), seed=1), random((4, 4), seed=2)
TOLERANCE = {"x64 off": 2e-4, "third order": 1e-6}  # relative to the largest; others 1e-8


@dataclass(frozen=True)
class Function:
    """A function of one matrix; `plain` is the same in the library's own calls alone."""

    fun: Callable
    plain: Callable
    definite: bool = False  # wants a symmetric positive definite matrix
    second: bool = True  # sg.hvp knows `plain`

    def __call__(self, x):
        return self.fun(x)

    @property
    def matrix(self):
        values = SPECTRA["spread"]
        return hermitian(values) if self.definite else with_spectrum(4, 4, values)


def largest_two(found):
    U, S, Vh = found
    return (U * S[..., None, :])[..., :2] @ Vh[..., :2, :]


def upper_projector(found):
    Q = found[1][..., 2:]
    return Q @ jnp.conj(Q).mT


def points_like(x):
    return x.__array_namespace__().asarray(POINTS, dtype=x.dtype)


def of_entries(x):
    places = jnp.stack(jnp.meshgrid(jnp.arange(4), jnp.arange(4), indexing="ij"), -1)
    A = sparse.BCOO((x.reshape(-1), places.reshape(-1, 2)), shape=(4, 4))
    return largest_two(sg.truncated_svd(A, 2, solver="krylov", adjoint="krylov"))


def bounded(s, alpha):
    return s / (s * s + alpha)


low_rank, projector = partial(sg.low_rank, k=2), partial(sg.eigenprojector, k=2)
with_tikhonov = lambda x: sg.svd_function(x, F.tikhonov(sg.spectral_norm(x)))
OWN = {  # results that are free to choose, or that NumPy's arrays have by another name
    "svd": (lambda x: largest_two(sg.svd(x, full_matrices=False)), low_rank),
    "svd_full": (lambda x: largest_two(sg.svd(x)), low_rank),
    "svd:S": (lambda x: sg.svd(x).S, sg.svdvals),
    "eigh": (lambda x: upper_projector(sg.eigh(x)), projector),
    "polar_left": (lambda x: sg.polar(x, side="left").P,) * 2,
    "truncated_svd": (
        lambda x: largest_two(sg.truncated_svd(x, 2, solver="krylov", adjoint="krylov")),
        low_rank,
    ),
    "truncated_svd of BCOO": (of_entries, low_rank),
    "kabsch": (lambda x: sg.kabsch(x, points_like(x)).rotation,) * 2,
    "kabsch:msd": (lambda x: sg.kabsch(x, points_like(x), scale=True).msd,) * 2,
    "procrustes": (lambda x: sg.procrustes(x, points_like(x)).rotation,) * 2,
    "svd_function:bare": (
        lambda x: sg.svd_function(x, lambda s: bounded(s, 0.3)),
        lambda x: sg.svd_function(x, F.tikhonov(0.3)),
    ),
    "svd_function:learned": (
        lambda x: sg.svd_function(x, bounded, params=sg.spectral_norm(x)),
        with_tikhonov,
    ),
    "svd_function:alpha": (with_tikhonov,) * 2,
}
CASES = {op.name: op for op in OPERATIONS}
FUNCTIONS = {
    name: Function(
        *OWN.get(name, (getattr(CASES.get(name), "call", None),) * 2),
        definite=name in CASES and CASES[name].square,
        second=name in OWN.keys() - {"svd:S"} or CASES.get(name, CASES["svd"]).second,
    )
    for name in CASES | OWN
}


def weights(y):
    """A cotangent that weighs every entry differently."""
    return np.cos(np.arange(1.0, 1 + math.prod(y.shape))).reshape(y.shape).astype(y.dtype)


def loss_of(fun):
    def loss(x):
        y = fun(x)
        return jnp.real(jnp.sum(weights(y) * y))

    return loss


def gradient(fun, x):
    y, pullback = sg.vjp(fun.plain, x)
    return pullback(weights(y))[0]


def tangent(fun, x, dx=DX):
    return sg.jvp(fun.plain, (x,), (dx.astype(x.dtype),))[1]


def slope(function, x, dx):
    """The derivative along dx of a function of x, by differences."""
    at = lambda step: function(x + step * dx)
    h = 1e-3
    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / 12 / h


def product(fun, x, dx=DX):
    """The Hessian of the loss times dx."""
    if not fun.second:
        return slope(partial(gradient, fun), x, dx)
    return sg.hvp(fun.plain, x, dx, weights(np.asarray(fun.plain(x))))


def along_units(derivative, fun, x):
    """Of each entry of x, in the last axes."""
    units = np.eye(16).reshape(16, 4, 4)
    columns = np.stack([derivative(fun, x, unit) for unit in units], axis=-1)
    return columns.reshape(*columns.shape[:-1], 4, 4)


def around(wrap, *, reverse=True, forward=True, compiled=True):
    """The mode of a function that stands around another, with value, pullback and tangent."""

    def mode(fun, x):
        wrapped, bar, dx = wrap(fun), weights(np.asarray(fun.plain(x))), DX.astype(x.dtype)
        todo = {"value": (wrapped, fun.plain)}
        if reverse:
            todo["pullback"] = (lambda x: jax.vjp(wrapped, x)[1](bar)[0], partial(gradient, fun))
        if forward:
            along = lambda x: jax.jvp(wrapped, (x,), (dx,))[1]
            todo["tangent"] = (along, partial(tangent, fun))
        run = lambda x: [got(x) for got, _ in todo.values()]
        found = (jax.jit(run) if compiled else run)(jnp.asarray(x))
        return [(got, wanted(x)) for got, (_, wanted) in zip(found, todo.values(), strict=True)]

    return mode


def of_scalar(transform, wanted):
    """The mode of a transform of the loss."""
    return lambda fun, x: [(jax.jit(transform(loss_of(fun)))(jnp.asarray(x)), wanted(fun, x))]


hessian = partial(along_units, product)
of_loss = partial(of_scalar, wanted=hessian)


def in_context(context, mode):
    def inside(fun, x):
        with context():
            return mode(fun, x)

    return inside


def stacked(transform, shape=(2,)):
    """The mode of vmap over several multiples of x: value, pullback and tangent."""

    def mode(fun, x):
        scales = 1 + np.arange(math.prod(shape)) / 8
        many = jnp.asarray((scales[:, None, None] * x).reshape(*shape, 4, 4))
        dx = jnp.broadcast_to(DX, many.shape)
        of_one = lambda x, dx: (fun(x), jax.grad(loss_of(fun))(x), jax.jvp(fun, (x,), (dx,))[1])
        wanted = [(fun.plain(c * x), gradient(fun, c * x), tangent(fun, c * x)) for c in scales]
        return [
            (got, np.stack(parts).reshape(got.shape))
            for got, parts in zip(
                transform(of_one)(many, dx), zip(*wanted, strict=True), strict=True
            )
        ]

    return mode


def one_device(kind=AxisType.Auto):
    return jax.make_mesh((1,), ("i",), axis_types=(kind,))


def sharded(of_one):
    spec = PartitionSpec("i")
    return jax.jit(
        jax.shard_map(jax.vmap(of_one), mesh=one_device(), in_specs=spec, out_specs=spec)
    )


def moved_axes(of_one):
    move = jnp.moveaxis
    mapped = jax.vmap(of_one, in_axes=(1, -1), out_axes=-1)
    return jax.jit(lambda x, dx: [move(y, -1, 0) for y in mapped(move(x, 0, 1), move(dx, 0, -1))])


def scanned(fun, loop):
    """fun(x), added up three times while x is carried along."""

    def whole(x):
        zero = jnp.zeros_like(fun(x))
        return loop(lambda x, total: (x, total + fun(x) / 3), (x, zero))[1]

    return whole


def scan(body, state):
    return jax.lax.scan(lambda state, _: (body(*state), None), state, length=3)[0]


def fori_loop(body, state):
    return jax.lax.fori_loop(0, 3, lambda _, state: body(*state), state)


def while_loop(body, state):
    step = lambda counted: (counted[0] + 1, body(*counted[1]))
    return jax.lax.while_loop(lambda counted: counted[0] < 3, step, (0, state))[1]


def with_custom_vjp(fun):
    outer = jax.custom_vjp(fun)
    outer.defvjp(lambda x: jax.vjp(fun, x), lambda pullback, y_bar: pullback(y_bar))
    return outer


def with_custom_jvp(fun):
    outer = jax.custom_jvp(fun)
    outer.defjvp(lambda primals, tangents: jax.jvp(fun, primals, tangents))
    return outer


def with_custom_vmap(of_one):
    outer = jax.custom_batching.custom_vmap(of_one)
    outer.def_vmap(lambda size, batched, *args: (jax.vmap(of_one)(*args), (True,) * 3))
    return jax.jit(jax.vmap(outer))


def exported(fun):
    of_matrix = jax.ShapeDtypeStruct((4, 4), jnp.float64)
    found = jax.export.export(jax.jit(fun))(of_matrix)
    if importlib.util.find_spec("flatbuffers"):  # what JAX saves with
        found = jax.export.deserialize(found.serialize(vjp_order=1))
    return found.call


def of_any_batch(fun, x):
    shape = jax.export.symbolic_shape("b, 4, 4")
    exported = jax.export.export(jax.jit(jax.vmap(jax.grad(loss_of(fun)))))
    call = exported(jax.ShapeDtypeStruct(shape, x.dtype)).call
    return [(call(np.stack([x] * 3))[2], gradient(fun, x))]


def named(fun):
    saved = jax.checkpoint(
        lambda x: checkpoint_name(fun(checkpoint_name(x, "in")), "out"),
        policy=POLICIES.save_only_these_names("out"),
    )
    return saved


def vectorized(fun):
    def call(x):
        axes = ",".join("abc"[: jax.eval_shape(fun, x).ndim])
        return jnp.vectorize(fun, signature=f"(m,n)->({axes})")(jnp.stack([x, x]))[1]

    return call


def evaluated(fun, x):
    jaxpr = jax.make_jaxpr(jax.grad(loss_of(fun)))(x)
    return [(jax.core.eval_jaxpr(jaxpr.jaxpr, jaxpr.consts, x)[0], gradient(fun, x))]


def called_back(fun):
    host = lambda x: np.asarray(fun.plain(np.asarray(x)))
    return lambda x: jax.pure_callback(host, jax.eval_shape(fun, x), x, vmap_method="sequential")


def linear(fun, x):
    x, bar = jnp.asarray(x), weights(np.asarray(fun.plain(x)))
    _, along = jax.linearize(fun, x)
    (x_bar,) = jax.linear_transpose(along, x)(bar)
    return [(along(DX), tangent(fun, np.asarray(x))), (x_bar, gradient(fun, np.asarray(x)))]


def checked(fun, x):
    errors = checkify.float_checks | checkify.index_checks
    check = checkify.checkify(jax.jit(jax.grad(loss_of(fun))), errors=errors)
    error, x_bar = check(jnp.asarray(x))
    error.throw()
    return [(x_bar, gradient(fun, x))]


def turned_complex(fun, x):
    """A unitary similarity to a complex matrix, which is Hermitian if x is symmetric."""
    phases = np.exp(1j * np.arange(4.0))
    z = phases[:, None] * x * phases.conj()
    z_bar = jax.jit(jax.grad(loss_of(fun)))(z)  # the conjugate of ours
    return [(jnp.conj(z_bar), gradient(fun, z))]


def donated(fun, x):
    step = jax.jit(jax.grad(loss_of(fun)), donate_argnums=0)
    return [(step(jnp.array(x)), gradient(fun, x))]


def placed(fun, x):
    there = jax.device_put(x, NamedSharding(one_device(), PartitionSpec("i")))
    return [(jax.jit(jax.grad(loss_of(fun)))(there), gradient(fun, x))]


def compiled_ahead(fun, x):
    step = jax.jit(jax.grad(loss_of(fun))).lower(jnp.asarray(x)).compile()
    return [(step(jnp.asarray(x)), gradient(fun, x))]


def at_compile_time(fun, x):
    def traced(scale):
        with jax.ensure_compile_time_eval():
            x_bar = jax.grad(loss_of(fun))(jnp.asarray(x))
        return scale * x_bar

    return [(jax.jit(traced)(1.0), gradient(fun, x))]


def of_shapes(fun, x):
    shape = jax.eval_shape(jax.value_and_grad(loss_of(fun)), x)[1].shape
    return [(jax.eval_shape(fun, x).shape, np.shape(fun.plain(x))), (shape, x.shape)]


def in_single(fun, x):
    with jax.enable_x64(False):
        return around(jax.jit)(fun, x.astype(np.float32))


def along_dx(loss):
    return lambda x: jax.jvp(loss, (x,), (jnp.asarray(DX),))[1]


def third_order(fun, x):
    """Right, or NaN throughout: the functions of a matrix have no rule of third order."""
    got = jax.jit(jax.grad(along_dx(along_dx(loss_of(fun)))))(jnp.asarray(x))
    wanted = slope(partial(product, fun), x, DX)
    return [(got, np.full_like(wanted, np.nan) if np.all(np.isnan(got)) else wanted)]


eager = around(lambda fun: fun, compiled=False)
twice = lambda inner, outer: of_loss(lambda loss: outer(inner(loss)))
remat = lambda **options: around(partial(jax.checkpoint, **options))
setting = lambda name, value, mode=eager: in_context(lambda: getattr(jax, name)(value), mode)
MODES: dict[str, Callable] = {
    "jit": around(jax.jit),
    "jit of grad": of_scalar(jax.grad, gradient),
    "vmap": stacked(lambda of_one: jax.jit(jax.vmap(of_one))),
    "vmap of vmap": stacked(lambda of_one: jax.jit(jax.vmap(jax.vmap(of_one))), (2, 2)),
    "vmap along other axes": stacked(moved_axes),
    "vmap with a named axis": stacked(lambda of_one: jax.vmap(of_one, spmd_axis_name="i")),
    "jacrev": lambda fun, x: [(jax.jit(jax.jacrev(fun))(x), along_units(tangent, fun, x))],
    "jacfwd": lambda fun, x: [(jax.jit(jax.jacfwd(fun))(x), along_units(tangent, fun, x))],
    "jacfwd of jacrev": twice(jax.jacrev, jax.jacfwd),
    "jacrev of jacfwd": twice(jax.jacfwd, jax.jacrev),
    "jacrev of jacrev": twice(jax.jacrev, jax.jacrev),
    "jacfwd of jacfwd": twice(jax.jacfwd, jax.jacfwd),
    "jvp of grad": of_scalar(lambda loss: along_dx(jax.grad(loss)), product),
    "grad of jvp": of_scalar(lambda loss: jax.grad(along_dx(loss)), product),
    "vjp of jvp": of_scalar(lambda loss: lambda x: jax.vjp(along_dx(loss), x)[1](1.0)[0], product),
    "third order": third_order,
    "pmap": stacked(lambda of_one: lambda *xs: jax.pmap(of_one)(*(x[:1] for x in xs)), (1,)),
    "shard_map": stacked(sharded),
    "scan": around(partial(scanned, loop=scan)),
    "scan over a stack": stacked(
        lambda of_one: jax.jit(lambda *xs: jax.lax.scan(lambda c, x: (c, of_one(*x)), 0, xs)[1])
    ),
    "while_loop": around(partial(scanned, loop=while_loop), reverse=False),
    "fori_loop": around(partial(scanned, loop=fori_loop)),
    "cond": around(lambda fun: lambda x: jax.lax.cond(x[0, 0] < 9, fun, lambda x: 0 * fun(x), x)),
    "switch": around(lambda f: lambda x: jax.lax.switch(jnp.int32(x[0, 0] > -9), [f, f], x)),
    "checkpoint": remat(),
    "checkpoint dots": remat(policy=POLICIES.dots_saveable),
    "checkpoint nothing": remat(policy=POLICIES.nothing_saveable),
    "checkpoint by name": around(named),
    "custom_vjp": around(with_custom_vjp, forward=False),
    "custom_jvp": around(with_custom_jvp),
    "custom_vmap": stacked(with_custom_vmap),
    "sequential_vmap": stacked(
        lambda of_one: jax.vmap(jax.custom_batching.sequential_vmap(of_one))
    ),
    "linearize": linear,
    "export": around(exported, forward=False),
    "export of any batch": of_any_batch,
    "checkify": checked,
    "debug_nans": setting("debug_nans", True, around(jax.jit)),
    "debug_nans eager": setting("debug_nans", True),
    "debug_infs": setting("debug_infs", True, around(jax.jit)),
    "debug_infs eager": setting("debug_infs", True),
    "disable_jit": setting("disable_jit", True),
    "no rank promotion": setting("numpy_rank_promotion", "raise", around(jax.jit)),
    "strict dtypes": setting("numpy_dtype_promotion", "strict", around(jax.jit)),
    "leak checking": in_context(jax.checking_leaks, around(jax.jit)),
    "x64 off": in_single,
    "donation": donated,
    "static_argnums": around(
        lambda fun: partial(jax.jit(lambda k, x: fun(x), static_argnums=0), 1)
    ),
    "eval_shape": of_shapes,
    "eval_jaxpr": evaluated,
    "pure_callback": around(called_back, reverse=False, forward=False),
    "vectorize": around(vectorized),
    "complex": turned_complex,
    "Partial": around(lambda fun: partial(jax.jit(lambda f, x: f(x)), jax.tree_util.Partial(fun))),
    "NamedSharding": placed,
    "compile-time evaluation": at_compile_time,
    "compiled ahead": compiled_ahead,
}
REFUSED: dict = {}
