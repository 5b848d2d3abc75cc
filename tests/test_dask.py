"""No rule asks for a value: on Dask arrays they all build a graph and compute nothing."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import random, sample, with_spectrum
from operations import OPERATIONS

import spectralgrad as sg

dask = pytest.importorskip("dask")
pytest.importorskip("dask.array")

PAIR = (np.tanh, lambda s: 1 - np.tanh(s) ** 2)


def lazy(values):
    return dask.array.from_array(values, chunks=-1)


def refuse(*_, **__):
    raise AssertionError("computed early")


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (2, 3, 4)])
def test_rules_are_lazy_and_right(shape, is_complex):
    x = random(shape, is_complex=is_complex)
    factors = tuple(np.linalg.svd(x, full_matrices=False))
    bars = sg.testing.random_cotangent(sg.SVDResult(*factors))
    names = ("svdvals", "svd_function", "orthogonalize", "nuclear_norm")

    def everything(wrap):
        held = tuple(map(wrap, (x, *factors)))
        for ties in ("nan", "drop"):
            yield sg.rules.svd_vjp(held[0], held[1:], tuple(map(wrap, bars)), ties=ties)
            yield from sg.rules.svd_jvp(held[0], held[1:], held[0], ties=ties)
        for name in names:
            bar = {"svdvals": factors[1], "nuclear_norm": np.sum(factors[1], axis=-1)}.get(name, x)
            for options in ({"f": sg.functions.tanh}, {"f": PAIR}) if "function" in name else ({},):
                yield getattr(sg.rules, f"{name}_vjp")(held, wrap(bar), wrap(bar), **options)[0]

    with dask.config.set(scheduler=refuse):
        graphs = list(everything(lazy))
    for graph, wanted in zip(graphs, everything(np.asarray), strict=True):
        np.testing.assert_allclose(graph.compute(), wanted, atol=1e-12)


def test_a_tall_array_is_truncated_lazily():
    x, U_bar = random((40, 8)), random((40, 3), seed=1)
    with dask.config.set(scheduler=refuse):
        out, pullback = sg.vjp(sg.truncated_svd, dask.array.from_array(x, chunks=(10, 8)), k=3)
        (graph,) = pullback((lazy(U_bar), None, None))
    U, S, _ = (part.compute() for part in out)
    (wanted_U, wanted_S, _), pullback = sg.vjp(sg.truncated_svd, x, k=3)
    np.testing.assert_allclose(S, wanted_S)
    (wanted,) = pullback((U_bar * np.sign(np.sum(U * wanted_U, axis=0)), None, None))
    np.testing.assert_allclose(graph.compute(), wanted, atol=1e-12)


CHUNKS = {
    "one block": ((6, 4), -1),
    "rows": ((6, 4), (3, 4)),
    "wide, in columns": ((4, 6), (4, 3)),
    "both": ((6, 4), (3, 2)),
    "a stack": ((5, 6, 4), (2, 6, 4)),
    "a stack, split within": ((5, 6, 4), (2, 3, 4)),
}
VALUES = [op for op in OPERATIONS if op.name not in ("svd", "svd_full", "eigh", "truncated_svd")]


@pytest.mark.parametrize("kind", ["rows", "a stack, split within"])
@pytest.mark.parametrize("operation", VALUES, ids=lambda op: op.name)
def test_values_and_gradients_of_every_operation(operation, kind):
    shape, chunks = CHUNKS[kind]
    shape = (*shape[:-2], 4, 4) if operation.square else shape
    chunks = tuple(map(min, chunks, shape))
    x = sample(operation, shape, seed=3)
    x = (x + np.swapaxes(x, -1, -2)) / 2 if operation.square and not operation.real else x
    out, pullback = sg.vjp(operation.call, x)
    bar = random(out.shape, seed=5) if not isinstance(out, tuple) else None
    wanted = [*(out if bar is None else (out,))]
    with dask.config.set(scheduler=refuse):
        lazy_out, lazy_pullback = sg.vjp(operation.call, dask.array.from_array(x, chunks=chunks))
        graphs = [*(lazy_out if bar is None else (lazy_out,))]
        if bar is not None:
            graphs += lazy_pullback(lazy(bar))
            wanted += pullback(bar)
    for graph, value in zip(graphs, wanted, strict=True):
        assert graph.shape == value.shape
        assert graph.dtype == value.dtype
        np.testing.assert_allclose(graph.compute(), value, atol=1e-9)


@pytest.mark.parametrize("kind", ["rows", "a stack"])
def test_slopes_and_jacobians(kind):
    shape, chunks = CHUNKS[kind]
    x, dx = with_spectrum(6, 4, (2, 2, 1, 0), seed=3), random(shape, seed=4)
    simple = random(shape, seed=5)
    x = np.broadcast_to(x, shape)
    with dask.config.set(scheduler=refuse):
        slopes, *jacobians = (
            sg.directional_svdvals(*(dask.array.from_array(a, chunks=chunks) for a in (x, dx))),
            sg.singular_value_jacobian(dask.array.from_array(simple, chunks=chunks)),
            *sg.singular_vector_jacobian(dask.array.from_array(simple, chunks=chunks), 1),
        )
    np.testing.assert_allclose(slopes.compute(), sg.directional_svdvals(x, dx), atol=1e-13)
    wanted = sg.singular_value_jacobian(simple), *sg.singular_vector_jacobian(simple, 1)
    for graph, values in zip(jacobians, wanted, strict=True):  # whose signs are free
        np.testing.assert_allclose(np.abs(graph.compute()), np.abs(values), atol=1e-12)


FULL = [("one block", True), ("a stack", True), ("a stack, split within", True)]  # else refused


@pytest.mark.parametrize(("kind", "full_matrices"), [*((kind, False) for kind in CHUNKS), *FULL])
def test_factors(kind, full_matrices):
    shape, chunks = CHUNKS[kind]
    x = random(shape, seed=3, is_complex=True)
    with dask.config.set(scheduler=refuse):
        graphs = sg.svd(dask.array.from_array(x, chunks=chunks), full_matrices=full_matrices)
    U, S, Vh = (graph.compute() for graph in graphs)
    assert all(graph.shape == part.shape for graph, part in zip(graphs, (U, S, Vh), strict=True))
    k = S.shape[-1]
    np.testing.assert_allclose((U[..., :k] * S[..., None, :]) @ Vh[..., :k, :], x, atol=1e-12)
    eye = np.broadcast_to(np.eye(U.shape[-1]), (*shape[:-2], U.shape[-1], U.shape[-1]))
    np.testing.assert_allclose(np.conj(np.swapaxes(U, -1, -2)) @ U, eye, atol=1e-12)


def test_a_nan_affects_no_other():
    x = random((4, 3, 3))
    x[1, 0, 0] = np.nan
    out, pullback = sg.vjp(sg.orthogonalize, dask.array.from_array(x, chunks=(2, 3, 3)))
    for graph in (out, *pullback(lazy(random((4, 3, 3), seed=1)))):
        values = graph.compute()
        assert np.all(np.isnan(values[1]))
        assert np.all(np.isfinite(values[[0, 2, 3]]))


def test_alignment_of_a_stack():
    P, Q = random((2, 4, 7, 3))
    wanted = sg.kabsch(P, Q)
    blocks = (dask.array.from_array(points, chunks=(2, 7, 3)) for points in (P, Q))
    with dask.config.set(scheduler=refuse):
        found = sg.kabsch(*blocks)
    for graph, value in zip(found, wanted, strict=True):
        np.testing.assert_allclose(graph.compute(), value, atol=1e-12)
