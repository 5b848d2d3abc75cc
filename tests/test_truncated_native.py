"""Sparse tensors and operators of parameters under PyTorch's and JAX's own autodiff."""

from __future__ import annotations

import numpy as np
import pytest
from marks import slow
from matrices import random

import spectralgrad as sg

pytestmark = pytest.mark.filterwarnings(
    "ignore:Sparse CSR tensor support is in beta state:UserWarning",
    "ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning",
    "ignore:<class 'torch.autograd.function.Function'> should not be:DeprecationWarning",
)
KRYLOV = {"solver": "krylov", "adjoint": "krylov"}
SHAPE, K = (24, 18), 3
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])


def matrix(is_complex):
    rng = np.random.default_rng(0)
    x = random(SHAPE, is_complex=is_complex) * (rng.random(SHAPE) < 0.4)
    return x * 0.8 ** np.arange(SHAPE[1])


WEIGHTS = random(SHAPE, seed=9)


def loss(x, k, xp, **options):
    """Re<C, U S^2 V^H> and the squares of the values."""
    U, S, Vh = sg.truncated_svd(x, k, **options)
    return xp.sum(xp.real(xp.asarray(WEIGHTS) * ((U * S**2) @ Vh))) + xp.sum(S**3)


def reference(x):
    def dense(x):
        out, pullback = sg.vjp(sg.truncated_svd, x, k=K)
        U, S, Vh = out
        CV = WEIGHTS @ Vh.conj().T
        S_bar = np.sum(U.conj() * CV, axis=0).real * 2 * S + 3 * S**2
        return pullback((CV * S**2, S_bar, (U * S**2).conj().T @ WEIGHTS))[0]

    return dense(x)


@by_dtype
@pytest.mark.parametrize("options", [{}, KRYLOV], ids=["size", "krylov"])
def test_sparse_tensors_of_pytorch(is_complex, options):
    torch = pytest.importorskip("torch")
    x = matrix(is_complex)
    wanted = np.where(x != 0, reference(x), 0)
    for convert in ("to_sparse", "to_sparse_csr"):
        A = getattr(torch.asarray(x), convert)().requires_grad_()
        loss(A, K, torch, **options).backward()
        np.testing.assert_allclose(A.grad.to_dense().numpy(), wanted, atol=1e-11)
    rows, cols = np.nonzero(x)
    values = torch.asarray(x[rows, cols]).requires_grad_()
    A = torch.sparse_coo_tensor(np.stack([rows, cols]), values, SHAPE, check_invariants=True)
    loss(A, K, torch, **options).backward()
    np.testing.assert_allclose(values.grad.numpy(), wanted[rows, cols], atol=1e-11)
    _, pullback = sg.vjp(sg.truncated_svd, torch.asarray(x).to_sparse(), k=K, **options)
    assert isinstance(pullback((None, torch.ones(K).double(), None))[0], sg.operators.LowRank)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state:UserWarning")
@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
def test_second_derivatives_by_sparse_tensors_of_pytorch(layout):
    """Of a penalty of the gradient; that of sum(S^3) is 3 U S^2 Vh, of size 9 sum(S^4)."""
    torch = pytest.importorskip("torch")
    x = matrix(False) + 1.0  # no zeros
    A = getattr(torch.asarray(x), layout)().requires_grad_()
    (x_bar,) = torch.autograd.grad((sg.truncated_svd(A, K).S ** 3).sum(), A, create_graph=True)
    (x_bar.to_dense() ** 2).sum().backward()
    U, S, Vh = np.linalg.svd(x, full_matrices=False)
    wanted = 36 * (U[:, :K] * S[:K] ** 3) @ Vh[:K]
    np.testing.assert_allclose(A.grad.to_dense().numpy(), wanted, atol=1e-12 * S[0] ** 3)


