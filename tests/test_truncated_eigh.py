"""Truncated eigendecompositions: the pairs of a full one, their derivatives, and where not."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import cache, partial

import numpy as np
import pytest
import scipy.sparse
from libraries import Library
from marks import slow
from matrices import hermitian, random
from scipy.sparse.linalg import LinearOperator
from structured import SQUARE

import spectralgrad as sg

NUMPY = Library("numpy", "cpu")
N, K = 300, 4
WHICH = ("largest", "smallest", "magnitude")
by_which = pytest.mark.parametrize("which", WHICH)
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
BRIEF = ("star", "two shifts", "grid", "copies of the first", "zero", "cluster at the cut")
SCALES = {"float64": (-700, 700), "float32": (-80, 80), "complex128": (-700, 700)}


@cache  # one function for each, which JAX compiles once for a shape and dtype
def truncated(k, which, solver="krylov"):
    return partial(sg.truncated_eigh, k=k, which=which, solver=solver)


def places(w, k, which):
    """The wanted of ascending values."""
    if which == "magnitude":
        return np.sort(np.argsort(-np.abs(w), kind="stable")[:k])
    return np.arange(len(w))[-k:] if which == "largest" else np.arange(k)


@cache
def structured(name, dtype):
    """The Hermitian part of a case, and its values."""
    x = SQUARE[name].build()
    x = np.asarray(x if dtype.startswith("complex") else x.real).astype(dtype)
    x = (x + x.conj().T) / 2
    return x, np.linalg.eigvalsh(x.astype(np.result_type(x, np.float64)))


def error(x, found, values, which):
    """In default tolerances: of w, the residual, and Q^H Q = I, over the largest modulus."""
    w, Q = (part.astype(np.result_type(part, np.float64)) for part in found)
    top = max(np.max(np.abs(values)), np.finfo(float).tiny)
    wanted = values[places(values, len(w), which)]
    if which == "magnitude":  # of w and -w either
        errors = [np.max(np.abs(np.sort(np.abs(w)) - np.sort(np.abs(wanted)))) / top]
    else:
        errors = [np.max(np.abs(w - wanted)) / top]
    errors.append(np.max(np.linalg.norm((x @ Q - Q * w) / top, axis=0)))
    errors.append(np.linalg.norm(Q.conj().T @ Q - np.eye(len(w))))
    return max(errors) / (max(8 * len(x) ** 0.5, 128) * np.finfo(found[0].dtype).eps)


def solve(library, x, function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=sg.ConvergenceWarning)
        found = library.compiled(function)(library.array(x))
    found = tuple(map(library.numpy, found))
    told = all(np.all(np.isnan(part)) for part in found) if library.name == "jax" else caught
    return found, bool(told)


def check_structured(library, name, which, dtype):
    x, values = structured(name, dtype)
    found, told = solve(library, x, truncated(SQUARE[name].k, which))
    assert not told
    assert error(x, found, values, which) < 1


@pytest.mark.parametrize("dtype", ["float64", *map(slow, ("float32", "complex128"))])
@pytest.mark.parametrize("which", ["largest", slow("smallest"), "magnitude"])
@pytest.mark.parametrize("name", SQUARE)
def test_structured_matrices(name, which, dtype):
    check_structured(NUMPY, name, which, dtype)


@pytest.mark.thinned
@by_which
@pytest.mark.parametrize("name", BRIEF)
def test_structured_matrices_in_every_library(library, name, which):
    check_structured(library, name, which, "float64")


@by_which
@pytest.mark.parametrize("dtype", SCALES)
def test_scales(dtype, which):
    """A power of two changes no bit."""
    x, _ = structured("grid", dtype)
    found = truncated(K, which)(x)
    for power in SCALES[dtype]:
        w, Q = truncated(K, which)(np.ldexp(1.0, power).astype(x.real.dtype) * x)
        np.testing.assert_array_equal(np.ldexp(w, -power), found[0])
        np.testing.assert_array_equal(Q, found[1])


def spectrum(which):
    """Values of both signs, the wanted ones apart, and the others close."""
    ends = np.asarray([3.0, 2.7, 2.5, 2.2])
    w = np.concatenate([ends, np.linspace(1.9, -1.8, N - 8), -ends - 0.1])
    return w * (1 - 2 * (which == "smallest"))


def cotangents(w, Q):
    """Of the loss Re<C, Q diag(c) Q^H> + <b, w>, which is blind to phases."""
    C, c, b = random((N, N), seed=3), random((2, len(w)), seed=4)[0], random((2, len(w)), seed=5)[1]
    return b, (C + C.T) @ Q * c


def of_full(x, dx, found, bars, which):
    """The cotangent and the tangents by the full decomposition."""
    (w, Q), pullback = sg.vjp(sg.eigh, x)
    kept = places(w, K, which)
    phases = np.sum(Q[:, kept].conj() * found[1], axis=0)
    w_bar, Q_bar = np.zeros_like(w), np.zeros_like(Q)
    w_bar[kept], Q_bar[:, kept] = bars[0], bars[1] * phases.conj()
    _, (dw, dQ) = sg.jvp(sg.eigh, (x,), (dx,))
    return pullback((w_bar, Q_bar))[0], dw[kept], dQ[:, kept] * phases


def difference(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.thinned
@by_dtype
@by_which
def test_derivatives_are_those_of_the_full_spectrum(library, which, is_complex):
    x = hermitian(spectrum(which), is_complex=is_complex)
    dx = random((N, N), seed=6, is_complex=is_complex)
    function = truncated(K, which)
    out, pullback = library.vjp(function, library.array(x))
    found = tuple(map(library.numpy, out))
    bars = cotangents(*found)
    x_bar, dw, dQ = of_full(x, dx, found, bars, which)
    got = library.numpy(pullback(type(out)(*map(library.array, bars)))[0])
    assert difference(got, x_bar) < 1e-11
    assert difference(got, got.conj().T) < 1e-14
    _, dots = library.jvp(function, (library.array(x),), (library.array(dx),))
    assert difference(library.numpy(dots[0]), dw) < 1e-11
    assert difference(library.numpy(dots[1]), dQ) < 1e-11


@pytest.mark.parametrize("solver", ["krylov", "full"])
def test_second_derivatives(solver):
    """By differences of the gradient of a loss that is smooth in x."""
    torch = pytest.importorskip("torch")
    C, dx = torch.asarray(random((N, N), seed=3)), hermitian(random((2, N), seed=7)[0])

    def gradient(x):
        w, Q = truncated(2, "largest", solver)(x)
        return torch.autograd.grad(((C @ Q) * Q).sum(0) @ w, x, create_graph=True)[0]

    def at(t):
        return torch.asarray(hermitian(spectrum("largest")) + t * dx).requires_grad_()

    x, h = at(0), 1e-5
    product = torch.autograd.grad((gradient(x) * torch.asarray(dx)).sum(), x)[0]
    ahead, behind = (gradient(at(sign * h)).detach() for sign in (1, -1))
    assert difference(product.numpy(), ((ahead - behind) / (2 * h)).numpy()) < 1e-6


@by_which
def test_sparse_matrices_and_operators(which):
    x = hermitian(spectrum(which))
    x = np.where(np.abs(x) > 0.05, x, 0.0)
    found = truncated(K, which)(x)
    bars = cotangents(*found)
    wanted = sg.vjp(truncated(K, which), x)[1](bars)[0]
    operator = LinearOperator(x.shape, matvec=x.dot, matmat=x.dot, dtype=float)  # no adjoint
    own = sg.operators.from_matmat(x.dot, x.dot, x.shape, float)
    for A in (scipy.sparse.csr_array(x), operator, own, sg.operators.as_operator(own) + own * 0.0):
        (w, Q), pullback = sg.vjp(truncated(K, which), A)
        np.testing.assert_allclose(w, found[0], atol=1e-13)
        signs = np.sign(np.sum(Q * found[1], axis=0))
        assert difference(pullback((bars[0], bars[1] * signs))[0].todense(), wanted) < 1e-10


def test_parameters(native):
    """An operator's, with the derivative through its products."""
    d, u = np.linspace(1, 3, N), random((N, 1), seed=2)

    def operator(params):
        d, u = params["d"], params["u"]
        matmat = lambda X: d[:, None] * X + u @ (u.T @ X)
        return sg.operators.from_matmat(matmat, matmat, (N, N), np.float64, like=d)

    def of_operator(d, u):
        return sg.truncated_eigh(operator, 3, params={"d": d, "u": u}).eigenvalues

    def of_array(d, u):
        return sg.truncated_eigh(native.xp.linalg.diagonal(d) + u @ u.T, 3).eigenvalues

    given = tuple(map(native.array, (d, u)))
    w, pullback = native.vjp(of_operator, *given)
    bar = native.array(np.asarray([1.0, -2.0, 0.5]))
    values, Q = np.linalg.eigh(np.diag(d) + u @ u.T)
    np.testing.assert_allclose(native.numpy(w), values[-3:], rtol=1e-12)
    C = (Q[:, -3:] * native.numpy(bar)) @ Q[:, -3:].T
    d_bar, u_bar = map(native.numpy, pullback(bar))
    assert difference(d_bar, np.diag(C)) < 1e-10
    assert difference(u_bar, 2 * C @ u) < 1e-10


