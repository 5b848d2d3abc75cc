"""The truncated SVD of matrices and operators: against the full one, and on its own terms."""

from __future__ import annotations

import tracemalloc
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.sparse
from matrices import random, with_spectrum
from scipy.sparse.linalg import aslinearoperator, svds

import spectralgrad as sg
from spectralgrad.testing import inner

KRYLOV = {"solver": "krylov", "adjoint": "krylov"}
TURNED = {"solver": "full", "adjoint": "krylov"}
MIXED = ({}, KRYLOV, TURNED, {"solver": "krylov", "adjoint": "full"})
SIZES = [((300, 200), 10)] + [
    (shape, k) for shape in ((19, 17), (19, 19), (19, 23)) for k in (1, 5, 9, 13, 17)
]
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
by_method = pytest.mark.parametrize("options", MIXED, ids=["size", "krylov", "full-k", "k-full"])


def projector(U, S, Vh):
    W = random((U.shape[0], U.shape[0]), seed=1)
    return (W + W.T) @ U, None, None


def squares(U, S, Vh):
    """Of Re<C, U S^2 V^H>."""
    C = random((U.shape[0], Vh.shape[1]), seed=2)
    CV = C @ Vh.conj().T
    return CV * S**2, np.sum(U.conj() * CV, axis=0).real * 2 * S, (U * S**2).conj().T @ C


def values_alone(U, S, Vh):
    return None, np.cos(np.arange(len(S))), None


LOSSES = (projector, squares, values_alone)


def by_full_svd(x, k, loss):
    """The cotangent of x through all of its triplets."""
    (U, S, Vh), pullback = sg.vjp(sg.svd, x, full_matrices=False)
    rest = len(S) - k
    padding = (((0, 0), (0, rest)), ((0, rest),), ((0, rest), (0, 0)))
    bars = loss(U[:, :k], S[:k], Vh[:k])
    bars = [b if b is None else np.pad(b, p) for b, p in zip(bars, padding, strict=True)]
    return pullback(tuple(bars))[0]


def gradient(x, k, loss, **options):
    out, pullback = sg.vjp(sg.truncated_svd, x, k=k, **options)
    return pullback(loss(*out))[0]


def difference(x, y):
    return np.linalg.norm(x - y) / np.linalg.norm(y)


def clustered(shape, k, gap, is_complex, *, apart=1e-3):
    """Kept values from 2 to 1, two of them closer, and others from 1 - 2 gap down."""
    kept = np.linspace(2, 1, k)
    kept[1:2] = kept[:1] - apart
    rest = (1 - 2 * gap) * np.linspace(1, 0.2, min(shape) - k)
    return with_spectrum(*shape, np.concatenate([np.sort(kept)[::-1], rest]), is_complex=is_complex)


@pytest.mark.parametrize(("shape", "k"), SIZES, ids=str)
@by_dtype
@by_method
def test_gradients_of_the_full_svd(shape, k, is_complex, options):
    for gap in (1e-1, 1e-3, 1e-6):
        x = clustered(shape, k, gap, is_complex)
        for loss in LOSSES:
            found = gradient(x, k, loss, **options)
            bound = max(1e-9, 10 * np.finfo(float).eps / gap)
            assert difference(found, by_full_svd(x, k, loss)) <= bound


@by_dtype
def test_error_grows_no_faster_than_the_inverse_gap(is_complex):
    for gap in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        x = clustered((300, 200), 10, gap, is_complex, apart=0.1)
        for loss in LOSSES:
            error = difference(gradient(x, 10, loss, **KRYLOV), by_full_svd(x, 10, loss))
            assert error <= 100 * np.finfo(float).eps / gap


def sparse(shape, is_complex, seed=0):
    rng = np.random.default_rng(seed)
    x = random(shape, seed=seed, is_complex=is_complex) * (rng.random(shape) < 0.1)
    return x * 0.9 ** np.arange(shape[1])