@pytest.mark.parametrize("is_complex", [False, slow(True)])
def test_sparse_matrices_of_jax(is_complex):
    jax = pytest.importorskip("jax")
    from jax.experimental import sparse

    x = matrix(is_complex)
    A = sparse.BCOO.fromdense(jax.numpy.asarray(x), nse=np.count_nonzero(x) + 5)  # 5 pad it

    def of_entries(data):
        return loss(sparse.BCOO((data, A.indices), shape=A.shape), K, jax.numpy, **KRYLOV)

    gradient = np.conj(jax.jit(jax.grad(of_entries))(A.data))
    wanted = np.append(reference(x)[np.nonzero(x)], np.zeros(5))
    np.testing.assert_allclose(gradient, wanted, atol=1e-11)
    _, pullback = sg.vjp(sg.truncated_svd, A, k=K)
    assert isinstance(pullback((None, jax.numpy.ones(K), None))[0], sg.operators.LowRank)
    with pytest.raises(TypeError, match="without batch or dense axes"):
        sg.truncated_svd(sparse.BCSR.fromdense(jax.numpy.asarray(x)), K)


def operator_of(scales):
    """diag(a) X diag(b), as products, with parameters a and b."""
    a, b = scales[0][:, None], scales[1][:, None]
    x = _like(matrix(False), a)
    return sg.operators.from_matmat(
        lambda X: a * (x @ (b * X)), lambda Y: b * (x.mT @ (a * Y)), SHAPE, a.dtype, like=a
    )


def _like(x, a):
    if type(a).__module__ == "torch":
        import torch

        return torch.asarray(x)
    import jax

    return jax.numpy.asarray(x)


SCALES = (1 + 0.1 * random(SHAPE[:1], seed=3), 1 + 0.1 * random(SHAPE[1:], seed=4))


def gradient_by_scales():
    x = matrix(False)
    x_bar = reference(SCALES[0][:, None] * x * SCALES[1])
    return np.sum(x_bar * x * SCALES[1], axis=1), np.sum(x_bar * SCALES[0][:, None] * x, axis=0)


def test_parameters_of_an_operator_in_pytorch():
    torch = pytest.importorskip("torch")
    scales = tuple(torch.asarray(s).requires_grad_() for s in SCALES)
    of_scales = lambda *scales: loss(operator_of, K, torch, params=scales, **KRYLOV)
    for found, wanted in zip(
        torch.autograd.grad(of_scales(*scales), scales), gradient_by_scales(), strict=True
    ):
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-11)
    assert torch.autograd.gradgradcheck(of_scales, scales)
    error = lambda *scales: sg.truncation_error(operator_of, K, params=scales)
    assert torch.autograd.gradcheck(error, scales, check_forward_ad=True)
    with pytest.raises(TypeError, match=r"`matmat` closes over.*params"):
        sg.truncated_svd(operator_of(scales), K)
    stacked = [torch.stack([s, 1.1 * s]).detach() for s in scales]
    looped = [of_scales(*pair) for pair in zip(*stacked, strict=True)]
    torch.testing.assert_close(torch.func.vmap(of_scales)(*stacked), torch.stack(looped))


@pytest.mark.slow
def test_parameters_of_an_operator_in_jax():
    jax = pytest.importorskip("jax")
    scales = tuple(map(jax.numpy.asarray, SCALES))
    of_scales = lambda scales: loss(operator_of, K, jax.numpy, params=scales, **KRYLOV)
    gradient = jax.jit(jax.grad(of_scales))
    for found, wanted in zip(gradient(scales), gradient_by_scales(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-11)
    dots = tuple(jax.numpy.asarray(random(s.shape, seed=7)) for s in SCALES)
    _, second = jax.jit(lambda s, d: jax.jvp(jax.grad(of_scales), (s,), (d,)))(scales, dots)
    step = 1e-5
    moved = [
        gradient(tuple(s + sign * step * d for s, d in zip(scales, dots, strict=True)))
        for sign in (1, -1)
    ]
    for found, up, down in zip(second, *moved, strict=True):
        np.testing.assert_allclose(found, (up - down) / (2 * step), rtol=1e-6, atol=1e-5)
    stacked = tuple(jax.numpy.stack([s, 1.1 * s]) for s in scales)
    looped = [of_scales(tuple(s[i] for s in stacked)) for i in range(2)]
    np.testing.assert_allclose(jax.vmap(of_scales)(stacked), np.stack(looped), rtol=1e-12)
    with pytest.raises(TypeError, match=r"`matmat` closes over.*params"):
        jax.grad(lambda scales: sg.truncated_svd(operator_of(scales), K).S[0])(scales)


@pytest.mark.slow
def test_pytorch_compiles_and_maps():
    torch = pytest.importorskip("torch")
    stack = torch.asarray(random((2, 270, 260)))
    of_matrix = lambda x: sg.truncated_svd(x, 2).S.sum()
    looped = torch.stack([torch.func.grad(of_matrix)(x) for x in stack])
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(of_matrix))(stack), looped)
    assert sg.truncated_svd(stack, 2).U.shape == (2, 270, 2)
    compiled = torch.compile(of_matrix, fullgraph=True)
    x = stack[0].clone().requires_grad_()
    compiled(x).backward()
    torch.testing.assert_close(x.grad, looped[0])