@pytest.mark.thinned
@pytest.mark.parametrize("solver", ["krylov", "full"])
def test_ties(library, solver):
    """They count where a cotangent touches them."""
    x = hermitian(np.concatenate([[3.0, 2.9, 2.5, 2.5], np.linspace(2, -2, N - 4)]))
    out, pullback = library.vjp(truncated(4, "largest", solver), library.array(x))

    def x_bar(*columns):
        bar = np.zeros((N, 4))
        bar[:, columns] = random((N, len(columns)), seed=1)
        bars = type(out)(library.array(np.zeros(4)), library.array(bar))
        return library.numpy(pullback(bars)[0])

    assert np.all(np.isfinite(x_bar(2, 3)))
    expected = library.warns(r"truncated_eigh.*w\[0\] = 2.5 and w\[1\] = 2.5")
    with nullcontext() if library.name == "jax" else expected:
        assert np.all(np.isnan(x_bar(0, 3)))


@pytest.mark.parametrize("solver", ["krylov", "full"])
def test_a_cut_inside_a_tie(solver):
    x = hermitian(np.concatenate([[3.0, 2.5, 2.5, 2.5], np.linspace(2, -2, N - 4)]))
    (w, Q), pullback = sg.vjp(truncated(2, "largest", solver), x)
    np.testing.assert_allclose(w, [2.5, 3.0], rtol=1e-13)
    assert np.all(np.isfinite(pullback((np.ones(2), None))[0]))  # a subgradient
    with pytest.warns(sg.DerivativeUndefinedWarning, match=r"w\[0\] = 2.5 and w\[2\] = 2.5"):
        assert np.all(np.isnan(pullback((np.ones(2), Q))[0]))
    _, pullback = sg.vjp(partial(truncated(2, "largest", solver), ties="raise"), x)
    with pytest.raises(sg.DerivativeUndefinedError, match="truncated_eigh"):
        pullback((np.ones(2), Q))
    # the projector on the tie and what is above has a derivative, of which half is dropped
    (_, Q), pullback = sg.vjp(partial(truncated(4, "largest", solver), ties="drop"), x)
    C = random((N, N), seed=1)
    got = pullback((None, (C + C.T) @ Q))[0]
    wanted = sg.vjp(sg.eigenprojector, x, k=4)[1](C)[0]
    assert difference(got, wanted) < 1e-11


