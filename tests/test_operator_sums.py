"""Sums of operators, sparse matrices and matrices of low rank."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from matrices import random

import spectralgrad as sg

SHAPE, K = (34, 26), 2
KRYLOV = {"solver": "krylov", "adjoint": "krylov", "oversample": 2}
as_operator, LowRank = sg.operators.as_operator, sg.operators.LowRank
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
by_loss = pytest.mark.parametrize("name", ["truncated_svd", "truncation_error"])
WEIGHTS = random(SHAPE, seed=9)


def sparse_values(is_complex):
    rng = np.random.default_rng(0)
    x = random(SHAPE, is_complex=is_complex) * (rng.random(SHAPE) < 0.4)
    return x * 0.7 ** np.arange(SHAPE[1])


def factors(is_complex):
    left, right = (random((n, 2), is_complex=is_complex, seed=n) for n in SHAPE)
    return left / 3, right / 3


def loss(x, xp, name, **options):
    if name == "truncation_error":
        return sg.truncation_error(x, K) ** 2
    U, S, Vh = sg.truncated_svd(x, K, **options)
    return xp.sum(xp.real(xp.asarray(WEIGHTS) * ((U * S**2) @ Vh)))


@by_dtype
def test_values(is_complex):
    x, (left, right) = sparse_values(is_complex), factors(is_complex)
    A, low = scipy.sparse.csr_array(x), LowRank(left, right)
    product = sg.operators.from_matmat(lambda X: x @ X, lambda Y: x.conj().T @ Y, SHAPE, x.dtype)
    linear = scipy.sparse.linalg.aslinearoperator(A)
    dense_low = left @ right.conj().T
    factor = 2 - 1j if is_complex else 2.0
    sums = {
        "sparse and low": (as_operator(A) + low, x + dense_low),
        "low and sparse": (low + A, x + dense_low),
        "less": (as_operator(A) - low, x - dense_low),
        "turned": (low - as_operator(A), dense_low - x),
        "sparse first": (A - low, x - dense_low),
        "operator": (product + low, x + dense_low),
        "operators": (product - 3 * linear + product, -x),
        "linear": (as_operator(linear) + low, x + dense_low),
        "array": (x + low, x + dense_low),
        "many": (-(factor * (as_operator(A) - low) + A) * 2, -2 * (factor * (x - dense_low) + x)),
        "low alone": (low - low * 3, -2 * dense_low),
    }
    X, Y = random((SHAPE[1], 3), seed=1), random((SHAPE[0], 3), seed=2)
    for name, (A, wanted) in sums.items():
        assert A.shape == SHAPE
        np.testing.assert_allclose(A.matmat(X), wanted @ X, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(A.rmatmat(Y), wanted.conj().T @ Y, atol=1e-12, err_msg=name)
        S = sg.truncated_svd(A, K, **KRYLOV).S
        np.testing.assert_allclose(S, np.linalg.svd(wanted)[1][:K], rtol=1e-12, err_msg=name)


@by_dtype
def test_vjp_of_the_whole(is_complex):
    x, (left, right) = sparse_values(is_complex), factors(is_complex)
    A = as_operator(scipy.sparse.csr_array(x)) - LowRank(left, right)
    call = lambda x: sg.truncated_svd(x, K, **KRYLOV)
    out, pullback = sg.vjp(call, A)
    wanted_out, wanted = sg.vjp(call, x - left @ right.conj().T)
    bars = out.U[:, ::-1] * 0, out.S, None
    np.testing.assert_allclose(out.S, wanted_out.S, rtol=1e-12)
    np.testing.assert_allclose(pullback(bars)[0].todense(), wanted(bars)[0], atol=1e-11)


@by_dtype
@by_loss
@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state:UserWarning")
def test_gradients_in_pytorch(is_complex, name, layout):
    torch = pytest.importorskip("torch")
    x, pair = torch.asarray(sparse_values(is_complex)), map(torch.asarray, factors(is_complex))
    own = [t.clone().requires_grad_() for t in (x, *pair)]
    dense = [t.detach().clone().requires_grad_() for t in own]
    loss(2 * dense[0] - dense[1] @ dense[2].mH, torch, name).backward()
    A = getattr(x, layout)().requires_grad_()
    total = 2 * as_operator(A) - LowRank(*own[1:])
    loss(total, torch, name, **KRYLOV).backward()
    wanted = torch.where(x != 0, dense[0].grad, 0)
    torch.testing.assert_close(A.grad.to_dense(), wanted, rtol=1e-9, atol=1e-10)
    for found, other in zip(own[1:], dense[1:], strict=True):
        torch.testing.assert_close(found.grad, other.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@by_loss
def test_gradients_in_jax(name):
    jax = pytest.importorskip("jax")
    sparse = pytest.importorskip("jax.experimental.sparse")
    x, pair = sparse_values(False), factors(False)
    A = sparse.BCOO.fromdense(jax.numpy.asarray(x))
    args = (A.data, *map(jax.numpy.asarray, pair))

    def of_parts(values, left, right):
        matrix = sparse.BCOO((values, A.indices), shape=SHAPE)
        total = as_operator(matrix) - LowRank(left, right)
        return loss(total, jax.numpy, name, **KRYLOV)

    def of_dense(values, left, right):
        matrix = sparse.BCOO((values, A.indices), shape=SHAPE).todense()
        return loss(matrix - left @ right.T, jax.numpy, name)

    wanted = jax.grad(of_dense, argnums=(0, 1, 2))(*args)
    gradient = jax.grad(of_parts, argnums=(0, 1, 2))
    for found in (gradient(*args), jax.jit(gradient)(*args)):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_second_derivatives_by_factors_in_pytorch():
    torch = pytest.importorskip("torch")
    A = torch.asarray(sparse_values(False)).to_sparse()
    pair = tuple(torch.asarray(t).requires_grad_() for t in factors(False))
    of_factors = lambda *pair: loss(
        as_operator(A) + LowRank(*pair), torch, "truncated_svd", **KRYLOV
    )
    assert torch.autograd.gradgradcheck(of_factors, pair)


def test_low_rank_alone_has_gradients():
    torch = pytest.importorskip("torch")
    own = [torch.asarray(t).requires_grad_() for t in factors(False)]
    dense = [t.detach().clone().requires_grad_() for t in own]
    loss(LowRank(*own), torch, "truncated_svd").backward()
    loss(dense[0] @ dense[1].mT, torch, "truncated_svd").backward()
    for found, wanted in zip(own, dense, strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-9, atol=1e-10)


def doubled(x):
    """Entries of x, each in two unequal parts, in no order."""
    rows, cols = np.nonzero(x)
    order = np.random.default_rng(3).permutation(2 * len(rows))
    parts = np.concatenate([0.25 * x[rows, cols], 0.75 * x[rows, cols]])
    return parts[order], np.tile(rows, 2)[order], np.tile(cols, 2)[order]


@by_dtype
def test_duplicates_in_pytorch(is_complex):
    torch = pytest.importorskip("torch")
    x, pair = sparse_values(is_complex), tuple(map(torch.asarray, factors(is_complex)))
    values, rows, cols = doubled(x)
    dense = torch.asarray(x).requires_grad_()
    wanted = loss(dense - pair[0] @ pair[1].mH, torch, "truncated_svd")
    wanted.backward()
    own = torch.asarray(values).requires_grad_()
    indices = torch.asarray(np.stack([rows, cols]))
    A = torch.sparse_coo_tensor(indices, own, SHAPE, check_invariants=True)
    found = loss(as_operator(A) - LowRank(*pair), torch, "truncated_svd", **KRYLOV)
    found.backward()
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=0)
    torch.testing.assert_close(own.grad, dense.grad[rows, cols], rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@by_dtype
def test_duplicates_in_jax(is_complex):
    jax = pytest.importorskip("jax")
    sparse = pytest.importorskip("jax.experimental.sparse")
    x, pair = sparse_values(is_complex), tuple(map(jax.numpy.asarray, factors(is_complex)))
    values, rows, cols = doubled(x)

    def of_values(values):
        A = sparse.BCOO((values, np.stack([rows, cols], axis=1)), shape=SHAPE)
        return loss(as_operator(A) - LowRank(*pair), jax.numpy, "truncated_svd", **KRYLOV)

    def of_dense(x):
        return loss(x - pair[0] @ pair[1].conj().T, jax.numpy, "truncated_svd")

    wanted, slope = jax.value_and_grad(of_dense)(jax.numpy.asarray(x))
    found, gradient = jax.jit(jax.value_and_grad(of_values))(jax.numpy.asarray(values))
    np.testing.assert_allclose(found, wanted, rtol=1e-11)
    np.testing.assert_allclose(gradient, slope[rows, cols], rtol=1e-9, atol=1e-10)


def test_duplicates_in_scipy():
    x, (left, right) = sparse_values(False), factors(False)
    values, rows, cols = doubled(x)
    A = scipy.sparse.coo_array((values, (rows, cols)), shape=SHAPE)
    S = sg.truncated_svd(as_operator(A) - LowRank(left, right), K).S
    np.testing.assert_allclose(S, np.linalg.svd(x - left @ right.T)[1][:K], rtol=1e-12)


def test_operators_that_lose_a_gradient_are_refused_in_sums_too():
    torch = pytest.importorskip("torch")
    scale = torch.ones((26, 1), dtype=torch.float64, requires_grad=True)
    times = lambda X: scale * X
    A = sg.operators.from_matmat(times, times, (26, 26), torch.float64)
    low = LowRank(*(torch.ones((26, 1), dtype=torch.float64) for _ in range(2)))
    with pytest.raises(TypeError, match=r"`matmat` closes over.*params"):
        sg.truncated_svd(A + low, K)


def test_terms_that_do_not_go_together():
    x = sparse_values(False)
    A = as_operator(scipy.sparse.csr_array(x))
    with pytest.raises(ValueError, match=r"shapes \(34, 26\) and \(34, 25\).*broadcast"):
        A + x[:, 1:]
    with pytest.raises(TypeError, match=r"float64.*float32.*one library and dtype"):
        A + x.astype("float32")
    with pytest.raises(TypeError, match=r"multiplied by 1j.*real"):
        A * 1j
    for call in (lambda: A + 1, lambda: 1 - A, lambda: A * x, lambda: A * "2"):
        with pytest.raises(TypeError, match=r"unsupported operand|can't multiply|support ufuncs"):
            call()
    for strange in ("text", None, x[0], [[1.0]], np.ones((2, 3, 4))):
        with pytest.raises(TypeError, match="as_operator: argument `A` is a"):
            A + strange
    with pytest.raises(TypeError, match="dtype int64"):
        as_operator(scipy.sparse.csr_array(np.eye(4, dtype=int)))
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"ndarray of float64.*Tensor.*one library"):
        A + torch.asarray(x)
