"""What an operator has to have: both products, each the other's adjoint."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg
from matrices import random

import spectralgrad as sg
from spectralgrad._engine.products import products_of

SHAPE, K = (40, 30), 2
by_function = pytest.mark.parametrize("name", ["truncated_svd", "truncation_error"])
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
by_solver = pytest.mark.parametrize("solver", [None, "krylov", "full", "scipy"])


def matrix(is_complex=False, shape=SHAPE):
    return random(shape, is_complex=is_complex) * 0.7 ** np.arange(shape[1])


def operator(x, rmatmat=None, like=None):
    adjoint = x.conj().T
    return sg.operators.from_matmat(
        lambda X: x @ X, rmatmat or (lambda Y: adjoint @ Y), x.shape, x.dtype, like=like
    )


class Lacking:
    def __init__(self, x, *names):
        self.shape, self.dtype = x.shape, x.dtype
        for name in names:
            setattr(self, name, lambda X: X)


@by_function
def test_products_that_are_missing(name):
    x, call = matrix(), getattr(sg, name)
    for names, words in (
        (["matmat"], "without `rmatmat`"),
        (["rmatmat"], "without `matmat`"),
        (["matvec", "rmatvec"], "without `matmat` and `rmatmat`"),
    ):
        with pytest.raises(TypeError, match=f"{name}: argument `x` is a Lacking {words}; wanted"):
            call(Lacking(x, *names), K)
    linear = scipy.sparse.linalg.LinearOperator
    one_sided = linear(x.shape, matvec=lambda v: x @ v, dtype=float)
    for A in (one_sided, one_sided + one_sided, 2 * one_sided):
        with pytest.raises(TypeError, match=f"{name}: argument `x`.*A\\^H fail.*`rmatvec`"):
            call(A, K)
    two_sided = linear(x.shape, matvec=lambda v: x @ v, rmatvec=lambda v: x.T @ v, dtype=float)
    error = sg.truncation_error(x, K)
    np.testing.assert_allclose(sg.truncation_error(two_sided, K), error, rtol=1e-10)


FALSE = {
    "scaled": lambda x, X: 1.001 * (x.conj().T @ X),
    "nearly": lambda x, X: (1 + 1e-5) * (x.conj().T @ X),
    "negative": lambda x, X: -x.conj().T @ X,
    "zero": lambda x, X: 0 * (x.T @ X),
    "affine": lambda x, X: x.conj().T @ X + 1,
    "turned": lambda x, X: x.conj().T @ X[::-1],
    "in one place": lambda x, X: x.conj().T @ X + 1e-4 * np.eye(SHAPE[1])[:, -1:] * X[:1],
}


@by_function
@by_dtype
@by_solver
@pytest.mark.parametrize("kind", FALSE)
def test_false_adjoints(name, is_complex, solver, kind):
    x = matrix(is_complex)
    A = operator(x, lambda Y: FALSE[kind](x, Y))
    with pytest.raises(ValueError, match=f"{name}: argument `x`.*not the adjoint.*<A\\^H Y, X>"):
        getattr(sg, name)(A, K, solver=solver)


def test_a_transpose_is_no_adjoint_and_neither_is_a_wrong_sign():
    x = matrix(is_complex=True)
    with pytest.raises(ValueError, match="not the adjoint"):
        sg.truncated_svd(operator(x, lambda Y: x.T @ Y), K)
    skew = random((30, 30)) - random((30, 30)).T
    with pytest.raises(ValueError, match="not the adjoint"):
        sg.truncated_svd(operator(skew, lambda Y: skew @ Y), K)


@by_dtype
@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (1, 7), (2000, 3), (3, 2000)])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30, 0.0])
def test_true_adjoints_pass(is_complex, precision, shape, scale):
    dtype = {"single": "float32", "double": "float64"}[precision]
    x = (scale * matrix(is_complex, shape)).astype(
        np.result_type(dtype, 1j) if is_complex else dtype
    )
    if precision == "single" and is_complex:
        x = x.astype("complex64")
    sg.truncated_svd(operator(x), 1)


@pytest.mark.parametrize("mean", [1e5, 1e6])
def test_a_mean_far_from_zero_is_no_false_adjoint(mean):
    """What cancels in both products has the rounding error of what it was."""
    data = mean + random((300, 280))
    center = np.mean(data, axis=0)
    A = sg.operators.from_matmat(
        lambda X: data @ X - np.ones((300, 1)) * (center @ X),
        lambda Y: data.T @ Y - center[:, None] * np.sum(Y, axis=0),
        data.shape,
        float,
    )
    with pytest.warns(sg.ConvergenceWarning, match="adjoint agree to .* alone.*cancel"):
        found = sg.truncated_svd(A, K).S
    wanted = np.linalg.svd(data - center, compute_uv=False)[:K]
    np.testing.assert_allclose(found, wanted, rtol=1e-12 * mean)


@pytest.mark.parametrize("shape", [(90, 70), (70, 90)], ids=str)
@by_dtype
def test_sparse_products_of_few_columns_at_a_time(shape, is_complex):
    A = scipy.sparse.csr_array(random(shape, is_complex=is_complex))
    products, X = products_of(A), random((shape[1], 70), seed=2, is_complex=is_complex)
    Y = A.todense() @ X
    np.testing.assert_allclose(products.matmat(X), Y, rtol=0, atol=1e-12)
    np.testing.assert_allclose(products.rmatmat(Y), A.todense().conj().T @ Y, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(products.normal(X), products.rmatmat(products.matmat(X)))


@pytest.mark.parametrize("shape", [(2, 300, 310), (700, 200), (150, 900)], ids=str)
@pytest.mark.parametrize("columns", [4, 20])
@by_dtype
def test_products_of_more_than_a_cache_holds(shape, columns, is_complex):
    scale, shapes = 2.0**600, (shape, (*shape[:-2], shape[-1], columns))
    A, X = (random(s, is_complex=is_complex) for s in shapes)
    expected = A.conj().mT @ (A @ X)
    for x, factor in ((A, 1), (A.mT.copy().mT, 1), (scale * A, scale), (A / scale, 1 / scale)):
        products = products_of(x)
        np.testing.assert_allclose(products.over(factor).normal(X), expected, atol=1e-10)
        found = products.adjoint().over(factor).normal(A @ X)
        np.testing.assert_allclose(found, A @ expected, atol=1e-7)


def test_products_that_are_less_accurate_take_a_tol():
    x = matrix()
    A = operator(x, lambda Y: (1 + 1e-7) * (x.T @ Y))
    found = sg.truncated_svd(A, K, tol=1e-5).S
    np.testing.assert_allclose(found, np.linalg.svd(x, compute_uv=False)[:K], rtol=1e-6)


def test_under_autodiff():
    """An error where values are known, and NaN where they are not."""
    jax = pytest.importorskip("jax")
    x = jax.numpy.asarray(matrix())

    def of(factor):
        return lambda x: operator(x, lambda Y: factor * (x.T @ Y), like=x)

    def largest(factor):
        return lambda x: sg.truncated_svd(of(factor), K, params=x).S[0]

    for transform in (lambda f: f, jax.grad):
        with pytest.raises(ValueError, match="not the adjoint"):
            transform(largest(1.001))(x)
        assert np.all(np.isnan(jax.jit(transform(largest(1.001)))(x)))
        assert np.all(np.isfinite(jax.jit(transform(largest(1.0)))(x)))


def test_in_pytorch():
    torch = pytest.importorskip("torch")
    x = torch.asarray(matrix()).requires_grad_()
    with pytest.raises(ValueError, match="not the adjoint"):
        sg.truncated_svd(lambda x: operator(x, lambda Y: 1.001 * (x.mT @ Y)), K, params=x)
