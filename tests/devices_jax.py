"""Checks on eight virtual devices, in a process of their own: JAX counts devices when it starts.

    python tests/devices_jax.py stacks NAME ...    stacks, sharded along the batch
    python tests/devices_jax.py rows NAME ...      one tall matrix in blocks of rows
    python tests/devices_jax.py around             other meshes, scan, stacks of tall matrices
    python tests/devices_jax.py brief              something of each, and what is refused

Names are those of the tables, all by default. It fails by an AssertionError.
"""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from unittest import mock

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from matrices import random, sample, with_spectrum
from operations import OPERATIONS

import spectralgrad as sg
from spectralgrad._bindings import jax_rows

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)

DEVICES, N = 8, 4
M = DEVICES * (N + 2)
F = sg.functions
MESH = jax.make_mesh((DEVICES,), ("i",), axis_types=(AxisType.Auto,))
KINDS = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast"
COLLECTIVE = re.compile(rf"= (.*?) (?:{KINDS})(?:-start)?\(")
SHAPE = re.compile(r"\[([\d,]*)\]")
same = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)


SPREAD = P("i")


def put(x, spec=SPREAD, mesh=MESH):
    return jax.device_put(jnp.asarray(x), NamedSharding(mesh, spec))


def sent(fun, *args):
    """How many numbers each collective of the compiled program makes, and on which it is run."""
    program = jax.jit(fun).lower(*args).compile()
    found = COLLECTIVE.findall(program.as_text())
    count = lambda s: int(np.prod([int(n) for n in s.split(",") if n]))
    return [count(s) for shapes in found for s in SHAPE.findall(shapes)], program(*args)


def modes(call, pair):
    """Functions of (x, cotangent, dx); `pair` is the loss of one output and its cotangent."""

    def loss(x, bar):
        outputs = jax.tree.leaves(call(x))
        return sum(map(pair, jax.tree.leaves(bar), outputs))

    gradient = lambda x, bar: jax.grad(loss)(x, bar)
    return {
        "forward": lambda x, bar, dx: call(x),
        "gradient": lambda x, bar, dx: gradient(x, bar),
        "jvp": lambda x, bar, dx: jax.jvp(call, (x,), (dx,))[1],
        "hvp": lambda x, bar, dx: jax.jvp(lambda x: gradient(x, bar), (x,), (dx,))[1],
    }


def paired(bar, out):
    return jnp.sum(jnp.real(jnp.conj(bar) * out))


def cotangents(call, x):
    kinds = enumerate(jax.tree.leaves(jax.eval_shape(call, x)))
    leaves = [random(y.shape, seed=i, is_complex=np.iscomplexobj(y)) for i, y in kinds]
    return jax.tree.unflatten(jax.tree.structure(jax.eval_shape(call, x)), leaves)


# --- stacks


def check_stack(operation):
    shape = (2 * DEVICES, 4, 4) if operation.square else (2 * DEVICES, 5, 4)
    x = sample(operation, shape)
    if operation.name in ("logm", "sqrtm", "inv_sqrtm", "powm"):
        x = x @ x.mT + np.eye(4)
    bar, dx = cotangents(operation.call, x), random(shape, seed=5)
    dx = dx + dx.mT if operation.square else dx
    spread = jax.tree.map(put, (x, bar, dx))
    for mode, fun in modes(operation.call, paired).items():
        if mode == "hvp" and not operation.second:
            continue
        counts, found = sent(fun, *spread)
        # a loop goes on while any batch element does: the flag is the only thing that is sent
        allowed = {1} if operation.name.startswith("truncated") else set()
        assert set(counts) <= allowed, (operation.name, mode, counts)
        jax.tree.map(same, found, jax.jit(fun)(x, bar, dx))


# --- one tall matrix


def factors(x):
    """What does not depend on signs and phases that LAPACK chose."""
    U, S, Vh = sg.svd(x, full_matrices=False)
    return abs(U), S, abs(Vh)