def kinds(x):
    """x as everything that NumPy users may have."""
    csr = scipy.sparse.csr_array(x)
    by_products = sg.operators.from_matmat(
        lambda X: csr @ X, lambda Y: csr.conj().T @ Y, x.shape, x.dtype
    )
    coo, dok = scipy.sparse.coo_matrix(x), csr.todok()  # which is a dict too
    return csr, coo, dok, aslinearoperator(csr), by_products


@by_dtype
@pytest.mark.parametrize("shape", [(150, 120), (120, 150), (40, 30)], ids=str)
def test_operators_and_sparse_matrices_give_the_same(shape, is_complex):
    x = sparse(shape, is_complex)
    rows, cols = np.nonzero(x)
    dx = random(shape, seed=5, is_complex=is_complex)
    for loss in LOSSES:
        wanted = by_full_svd(x, 4, loss)
        for A in kinds(x):
            x_bar = gradient(A, 4, loss)
            assert isinstance(x_bar, sg.operators.LowRank)
            assert difference(x_bar.todense(), wanted) < 1e-11
            assert difference(x_bar.at(rows, cols), wanted[rows, cols]) < 1e-11
            assert np.isclose(x_bar.vdot(dx), inner(wanted, dx), rtol=1e-10)
    for A, dA in zip(kinds(x), kinds(dx), strict=True):
        (U, _, Vh), (dU, dS, dVh) = sg.jvp(sg.truncated_svd, (A,), (dA,), k=4)
        _, tangent = sg.jvp(sg.truncated_svd, (x,), (dx,), k=4, **KRYLOV)
        np.testing.assert_allclose(dS, tangent[1], atol=1e-11)
        moved = dU @ Vh + U @ dVh
        wanted = sg.jvp(sg.truncated_svd, (x,), (dx,), k=4)
        wanted = wanted[1].U @ wanted[0].Vh + wanted[0].U @ wanted[1].Vh
        np.testing.assert_allclose(moved, wanted, atol=1e-10 * np.linalg.norm(wanted))


def test_a_solver_that_takes_eigenvalues():
    """Negative ones are values of the other sign of u."""
    x = np.diag([-3.0, 2.0, -1.0, 0.5]) + 0.1

    def largest(A, k):
        w, Q = np.linalg.eigh(A)
        chosen = np.argsort(-np.abs(w))[:k]
        return Q[:, chosen], w[chosen], Q[:, chosen].T

    (U, S, Vh), pullback = sg.vjp(sg.truncated_svd, x, k=2, solver=largest)
    wanted_U, wanted_S, wanted_Vh = np.linalg.svd(x)
    np.testing.assert_allclose(S, wanted_S[:2], rtol=1e-14)
    np.testing.assert_allclose((U * S) @ Vh @ Vh.T, x @ Vh.T, atol=1e-14)
    (x_bar,) = pullback((None, np.ones(2), None))
    np.testing.assert_allclose(x_bar, wanted_U[:, :2] @ wanted_Vh[:2], atol=1e-14)


@pytest.mark.parametrize("options", [{}, {"ties": "split"}, {"k": sg.truncation(most=2)}], ids=str)
@by_dtype
def test_values_of_a_stack_with_a_nan(options, is_complex):
    """A gradient of S alone asks nothing of vectors, in no batch element."""
    x = random((2, 3, 3), is_complex=is_complex)
    x[1, 0, 0] = np.nan
    found, pullback = sg.vjp(partial(sg.truncated_svd, **{"k": 2, **options}), x)
    (x_bar,) = pullback(tuple(np.ones((2, 2)) if i == 1 else None for i in range(len(found))))
    U, _, Vh = np.linalg.svd(x[0])
    np.testing.assert_allclose(x_bar[0], U[:, :2] @ Vh[:2], atol=1e-14)
    assert np.all(np.isnan(x_bar[1]))


