"""jax.shard_map: what varies over devices is known to vary, and what is summed up is said so."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from matrices import random

import spectralgrad as sg

jax = pytest.importorskip("jax")
jnp, P = jax.numpy, jax.sharding.PartitionSpec
F = sg.functions
FUNCTIONS = {
    "orthogonalize": sg.orthogonalize,
    "nuclear_norm": sg.nuclear_norm,
    "svdvals": sg.svdvals,
    "expm": lambda x: sg.expm((x + x.mT) / 2),
    "bare": lambda x: sg.svd_function(x, jnp.tanh),
    "kabsch to a constant": lambda x: sg.kabsch(x, jnp.eye(3)).msd,
    "truncated_svd": lambda x: sg.truncated_svd(x, 1, solver="krylov").S,
}


def sharded(fun, out_specs):
    mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.shard_map(fun, mesh=mesh, in_specs=P("i"), out_specs=out_specs, check_vma=True)


LONG = ("kabsch to a constant", "truncated_svd", "expm", "svdvals", "bare")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in FUNCTIONS]
)
def test_derivatives(name):
    fun, x = FUNCTIONS[name], jnp.asarray(random((4, 3, 3)))
    loss = lambda x: fun(x).sum()
    wanted = jax.grad(loss)(x)
    same = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
    same(sharded(jax.grad(loss), P("i"))(x), wanted)
    same(jax.grad(lambda x: sharded(fun, P("i"))(x).sum())(x), wanted)
    summed = sharded(lambda s: jax.lax.psum(loss(s), "i"), P())
    same(jax.jit(jax.grad(summed))(x), wanted)
    tangent = jax.jvp(sharded(fun, P("i")), (x,), (2 * x,))[1]
    same(tangent, jax.jvp(fun, (x,), (2 * x,))[1])


@pytest.mark.slow
def test_second_derivatives_on_explicit_axes():
    mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Explicit,))
    x = jnp.asarray(random((2, 18, 18)))
    loss = lambda x: sg.svd_function(x, F.tanh).sum()
    product = lambda x: jax.jvp(jax.grad(loss), (x,), (x,))[1]
    with jax.set_mesh(mesh):
        placed = jax.device_put(x, jax.NamedSharding(mesh, P("i")))
        found = jax.jit(product)(placed)
    np.testing.assert_allclose(found, product(x), rtol=1e-10, atol=1e-10)


def test_carries_and_what_is_not_summed_up():
    x = jnp.asarray(random((4, 3, 3)))

    def carried(s):
        zero = jax.lax.pcast(jnp.zeros(()), ("i",), to="varying")
        step = lambda total, _: (total + sg.nuclear_norm(s).sum(), None)
        return jax.lax.scan(step, zero, None, length=2)[0][None]

    np.testing.assert_allclose(sharded(carried, P("i"))(x)[0], 2 * sg.nuclear_norm(x).sum())
    with pytest.raises(ValueError, match="out_specs"):
        sharded(lambda s: sg.nuclear_norm(s).sum(), P())(x)
