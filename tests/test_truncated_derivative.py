"""The derivative of a truncated SVD: values that were split, triplets from elsewhere, its cost."""

from __future__ import annotations

import tracemalloc
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import scipy.sparse
from matrices import random, with_spectrum
from scipy.sparse.linalg import svds

import spectralgrad as sg
from spectralgrad._engine.products import products_of

by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])


def difference(x, y):
    return np.linalg.norm(x - y) / np.linalg.norm(y)


def below_a_multiplet(gap, shape, is_complex):
    """Seven equal values, and the next one a relative gap below."""
    rest = (1 - gap) * np.linspace(1, 0.3, min(shape) - 7)
    return with_spectrum(*shape, np.concatenate([np.ones(7), rest]), is_complex=is_complex)


def cubed(C, U, S, Vh):
    """Cotangents of Re<C, U S^3 V^H>."""
    CV, UC = C @ Vh.conj().T, U.conj().T @ C
    return CV * S**3, np.sum(U.conj() * CV, axis=0).real * 3 * S**2, S[:, None] ** 3 * UC


def cubed_tangent(triplets, dots):
    (U, S, Vh), (dU, dS, dVh) = triplets, dots
    return (dU * S**3 + U * (3 * S**2 * dS)) @ Vh + (U * S**3) @ dVh


def cubed_by_low_rank(x, C, dx):
    """The same of L L^H L, where L is the best approximation of rank 7 and no tie is one."""
    L, pullback = sg.vjp(sg.low_rank, x, k=7)
    _, dL = sg.jvp(sg.low_rank, (x,), (dx,), k=7)
    Lh = L.conj().T
    (x_bar,) = pullback(C @ Lh @ L + L @ C.conj().T @ L + L @ Lh @ C)
    return x_bar, dL @ Lh @ L + L @ dL.conj().T @ L + L @ Lh @ dL


@pytest.mark.thinned
@by_dtype
@pytest.mark.parametrize("adjoint", ["krylov", "full"])
def test_a_split_multiplet_may_lie_close_above_the_rest(library, adjoint, is_complex):
    options = {"k": 7, "ties": "split", "solver": "full", "adjoint": adjoint}
    function = lambda x: tuple(sg.truncated_svd(x, **options))
    for shape in library.brief(((40, 30), (30, 40))):
        C, dx = (random(shape, seed=seed, is_complex=is_complex) for seed in (2, 5))
        for gap in (1e-1, 1e-2, 1e-3, 1e-5, 1e-6):
            x = below_a_multiplet(gap, shape, is_complex)
            wanted, wanted_tangent = cubed_by_low_rank(x, C, dx)
            out, pullback = library.vjp(function, library.array(x))
            bars = map(library.array, cubed(C, *map(library.numpy, out)))
            assert difference(library.numpy(pullback(tuple(bars))[0]), wanted) < 2e-7
            both = library.jvp(function, (library.array(x),), (library.array(dx),))
            tangent = cubed_tangent(*(tuple(map(library.numpy, part)) for part in both))
            assert difference(tangent, wanted_tangent) < 2e-7


@pytest.mark.thinned
@by_dtype
@pytest.mark.parametrize("adjoint", ["krylov", "full"])
@pytest.mark.parametrize(
    ("shape", "values", "ties"),
    [
        ((4, 2), (2, 0), "split"),
        ((2, 4), (2, 0), "split"),
        ((5, 3), (1, 0, 0), "split"),
        ((5, 3), (1, 1, 0), "split"),
        ((5, 4), (1, 0.5, 1e-9, 0), "split"),
        ((6, 6), (1, 0.9, 0.6, 0.5, 0.2, 0), "split"),
        ((6, 6), (1, 0.9, 0.6, 0.5, 0.2, 1e-9), "nan"),
    ],
    ids=str,
)
def test_where_nothing_is_left_out(library, shape, values, ties, adjoint, is_complex):
    """The loss is Re <C, A>, by way of all triplets."""
    (m, n), k = shape, len(values)
    x, C = with_spectrum(m, n, values, is_complex=is_complex), random(shape, is_complex=is_complex)
    options = {"k": k, "ties": ties, "solver": "full", "adjoint": adjoint}
    out, pullback = library.vjp(lambda x: sg.truncated_svd(x, **options)[:3], library.array(x))
    U, S, Vh = map(library.numpy, out)
    V = Vh.conj().T
    S_bar = np.real(np.sum(U.conj() * (C @ V), axis=0))
    bars = map(library.array, (C @ V * S, S_bar, S[:, None] * (U.conj().T @ C)))
    assert difference(library.numpy(pullback(tuple(bars))[0]), C) < 1e-8