ROWS = {
    "svd": (sg.svd, {"full_matrices": False}),
    "svdvals": (sg.svdvals, {}),
    "tanh": (sg.svd_function, {"f": F.tanh}),
    "log1p": (sg.svd_function, {"f": F.log1p}),
    "threshold": (sg.singular_value_threshold, {"tau": 0.7}),
    "orthogonalize": (sg.orthogonalize, {}),
    "polar": (sg.polar, {}),
    "pinv": (sg.pinv, {}),
    "low_rank": (sg.low_rank, {"k": 2}),
    "right_projector": (sg.singular_projector, {"k": 2, "side": "right"}),
    "nuclear_norm": (sg.nuclear_norm, {}),
    "spectral_norm": (sg.spectral_norm, {}),
    "ky_fan_norm": (sg.ky_fan_norm, {"k": 2}),
    "schatten_norm": (sg.schatten_norm, {"p": 3}),
    "svdvals_sum": (sg.svdvals_sum, {"f": F.power(3)}),
}
ONCE = ("svd", "svdvals")  # no second derivative by rule
AT_ZEROS = ("tanh", "log1p", "threshold", "nuclear_norm", "schatten_norm", "svdvals_sum")
AT_TIES = tuple(name for name in ROWS if name not in (*ONCE, "spectral_norm", "ky_fan_norm"))
TWICE = {
    "": tuple(name for name in ROWS if name not in ONCE),
    "ties": AT_TIES,
    "zeros": ("tanh", "threshold", "schatten_norm", "svdvals_sum"),
}


def called(name, over):
    fun, options = ROWS[name]
    fun = sg.over_rows(fun, axis_name="i") if over else fun

    def call(x):
        out = fun(x, **options)
        # what does not depend on the signs and phases that LAPACK chose
        return (abs(out.U) ** 2, out.S, abs(out.Vh) ** 2) if name == "svd" else out

    return call


def spec_of(y):
    if y.shape[:1] == (M,):
        return P("i")
    return P(None, "i") if y.shape[1:] == (M,) else P()


def summed(specs):
    """The pairing of an output with its cotangent inside of shard_map."""
    left = iter(specs * 9)  # a loss is traced anew for each mode

    def pair(bar, out):
        return paired(bar, out) if next(left) == P() else jax.lax.psum(paired(bar, out), "i")

    return pair


def check_rows(name, x, spectrum=""):
    call, over = called(name, False), called(name, True)
    bar, dx = cotangents(call, x), random(x.shape, seed=5, is_complex=np.iscomplexobj(x))
    with mock.patch.object(jax_rows, "_blocks_of", return_value=1):  # as on a single device
        wanted = {
            mode: jax.jit(fun)(x, bar, dx)
            for mode, fun in modes(call, paired).items()
            if mode != "hvp" or name in TWICE[spectrum]
        }
    specs = jax.tree.map(spec_of, bar)
    leaves = jax.tree.leaves(specs)
    spread = put(x), jax.tree.map(put, bar, specs), put(dx)
    inside = modes(over, summed(leaves))
    for mode, outside in modes(call, paired).items():
        if mode not in wanted:
            continue
        out = specs if mode in ("forward", "jvp") else P("i")
        mapped = jax.shard_map(
            inside[mode], mesh=MESH, in_specs=(P("i"), specs, P("i")), out_specs=out
        )
        for fun in (outside, mapped):
            counts, found = sent(fun, *spread)
            triangles = [n for n in counts if n > N * N]
            assert triangles == [DEVICES * N * N], (name, mode, counts)
            if mode == "gradient" and name not in ("polar", "right_projector"):
                # beside the triangles n x n numbers once, and flags of columns and the like
                assert sum(n for n in counts if N < n <= N * N) <= N * N, (name, counts)
            if not (spectrum == "zeros" and mode == "forward" and name not in AT_ZEROS):
                jax.tree.map(same, found, wanted[mode])


SPECTRA = {"ties": (2.0, 2.0, 1.0, 1.0), "zeros": (2.0, 1.0, 0.0, 0.0)}


def rows(names):
    for name in names or ROWS:
        check_rows(name, random((M, N)))
        check_rows(name, random((M, N), is_complex=True))
        for spectrum, values in SPECTRA.items():
            if name in (AT_TIES if spectrum == "ties" else AT_ZEROS):
                check_rows(name, with_spectrum(M, N, values), spectrum)


norm = sg.over_rows(sg.nuclear_norm, axis_name="i")
mapped = partial(jax.shard_map, mesh=MESH, in_specs=P("i"))