@by_dtype
@pytest.mark.filterwarnings("ignore:Exited:UserWarning")  # LOBPCG's, by its random start
def test_other_solvers(is_complex):
    x = sparse((90, 70), is_complex)
    wanted = by_full_svd(x, 5, squares)
    for A in (x, *kinds(x)):
        assert difference(dense(gradient(A, 5, squares, solver="scipy")), wanted) < 1e-10
    start = random((90,), seed=8).astype(x.dtype)
    propack = partial(svds, solver="propack", v0=start)  # to about 1e-10, whatever is asked of it
    for few, tol, bound in ((svds, None, 1e-10), (propack, 1e-8, 1e-6)):  # without a surplus
        assert difference(gradient(x, 5, squares, solver=few, tol=tol), wanted) < bound
    with pytest.warns(sg.ConvergenceWarning, match="residual of"):
        gradient(x, 5, squares, solver=partial(svds, solver="lobpcg", tol=1e-4))
    with pytest.raises(ValueError, match=r"shapes \[\(90, 2\).*at least k = 5"):
        sg.truncated_svd(x, 5, solver=lambda A, k: svds(A, 2))
    rough = lambda A, k: (part * (1 + 1e-6) for part in svds(A, k))
    with pytest.warns(sg.ConvergenceWarning, match="residual of"):
        sg.truncated_svd(x, 5, solver=rough)
    with pytest.raises(TypeError, match="`solver` returned a NoneType; wanted U, S and Vh of at"):
        sg.truncated_svd(x, 5, solver=lambda A, k: None)


def dense(x_bar):
    return x_bar.todense() if isinstance(x_bar, sg.operators.LowRank) else x_bar


@by_dtype
def test_rules_take_triplets_found_elsewhere(is_complex):
    x = sparse((90, 70), is_complex)
    wanted = by_full_svd(x, 5, squares)
    U, S, Vh = (part[::-1] if part.ndim == 1 else part for part in svds(x, 5))
    U, Vh = U[:, ::-1], Vh[::-1]
    for A in (x, *kinds(x)):
        for adjoint in ("krylov", "full"):
            rule = sg.rules.truncated_svd_vjp
            x_bar = rule(A, (U, S, Vh), squares(U, S, Vh), adjoint=adjoint)
            assert difference(dense(x_bar), wanted) < 1e-10
    dx = random(x.shape, seed=5, is_complex=is_complex)
    tangent = sg.rules.truncated_svd_jvp(x, (U, S, Vh), dx)
    bars = squares(U, S, Vh)
    assert np.isclose(inner(bars, tangent), inner(wanted, dx), rtol=1e-10)
    assert sg.rules.truncated_svd_vjp(x, (U, S, Vh), (None, None, None)) is None


@by_dtype
def test_the_krylov_iteration_by_itself(library, is_complex):
    """A matrix beyond the size of a full SVD, a wide one, a stack, and what they have in common."""
    for shape in library.brief(((320, 280), (280, 320), (2, 300, 260))):
        x = random(shape, seed=3, is_complex=is_complex) * 0.97 ** np.arange(shape[-1])
        found = library.compiled(lambda x: sg.truncated_svd(x, 6))(library.array(x))
        U, S, Vh = map(library.numpy, found)
        np.testing.assert_allclose(S, np.linalg.svd(x, compute_uv=False)[..., :6], rtol=1e-13)
        adjoints = (np.conj(np.swapaxes(factor, -1, -2)) for factor in (U, Vh))
        for product in (next(adjoints) @ U, Vh @ next(adjoints)):
            np.testing.assert_allclose(
                product, np.broadcast_to(np.eye(6), product.shape), atol=1e-13
            )
        residual = x @ np.conj(np.swapaxes(Vh, -1, -2)) - U * S[..., None, :]
        assert np.linalg.norm(residual) < 1e-12 * np.max(S)