@pytest.mark.slow
def test_pytorch_maps_an_iteration():
    torch = pytest.importorskip("torch")
    stack = torch.asarray(random((2, 270, 260)))
    found = torch.func.vmap(lambda x: sg.truncated_svd(x, 3, solver="krylov").S)(stack)
    torch.testing.assert_close(found, torch.linalg.svdvals(stack)[:, :3], rtol=1e-12, atol=0)


def test_jax_maps_a_stack():
    jax = pytest.importorskip("jax")
    stack = jax.numpy.asarray(random((2, 30, 24)) * 0.8 ** np.arange(24))
    of_matrix = lambda x: loss_of_stack(x, jax.numpy)
    looped = [jax.grad(of_matrix)(x) for x in stack]
    mapped = jax.jit(jax.vmap(jax.grad(of_matrix)))(stack)
    np.testing.assert_allclose(mapped, looped, atol=1e-11)


def loss_of_stack(x, xp):
    U, S, Vh = sg.truncated_svd(x, 2, **KRYLOV)
    return xp.sum(((U * S**2) @ Vh) ** 3)


def test_unconverged_under_jit_is_nan():
    jax = pytest.importorskip("jax")
    x = jax.numpy.asarray(random((300, 280)))
    found = jax.jit(lambda x: sg.truncated_svd(x, 4, maxiter=1))(x)
    assert all(bool(jax.numpy.all(jax.numpy.isnan(part))) for part in found)


def test_third_derivatives_through_a_sparse_tensor_of_pytorch():
    torch = pytest.importorskip("torch")
    x = matrix(False)
    rows, cols = np.nonzero(x)
    start, dense = torch.asarray(x[rows, cols]), torch.asarray(x)
    direction = torch.asarray(random(start.shape, seed=6))

    def third(of_values):
        def along(f):
            def derivative(v):
                (gradient,) = torch.autograd.grad(f(v), v, create_graph=True)
                return (gradient * direction).sum()

            return derivative

        leaf = start.clone().requires_grad_()
        return torch.autograd.grad(along(along(of_values))(leaf), leaf)[0]

    def of_sparse(v):
        A = torch.zeros_like(dense).index_put((torch.asarray(rows), torch.asarray(cols)), v)
        return loss(A.to_sparse(), K, torch, **KRYLOV)

    def of_dense(v):
        A = torch.zeros_like(dense).index_put((torch.asarray(rows), torch.asarray(cols)), v)
        return loss(A, K, torch)

    torch.testing.assert_close(third(of_sparse), third(of_dense), rtol=1e-6, atol=1e-6)


def test_error_of_exact_rank_has_a_kink():
    torch = pytest.importorskip("torch")
    x = torch.asarray(with_rank(2))
    second = torch.func.hessian(lambda x: sg.truncation_error(x, 2))(x)
    assert torch.all(torch.isnan(second))


def with_rank(k):
    return random((5, k)) @ random((k, 4), seed=1)
