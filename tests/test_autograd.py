"""HIPS autograd: its arrays through every operation, to second order."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import SPECTRA, hermitian, random, sample, with_spectrum
from operations import OPERATIONS, SECOND

import spectralgrad as sg

autograd = pytest.importorskip("autograd")
test_util = pytest.importorskip("autograd.test_util")
anp = autograd.numpy
F = sg.functions
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])


def loss_of(operation, bars):
    """Re <bars, out>, in autograd's arithmetic."""

    def loss(x):
        out = operation(x)
        outs = out if isinstance(out, tuple) else (out,)
        return sum(anp.sum(anp.real(np.conj(b) * o)) for b, o in zip(bars, outs, strict=True))

    return loss


@by_dtype
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.name)
def test_gradients_are_ours(operation, is_complex):
    x = sample(operation, (4, 4), seed=3, is_complex=is_complex)
    out, pullback = sg.vjp(operation.call, x)
    bars = sg.testing.random_cotangent(out)
    (wanted,) = pullback(bars)
    bars = bars if isinstance(bars, tuple) else (bars,)
    found = np.conj(autograd.grad(loss_of(operation.call, bars))(x))
    np.testing.assert_allclose(found, wanted, atol=1e-12 * (1 + np.max(np.abs(wanted))))


@pytest.mark.parametrize("operation", SECOND, ids=lambda op: op.name)
def test_products_with_the_hessian_are_ours(operation):
    x, dx = sample(operation, (4, 4), seed=3), random((4, 4), seed=4)
    out = operation.call(x)
    bars = sg.testing.random_cotangent(out)
    wanted = sg.hvp(operation.call, x, dx, bars)
    bars = bars if isinstance(bars, tuple) else (bars,)
    found = autograd.hessian_vector_product(loss_of(operation.call, bars))(x, dx)
    np.testing.assert_allclose(found, wanted, atol=1e-10 * (1 + np.max(np.abs(wanted))))


@pytest.mark.parametrize("spectrum", ["pair", "all_equal", "rank_deficient"])
def test_second_order_at_ties_and_zeros(spectrum):
    x, dx = with_spectrum(5, 4, SPECTRA[spectrum]), random((5, 4), seed=4)
    loss = lambda x: anp.sum(sg.svd_function(x, F.tanh) ** 2)
    product = autograd.hessian_vector_product(loss)(x, dx)
    h = 1e-4
    grad = autograd.grad(loss)
    near, far = (grad(x + s * h * dx) - grad(x - s * h * dx) for s in (1, 2))
    np.testing.assert_allclose(product, (8 * near - far) / 12 / h, atol=1e-8)


def test_other_ways_in():
    x = with_spectrum(3, 3, (3.0, 2.0, 1.0))
    jacobian = autograd.jacobian(sg.svdvals)(x)
    np.testing.assert_allclose(jacobian[1], sg.vjp(sg.svdvals, x)[1](np.eye(3)[1])[0], atol=1e-14)
    hessian = autograd.hessian(sg.nuclear_norm)(x)
    dx = random((3, 3), seed=1)
    wanted = sg.hvp(sg.nuclear_norm, x, dx, 1.0)
    np.testing.assert_allclose(np.tensordot(hessian, dx), wanted, atol=1e-12)
    value, gradient = autograd.value_and_grad(sg.nuclear_norm)(x)
    np.testing.assert_allclose(value, 6.0)
    np.testing.assert_allclose(gradient, sg.orthogonalize(x), atol=1e-14)
    each = autograd.elementwise_grad(lambda x: sg.svdvals(x))(x)
    np.testing.assert_allclose(each, sg.vjp(sg.svdvals, x)[1](np.ones(3))[0], atol=1e-14)


def test_tangents():
    x, dx = random((4, 3), seed=1), random((4, 3), seed=2)
    for fun in (
        sg.orthogonalize,
        sg.svdvals,
        sg.nuclear_norm,
        lambda x: sg.svd_function(x, F.tanh),
    ):
        out, tangent = autograd.make_jvp(fun)(x)(dx)
        wanted_out, wanted = sg.jvp(fun, (x,), (dx,))
        np.testing.assert_allclose(out, wanted_out, atol=1e-14)
        np.testing.assert_allclose(tangent, wanted, atol=1e-13)