@pytest.mark.thinned
def test_seeds_decide(library):
    x = library.array(random((400, 300)) * 0.9 ** np.arange(300))
    runs = [library.compiled(lambda x, seed=s: sg.truncated_svd(x, 3, seed=seed).U) for s in (0, 1)]
    first, again, other = (library.numpy(run(x)) for run in (runs[0], *runs))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


HARD = {
    "zero": np.zeros((320, 300)),
    "identity": np.eye(300),
    "diagonal": np.diag(np.arange(300.0, 0.0, -1.0)),
    "rank 3": with_spectrum(320, 300, np.concatenate([[3.0, 2.0, 1.0], np.zeros(297)])),
    "multiplet": with_spectrum(320, 300, np.concatenate([[3.0] * 9, np.linspace(2, 1, 291)])),
    "graded": with_spectrum(320, 300, 2.0 ** -np.arange(300)),
}


@pytest.mark.parametrize("name", HARD)
def test_breakdown_and_multiplets(name):
    x, k = HARD[name], 6
    wanted = np.linalg.svd(x, compute_uv=False)[:k]
    U, S, Vh = sg.truncated_svd(x, k, **KRYLOV)
    np.testing.assert_allclose(S, wanted, atol=1e-13 * max(wanted[0], 1e-300))
    np.testing.assert_allclose(U.T @ U, np.eye(k), atol=1e-13)
    np.testing.assert_allclose(Vh @ Vh.T, np.eye(k), atol=1e-13)
    np.testing.assert_allclose(x @ Vh.T, U * S, atol=1e-13 * max(wanted[0], 1e-300))


def with_gradient(library):
    """Triplets, and the cotangent of x for two of U and Vh."""

    def both(x, U_bar, Vh_bar):
        out, pullback = sg.vjp(sg.truncated_svd, x, k=3, **KRYLOV)
        return (*out, pullback((U_bar, None, Vh_bar))[0])

    return library.compiled(both)


@pytest.mark.thinned
def test_scale_changes_nothing(library):
    x = random((300, 270), seed=4) * 0.95 ** np.arange(270)
    bars = library.array(random((300, 3))), library.array(random((3, 270), seed=1))
    base, run = None, with_gradient(library)
    for scale in (1.0, 2.0**600, 2.0**-600):
        _, S, _, x_bar = map(library.numpy, run(library.array(scale * x), *bars))
        base = base or (S, x_bar)
        np.testing.assert_allclose(S / scale, base[0], rtol=1e-13)
        np.testing.assert_allclose(x_bar * scale, base[1], atol=1e-11 * np.max(np.abs(base[1])))


@by_method
def test_ties_follow_the_policy(options):
    x = with_spectrum(
        60, 40, np.concatenate([[3.0, 2.0, 2.0, 2.0, 1.0], np.linspace(0.5, 0.1, 35)])
    )
    _, projection = sg.vjp(sg.singular_projector, x, k=5)
    W = random((60, 60), seed=1)
    wanted = projection((W + W.T) / 2)[0]
    bound = {"drop": 1e-12, "split": 1e-6}
    for ties, tolerance in bound.items():
        assert difference(gradient(x, 5, projector, ties=ties, **options), wanted) < tolerance
    for k in (5, 3):  # within, and across the cut
        with pytest.warns(sg.DerivativeUndefinedWarning, match=r"S\[1\] = 2 and S\[2\] = 2"):
            assert np.all(np.isnan(gradient(x, k, projector, **options)))
        with pytest.raises(sg.DerivativeUndefinedError, match="count as equal"):
            gradient(x, k, projector, ties="raise", **options)
    with pytest.warns(sg.DerivativeUndefinedWarning, match=r"S\[1\] = 2 and S\[2\] = 2"):
        gradient(x, 2, projector, **options)  # the second of them is no longer kept
    with pytest.warns(sg.DerivativeUndefinedWarning, match="does not determine"):
        assert np.all(np.isnan(gradient(x, 3, projector, ties="split", **options)))
    assert np.all(np.isfinite(gradient(x, 3, projector, ties="drop", **options)))
    leading = lambda U, S, Vh: (np.where(np.arange(3) == 0, random(U.shape), 0.0), None, None)
    assert difference(gradient(x, 3, leading, **options), by_full_svd(x, 3, leading)) < 1e-12
    assert np.all(np.isfinite(gradient(x, 3, values_alone, **options)))