def wrong_in(part, U, S, Vh, by):
    """Triplets of which one factor is off, by a relative `by`, in one column."""
    U, S, Vh = U.copy(), S.copy(), Vh.copy()
    if part == "U":
        U[:, 1] += by * random(U.shape[:1], seed=8) / U.shape[0] ** 0.5
    elif part == "Vh":
        Vh[2] += by * Vh[0]
    elif part == "rotation":  # of two vectors, on both sides
        turn = np.asarray([[np.cos(by), np.sin(by)], [-np.sin(by), np.cos(by)]])
        U[:, :2], Vh[:2] = U[:, :2] @ turn, turn.T @ Vh[:2]
    else:
        S[0] *= 1 + by
    return U, S, Vh


@by_dtype
@pytest.mark.parametrize("adjoint", ["krylov", "full"])
@pytest.mark.parametrize("part", ["U", "S", "Vh", "rotation"])
def test_rules_refuse_what_are_no_triplets(part, adjoint, is_complex):
    x = with_spectrum(60, 40, 0.8 ** np.arange(40), is_complex=is_complex)
    dx = random(x.shape, seed=5, is_complex=is_complex)
    U, S, Vh = np.linalg.svd(x, full_matrices=False)
    U, S, Vh = U[:, :4], S[:4], Vh[:4]
    bars = cubed(random(x.shape, seed=2), U, S, Vh)
    vjp, jvp = sg.rules.truncated_svd_vjp, sg.rules.truncated_svd_jvp
    wanted = vjp(x, (U, S, Vh), bars, adjoint=adjoint)
    for by in (1e-3, 1e-6, 1e-9):
        wrong = wrong_in(part, U, S, Vh, by)
        for ties in ("nan", "split") if part != "S" or by > 1e-8 else ("nan",):
            options = {"adjoint": adjoint, "ties": ties}
            with pytest.warns(sg.ConvergenceWarning, match=r"truncated_svd_vjp.*is .*e-.*wanted"):
                assert np.all(np.isnan(vjp(x, wrong, bars, **options)))
            with pytest.warns(sg.ConvergenceWarning, match=r"truncated_svd_vjp.*Tighten"):
                assert np.all(np.isnan(vjp(x, wrong, (None, S, None), **options)))
            with pytest.warns(sg.ConvergenceWarning, match=r"truncated_svd_jvp"):
                tangents = jvp(x, wrong, dx, **options)
            assert all(np.all(np.isnan(dot)) for dot in tangents)
    near = wrong_in(part, U, S, Vh, 1e-13)
    assert difference(vjp(x, near, bars, adjoint=adjoint), wanted) < 1e-10


@pytest.mark.parametrize("dtype", ["float32", "complex64", "float64", "complex128"])
def test_rules_take_the_triplets_of_other_solvers(dtype):
    """Of ARPACK, a full SVD and the library itself, in their own precision and in a wider one."""
    A = scipy.sparse.random_array((900, 600), density=0.02, rng=np.random.default_rng(0))
    A = (A @ scipy.sparse.diags_array(0.97 ** np.arange(600))).tocsr().astype(dtype)
    of_arpack = svds(A, 5, v0=np.ones(600, dtype))
    order = np.argsort(of_arpack[1])[::-1]
    for U, S, Vh in (
        (of_arpack[0][:, order], of_arpack[1][order], of_arpack[2][order]),
        np.linalg.svd(A.todense(), full_matrices=False),
        sg.truncated_svd(A, 5),
        sg.truncated_svd(A, 5, ties="split"),
    ):
        given = U[:, :5], S[:5], Vh[:5]
        bars = None, np.arange(1, 6, dtype=S.dtype), None
        for matrix in (A, A.astype("complex128" if "complex" in dtype else "float64")):
            for ties in ("nan", "split"):
                x_bar = sg.rules.truncated_svd_vjp(matrix, given, bars, ties=ties)
                wanted = (given[0] * bars[1]) @ given[2]
                assert difference(x_bar.todense(), wanted) < 1e-5