def test_losses_of_several_steps():
    """Arithmetic between calls, which is autograd's."""

    def loss(x):
        white = anp.dot(sg.inv_sqrtm(anp.dot(x.T, x) + 0.1 * anp.eye(3)), x.T)
        return sg.nuclear_norm(white) + anp.sum(anp.tanh(white) ** 2)

    x = random((5, 3), seed=1)
    test_util.check_grads(loss, modes=["rev"], order=2)(x)


def test_alignment_and_parameters():
    P, Q = random((2, 6, 3), seed=1)
    grads = autograd.grad(lambda P, Q: sg.kabsch(P, Q).msd, (0, 1))(P, Q)
    wanted = sg.vjp(lambda P, Q: sg.kabsch(P, Q).msd, P, Q)[1](1.0)
    for a, b in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-13)
    H = hermitian((2.0, 2.0, 1.0))
    number = lambda mu: sg.eigvalsh_sum(H, F.fermi(mu, 3.0))
    w = np.array([2.0, 2.0, 1.0])
    f = 1 / (np.exp(3 * (w - 1.2)) + 1)
    np.testing.assert_allclose(autograd.grad(number)(1.2 * np.ones(())), np.sum(3 * f * (1 - f)))


def test_a_bare_callable_and_a_pair():
    x, dx = with_spectrum(4, 3, SPECTRA["pair"]), random((4, 3), seed=2)
    named, bare = (lambda x, f=f: anp.sum(sg.svd_function(x, f) ** 2) for f in (F.tanh, anp.tanh))
    np.testing.assert_allclose(autograd.grad(bare)(x), autograd.grad(named)(x), atol=1e-12)
    products = (autograd.hessian_vector_product(fun)(x, dx) for fun in (bare, named))
    np.testing.assert_allclose(next(products), next(products), atol=1e-10)
    pair = (np.tanh, lambda s: 1 - np.tanh(s) ** 2)
    with pytest.raises(TypeError, match="has no d2f"):
        autograd.hessian_vector_product(lambda x: anp.sum(sg.svd_function(x, pair)))(x, dx)
    with pytest.raises(TypeError, match="svd_function: `params` came with x a"):
        autograd.grad(lambda x: anp.sum(sg.svd_function(x, lambda s, p: p * s, params=dx)))(x)


def test_forward_mode_inside_another_is_refused():
    x = random((3, 3), seed=1)
    inner = lambda x: anp.sum(autograd.make_jvp(sg.svdvals)(x)(np.eye(3))[1] ** 2)
    for outer in (autograd.grad(inner), lambda x: autograd.make_jvp(inner)(x)(x)):
        with pytest.raises(NotImplementedError, match="reverse mode inside"):
            outer(x)
    forward_over_reverse = autograd.make_jvp(autograd.grad(sg.nuclear_norm))(x)(x)[1]
    np.testing.assert_allclose(forward_over_reverse, sg.hvp(sg.nuclear_norm, x, x, 1.0), atol=1e-12)


def test_what_a_loss_does_not_use_is_no_tie():
    np.testing.assert_allclose(autograd.grad(lambda x: anp.sum(sg.svd(x).S))(np.eye(3)), np.eye(3))


def test_the_warning_is_at_the_users_line():
    with pytest.warns(sg.DerivativeUndefinedWarning, match="orthogonalize") as seen:
        autograd.grad(lambda x: anp.sum(sg.orthogonalize(x)))(np.diag([1.0, 0.0]))
    assert [w.filename for w in seen] == [__file__]


def test_single_factors_have_no_second_derivative_here():
    x = random((3, 3), seed=1)
    for fun in (lambda x: sg.svd(x).U, sg.svdvals, sg.eigvalsh, lambda x: sg.eigh(x)[1]):
        with pytest.raises(TypeError, match="no rule of second order"):
            autograd.hessian_vector_product(lambda x, fun=fun: anp.sum(fun(x) ** 3))(x, x)