def test_complex_phases_are_no_loss():
    x = random((40, 30), is_complex=True)
    with pytest.warns(sg.DerivativeUndefinedWarning, match="phase of a complex vector"):
        assert np.all(np.isnan(gradient(x, 3, lambda U, S, Vh: (1j * U, None, None))))


def test_what_did_not_converge_says_so():
    x = random((700, 600))
    with pytest.warns(sg.ConvergenceWarning, match=r"residual of .* S\[0\] where tol"):
        sg.truncated_svd(x, 4, maxiter=1)
    with pytest.raises(sg.ConvergenceError, match="raise oversample or maxiter"):
        sg.truncated_svd(x, 4, maxiter=1, unconverged="raise")
    assert sg.truncated_svd(x, 4, maxiter=1, tol=0.5).S.shape == (4,)
    x = clustered((300, 250), 4, 1e-6, False)
    U, S, Vh = (part[..., :4] if i < 2 else part[:4] for i, part in enumerate(np.linalg.svd(x)))
    x_bar = sg.rules.truncated_svd_vjp(
        x, (U, S, Vh), projector(U, S, Vh), adjoint="krylov", maxiter=1
    )
    assert np.all(np.isnan(x_bar))
    hasty = {"solver": lambda x, k: (U, S, Vh), "adjoint": "krylov", "maxiter": 1}
    with pytest.warns(sg.ConvergenceWarning, match="adjoint_tol"):
        assert np.all(np.isnan(gradient(x, 4, projector, **hasty)))
    with pytest.raises(sg.ConvergenceError, match="adjoint='full'"):
        gradient(x, 4, projector, unconverged="raise", **hasty)


def test_low_rank_cotangents_add_and_multiply():
    x = sparse((60, 50), False)
    A = kinds(x)[0]
    both = lambda A: (sg.truncated_svd(A, 3).S, sg.truncated_svd(A, 4).S, sg.truncation_error(A, 3))
    _, pullback = sg.vjp(both, A)
    _, wanted = sg.vjp(both, x)
    bars = (np.ones(3), np.ones(4), 2.0)
    (x_bar,), wanted = pullback(bars), wanted(bars)[0]
    X, rows, cols = random((50, 2)), *np.nonzero(x)
    np.testing.assert_allclose(x_bar.todense(), wanted, atol=1e-12)
    np.testing.assert_allclose(x_bar.matmat(X), wanted @ X, atol=1e-12)
    np.testing.assert_allclose(x_bar.rmatmat(wanted), wanted.T @ wanted, atol=1e-11)
    np.testing.assert_allclose(x_bar.at(rows, cols), wanted[rows, cols], atol=1e-12)
    assert np.isclose(x_bar.vdot(A), inner(wanted, x))
    (x_bar,) = pullback((None, None, None))
    assert x_bar.shape == (60, 50)
    assert not np.any(x_bar.todense())


@by_dtype
def test_truncation_error(library, is_complex):
    values = np.concatenate([[2.0, 1.0], 1e-9 * np.linspace(1, 0.1, 38)])
    for x in (random((50, 40), is_complex=is_complex), with_spectrum(50, 40, values)):
        e, pullback = sg.vjp(sg.truncation_error, library.array(x), k=2)
        U, S, Vh = np.linalg.svd(x, full_matrices=False)
        wanted = np.sqrt(np.sum(S[2:] ** 2))
        assert abs(float(library.numpy(e)) - wanted) < 1e-14 * S[0]
        rest = (U[:, 2:] * S[2:]) @ Vh[2:] / wanted
        x_bar = library.numpy(pullback(library.array(np.asarray(1.0)))[0])
        np.testing.assert_allclose(x_bar, rest, atol=1e-13 * S[0] / wanted)