def test_a_wrong_triplet_is_that_of_one_batch_element(library):
    x = with_spectrum(30, 20, 0.8 ** np.arange(20))
    U, S, Vh = np.linalg.svd(x, full_matrices=False)
    given = U[:, :3], S[:3], Vh[:3]
    stack = [np.stack([y, z]) for y, z in zip(given, wrong_in("U", *given, 1e-3), strict=True)]
    bars = [random(y.shape, seed=3) for y in stack]
    bars[0], bars[2] = bars[0] * 0 + U[:, :3], bars[2] * 0
    rule = sg.rules.truncated_svd_vjp

    def function(x, U, S, Vh, *bars):
        return rule(x, (U, S, Vh), bars, adjoint="krylov")

    arrays = [library.array(y) for y in (np.stack([x, x]), *stack, *bars)]
    told = pytest.warns(sg.ConvergenceWarning, match="truncated_svd_vjp.*none of x")
    with nullcontext() if library.name == "jax" else told:  # where nobody can read the residual
        x_bar = library.numpy(library.compiled(function)(*arrays))
    assert np.all(np.isnan(x_bar[1]))
    wanted = rule(x, given, [bar[0] for bar in bars], adjoint="krylov")
    np.testing.assert_allclose(x_bar[0], wanted, atol=1e-12)


class Counted:
    """An operator that notes how many columns each product has."""

    def __init__(self, x, like):
        self.x, self.like, self.shape, self.dtype = x, like, x.shape, like.dtype
        self.columns = []

    def matmat(self, X):
        self.columns.append(X.shape[-1])
        return self.x @ X

    def rmatmat(self, Y):
        return self.x.mT.conj() @ Y


@by_dtype
@pytest.mark.parametrize("ties", ["nan", "drop"])
def test_columns_leave_the_iteration_once_they_are_solved(is_complex, ties):
    values = np.concatenate([[8.0, 4.0, 2.0, 1.0], 0.9 * 0.99 ** np.arange(296)])
    x = with_spectrum(320, 300, values, is_complex=is_complex)
    U, S, Vh = np.linalg.svd(x, full_matrices=False)
    solver = lambda x, k: (U[:, :k], S[:k], Vh[:k])
    for name in ("numpy", "torch"):
        array = np.asarray if name == "numpy" else pytest.importorskip("torch").asarray
        held = [array(part) for part in (U[:, :4], S[:4], Vh[:4])]
        A = Counted(array(x), array(x)[:0])
        _, pullback = sg.vjp(sg.truncated_svd, A, k=4, ties=ties, solver=lambda *_, t=held: t)
        A.columns.clear()
        bars = cubed(random(x.shape, seed=2), U[:, :4], S[:4], Vh[:4])
        (found,) = pullback(tuple(map(array, bars)))
        solved = A.columns[:-1]  # the last gives x from y
        assert solved == sorted(solved, reverse=True)
        assert solved[0] == 4
        assert solved[-1] == 1
        (wanted,) = sg.vjp(sg.truncated_svd, x, k=4, solver=solver, adjoint="full")[1](bars)
        assert difference(np.asarray(found.todense()), wanted) < 1e-11


@by_dtype
def test_entries_of_a_low_rank_matrix_take_little_memory(is_complex):
    C = sg.operators.LowRank(*(random((n, 3), seed=n, is_complex=is_complex) for n in (70, 50)))
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 70, 2 * 10**6), rng.integers(0, 50, 2 * 10**6)
    tracemalloc.start()
    found = C.at(rows, cols)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(found, C.todense()[rows, cols], atol=1e-12)
    assert peak < 1.6 * found.nbytes
    assert C.at(rows[:0], cols[:0]).shape == (0,)


def test_a_low_rank_matrix_of_real_and_complex_factors():
    real, imaginary = random((7, 3)), random((5, 3), is_complex=True)
    for C in (sg.operators.LowRank(real, imaginary), sg.operators.LowRank(imaginary, real)):
        places = np.nonzero(C.todense())
        np.testing.assert_allclose(C.at(*places), C.todense()[places], rtol=1e-13)
        assert C.dtype == np.complex128


@by_dtype
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state:UserWarning")
def test_sparse_products_of_pytorch_add_what_comes_twice(is_complex):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 30, 200), rng.integers(0, 20, 200)  # some twice, unordered
    values = random((200,), is_complex=is_complex)
    wanted = scipy.sparse.coo_array((values, (rows, cols)), shape=(30, 20)).toarray()
    places = np.stack([rows, cols])
    A = torch.sparse_coo_tensor(places, torch.asarray(values), (30, 20), check_invariants=True)
    for matrix in (A, torch.asarray(wanted).to_sparse_csr()):
        products = products_of(matrix)
        X, Y = (torch.asarray(random((n, 4), is_complex=is_complex)) for n in (20, 30))
        np.testing.assert_allclose(products.matmat(X), wanted @ X.numpy(), atol=1e-12)
        np.testing.assert_allclose(products.rmatmat(Y), wanted.conj().T @ Y.numpy(), atol=1e-12)