def brief(_):
    check_stack(next(operation for operation in OPERATIONS if operation.name == "orthogonalize"))
    x = random((M, N))
    check_rows("polar", x)
    same(jax.jit(lambda x: sg.svd(x).S)(put(x)), sg.svdvals(x))  # full matrices, all rows at once
    with pytest.raises(ValueError, match="out_specs"):
        mapped(sg.svd, out_specs=P())(x)
    with pytest.raises(ValueError, match="check_vma"):
        mapped(norm, out_specs=P(), check_vma=False)(x)
    with pytest.raises(ValueError, match="vary"):
        norm(jnp.asarray(x))
    soft = sg.over_rows(sg.singular_value_threshold, axis_name="i")
    function = sg.over_rows(sg.svd_function, axis_name="i")
    tikhonov = lambda x: sg.functions.tikhonov(jnp.sum(x))
    for apart in (lambda x: soft(x, jnp.sum(x)), lambda x: function(x, tikhonov(x))):
        with pytest.raises(ValueError, match="these devices share"):
            mapped(apart, out_specs=P("i"))(x)
    with pytest.raises(ValueError, match="more rows than columns"):
        mapped(norm, out_specs=P())(x[: DEVICES * N])
    whole = sg.over_rows(sg.svd, axis_name="i")
    with pytest.raises(ValueError, match="full_matrices"):
        mapped(whole, out_specs=P())(x)
    with pytest.raises(TypeError, match="wanted one of"):
        sg.over_rows(sg.eigh, axis_name="i")


def around(_):
    x = random((M, N))

    def carried(x):
        step = lambda total, _: (total + norm(x), None)
        return jax.lax.scan(step, jnp.zeros(()), None, length=2)[0]

    same(mapped(carried, out_specs=P())(x), 2 * sg.nuclear_norm(x))
    descent = lambda x: jax.lax.scan(lambda x, _: (x - jax.grad(norm)(x), None), x, None, 2)[0]
    same(mapped(descent, out_specs=P("i"))(x), x - 2 * sg.orthogonalize(x))

    # several axes, a part of them, and stacks of tall matrices
    wanted = sg.vjp(lambda x: sg.svd_function(x, F.tanh), x)[1](x)[0]
    tanh = lambda x: sg.svd_function(x, F.tanh)
    grid = jax.make_mesh((2, 4), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
    for axes in (("a", "b"), "b"):
        placed = put(x, P(axes), grid)
        same(jax.jit(jax.grad(lambda y: jnp.sum(x * tanh(y))))(placed), wanted)
        loss = partial(_spread_loss, sg.over_rows(sg.svd_function, axis_name=axes), axes)
        spread = jax.shard_map(jax.grad(loss), mesh=grid, in_specs=P(axes), out_specs=P(axes))
        same(spread(placed, placed), wanted)
    # a NaN of one device is known to all
    for spoilt in (np.nan, np.inf):
        bad = x.copy()
        bad[-1, -1] = spoilt
        for fun in (mapped(norm, out_specs=P()), jax.jit(sg.nuclear_norm)):
            assert np.isnan(fun(put(bad))), spoilt
            assert np.isnan(jax.grad(fun)(put(bad))).all(), spoilt

    # many devices in groups
    with mock.patch.object(jax_rows, "GROUP", 2):
        counts, found = sent(jax.grad(lambda y: jnp.sum(x * tanh(y))), put(x))
    same(found, wanted)
    assert sorted(n for n in counts if n > N * N) == [2 * N * N, 4 * N * N], counts

    stack = random((3, M, N))
    both = partial(jax.shard_map, mesh=MESH, in_specs=P(None, "i"), out_specs=P(None, "i"))
    same(both(sg.over_rows(sg.orthogonalize, axis_name="i"))(stack), sg.orthogonalize(stack))

    # iterations on a matrix in blocks: nothing but some vectors of the shorter side
    x = random((80 * DEVICES, 300))
    found = lambda x: sg.truncated_svd(x, 3, solver="krylov", adjoint="krylov")
    loss = lambda x: jnp.sum(abs(found(x).Vh[:, :5]) ** 2)
    for fun in (lambda x: found(x).S, jax.grad(loss)):
        counts, spread = sent(fun, put(x))
        assert max(counts) <= 12 * 300, max(counts)
        same(spread, jax.jit(fun)(x))
    same(found(x).S, np.linalg.svd(x)[1][:3])


def _spread_loss(fun, axes, x, bar):
    return jax.lax.psum(jnp.sum(bar * fun(x, F.tanh)), axes)


def stacks(names):
    for operation in OPERATIONS:
        if not names or operation.name in names:
            check_stack(operation)


if __name__ == "__main__":
    {f.__name__: f for f in (stacks, rows, around, brief)}[sys.argv[1]](sys.argv[2:])
