"""Outside of `jax.jit` too, JAX compiles once a shape, and never runs what is out of date."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from marks import slow
from matrices import random

import spectralgrad as sg

jax = pytest.importorskip("jax")
jnp = jax.numpy
sparse = pytest.importorskip("jax.experimental.sparse")

SHAPE, K = (36, 30), 2
KRYLOV = {"solver": "krylov", "adjoint": "krylov", "oversample": 2}
DIAGONAL = (0.7 ** np.arange(30.0))[:, None]


def matrices():
    """Two of one shape."""
    for seed in (1, 2):
        yield jnp.asarray(random(SHAPE, seed=seed) * 0.7 ** np.arange(SHAPE[1]))


def loss(x, **options):
    U, S, Vh = sg.truncated_svd(x, K, **KRYLOV, **options)
    return jnp.sum((U * S**2) @ Vh * jnp.cos(jnp.arange(30.0)))


@contextmanager
def compilations():
    """A list with an entry for every program that JAX compiles meanwhile."""
    found, open_ = [], [True]

    def listen(event, duration, **_):
        if open_[0] and event == "/jax/core/compile/backend_compile_duration":
            found.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    open_[0] = False


def as_bcoo(x):
    return sparse.BCOO.fromdense(jnp.where(jnp.abs(x) > 1e-3, x, 0), nse=x.size)


def build(theta):
    return sg.operators.from_matmat(
        lambda X: theta @ X, lambda Y: theta.T @ Y, SHAPE, theta.dtype, like=theta
    )


def vjp(x):
    (U, S, _), pullback = sg.vjp(lambda x: sg.truncated_svd(x, K, **KRYLOV), x)
    return pullback((U[:, ::-1], S, None))[0]


def vjp_of_operator(x):
    cotangent = vjp(build(x))
    return cotangent.left @ cotangent.right.T


CALLS = {
    "dense": lambda x: sg.truncated_svd(x, K, **KRYLOV),
    "bcoo": lambda x: sg.truncated_svd(as_bcoo(x), K, **KRYLOV),
    "params": lambda x: sg.truncated_svd(build, K, params=x, **KRYLOV),
    "operator": lambda x: sg.truncated_svd(build(x), K, **KRYLOV),
    "error": lambda x: sg.truncation_error(x, K, solver="krylov", oversample=2),
    "grad": jax.grad(loss),
    "grad of params": jax.grad(lambda x: loss(build, params=x)),
    "vjp": vjp,
    "vjp of an operator": vjp_of_operator,
    "jitted": jax.jit(loss),
    "many tiny": lambda x: sg.svd(jnp.broadcast_to(x[:3, :3], (6000, 3, 3))),
    "second order": lambda x: sg.hvp(
        lambda x: sg.svd_function(x, jnp.tanh), (x[:6, :6],), (x[6:12, :6],), x[:6, :6]
    ),
}


PATIENT = (
    "vjp",
    "vjp of an operator",
    "grad of params",
    "second order",
)  # as "grad" is, for longer


@pytest.mark.parametrize("name", [slow(name) if name in PATIENT else name for name in CALLS])
def test_second_call_compiles_nothing(name):
    calls = CALLS[name]
    first, second = (jax.block_until_ready(x) for x in matrices())
    jax.block_until_ready(jax.tree.leaves(calls(first)))
    with compilations() as found:
        jax.block_until_ready(jax.tree.leaves(calls(second)))
    assert not found


def test_compilations_are_seen():
    with compilations() as found:
        jax.jit(lambda x: x + 1)(jnp.ones(3))
    assert found


class Scaled:
    """An operator whose products depend on what may change."""

    shape, dtype, like = (30, 30), np.dtype(float), jnp.ones(1)

    def __init__(self):
        self.scale, self.diagonal = 1.0, jnp.asarray(DIAGONAL)

    def matmat(self, X):
        return self.scale * (self.diagonal * X)

    rmatmat = matmat


def test_an_operator_that_has_changed_is_not_out_of_date():
    A = Scaled()

    def values():
        return np.asarray(sg.truncated_svd(A, K, **KRYLOV).S)

    def expected(scale, diagonal):
        return scale * np.sort(np.abs(np.ravel(diagonal)))[::-1][:K]

    np.testing.assert_allclose(values(), expected(1, DIAGONAL), rtol=1e-12)
    A.scale = 3.0
    np.testing.assert_allclose(values(), expected(3, DIAGONAL), rtol=1e-12)
    A.diagonal = 2 - A.diagonal
    np.testing.assert_allclose(values(), expected(3, 2 - DIAGONAL), rtol=1e-12)
    A.diagonal = np.array(DIAGONAL)
    np.testing.assert_allclose(values(), expected(3, DIAGONAL), rtol=1e-12)
    A.diagonal[1] = 0.9
    np.testing.assert_allclose(values()[1], 2.7, rtol=1e-12)


def test_compiled_functions_that_close_over_other_arrays_are_told_apart():
    for scale in (1.0, 2.0):
        d = scale * jnp.asarray(DIAGONAL)
        times = jax.jit(lambda X, d=d: d * X)  # its own closure, within ours
        A = sg.operators.from_matmat(times, times, (30, 30), float, like=d)
        S = sg.truncated_svd(A, K, **KRYLOV).S
        np.testing.assert_allclose(S, scale * DIAGONAL[:K, 0], rtol=1e-12)
