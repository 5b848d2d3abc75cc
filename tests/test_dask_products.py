"""A Dask matrix in blocks on both sides: triplets and derivatives by products with its blocks."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import random
from test_dask import refuse

import spectralgrad as sg

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
scipy_sparse = pytest.importorskip("scipy.sparse")

M, N, K, CHUNKS = 400, 300, 4, (150, 110)


def decaying(*, is_complex=False):
    left, right = random((M, 30), is_complex=is_complex), random((30, N), seed=1)
    return (left * 2.0 ** -np.arange(30)) @ right + 1e-3 * random((M, N), seed=2)


def in_blocks(x):
    """In chunks like those of the matrix, along the sides that have its lengths."""
    side = {M: CHUNKS[0], N: CHUNKS[1]}
    return da.from_array(x, chunks=tuple(side.get(n, -1) for n in x.shape))


def invariant_cotangents(U, S, Vh, C):
    """Those of <C, U S Vh>."""
    V = Vh.conj().T
    return (C @ V) * S, np.real(np.sum(U.conj() * (C @ V), axis=0)), (U * S).conj().T @ C


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * max(1, abs(wanted).max()))


@pytest.mark.parametrize("is_wide", [False, True], ids=["tall", "wide"])
@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
def test_triplets_and_gradient(is_wide, is_complex):
    x, C = decaying(is_complex=is_complex), random((M, N), seed=3)
    x, C = (x.T, C.T) if is_wide else (x, C)
    lazy = in_blocks(x)
    factors, pullback = sg.vjp(sg.truncated_svd, lazy, k=K)
    assert [part.chunks for part in factors] == [
        (lazy.chunks[0], (K,)), ((K,),), ((K,), lazy.chunks[1])
    ]  # fmt: skip
    found = dask.compute(*factors)
    wanted, own = sg.vjp(sg.truncated_svd, x, k=K, solver="krylov")
    close(found[1], wanted.S)
    bars = [in_blocks(bar) for bar in invariant_cotangents(*found, C)]
    (graph,) = pullback(tuple(bars))
    assert graph.chunks == lazy.chunks
    close(graph.compute(), own(invariant_cotangents(*wanted, C))[0])
    (of_values,) = pullback((None, da.ones(K), None))
    close(of_values.compute(), own((None, np.ones(K), None))[0])


def test_tangents_and_the_truncation_error():
    x, dx = decaying(), random((M, N), seed=3)
    _, found = sg.jvp(sg.truncated_svd, (in_blocks(x),), (in_blocks(dx),), k=K)
    _, wanted = sg.jvp(sg.truncated_svd, (x,), (dx,), k=K, solver="krylov")
    close(found[1].compute(), wanted[1])
    error, pullback = sg.vjp(sg.truncation_error, in_blocks(x), k=K)
    expected, own = sg.vjp(sg.truncation_error, x, k=K)
    (graph,) = pullback(da.ones(()))
    close(error.compute(), expected)
    close(graph.compute(), own(1.0)[0])


def test_sparse_blocks():
    dense = random((M, N)) * (random((M, N), seed=1) > 2)
    A = scipy_sparse.csr_array(dense)
    lazy = in_blocks(dense).map_blocks(scipy_sparse.csr_array)
    factors, pullback = sg.vjp(sg.truncated_svd, lazy, k=3)
    wanted, own = sg.vjp(sg.truncated_svd, A, k=3)
    close(factors.S.compute(), wanted.S)
    (found,), (expected,) = pullback((None, da.ones(3), None)), own((None, np.ones(3), None))
    assert isinstance(found, sg.operators.LowRank)
    assert isinstance(found.left, da.Array)
    places = A.nonzero()
    with dask.config.set(scheduler=refuse):
        entries = found.at(*(da.from_array(i, chunks=500) for i in places))
        whole = found.todense()
    assert entries.chunks[0][0] == 500
    close(entries.compute(), expected.at(*places))
    close(whole.compute(), expected.todense())


def test_an_operator_made_of_blocks():
    """The principal components: columns are centred, and nothing is multiplied out."""
    x = decaying() + 1
    lazy = in_blocks(x)
    ones = da.ones((M, 1), chunks=(CHUNKS[0], 1))
    mean = sg.operators.LowRank(ones, lazy.mean(axis=0)[:, None])
    found = sg.truncated_svd(sg.operators.as_operator(lazy) - mean, K)
    close(found.S, np.linalg.svdvals(x - x.mean(axis=0))[:K])


def test_no_task_holds_more_than_a_block():
    from dask.callbacks import Callback

    sizes, x = [], decaying()

    def count(key, result, *_):
        sizes.append(getattr(result, "size", 0))

    def block(block_id):
        i, j = block_id
        return x[100 * i : 100 * (i + 1), 25 * j : 25 * (j + 1)]

    lazy = da.map_blocks(block, chunks=((100,) * 4, (25,) * 12), meta=np.empty((0, 0)))
    with Callback(posttask=count), dask.config.set(scheduler="synchronous"):
        (U, _, _), pullback = sg.vjp(sg.truncated_svd, lazy, k=K)
        (gradient,) = pullback((U**3, None, None))
        assert da.sum(gradient**2).compute() > 0
    assert max(sizes) <= 4 * 100 * 25  # a block, or some thin arrays of its rows that are added up


def test_what_did_not_converge_is_said():
    with pytest.warns(sg.ConvergenceWarning, match="truncated_svd"):
        sg.truncated_svd(in_blocks(random((M, N))), K, maxiter=1, tol=1e-15)


def test_a_short_side_is_decomposed_lazily():
    with dask.config.set(scheduler=refuse):
        U, S, _ = sg.truncated_svd(da.from_array(random((M, 20)), chunks=(150, 7)), K)
    assert U.shape == (M, K)
    close(S.compute(), np.linalg.svdvals(random((M, 20)))[:K])
