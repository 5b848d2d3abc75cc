"""One tall matrix in blocks of rows, or a wide one in columns: NumPy's numbers, block by block."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import random, with_spectrum
from operations import OPERATIONS
from test_dask import refuse
from test_dask_stacks import FUNCTIONS, derivatives, function_of

import spectralgrad as sg

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

M, N, ROWS = 14, 3, (5, 2, 4, 3)
OF_RECTANGLES = [operation for operation in FUNCTIONS if not operation.square]
QUICK = ["svdvals", "orthogonalize", "low_rank", "nuclear_norm"]
NAMED = {operation.name: operation for operation in OPERATIONS}


def in_blocks(x):
    """Chunks along the long side of what has one; one chunk of all else."""
    return da.from_array(x, chunks=tuple(ROWS if n == M else -1 for n in x.shape))


def same(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * max(1, abs(wanted).max()))


def cases():
    for operation in OF_RECTANGLES:
        name, slow = operation.name, pytest.mark.slow
        marks = () if name in QUICK else slow
        yield pytest.param(operation, False, True, id=f"{name}, tall and complex", marks=marks)
        marks = () if name in QUICK[:2] else slow
        yield pytest.param(operation, True, False, id=f"{name}, wide and real", marks=marks)


@pytest.mark.parametrize(("operation", "is_wide", "is_complex"), list(cases()))
def test_every_derivative(operation, is_wide, is_complex):
    shape = (N, M) if is_wide else (M, N)
    x, dx = (random(shape, seed=seed, is_complex=is_complex) for seed in (3, 4))
    out = function_of(operation)(x)
    bar = random(out.shape, seed=5, is_complex=np.iscomplexobj(out))
    lazy = [in_blocks(a) for a in (x, dx, bar)]
    with dask.config.set(scheduler=refuse):
        graphs = derivatives(operation, *lazy)
    found = dask.compute(*graphs, scheduler="synchronous")
    for graph, values, wanted in zip(
        graphs, found, derivatives(operation, x, dx, bar), strict=True
    ):
        assert graph.shape == values.shape == wanted.shape
        assert graph.dtype == values.dtype == wanted.dtype
        assert graph.shape != x.shape or graph.chunks == lazy[0].chunks
        same(values, wanted)


@pytest.mark.parametrize("is_wide", [False, True], ids=["tall", "wide"])
def test_factors_themselves(is_wide):
    x, dx = (random((N, M) if is_wide else (M, N), seed=s, is_complex=True) for s in (3, 4))
    with dask.config.set(scheduler=refuse):
        factors, pullback = sg.vjp(sg.svd, in_blocks(x), full_matrices=False)
        _, tangents = sg.jvp(sg.svd, (in_blocks(x),), (in_blocks(dx),), full_matrices=False)
    U, S, Vh = dask.compute(*factors, scheduler="synchronous")
    same((U * S) @ Vh, x)
    bars = sg.testing.random_cotangent(sg.SVDResult(U, S, Vh))
    (found,) = pullback(tuple(in_blocks(bar) for bar in bars))
    assert found.chunks == in_blocks(x).chunks
    same(found.compute(scheduler="synchronous"), sg.rules.svd_vjp(x, (U, S, Vh), bars))
    for graph, wanted in zip(tangents, sg.rules.svd_jvp(x, (U, S, Vh), dx), strict=True):
        same(graph.compute(scheduler="synchronous"), wanted)


def sizes_of_results(graph):
    """The numbers in what each task returns, with no tasks joined."""
    from dask.callbacks import Callback

    found = []

    def count(result):
        return sum(map(count, result)) if isinstance(result, tuple) else getattr(result, "size", 0)

    with Callback(posttask=lambda key, result, *_: found.append(count(result))):
        blocks = graph.to_delayed().ravel().tolist()
        dask.compute(*blocks, scheduler="synchronous", optimize_graph=False)
    return found


@pytest.mark.parametrize("name", ["svdvals", "orthogonalize"])
def test_no_task_holds_all_rows(name):
    operation, rows = NAMED[name], 10
    x, dx, bar = (
        da.random.default_rng(seed).standard_normal((60, N), chunks=(rows, N)) for seed in range(3)
    )
    bar = bar if name != "svdvals" else da.ones(N)
    for graph in derivatives(operation, x, dx, bar):
        sizes = sizes_of_results(graph)
        # a block, or all triangles with theirs
        assert max(sizes) <= max(rows * N + N * N, (60 // rows + 1) * N * N)


def test_the_graph_grows_with_the_blocks():
    def tasks(blocks):
        x = da.ones((blocks * 10, N), chunks=(10, N))
        graphs = derivatives(NAMED["orthogonalize"], x, x, x)
        return sum(len(graph.dask) for graph in graphs)

    few, more, most = map(tasks, (8, 16, 32))
    assert most - more < 2.2 * (more - few)


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.parametrize("spectrum", ["pair", "rank_deficient"])
@pytest.mark.parametrize("name", ["nuclear_norm", "svd_function:cube"])
def test_ties_and_zeros(name, spectrum):
    values = {"pair": (2, 2, 1), "rank_deficient": (2, 1, 0)}[spectrum]
    x = with_spectrum(M, N, values, seed=3, is_complex=True)
    operation, dx = NAMED[name], random((M, N), seed=4, is_complex=True)
    out = operation.call(x)
    bar = random(out.shape, seed=5, is_complex=np.iscomplexobj(out))
    graphs = derivatives(operation, *map(in_blocks, (x, dx, bar)))
    with np.errstate(all="ignore"):  # at what is undefined there are tasks that divide by zero
        found = dask.compute(*graphs, scheduler="synchronous")
    for values, wanted in zip(found, derivatives(operation, x, dx, bar), strict=True):
        assert np.isnan(values).all() == np.isnan(wanted).all() == np.isnan(wanted).any()
        if not np.isnan(wanted).any():
            same(values, wanted)


@pytest.mark.parametrize("entry", [np.nan, np.inf])
def test_one_entry_that_is_no_number(entry):
    x = random((M, N), seed=3)
    x[6, 1] = entry
    (U, S, Vh), pullback = sg.vjp(sg.svd, in_blocks(x), full_matrices=False)
    results = U, S, Vh, *pullback((None, da.ones(N), None)), sg.orthogonalize(in_blocks(x))
    assert all(np.isnan(values).all() for values in dask.compute(*results))


def test_full_matrices_are_refused():
    with pytest.raises(ValueError, match=r"svd: argument `x` is one matrix.*full_matrices=False"):
        sg.svd(in_blocks(random((M, N))))


def test_a_function_of_the_gram_matrix_without_a_square():
    """V f(S^2) V^H by the polar factor V S V^H, accurate where x^H x has lost all."""
    x = with_spectrum(M, N, (1, 1e-5, 1e-10), seed=3)
    V = np.linalg.svd(x)[2].T
    shrink = sg.functions.ScalarFunction(lambda s: 1 / (1e-18 + s**2), lambda s: -2 / s**3)
    found = sg.eigh_function(sg.polar(in_blocks(x)).P, shrink).compute()
    wanted = (V / (1e-18 + np.linalg.svdvals(x) ** 2)) @ V.T
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * abs(wanted).max())
    assert not np.allclose(np.linalg.inv(x.T @ x), wanted, rtol=0, atol=0.1 * abs(wanted).max())


def loss_and_gradient(x):
    (U, S, _), pullback = sg.vjp(sg.svd, x, full_matrices=False)
    U_bar = 3 * abs(U) * U * np.array([1.0, 0.5, 0.1])
    (gradient,) = pullback((U_bar, None, None))
    return (abs(U) ** 3 * np.array([1.0, 0.5, 0.1])).sum(), S, gradient


def test_passes_change_no_number():
    x = random((M, N), seed=3)
    wanted = dask.compute(*loss_and_gradient(in_blocks(x)), scheduler="synchronous")
    with sg.in_passes():
        found = dask.compute(*loss_and_gradient(in_blocks(x)), scheduler="synchronous")
        turned, bar = in_blocks(x.T), da.from_array(random((N, M), seed=4), chunks=(N, 4))
        (cut,) = sg.vjp(sg.svd_function, turned, f=sg.functions.tanh)[1](bar)
        cut = cut.compute()
    for values, expected in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(values, expected)
    same(cut, sg.vjp(sg.svd_function, x.T, f=sg.functions.tanh)[1](bar.compute())[0])


@pytest.mark.parametrize("blocks", [6, 24])
def test_passes_hold_no_block(blocks):
    """Between tasks, of a gradient that is stored, there are triangles and no blocks."""
    from dask.callbacks import Callback

    rows, held, made = 10, [], []

    def block(block_id):
        made.append(block_id)
        return np.random.default_rng(block_id).standard_normal((rows, N))

    x = da.map_blocks(block, chunks=((rows,) * blocks, (N,)), dtype=float, meta=np.empty((0, 0)))
    stored = np.zeros(x.shape)

    def look(key, result, dsk, state, worker):
        held.append(sum(getattr(v, "size", 0) == rows * N for v in state["cache"].values()))

    with sg.in_passes(), Callback(posttask=look):
        da.store(loss_and_gradient(x)[2], stored, lock=False, scheduler="synchronous")
    assert max(held) <= 1
    assert len(made) == 3 * blocks  # for R, for the sums with U, and for the gradient
    same(stored, loss_and_gradient(x)[2].compute())
