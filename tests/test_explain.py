"""Why a derivative is NaN: eager, and under `jit` and `torch.compile` where that is asked for."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

import spectralgrad as sg

SINGULAR = np.diag([1.0, 0.0])
LINE = np.stack([np.arange(4.0), *np.zeros((2, 4))], axis=-1)

# name: loss, input, what the warning says
CASES = {
    "polar": (lambda x: sg.polar(x).U.sum(), SINGULAR, r"polar: .* x, .* S\[1\] = 0 counts as"),
    "cut": (
        lambda x: sg.low_rank(x, 1)[..., 0, 1].sum(),
        np.eye(2),
        r"low_rank: .* the cut splits a tie, S\[0\] = 1 and S\[1\] = 1 count as equal",
    ),
    "inv_sqrtm": (lambda x: sg.inv_sqrtm(x).sum(), SINGULAR, r"inv_sqrtm: .* w\[0\] = 0 counts as"),
    "kabsch": (lambda x: sg.kabsch(x, x).rotation.sum(), LINE, "kabsch: .* several rotations are"),
    "phase": (
        lambda x: sg.svd(x)[0][..., 0, 0].real.sum(),
        np.array([[1, 2j], [0.5, 1 + 1j]]),
        "svd: .* the phase of a complex vector",
    ),
}
LONG = [pytest.param(n, marks=pytest.mark.slow) for n in CASES if n != "phase"]


def own_line(caught, match):
    """Asserts that the one warning says so and points into this file; its line."""
    (record,) = (w for w in caught if "the value is NaN" not in str(w.message))
    assert record.category is sg.DerivativeUndefinedWarning
    assert record.filename == __file__
    assert re.search(match, str(record.message))
    return inspect.getsource(sys.modules[__name__]).splitlines()[record.lineno - 1]


@pytest.mark.parametrize("name", ["phase", *LONG])
def test_under_jit(name):
    jax = pytest.importorskip("jax")
    loss, x, match = CASES[name]
    gradient = jax.grad(lambda x: loss(x))
    x = jax.numpy.asarray(x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gradient(x)
    assert "gradient(x)" in own_line(caught, match)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jitted = jax.jit(lambda x: gradient(x))
        silent = jitted(x).block_until_ready()
        with sg.explain_nan():
            jitted(x).block_until_ready()  # was traced before
        jax.effects_barrier()
    assert np.isnan(silent).any()
    assert not caught

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with sg.explain_nan():
            explained = jax.jit(lambda x: gradient(x))
            explained(x).block_until_ready()
            jax.effects_barrier()
    assert "gradient(x)" in own_line(caught, match) or "explained(x)" in own_line(caught, match)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        explained(x).block_until_ready()  # what was traced inside goes on
        explained(np.eye(*x.shape) + x * 0.5j if name == "phase" else x).block_until_ready()
        jax.effects_barrier()
    assert caught


def test_jit_has_no_calls_to_the_host_unless_asked_for():
    jax = pytest.importorskip("jax")
    gradient = jax.grad(lambda x: sg.orthogonalize(x).sum())
    x = jax.numpy.eye(3)
    assert "callback" not in jax.jit(gradient).lower(x).as_text()
    with sg.explain_nan():
        assert "callback" in jax.jit(lambda x: gradient(x)).lower(x).as_text()
        value = jax.jit(lambda x: gradient(x))(x)
        jax.effects_barrier()
    np.testing.assert_array_equal(value, gradient(x))


def test_stacks_and_policies_under_jit():
    jax = pytest.importorskip("jax")
    x = jax.numpy.asarray(np.stack([np.eye(2), SINGULAR, SINGULAR]))

    def loss(x):
        return sg.orthogonalize(x, undefined="raise").sum()

    with (
        sg.explain_nan(),
        pytest.warns(sg.DerivativeUndefinedWarning, match=r"element \(1,\) \(and 1 more\)"),
    ):
        _wait(jax.jit(jax.grad(loss))(x))


def _wait(array):
    """Until JAX has called the host."""
    array.block_until_ready()
    sys.modules["jax"].effects_barrier()


@pytest.mark.parametrize("name", ["phase", *LONG])
def test_under_compile(name):
    torch = pytest.importorskip("torch")
    loss, x, match = CASES[name]

    def backward(backend=None, **options):
        leaf = torch.asarray(x).requires_grad_()
        fun = loss
        if backend:
            torch.compiler.reset()
            fun = torch.compile(lambda x: loss(x), backend=backend, **options)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fun(leaf).backward()
        assert leaf.grad.isnan().any()
        return caught

    assert "backward()" in own_line(backward(), match)
    assert not backward("aot_eager")
    with sg.explain_nan():
        assert "backward()" in own_line(backward("aot_eager"), match)
        with pytest.raises(Exception, match="explain_nan reads values"):
            backward("aot_eager", fullgraph=True)


def test_environment_variable():
    program = """
import warnings
import numpy as np
import jax
import spectralgrad as sg

jax.jit(jax.grad(lambda x: sg.orthogonalize(x).sum()))(np.zeros((2, 2))).block_until_ready()
jax.effects_barrier()
"""
    pytest.importorskip("jax")
    for setting, said in (("1", True), ("0", False)):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "SPECTRALGRAD_EXPLAIN": setting},
            capture_output=True,
            text=True,
        )
        assert ("DerivativeUndefinedWarning" in run.stdout + run.stderr) == said, run.stderr


def vmapped(f):
    """Ways through torch.func.vmap to the derivative of f on a stack."""
    torch = pytest.importorskip("torch")
    func, along = torch.func, torch.ones(2, 2, dtype=torch.float64)
    return {
        "vmap of grad": func.vmap(func.grad(f)),
        "grad of vmap": func.grad(lambda x: func.vmap(f)(x).sum()),
        "vmap of jvp": func.vmap(lambda x: func.jvp(f, (x,), (along,))[1]),
        "vmap of vmap": lambda x: func.vmap(func.vmap(func.grad(f), in_dims=1), in_dims=2)(
            x.reshape(2, 2, 2, 2).permute(2, 1, 0, 3)
        ),
    }


@pytest.mark.parametrize("way", vmapped(None))
def test_under_vmap_of_pytorch(way):
    torch = pytest.importorskip("torch")
    x = torch.asarray(np.stack([np.eye(2), SINGULAR, SINGULAR, np.eye(2)]))
    gradient = vmapped(lambda x: sg.orthogonalize(x).sum())[way]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gradient(x)
    place = r"\(0, 1\)" if way == "vmap of vmap" else r"\(1,\)"
    said = rf"batch element {place} \(and 1 more\).* S\[1\] = 0 counts as zero"
    # PyTorch's own of torch.jit.script aside
    own_line([c for c in caught if c.category is not DeprecationWarning], said)
