"""Thresholds, exponents and weights as arrays: differentiable on every library, to second order."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from marks import slow
from matrices import hermitian, random, with_spectrum

import spectralgrad as sg
from spectralgrad.testing import check_jvp, check_vjp, inner

F = sg.functions
TALL = with_spectrum(4, 3, (3.0, 3.0, 1.2), seed=2)
DEFINITE = hermitian((3.0, 3.0, 1.2))
WITH_PARAMETER = {
    "svd_function:tikhonov": (lambda x, p: sg.svd_function(x, F.tikhonov(p)), TALL),
    "svd_function:power": (lambda x, p: sg.svd_function(x, F.power(p)), TALL),
    "svd_function:soft": (lambda x, p: sg.svd_function(x, F.soft_threshold(p)), TALL),
    "svd_function:hard": (lambda x, p: sg.svd_function(x, F.hard_threshold(p)), TALL),
    "svd_function:clip": (lambda x, p: sg.svd_function(x, F.clip(p)), TALL),
    "eigh_function:tikhonov": (lambda x, p: sg.eigh_function(x, F.tikhonov(p)), -DEFINITE),
    "singular_value_threshold": (sg.singular_value_threshold, TALL),
    "schatten_norm": (sg.schatten_norm, TALL),
    "powm": (sg.powm, DEFINITE),
}
PARAMETER = 1.7
by_name = pytest.mark.parametrize("name", WITH_PARAMETER)


@pytest.mark.thinned
@by_name
def test_gradients_and_tangents(library, name):
    fun, values = WITH_PARAMETER[name]
    for p in (np.asarray(PARAMETER), np.asarray([PARAMETER, 1.3])):
        x = library.array(np.stack([values, values]) if p.ndim else values)
        check_vjp(library.compiled(fun), x, library.array(p))
        check_jvp(library.compiled(fun), x, library.array(p))


@pytest.mark.thinned
@by_name
def test_an_array_gives_what_a_number_gives(library, name):
    fun, values = WITH_PARAMETER[name]
    x = library.array(values)
    by_array, by_number = fun(x, library.array(np.asarray(PARAMETER))), fun(x, PARAMETER)
    np.testing.assert_allclose(library.numpy(by_array), library.numpy(by_number), rtol=1e-13)
    dx = library.array(random(values.shape, seed=1))
    out_bar = library.array(np.asarray(random(tuple(by_number.shape), seed=2)))
    alone = sg.hvp(lambda x: fun(x, PARAMETER), x, dx, out_bar)
    both, _ = sg.hvp(fun, (x, library.array(np.asarray(PARAMETER))), (dx, None), out_bar)
    np.testing.assert_allclose(library.numpy(both), library.numpy(alone), rtol=1e-9, atol=1e-11)


AT_ZERO = {
    "svd_function:soft": lambda x, p: sg.svd_function(x, F.soft_threshold(p)),
    "svd_function:clip": lambda x, p: sg.svd_function(x, F.clip(p)),
    "svdvals_sum:soft": lambda x, p: sg.svdvals_sum(x, F.soft_threshold(p)),
    "eigh_function:soft": lambda x, p: sg.eigh_function(x, F.soft_threshold(p)),
    "eigvalsh_sum:soft": lambda x, p: sg.eigvalsh_sum(x, F.soft_threshold(p)),
    "singular_value_threshold": sg.singular_value_threshold,
}


@pytest.mark.thinned
@pytest.mark.parametrize("name", AT_ZERO)
@pytest.mark.parametrize("seed", range(4))
def test_a_computed_zero_is_not_above_a_threshold_of_zero(library, name, seed):
    """Which is only known to be 1e-17 or so: neither the sign of it nor of its vectors is."""
    fun, h = AT_ZERO[name], 1e-6
    x, zero = library.array(hermitian((2.0, 1.0, 0.0), seed=seed)), library.array(np.zeros(()))
    value, pullback = sg.vjp(fun, x, zero)
    out_bar = random(tuple(value.shape), seed=2)
    _, p_bar = pullback(library.array(np.asarray(out_bar)))
    moved = library.numpy(fun(x, library.array(np.asarray(h)))) - library.numpy(value)
    np.testing.assert_allclose(library.numpy(p_bar), np.sum(out_bar * moved) / h, atol=1e-9)


def test_a_power_of_zero_has_no_derivative_by_an_exponent_of_zero(library):
    x, p = library.array(hermitian((2.0, 1.0, 0.0))), library.array(np.zeros(()))
    _, pullback = sg.vjp(lambda x, p: sg.svd_function(x, F.power(p)), x, p)
    said = pytest.warns(UserWarning, match="svd_function: .* NaN")  # of x, and of p
    with said if library.name != "dask" else nullcontext():
        _, p_bar = pullback(x)
    assert np.isnan(library.numpy(p_bar))


@pytest.mark.thinned
@by_name
def test_second_order_by_parameter_and_mixed(library, name):
    """Against differences of the gradient, at a repeated value."""
    fun, values = WITH_PARAMETER[name]
    p, dp = np.asarray(PARAMETER), np.asarray(0.8)
    dx = random(values.shape, seed=1)
    out_bar = library.array(np.asarray(random(tuple(fun(values, PARAMETER).shape), seed=2)))

    def gradient(step):
        primals = library.array(values + step * dx), library.array(np.asarray(p + step * dp))
        return [library.numpy(bar) for bar in sg.vjp(fun, *primals)[1](out_bar)]

    got = sg.hvp(
        fun, tuple(map(library.array, (values, p))), tuple(map(library.array, (dx, dp))), out_bar
    )
    h = 1e-4
    for product, *near in zip(got, *map(gradient, (h, -h, 2 * h, -2 * h)), strict=True):
        wanted = (8 * (near[0] - near[1]) - (near[2] - near[3])) / (12 * h)
        np.testing.assert_allclose(library.numpy(product), wanted, rtol=1e-7, atol=1e-8)


@by_name
def test_second_order_natively(name):
    torch = pytest.importorskip("torch")
    fun, values = WITH_PARAMETER[name]
    x = torch.asarray(values).requires_grad_()
    p = torch.tensor(PARAMETER, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fun, (x, p), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(fun, (x, p), fast_mode=True)


@pytest.mark.parametrize(
    "name", ["schatten_norm", *map(slow, ("svd_function:power", "eigh_function:tikhonov"))]
)
def test_second_order_in_jax(name):
    jax = pytest.importorskip("jax")
    fun, values = WITH_PARAMETER[name]
    out_bar = np.asarray(random(np.shape(fun(values, PARAMETER)), seed=2))
    loss = lambda x, p: jax.numpy.sum(out_bar * fun(x, p))
    x, p = jax.numpy.asarray(values), jax.numpy.asarray(PARAMETER)
    (_, x_by_p), (_, p_by_p) = jax.jit(jax.hessian(loss, (0, 1)))(x, p)
    of_x, of_p = sg.hvp(fun, (values, np.asarray(PARAMETER)), (None, np.asarray(1.0)), out_bar)
    np.testing.assert_allclose(x_by_p, of_x, atol=1e-10)
    np.testing.assert_allclose(p_by_p, of_p, atol=1e-10)


def test_one_parameter_for_each_matrix_of_a_stack(library):
    x, tau = random((2, 3, 4, 3), seed=1), np.array([0.3, 0.6, 0.9])
    _, pullback = sg.vjp(sg.singular_value_threshold, library.array(x), library.array(tau))
    bars = random((2, 3, 4, 3), seed=2)
    _, tau_bar = pullback(library.array(bars))
    assert tuple(tau_bar.shape) == (3,)
    alone = [
        sg.vjp(sg.singular_value_threshold, x[i, 1], np.asarray(tau[1]))[1](bars[i, 1])[1]
        for i in range(2)
    ]
    assert float(tau_bar[1]) == pytest.approx(sum(map(float, alone)), rel=1e-12)


def test_a_parameter_of_another_precision(library):
    x = library.array(random((3, 3), seed=1), "float32")
    tau = library.array(np.asarray(0.5), "float64")
    out, pullback = sg.vjp(sg.singular_value_threshold, x, tau)
    x_bar, tau_bar = pullback(out)
    assert out.dtype == x_bar.dtype == x.dtype
    assert tau_bar.dtype == tau.dtype


def test_a_parameter_that_another_call_makes(library):
    """Its gradient goes on to what made it."""
    x = library.array(random((3, 3), seed=1))
    fun = lambda x: sg.svd_function(x, F.tikhonov(sg.spectral_norm(x)))
    check_vjp(library.compiled(fun), x)
    out = fun(x)
    fixed = sg.svd_function(x, F.tikhonov(float(sg.spectral_norm(x))))
    np.testing.assert_allclose(library.numpy(out), library.numpy(fixed), rtol=1e-13)


def test_numbers_that_would_be_lost_are_refused():
    x = random((3, 3))
    fun = lambda x: sg.singular_value_threshold(x, 0.5 * sg.spectral_norm(x))
    with pytest.raises(TypeError, match="would be lost"):
        sg.vjp(fun, x)
    assert fun(x).shape == (3, 3)
    with pytest.raises(TypeError, match="would be lost"):
        sg.vjp(lambda x: sg.singular_value_threshold(x, np.asarray(0.5)), x)


def test_a_numpy_number_is_a_primal():
    x_bar, tau_bar = sg.vjp(sg.singular_value_threshold, np.diag([2.0, 1.0]), np.float64(0.5))[1](
        np.eye(2)
    )
    assert float(tau_bar) == -2.0
    np.testing.assert_array_equal(x_bar, np.eye(2))


def test_parameters_that_do_not_go_with_x(library):
    xp, x = library.xp, library.array(random((2, 3, 3)))
    for tau, message in (
        (xp.ones(3, dtype=xp.float64), r"shape \(3,\).*stack of shape \(2,\)"),
        (xp.ones((1, 2, 1), dtype=xp.float64), "one for each matrix"),
    ):
        with pytest.raises(ValueError, match=message):
            sg.singular_value_threshold(x, tau)
    with pytest.raises(TypeError, match=r"int.*real floating"):
        sg.singular_value_threshold(x, xp.ones(2, dtype=xp.int64))
    if library.name != "numpy":
        with pytest.raises(TypeError, match="one array library"):
            sg.singular_value_threshold(x, np.ones(2))
    with pytest.raises(ValueError, match="at least 1"):
        sg.schatten_norm(x, 0.5)
    below = sg.schatten_norm(x, library.array(np.array([0.5, 2.0])))
    assert np.isnan(library.numpy(below)[0])
    assert np.isfinite(library.numpy(below)[1])


def test_schatten_at_its_ends():
    """p = 1, 2 and infinity are the nuclear, Frobenius and spectral norms, gradients included."""
    x = with_spectrum(4, 3, (2.0, 2.0, 0.5))
    for p, fun in ((1, sg.nuclear_norm), (np.inf, sg.spectral_norm)):
        norm, pullback = sg.vjp(lambda x, p=p: sg.schatten_norm(x, p), x)
        wanted, wanted_pullback = sg.vjp(fun, x)
        assert float(norm) == pytest.approx(float(wanted))
        np.testing.assert_allclose(pullback(1.0)[0], wanted_pullback(1.0)[0], atol=1e-14)
    norm, pullback = sg.vjp(lambda x: sg.schatten_norm(x, 2), x)
    assert float(norm) == pytest.approx(np.linalg.norm(x))
    np.testing.assert_allclose(pullback(1.0)[0], x / np.linalg.norm(x), atol=1e-14)


def test_a_learned_threshold_trains():
    """The threshold that undoes another, by gradient descent on PyTorch."""
    torch = pytest.importorskip("torch")
    x = torch.asarray(with_spectrum(5, 4, (3.0, 2.0, 1.0, 0.2)))
    wanted = sg.singular_value_threshold(x, 0.6)
    tau = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([tau], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (sg.singular_value_threshold(x, tau) - wanted).square().sum().backward()
        optimizer.step()
    assert tau.item() == pytest.approx(0.6, abs=1e-3)


def test_mixed_derivatives_are_symmetric():
    x, p = TALL, np.asarray(PARAMETER)
    dx, dp = random(TALL.shape, seed=1), np.asarray(1.0)
    for name in ("svd_function:tikhonov", "svd_function:power", "schatten_norm"):
        fun = WITH_PARAMETER[name][0]
        out_bar = np.asarray(random(np.shape(fun(x, PARAMETER)), seed=2))
        _, p_of_x = sg.hvp(fun, (x, p), (dx, None), out_bar)
        x_of_p, _ = sg.hvp(fun, (x, p), (None, dp), out_bar)
        assert inner(p_of_x, dp) == pytest.approx(inner(x_of_p, dx), rel=1e-11)


@pytest.mark.thinned
@pytest.mark.filterwarnings("ignore:.*the value is NaN:UserWarning")
@pytest.mark.parametrize("value", [np.nan, -1.0])
@pytest.mark.parametrize(
    "name", ["svd_function:soft", "svd_function:hard", "svd_function:clip", "svd_function:tikhonov"]
)
def test_an_array_out_of_range_makes_its_member_nan(library, name, value):
    fun, values = WITH_PARAMETER[name]
    x, p = library.array(np.stack([values, values])), library.array(np.array([value, PARAMETER]))
    out, pullback = sg.vjp(fun, x, p)
    for result in (out, *pullback(out)):
        result = library.numpy(result)
        assert np.all(np.isnan(result[0]))
        assert np.all(np.isfinite(result[1]))


@pytest.mark.parametrize("p", [np.nan, np.inf, 0.5])
def test_an_exponent_out_of_range_without_a_stack(p):
    """As with one: NumPy's numbers, which 0-d arrays become, are not the user's."""
    x, dx, p = random((4, 3)), random((4, 3), seed=1), np.asarray(p)
    with pytest.warns(sg.DerivativeUndefinedWarning):
        x_bar, p_bar = sg.hvp(sg.schatten_norm, (x, p), (dx, np.ones(())), 1.0)
    assert np.all(np.isnan(x_bar))
    assert np.isnan(p_bar)


@pytest.mark.thinned
def test_exponents_that_happen_to_be_whole(library):
    """At zero values an array of 1 or 2 is as good as the number."""
    x, dx = library.array(np.diag([1.0, 0.0])), library.array(np.ones((2, 2)))
    one, two = (library.array(np.asarray(p)) for p in (1.0, 2.0))
    x_bar, _ = sg.vjp(sg.powm, x, one)[1](dx)
    np.testing.assert_allclose(library.numpy(x_bar), np.ones((2, 2)))
    for fun, out_bar in ((sg.powm, dx), (sg.schatten_norm, library.array(np.asarray(1.0)))):
        by_array, _ = sg.hvp(fun, (x, two), (dx, None), out_bar)
        by_number = sg.hvp(lambda x, fun=fun: fun(x, 2), x, dx, out_bar)
        np.testing.assert_allclose(library.numpy(by_array), library.numpy(by_number), atol=1e-14)


def test_a_python_number_that_jax_differentiates_by():
    jax = pytest.importorskip("jax")
    x = jax.numpy.asarray(TALL)
    by_number = jax.grad(lambda tau: jax.numpy.sum(sg.singular_value_threshold(x, tau)))(0.5)
    _, by_array = sg.vjp(sg.singular_value_threshold, TALL, np.asarray(0.5))[1](np.ones((4, 3)))
    assert float(by_number) == pytest.approx(float(by_array), rel=1e-12)


def test_a_primal_that_f_closes_over_is_refused():
    for make in (
        lambda p: (lambda s: p * s, lambda s: p + 0 * s),
        lambda p: (lambda s: s, lambda s, p=p: p + 0 * s),
    ):
        with pytest.raises(TypeError, match="closes over"):
            sg.vjp(lambda x, p, make=make: sg.svd_function(x, make(p)), TALL, np.asarray(0.5))
