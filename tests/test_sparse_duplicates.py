"""Sparse matrices with several entries at one place, which count as their sum."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from matrices import random

import spectralgrad as sg

pytestmark = pytest.mark.filterwarnings(
    "ignore:Sparse CSR tensor support is in beta state:UserWarning"
)
SHAPE, K = (60, 48), 3
KRYLOV = {"solver": "krylov", "adjoint": "krylov"}
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])


def in_pieces(is_complex):
    """A matrix, and its entries in two and three pieces, in no order: values, rows and columns."""
    rng = np.random.default_rng(0)
    x = random(SHAPE, is_complex=is_complex) * (rng.random(SHAPE) < 0.2) * 0.9 ** np.arange(48)
    rows, cols = np.nonzero(x)
    place = np.concatenate([np.arange(len(rows))] * 2 + [np.arange(20)])
    share = rng.standard_normal(len(place))
    for i in range(len(rows)):  # pieces may be larger than their sum
        share[np.flatnonzero(place == i)[-1]] += 1 - np.sum(share[place == i])
    order = rng.permutation(len(place))
    place, share = place[order], share[order]
    return x, x[rows, cols][place] * share, rows[place], cols[place]


def in_rows(values, rows, cols):
    """The same as the three arrays of a CSR, its rows with what comes twice and in no order."""
    order = np.argsort(rows, kind="stable")
    return np.searchsorted(rows[order], np.arange(SHAPE[0] + 1)), cols[order], values[order]


def bar(S):
    return np.arange(1.0, K + 1) * S


def wanted_of(x):
    """Values, and the cotangents of x for `bar` of the values and for the error."""
    out, pullback = sg.vjp(sg.truncated_svd, x, k=K)
    error, of_error = sg.vjp(sg.truncation_error, x, k=K)
    return out.S, pullback((None, bar(out.S), None))[0], error, of_error(1.0)[0]


@by_dtype
@pytest.mark.parametrize("options", [{}, KRYLOV, {"solver": "scipy"}], ids=str)
def test_of_scipy(options, is_complex):
    x, values, rows, cols = in_pieces(is_complex)
    S, x_bar, error, of_error = wanted_of(x)
    coo = scipy.sparse.coo_array((values, (rows, cols)), shape=SHAPE)
    starts, columns, data = in_rows(values, rows, cols)
    csr = scipy.sparse.csr_array((data, columns, starts), shape=SHAPE)
    assert not csr.has_canonical_format
    for A in (coo, scipy.sparse.coo_matrix(coo), csr, csr.tocsc()):
        out, pullback = sg.vjp(sg.truncated_svd, A, k=K, **options)
        np.testing.assert_allclose(out.S, S, rtol=1e-12)
        found = pullback((None, bar(out.S), None))[0]
        e, pullback = sg.vjp(sg.truncation_error, A, k=K, solver=options.get("solver"))
        assert np.isclose(e, error, rtol=1e-12)
        for C, wanted in ((found, x_bar), (pullback(1.0)[0], of_error)):
            np.testing.assert_allclose(C.todense(), wanted, atol=1e-11)
            np.testing.assert_allclose(C.at(rows, cols), wanted[rows, cols], atol=1e-11)
            assert np.isclose(C.vdot(A), np.sum((wanted.conj() * x).real), rtol=1e-11)
    assert not csr.has_canonical_format  # and it was not written to
    assert csr.nnz == len(values)


@by_dtype
@pytest.mark.parametrize("options", [{}, KRYLOV], ids=str)
def test_of_pytorch(options, is_complex):
    torch = pytest.importorskip("torch")
    x, values, rows, cols = in_pieces(is_complex)
    S, x_bar, error, of_error = wanted_of(x)
    starts, columns, data = map(torch.asarray, in_rows(values, rows, cols))

    def coo(values):
        return torch.sparse_coo_tensor(np.stack([rows, cols]), values, SHAPE, check_invariants=True)

    def csr(values):
        return torch.sparse_csr_tensor(starts, columns, values, SHAPE, check_invariants=False)

    def check(A, leaf, entries_of):
        grad = lambda y, bar: entries_of(torch.autograd.grad(y, leaf, bar, retain_graph=True)[0])
        found = sg.truncated_svd(A, K, **options).S
        np.testing.assert_allclose(found.detach(), S, rtol=1e-12)
        places, gradients = grad(found, torch.asarray(bar(S)))
        np.testing.assert_allclose(gradients, x_bar[places], atol=1e-11)
        e = sg.truncation_error(A, K)
        assert np.isclose(e.item(), error, rtol=1e-12)
        places, gradients = grad(e, torch.ones_like(e))
        np.testing.assert_allclose(gradients, of_error[places], atol=1e-11)
        (A_bar,) = sg.vjp(sg.truncated_svd, A.detach(), k=K)[1]((None, torch.asarray(bar(S)), None))
        np.testing.assert_allclose(A_bar.todense(), x_bar, atol=1e-11)

    leaf = torch.asarray(values).requires_grad_()
    check(coo(leaf), leaf, lambda gradient: ((rows, cols), gradient.numpy()))
    A, B = coo(torch.asarray(values)).requires_grad_(), csr(data).requires_grad_()
    assert not A.is_coalesced()
    check(A, A, lambda gradient: entries_of(gradient.coalesce()))
    check(B, B, lambda gradient: entries_of(gradient.to_sparse_coo()))


def test_of_pytorch_with_indices_of_32_bits():
    """Which cannot number the places of a matrix this large."""
    torch = pytest.importorskip("torch")
    shape, rng = (70_000, 65_536), np.random.default_rng(0)
    places = rng.integers(0, shape[0], 300), rng.integers(0, shape[1], 300)
    A = scipy.sparse.csr_array((rng.standard_normal(300), places), shape=shape)
    starts, columns = (torch.asarray(i, dtype=torch.int32) for i in (A.indptr, A.indices))
    data = torch.asarray(A.data)
    x = torch.sparse_csr_tensor(starts, columns, data, shape, check_invariants=False)
    np.testing.assert_allclose(sg.truncated_svd(x, 2).S, sg.truncated_svd(A, 2).S, rtol=1e-12)


@by_dtype
@pytest.mark.parametrize("use", ["values", "products", "to_dense"])
def test_second_derivatives_by_csr_of_pytorch(use, is_complex):
    """Of the values, a product and all of a gradient, against those by a dense matrix."""
    torch = pytest.importorskip("torch")
    starts, columns, data = map(torch.asarray, in_rows(*in_pieces(is_complex)[1:]))
    rows = torch.repeat_interleave(starts.diff())
    C, D, X = (
        torch.asarray(random(shape, seed=3, is_complex=is_complex))
        for shape in (SHAPE, data.shape, (48, 2))
    )

    def dense(values):
        zeros = torch.zeros(SHAPE, dtype=values.dtype)
        return zeros.index_put((rows, columns), values, accumulate=True)

    def gradient(A, leaf):
        U, S, Vh = sg.truncated_svd(A, K)
        loss = (C * ((U * S) @ Vh)).real.sum() + (S**3).sum()
        return torch.autograd.grad(loss, leaf, create_graph=True)[0]

    leaf = data.clone().requires_grad_()
    entries = gradient(dense(leaf), leaf)
    A = torch.sparse_csr_tensor(starts, columns, data, SHAPE, check_invariants=False)
    A_bar = gradient(A.requires_grad_(), A)
    used = {
        "values": lambda: ((entries @ D).real, (A_bar.values() @ D).real),
        "products": lambda: tuple((G @ X).abs().square().sum() for G in (dense(entries), A_bar)),
        "to_dense": lambda: tuple((C * G).real.sum() for G in (dense(entries), A_bar.to_dense())),
    }
    wanted, found = used[use]()
    (wanted,), (found,) = torch.autograd.grad(wanted, leaf), torch.autograd.grad(found, A)
    np.testing.assert_allclose(found.values(), wanted, rtol=1e-10, atol=1e-11 * wanted.abs().max())


def entries_of(A):
    """Places and values of a sparse tensor of PyTorch."""
    rows, cols = A._indices().numpy()
    return (rows, cols), A._values().numpy()


@pytest.mark.parametrize("is_complex", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_of_jax(is_complex):
    jax = pytest.importorskip("jax")
    from jax.experimental import sparse

    x, values, rows, cols = in_pieces(is_complex)
    S, x_bar, error, of_error = wanted_of(x)
    places = jax.numpy.asarray(np.stack([rows, cols], axis=-1))

    def both(values):
        A = sparse.BCOO((values, places), shape=SHAPE)
        weights = jax.numpy.arange(1.0, K + 1) / 2
        found = sg.truncated_svd(A, K).S
        return jax.numpy.sum(weights * found**2), sg.truncation_error(A, K)

    out, pullback = jax.vjp(jax.jit(both), jax.numpy.asarray(values))
    np.testing.assert_allclose(out, (np.sum(bar(S) * S) / 2, error), rtol=1e-12)
    for bars, wanted in (((1.0, 0.0), x_bar), ((0.0, 1.0), of_error)):
        found = np.conj(pullback(tuple(map(jax.numpy.asarray, bars)))[0])
        np.testing.assert_allclose(found, wanted[rows, cols], atol=1e-11)


def test_an_adaptive_rank():
    x, values, rows, cols = in_pieces(False)
    A = scipy.sparse.coo_array((values, (rows, cols)), shape=SHAPE)
    for k in (sg.truncation(12, error=0.6), sg.truncation(12, rtol=0.5)):
        found, wanted = (sg.truncated_svd(M, k, solver="krylov").mask for M in (A, x))
        assert 0 < np.sum(wanted) < 12
        np.testing.assert_array_equal(found, wanted)