@by_dtype
def test_zero_values_that_nothing_is_asked_of(is_complex):
    """Of a matrix of rank 3, with 5 triplets and with 3."""
    x = with_spectrum(60, 50, [3.0, 2.0, 1.0, *[0.0] * 47], is_complex=is_complex)
    options, found = {"solver": "krylov", "adjoint": "krylov"}, []
    for k in (3, 5):
        (U, S, Vh), pullback = sg.vjp(sg.truncated_svd, x, k=k, **options)
        bars = cubed(random(x.shape, seed=2), U, S, Vh)
        mask = np.arange(k) < 3
        found.append(pullback((bars[0] * mask, bars[1] * mask, bars[2] * mask[:, None]))[0])
    np.testing.assert_allclose(found[1], found[0], atol=1e-12)


@pytest.mark.parametrize("solver", ["krylov", "full"])
@pytest.mark.parametrize("small", [0.0, 1e-14, 1e-9])
def test_of_all_vectors_nothing_is_divided_by_a_small_value(library, solver, small):
    """There is nothing outside of them, but for rounding."""
    x, W = with_spectrum(5, 5, [4.0, 3.0, 2.0, 1.0, small]), random((5, 5), seed=3)
    function = lambda x: sg.truncated_svd(x, 5, solver=solver).U
    U, pullback = library.vjp(function, library.array(x))
    U = library.numpy(U)
    (given, _, _), of_svd = sg.vjp(sg.svd, x)
    for weights in (np.ones(5), np.arange(5.0)):
        U_bar = W @ U * weights
        wanted = of_svd((U_bar * np.sign(np.sum(given * U, axis=0)), None, None))[0]
        (x_bar,) = pullback(library.array(U_bar))
        assert np.abs(library.numpy(x_bar) - wanted).max() < 1e-12


@pytest.mark.parametrize("shape", [(6, 5), (5, 6), (30, 20)])
def test_dropped_ties_may_leave_nothing_to_solve_for(shape):
    """All that a cut leaves out is tied to what it keeps."""
    k = min(shape) - 1
    values = np.append(np.linspace(2, 1, k), 1.0)
    x, W = with_spectrum(*shape, values), random((shape[0], shape[0]), seed=4)
    (U, _, _), pullback = sg.vjp(sg.truncated_svd, x, k=k, ties="drop", solver="krylov")
    U_bar = W @ U * np.arange(1, k + 1)
    (x_bar,) = pullback((U_bar, None, None))
    _, of_full = sg.vjp(sg.truncated_svd, x, k=k, ties="drop", solver="full")
    assert difference(x_bar, of_full((U_bar, None, None))[0]) < 1e-9


@by_dtype
@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (1, 4), (1, 1)])
def test_beside_a_lone_zero_all_vectors_are_as_defined_as_those_of_svd(shape, is_complex):
    """The last vector of the shorter side is the only one left."""
    (m, n), k = shape, min(shape)
    x = with_spectrum(m, n, np.append(np.arange(k, 1.0, -1.0), 0.0), is_complex=is_complex)
    W, Z, dx = (random(s, seed=7, is_complex=is_complex) for s in ((m, m), (n, n), shape))
    W, Z = W + W.conj().T, Z + Z.conj().T
    tangents, gradients = [], []
    for function in (partial(sg.svd, full_matrices=False), partial(sg.truncated_svd, k=k)):
        (U, _, Vh), pullback = sg.vjp(function, x)
        of_U, of_V = W @ U, (Z @ Vh.conj().T).conj().T
        bars = (of_U, None, None), (None, None, of_V), (of_U, None, of_V)
        gradients.append([pullback(bar)[0] for bar in bars])
        dU, _, dVh = sg.jvp(function, (x,), (dx,))[1]
        tangents.append([np.isnan(dU), np.isnan(dVh)])
    for mine, theirs in zip(*gradients, strict=True):
        assert np.allclose(mine, theirs, rtol=0, atol=1e-12, equal_nan=True)
    for mine, theirs in zip(*tangents, strict=True):
        assert np.array_equal(mine, theirs)