def test_truncation_error_of_operators_and_where_it_ends():
    x = with_spectrum(50, 40, np.concatenate([[2.0, 1.0], 1e-9 * np.linspace(1, 0.1, 38)]))
    csr, *_, linear, by_products = kinds(x)
    wanted = sg.truncation_error(x, 2)
    for A in (linear, by_products):
        assert np.isclose(sg.truncation_error(A, 2), wanted, rtol=1e-5)
    assert sg.truncation_error(csr, 40) == 0  # no more than there are
    with pytest.warns(sg.ConvergenceWarning, match="below eps"):
        assert np.isnan(sg.truncation_error(csr, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e, pullback = sg.vjp(
            sg.truncation_error, with_spectrum(50, 40, [2.0, 1.0] + [0.0] * 38), k=2
        )
        assert e < 1e-13
        assert not np.any(pullback(1.0)[0])  # the kink at zero
    with pytest.warns(sg.DerivativeUndefinedWarning, match="the cut splits a tie"):
        assert np.all(np.isnan(sg.vjp(sg.truncation_error, np.eye(5), k=2)[1](1.0)[0]))


def test_cut(library):
    S = library.array([5.0, 2.0, 2.0, 2.0, 1.0, 0.0, 0.0])
    assert [sg.cut(S, k) for k in range(1, 8)] == [1, 1, 4, 4, 5, 5, 7]
    assert sg.cut(S, 2, rtol=0.5) == 1
    stack = library.array([[3.0, 2.0, 1.0], [3.0, 3.0, 1.0]])
    assert sg.cut(stack, 1) == 2
    assert sg.cut(S[:1], 1) == 1
    with pytest.raises(ValueError, match="`k` is 8"):
        sg.cut(S, 8)
    for values in ([1.0, 2.0, 3.0], [3.0, float("nan"), 1.0], [float("inf"), 1.0]):
        with pytest.raises(ValueError, match="descending order"):
            sg.cut(library.array(values), 1)
    with pytest.raises(TypeError, match="real singular values"):
        sg.cut([1.0, 2.0], 1)


def test_bad_arguments():
    x = np.eye(4)
    for options, words in (
        ({"solver": "lobpcg"}, "`solver` is 'lobpcg'.*callable"),
        ({"adjoint": "lu"}, "`adjoint` is 'lu'"),
        ({"ties": "merge"}, "`ties` is 'merge'"),
        ({"unconverged": "ignore"}, "`unconverged` is 'ignore'"),
        ({"oversample": 0}, "`oversample` is 0"),
        ({"maxiter": 0.5}, "`maxiter` is 0.5"),
        ({"seed": None}, "`seed` is None"),
        ({"tol": float("nan")}, "`tol` is nan"),
        ({"adjoint_tol": -1.0}, "`adjoint_tol` is -1.0"),
        ({"k": 5}, "`k` is 5.*from 1 to 4"),
    ):
        with pytest.raises(ValueError, match=words):
            sg.truncated_svd(x, **({"k": 2} | options))
    with pytest.raises(TypeError, match=r"`params` holds a ndarray.*LowRank"):
        sg.truncated_svd(lambda t: t, 2, params=x)
    with pytest.raises(TypeError, match="int64"):
        sg.truncated_svd(scipy.sparse.csr_array(np.eye(4, dtype=int)), 2)
    wrong = sg.operators.from_matmat(lambda X: X[:2], lambda Y: Y, (4, 4), float)
    with pytest.raises(ValueError, match=r"matmat returned \(2, 1\).*wanted.*\(4, 1\)"):
        sg.truncated_svd(wrong, 2)
    with pytest.raises(TypeError, match="`matmat` is a ndarray"):
        sg.operators.from_matmat(x, lambda Y: Y, (4, 4), float)
    with pytest.raises(ValueError, match="`shape` is 4"):
        sg.operators.from_matmat(lambda X: X, lambda Y: Y, 4, float)
    with pytest.raises(ValueError, match=r"`shape` is \(4.5, 4\)"):
        sg.operators.from_matmat(lambda X: X, lambda Y: Y, (4.5, 4), float)
    with pytest.raises(TypeError, match="`dtype` is None"):
        sg.operators.from_matmat(lambda X: X, lambda Y: Y, (4, 4), None)
    with pytest.raises(TypeError, match="complex128; wanted real"):
        sg.jvp(sg.truncated_svd, (scipy.sparse.csr_array(x),), (1j * x,), k=2)
    with pytest.raises(ValueError, match="finds at most"):
        sg.truncated_svd(x, 4, solver="scipy")


@pytest.mark.thinned
def test_single_precision(library):
    x = library.array(random((300, 270)) * 0.9 ** np.arange(270), "float32")
    U_bar, Vh_bar = random((300, 3)), random((3, 270), seed=1)
    run = with_gradient(library)
    found = run(x, library.array(U_bar, "float32"), library.array(Vh_bar, "float32"))
    assert all(y.dtype == x.dtype for y in found)
    wide = library.array(library.numpy(x).astype(float))
    U = library.numpy(run(wide, library.array(U_bar), library.array(Vh_bar))[0])
    signs = np.sign(np.sum(library.numpy(found[0]) * U, axis=0))
    bars = library.array(U_bar * signs), library.array(Vh_bar * signs[:, None])
    wanted = library.numpy(run(wide, *bars)[3])
    assert difference(library.numpy(found[3]), wanted) < 1e-3


def found_before(U, S, Vh):
    """A solver that has the triplets already, and no more than it is asked for."""
    return lambda x, k: (U[:, :k], S[:k], Vh[:k])


def at_a_cut(gap, shape=(300, 300)):
    rest = 0.4 * 0.95 ** np.arange(min(shape) - 4)
    return with_spectrum(*shape, [1.0, 0.8, 0.5, 0.5 * (1 - gap), *rest], seed=5)


def polar_of_kept(U, S, Vh):
    C = random((U.shape[0], Vh.shape[1]), seed=3)
    return C @ Vh.T, None, U.T @ C


@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-13, 1e-12])
def test_a_cut_through_a_tie_is_never_a_number(gap):
    """Neither where the tie is dropped nor where triplets come from elsewhere."""
    for shape in ((300, 300), (280, 300)):
        x = at_a_cut(gap, shape)
        (U, S, Vh), pullback = sg.vjp(sg.svd, x, full_matrices=False, ties="drop")
        bars = polar_of_kept(U[:, :3], S[:3], Vh[:3])
        padded = (np.hstack([bars[0], 0 * U[:, 3:]]), None, np.vstack([bars[2], 0 * Vh[3:]]))
        (wanted,) = pullback(padded)
        for options in MIXED:
            x_bar = gradient(x, 3, polar_of_kept, ties="drop", **options)
            assert np.max(np.abs(x_bar)) < 10
            spans = (U[:, 2:4].T @ x_bar @ Vh[2:4].T, U[:, 2:4].T @ wanted @ Vh[2:4].T)
            assert np.isclose(np.linalg.norm(spans[0]), np.linalg.norm(spans[1]), rtol=0.2)
        foreign = found_before(U, S, Vh)
        for options in ({}, {"adjoint": "krylov"}, {"adjoint": "full"}):
            with pytest.warns(sg.DerivativeUndefinedWarning, match=r"S\[2\] = 0.5 and S\[3\]"):
                x_bar = gradient(x, 3, polar_of_kept, solver=foreign, **options)
            assert np.all(np.isnan(x_bar))
            rule = sg.rules.truncated_svd_vjp
            x_bar = rule(x, (U[:, :3], S[:3], Vh[:3]), bars, **options)
            assert np.all(np.isnan(x_bar))