def test_a_cut_between_values_of_both_signs():
    """Which of the two is kept jumps, so that neither its value nor its vector has a derivative."""
    x = hermitian(np.concatenate([[3.0, 2.5, -2.5], np.linspace(2, -2, N - 3)]))
    (w, _), pullback = sg.vjp(truncated(2, "magnitude"), x)
    i = int(np.argmin(np.abs(w)))
    bar = np.zeros(2)
    bar[1 - i] = 1.0
    assert np.all(np.isfinite(pullback((bar, None))[0]))
    with pytest.warns(sg.DerivativeUndefinedWarning, match="cut lies between .* other sign"):
        assert np.all(np.isnan(pullback((np.ones(2), None))[0]))


def test_stacks(library):
    """Each matrix as alone, one with a NaN among them."""
    stack = np.stack([hermitian(spectrum(which)) for which in WHICH])
    stack[1, 0, 0] = np.nan
    w, Q = map(library.numpy, library.compiled(truncated(K, "largest"))(library.array(stack)))
    assert w.shape == (3, K)
    assert Q.shape == (3, N, K)
    assert np.all(np.isnan(w[1]))
    for i in (0, 2):
        np.testing.assert_allclose(w[i], np.linalg.eigvalsh(stack[i])[-K:], rtol=1e-13)


