"""Linear systems of truncated decompositions in single precision, refined in double."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from matrices import hermitian, random, with_spectrum

import spectralgrad as sg
from spectralgrad._engine import products
from spectralgrad._truncated.conjugate_gradients import System
from spectralgrad._truncated.refinement import Rough, are_hard, refined, single

by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])


def system(N, calls):
    def times(p, *held):
        calls.append(p.shape[-1])
        return N @ p

    return System(times, lambda r, *held: r)


def all_hard(rough, k):
    return Rough(lambda: rough, np.full((1, k), True))


@pytest.fixture
def made(monkeypatch):
    """The matrices that were taken to single precision."""
    found, own = [], products._in_single
    monkeypatch.setattr(products, "_in_single", lambda *args: found.append(args) or own(*args))
    return found


@by_dtype
@pytest.mark.parametrize("least", [1e-1, 1e-3, 1e-6, 1e-9])
def test_residuals_are_those_of_double_precision(least, is_complex):
    """And products in double precision are few, unless single precision sees a singular matrix."""
    values = np.geomspace(1.0, least, 12)
    Q = np.linalg.qr(random((40, 40), is_complex=is_complex))[0]
    N = (Q * np.append(values, np.ones(28))) @ Q.conj().T
    rhs, calls = random((40, 5), seed=1, is_complex=is_complex), ([], [])
    rough, exact = system(single(N), calls[0]), system(N, calls[1])
    found = refined(exact, all_hard(rough, 5), rhs, (np.ones((1, 5)),), 1e-12, 1000)
    assert not np.any(found.unsolved)
    rest, *sizes = (
        np.linalg.norm(W, axis=0) for W in (rhs - N @ found.solution, rhs, found.solution)
    )
    # of y, its rounding remains too
    np.testing.assert_array_less(rest, 2e-12 * sizes[0] + 1e-15 * sizes[1])
    if least >= 1e-3:
        assert len(calls[1]) <= 5 < len(calls[0])


def test_solved_columns_leave_and_zero_ones_cost_nothing():
    N, calls = np.diag(np.linspace(0.5, 1.0, 30)), ([], [])
    rhs = np.stack([np.zeros(30), np.eye(30)[3], random((30,))], axis=-1)
    rough, exact = system(single(N), calls[0]), system(N, calls[1])
    found = refined(exact, all_hard(rough, 3), rhs, (), 1e-12, 100)
    np.testing.assert_allclose(found.solution, np.linalg.solve(N, rhs), rtol=1e-11)
    assert 3 not in calls[1]
    assert calls[0][-1] == 1


@by_dtype
@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("gap", [0.1, 1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("shape", [(40, 30), (30, 40)])
def test_gradients_of_a_sparse_matrix_are_those_of_an_array(shape, gap, unit, is_complex, made):
    values = [4.0, 3.0, 2.0, 2.0 - gap, *np.linspace(1.9, 1.85, 26)]
    x = unit * with_spectrum(*shape, values, is_complex=is_complex)
    options = {"k": 3, "solver": "krylov", "adjoint": "krylov", "maxiter": 300}
    gradients = []
    for A in (x, scipy.sparse.csr_array(x)):
        (U, *_), pullback = sg.vjp(sg.truncated_svd, A, **options)
        weight = random((shape[0], shape[0]), seed=4, is_complex=is_complex)
        U_bar = (weight + weight.conj().T) @ U * np.arange(1.0, 4.0)
        found = pullback((U_bar, None, None))[0]
        gradients.append(unit * (found if A is x else found.todense()))
    size = np.max(np.abs(gradients[0]))
    assert made
    np.testing.assert_allclose(*gradients, rtol=0, atol=size * max(1e-11, 1e-13 / gap))


@by_dtype
@pytest.mark.parametrize("ties", ["nan", "drop"])
@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude"])
@pytest.mark.parametrize(("unit", "gap"), [(1e-200, 0.1), (1.0, 1e-3), (1.0, 1e-9), (1e200, 1e-6)])
def test_gradients_of_a_sparse_hermitian_matrix_are_those_of_an_array(
    unit, gap, which, ties, is_complex, made
):
    values = np.array([4.0, 3.0, 2.0, 2.0 - gap, *np.linspace(1.9, 1.85, 30)])
    x = unit * hermitian(-values if which == "smallest" else values, is_complex=is_complex)
    options = {"k": 3, "which": which, "ties": ties, "solver": "krylov", "maxiter": 300}
    gradients = []
    for A in (x, scipy.sparse.csr_array(x)):
        (_, Q), pullback = sg.vjp(sg.truncated_eigh, A, **options)
        weight = random(x.shape, seed=4, is_complex=is_complex)
        Q_bar = (weight + weight.conj().T) @ Q * np.arange(1.0, 4.0)
        found = pullback((None, Q_bar))[0]
        gradients.append(unit * (found if A is x else found.todense()))
    size = np.max(np.abs(gradients[0]))
    assert made
    np.testing.assert_allclose(*gradients, rtol=0, atol=size * max(1e-11, 1e-13 / gap))


def test_easy_columns_stay_in_double_precision():
    N, calls = np.diag(np.linspace(0.5, 1.0, 30)), ([], [])
    rhs, hard = random((30, 2)), are_hard(np.array([[9.0, 9.0], [6.0, 3.0]]))
    np.testing.assert_array_equal(hard, [[True, False]])
    rough = Rough(lambda: system(single(N), calls[0]), hard)
    found = refined(system(N, calls[1]), rough, rhs, (), 1e-12, 100)
    np.testing.assert_allclose(found.solution, np.linalg.solve(N, rhs), rtol=1e-11)
    assert set(calls[0]) == {1}