def test_triplets_that_are_not_the_largest_are_refused():
    x = at_a_cut(0.5)
    U, S, Vh = np.linalg.svd(x)
    others = lambda x, k: (U[:, [0, 1, 3]], S[[0, 1, 3]], Vh[[0, 1, 3]])
    for adjoint in ("krylov", "full"):
        with pytest.warns(sg.ConvergenceWarning):
            x_bar = gradient(x, 3, polar_of_kept, solver=others, adjoint=adjoint)
        assert np.all(np.isnan(x_bar))
    scaled = lambda x, k: (1.001 * U[:, :k], S[:k], 1.001 * Vh[:k])
    with pytest.warns(sg.ConvergenceWarning, match="residual"):
        sg.truncated_svd(x, 3, solver=scaled)
    ones = np.diag([1.0] * 30 + list(np.linspace(0.9, 0.1, 270)))
    with pytest.warns(sg.ConvergenceWarning, match="residual"):  # ARPACK leaves copies out
        sg.truncated_svd(ones, 20, solver="scipy")


def test_a_short_side_goes_by_its_gram_matrix():
    """A tall matrix is never multiplied out."""
    A = scipy.sparse.random_array((40_000, 150), density=0.01, rng=np.random.default_rng(0)).tocsr()
    tracemalloc.start()
    U, S, Vh = sg.truncated_svd(A, 20)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 8 * A.shape[0] * A.shape[1]
    np.testing.assert_allclose(S, np.linalg.svd(A.todense(), compute_uv=False)[:20], rtol=1e-13)
    np.testing.assert_allclose(A @ Vh.T, U * S, atol=1e-13 * S[0])
    np.testing.assert_allclose(A.T @ U, Vh.T * S, atol=1e-13 * S[0])