BAD = {
    "not Hermitian": (
        lambda x: scipy.sparse.csr_array(np.tril(x)),
        {},
        ValueError,
        "not Hermitian",
    ),
    "not square": (lambda x: x[:, :-1], {}, ValueError, r"square matrix.*truncated_svd"),
    "which": (lambda x: x, {"which": "LA"}, ValueError, r"`which` is 'LA'"),
    "ties": (lambda x: x, {"ties": "split"}, ValueError, r"`ties` is 'split'"),
    "solver": (lambda x: x, {"solver": "scipy"}, ValueError, r"`solver` is 'scipy'"),
    "k": (lambda x: x, {"k": N + 1}, ValueError, r"`k` is 301"),
    "tol": (lambda x: x, {"tol": -1.0}, ValueError, r"`tol` is -1.0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    build, options, problem, message = BAD[name]
    with pytest.raises(problem, match=f"truncated_eigh.*{message}"):
        sg.truncated_eigh(build(hermitian(spectrum("largest"))), **({"k": 2} | options))


def test_what_has_not_converged_is_told():
    d = np.linspace(0, 1, 3000)[:, None]
    x = sg.operators.from_matmat(lambda X: d * X, lambda Y: d * Y, (3000, 3000), float)
    with pytest.warns(sg.ConvergenceWarning, match=r"eigenpair has a residual of .* restarts"):
        sg.truncated_eigh(x, 3, maxiter=1)
    with pytest.raises(sg.ConvergenceError):
        sg.truncated_eigh(x, 3, maxiter=1, unconverged="raise")


COPIES = {"random": random((30, 30)), "graph": (random((40, 40), seed=2) > 0.8).astype(float)}


@by_which
@pytest.mark.parametrize("name", COPIES)
def test_copies_that_the_start_does_not_meet(name, which):
    """More of each value than a block has columns."""
    block = COPIES[name] + COPIES[name].T
    x = scipy.sparse.csr_array(np.kron(np.eye(10), block))
    values = np.linalg.eigvalsh(x.toarray())
    for k in (6, 9, 12):
        found = truncated(k, which)(x)
        assert error(x.toarray(), found, values, which) < 1


def test_the_smallest_of_a_positive_definite_matrix():
    """Values that are small beside the norm, whose systems are indefinite in the kept space."""
    x = np.diag(np.arange(300.0)) + 0.01
    found, pullback = sg.vjp(truncated(10, "smallest"), x)
    bars = random((2, 10))[0], random((300, 10), seed=1)
    (_, Q), full = sg.vjp(sg.eigh, x)
    w_bar, Q_bar = np.zeros(300), np.zeros((300, 300))
    w_bar[:10], signs = bars[0], np.sign(np.sum(Q[:, :10] * found[1], axis=0))
    Q_bar[:, :10] = bars[1] * signs
    assert difference(pullback(bars)[0], full((w_bar, Q_bar))[0]) < 1e-10


@pytest.mark.thinned
@pytest.mark.parametrize("solver", ["krylov", "full"])
@by_which
def test_all_of_them(library, which, solver):
    """Nothing is left to solve for."""
    x = random((5, 5))
    out, pullback = library.vjp(truncated(5, which, solver), library.array(x + x.T))
    np.testing.assert_allclose(library.numpy(out[0]), np.linalg.eigvalsh(x + x.T), atol=1e-13)
    bars = type(out)(0 * out[0], library.array(random((5, 5), seed=3)))
    _, Q = sg.eigh(x + x.T)
    signs = np.sign(np.sum(Q * library.numpy(out[1]), axis=0))
    wanted = sg.vjp(sg.eigh, x + x.T)[1]((None, library.numpy(bars[1]) * signs))[0]
    assert difference(library.numpy(pullback(bars)[0]), wanted) < 1e-11


@by_which
def test_all_of_them_with_both_ends_of_one_modulus(which):
    W = hermitian(np.linspace(-1, 1, 5))
    for seed in range(8):
        x = hermitian(np.array([-2.0, -1.0, 0.5, 1.0, 2.0]), seed=seed)
        (_, Q), pullback = sg.vjp(truncated(5, which), x)
        assert np.abs(pullback((None, W @ Q))[0]).max() < 1e-13  # of tr(W Q Q^H), tr W
