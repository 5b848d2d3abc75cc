"""Stacks in blocks of Dask: every derivative is NumPy's, from one task for each block."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import random, sample
from operations import OPERATIONS
from test_dask import refuse

import spectralgrad as sg
from spectralgrad._bindings import dask as binding

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

WITH_VECTORS = ("svd", "svd_full", "eigh", "truncated_svd", "truncated_eigh")  # free in phases
FUNCTIONS = [operation for operation in OPERATIONS if operation.name not in WITH_VECTORS]


def in_blocks(x):
    return da.from_array(x, chunks=(2, *x.shape[1:]))


def function_of(operation):
    """The operation's only result, or the first."""

    def first(x):
        out = operation.call(x)
        return out[0] if isinstance(out, tuple) else out

    return first


def derivatives(operation, x, dx, bar):
    """Value, cotangent, tangent and, where there is a rule, the second derivative."""
    function = function_of(operation)
    out, pullback = sg.vjp(function, x)
    _, tangent = sg.jvp(function, (x,), (dx,))
    found = [out, *pullback(bar), tangent]
    return [*found, sg.hvp(function, x, dx, bar)] if operation.second else found


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("operation", FUNCTIONS, ids=lambda op: op.name)
def test_every_derivative(operation, is_complex):
    shape = (3, 4, 4) if operation.square else (3, 5, 4)
    x = sample(operation, shape, seed=3, is_complex=is_complex)
    dx = random(shape, seed=4, is_complex=np.iscomplexobj(x))
    if operation.square and not operation.real:
        x, dx = ((a + np.conj(np.swapaxes(a, -1, -2))) / 2 for a in (x, dx))
    out = function_of(operation)(x)
    bar = random(out.shape, seed=5, is_complex=np.iscomplexobj(out))
    with dask.config.set(scheduler=refuse):
        graphs = derivatives(operation, *map(in_blocks, (x, dx, bar)))
    found = dask.compute(*graphs, scheduler="synchronous")
    for graph, values, wanted in zip(
        graphs, found, derivatives(operation, x, dx, bar), strict=True
    ):
        assert graph.shape == values.shape == wanted.shape
        assert graph.dtype == values.dtype == wanted.dtype
        np.testing.assert_allclose(values, wanted, rtol=0, atol=1e-12 * max(1, abs(wanted).max()))


# but truncation_error, since Dask has no largest of an empty block (2026.8)
@pytest.mark.parametrize(
    "operation", [op for op in FUNCTIONS if op.name != "truncation_error"], ids=lambda op: op.name
)
def test_stacks_of_none_and_blocks_of_none(operation):
    """As what a selection leaves."""
    shape = (3, 4, 4) if operation.square else (3, 5, 4)
    x, dx = sample(operation, shape, seed=3), random(shape, seed=4)
    bar = random(function_of(operation)(x).shape, seed=5)
    for chunks in ((2, 0, 1), (0,)):
        count = sum(chunks)
        arrays = [da.from_array(a[:count], chunks=(chunks, *a.shape[1:])) for a in (x, dx, bar)]
        found = dask.compute(*derivatives(operation, *arrays), scheduler="synchronous")
        for values, wanted in zip(found, derivatives(operation, x, dx, bar), strict=True):
            np.testing.assert_allclose(values, wanted[:count], rtol=1e-9, atol=1e-11)
        values = function_of(operation)(arrays[0]).compute(scheduler="synchronous")
        np.testing.assert_allclose(values, function_of(operation)(x)[:count], rtol=1e-9, atol=1e-11)


def test_a_block_is_decomposed_once(monkeypatch):
    tasks, run = [], binding._Task.__call__
    monkeypatch.setattr(
        binding._Task, "__call__", lambda task, *blocks: tasks.append(task) or run(task, *blocks)
    )
    x, S_bar = random((5, 4, 3)), random((5, 3), seed=1)
    (U, S, Vh), pullback = sg.vjp(sg.svd, in_blocks(x), full_matrices=False)
    dask.compute(U, S, Vh, *pullback((None, in_blocks(S_bar), None)), scheduler="synchronous")
    assert len(tasks) == 2 * 3  # a factorization and a pullback for each of three blocks


def test_other_blocks_of_the_cotangent():
    x, bar = random((5, 4, 3)), random((5, 4, 3), seed=1)
    _, pullback = sg.vjp(sg.orthogonalize, da.from_array(x, chunks=(3, 2, 3)))
    (found,) = pullback(da.from_array(bar, chunks=(2, 4, 1)))
    (wanted,) = sg.vjp(sg.orthogonalize, x)[1](bar)
    np.testing.assert_allclose(found.compute(), wanted, atol=1e-12)


def test_a_threshold_for_each_matrix():
    x, tau = random((5, 4, 3)), np.linspace(0.1, 1.0, 5)
    found, pullback = sg.vjp(sg.singular_value_threshold, in_blocks(x), in_blocks(tau))
    wanted, own = sg.vjp(sg.singular_value_threshold, x, tau)
    for graph, values in zip((found, *pullback(in_blocks(x))), (wanted, *own(x)), strict=True):
        np.testing.assert_allclose(graph.compute(), values, atol=1e-12)


def test_an_unknown_length_is_refused():
    x = in_blocks(random((5, 4, 3)))
    with pytest.raises(ValueError, match=r"nuclear_norm: argument `x`.*compute_chunk_sizes"):
        sg.nuclear_norm(x[x[:, 0, 0] > 0])