def test_a_batch_element_does_not_depend_on_its_neighbours():
    easy, hard = clustered((300, 280), 4, 0.5, False), random((300, 280))
    together = sg.truncated_svd(np.stack([easy, hard, easy]), 4, solver="krylov")
    for i, x in enumerate((easy, hard)):
        for part, alone in zip(together, sg.truncated_svd(x, 4, solver="krylov"), strict=True):
            np.testing.assert_array_equal(part[i], alone)


def test_stacks_of_none(library):
    U, S, Vh = sg.truncated_svd(library.array(np.zeros((0, 300, 280))), 4, solver="krylov")
    assert (U.shape, S.shape, Vh.shape) == ((0, 300, 4), (0, 4), (0, 4, 280))
    w, Q = sg.truncated_eigh(library.array(np.zeros((2, 0, 280, 280))), 4, solver="krylov")
    assert (w.shape, Q.shape) == ((2, 0, 4), (2, 0, 280, 4))


def test_values_that_nearly_hide_their_copies():
    """What is not among the largest is as close as a tie to those that are."""
    s = np.concatenate([np.ones(40), np.full(8, 1 - 1e-11), np.linspace(0.5, 0.1, 252)])
    found = sg.truncated_svd(with_spectrum(320, 300, s), 20, solver="krylov").S
    np.testing.assert_allclose(found, 1, rtol=2e-12)
    H = np.diag(0.5 ** np.arange(300))
    w = sg.truncated_eigh(H, 20, which="smallest", solver="krylov").eigenvalues
    assert w.max() < 2e-12


def test_an_accuracy_that_rounding_forbids_is_not_waited_for():
    x = random((300, 280))
    with pytest.warns(sg.ConvergenceWarning, match="brought it down no further"):
        found = sg.truncated_svd(x, 4, solver="krylov", tol=1e-17, maxiter=100_000)
    np.testing.assert_allclose(found.S, np.linalg.svd(x, compute_uv=False)[:4], rtol=1e-13)
