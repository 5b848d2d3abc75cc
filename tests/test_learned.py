"""A learnable f: f(s, params), differentiated by params and by x, to second order."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from matrices import SPECTRA, hermitian, random, with_spectrum

import spectralgrad as sg

F = sg.functions
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])


def rational(xp):
    """A small network of s, odd where that is asked for, with a tree of parameters."""

    def f(s, params):
        a, b = params["a"], params["b"][0]
        return xp.tanh(a * s) * s + b * s

    return f


def tree(library, a=0.7, b=-0.3):
    return {"a": library.array(np.asarray(a)), "b": [library.array(np.asarray(b))]}


def closed(library, a=0.7, b=-0.3):
    """The same as (f, df, d2f) of s alone."""
    xp = library.xp

    def f(s):
        return xp.tanh(a * s) * s + b * s

    def df(s):
        t = xp.tanh(a * s)
        return t + a * s * (1 - t * t) + b

    def d2f(s):
        t = xp.tanh(a * s)
        return 2 * a * (1 - t * t) - 2 * a * a * s * t * (1 - t * t)

    return f, df, d2f


FUNCTIONS = {
    "svd_function": (sg.svd_function, False),
    "eigh_function": (sg.eigh_function, True),
    "svdvals_sum": (sg.svdvals_sum, False),
    "eigvalsh_sum": (sg.eigvalsh_sum, True),
}
by_function = pytest.mark.parametrize("name", FUNCTIONS)


def matrix(name, spectrum, is_complex):
    values = SPECTRA[spectrum]
    if FUNCTIONS[name][1]:
        return hermitian(values, is_complex=is_complex)
    return with_spectrum(5, 4, values, is_complex=is_complex)


def bar_of(native, out):
    shape = tuple(out.shape)
    return native.array(random(shape, seed=3, is_complex="complex" in str(out.dtype)))


@pytest.mark.thinned
@by_dtype
@by_function
@pytest.mark.parametrize("spectrum", ["spread", "pair"])
def test_by_the_matrix_as_without_parameters(native, name, spectrum, is_complex):
    fun, _ = FUNCTIONS[name]
    x = native.array(matrix(name, spectrum, is_complex))
    params, f = tree(native), rational(native.xp)
    dx = native.array(random(tuple(x.shape), seed=2, is_complex=is_complex))
    learned = lambda x: fun(x, f, params=params)
    given = lambda x: fun(x, closed(native))
    bar = bar_of(native, given(x))
    for derivative in (
        lambda fun: fun(x),
        lambda fun: native.vjp(fun, x)[1](bar)[0],
        lambda fun: native.jvp(fun, (x,), (dx,))[1],
        lambda fun: second(native, fun, x, dx, bar),
    ):
        a, b = native.numpy(derivative(learned)), native.numpy(derivative(given))
        np.testing.assert_allclose(a, b, atol=1e-11 * (1 + np.max(np.abs(b))))


def second(native, fun, x, dx, bar):
    if native.name == "torch":
        import torch

        pulled = lambda x: torch.func.vjp(fun, x)[1](bar)[0]
        return torch.func.jvp(pulled, (x,), (dx,))[1]
    import jax

    conj = native.xp.conj
    pulled = lambda x: conj(jax.vjp(fun, x)[1](conj(bar))[0])
    return jax.jvp(pulled, (x,), (dx,))[1]


def losses(native, name, is_complex, spectrum="pair"):
    """A scalar loss of x and the numbers a and b, and where to take it."""
    fun, _ = FUNCTIONS[name]
    x = native.array(matrix(name, spectrum, is_complex))
    f = rational(native.xp)
    bar = bar_of(native, fun(x, f, params=tree(native)))

    def loss(x, a, b):
        out = fun(x, f, params={"a": a, "b": [b]})
        return (
            native.xp.sum(native.xp.real(native.xp.conj(bar) * out))
            if "complex" in str(out.dtype)
            else native.xp.sum(bar * out)
        )

    return loss, x


@pytest.mark.thinned
@by_dtype
@by_function
def test_by_the_parameters(native, name, is_complex):
    loss, x = losses(native, name, is_complex)
    a, b = (native.array(np.asarray(v)) for v in (0.7, -0.3))
    _, a_bar, b_bar = gradient(native, loss)(x, a, b)
    for found, place in ((a_bar, 1), (b_bar, 2)):

        def along(step, place=place):
            at = [0.7, -0.3]
            at[place - 1] += step
            return float(native.numpy(loss(x, *(native.array(np.asarray(v)) for v in at))))

        h = 1e-3
        wanted = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / 12 / h
        assert abs(float(native.numpy(found)) - wanted) < 1e-9 * (1 + abs(wanted))


def gradient(native, loss):
    if native.name == "torch":
        import torch

        return torch.func.grad(loss, (0, 1, 2))
    import jax

    def conjugated(*arguments):
        return tuple(native.xp.conj(g) for g in jax.grad(loss, (0, 1, 2))(*arguments))

    return conjugated


@pytest.mark.thinned
@by_function
def test_all_second_derivatives(native, name):
    """Mixed ones are symmetric, and those along anything equal differences of the gradient."""
    loss, x = losses(native, name, False)
    a, b = (native.array(np.asarray(v)) for v in (0.7, -0.3))
    dx = native.array(random(tuple(x.shape), seed=4))
    moved = (dx, *(native.array(np.asarray(v)) for v in (0.4, -0.9)))
    grad = gradient(native, loss)
    if native.name == "torch":
        import torch

        forward = torch.func.jvp(grad, (x, a, b), moved)[1]
        leaves = [v.clone().requires_grad_() for v in (x, a, b)]
        first = torch.autograd.grad(loss(*leaves), leaves, create_graph=True)
        backward = torch.autograd.grad(first, leaves, moved)
    else:
        import jax

        forward = jax.jit(lambda *p: jax.jvp(grad, p, moved)[1])(x, a, b)
        backward = jax.jit(lambda *p: jax.vjp(grad, *p)[1](moved))(x, a, b)

    def at(step):
        points = (p + step * d for p, d in zip((x, a, b), moved, strict=True))
        return [native.numpy(part) for part in grad(*points)]

    h = 1e-3
    ahead, behind, far, back = at(h), at(-h), at(2 * h), at(-2 * h)
    for i in range(3):
        wanted = (8 * (ahead[i] - behind[i]) - (far[i] - back[i])) / 12 / h
        for found in (forward[i], backward[i]):
            np.testing.assert_allclose(native.numpy(found), wanted, rtol=1e-7, atol=1e-7)


@pytest.mark.thinned
@by_function
def test_hvp(native, name):
    fun, _ = FUNCTIONS[name]
    loss, x = losses(native, name, False)
    f = rational(native.xp)
    a, b = (native.array(np.asarray(v)) for v in (0.7, -0.3))
    bar = bar_of(native, fun(x, f, params=tree(native)))
    moved = (native.array(random(tuple(x.shape), seed=4)), native.array(np.asarray(0.4)), None)
    products = sg.hvp(lambda x, a, b: fun(x, f, params={"a": a, "b": [b]}), (x, a, b), moved, bar)
    zero = native.array(np.asarray(0.0))
    if native.name == "torch":
        import torch

        wanted = torch.func.jvp(gradient(native, loss), (x, a, b), (*moved[:2], zero))[1]
    else:
        import jax

        wanted = jax.jvp(gradient(native, loss), (x, a, b), (*moved[:2], zero))[1]
    for found, one in zip(products, wanted, strict=True):
        np.testing.assert_allclose(native.numpy(found), native.numpy(one), rtol=1e-10, atol=1e-11)


def test_a_stack_with_nan_and_a_zero_cotangent(native):
    """A masked batch element reaches no parameter."""
    f = rational(native.xp)
    x = np.stack([with_spectrum(4, 4, SPECTRA["pair"]), np.full((4, 4), np.nan)])
    bar = np.stack([np.eye(4), np.zeros((4, 4))])

    def fun(x, a):
        return sg.svd_function(x, f, params={"a": a, "b": [a]})

    a = native.array(np.asarray(0.7))
    x_bar, a_bar = native.vjp(fun, native.array(x), a)[1](native.array(bar))
    _, alone = native.vjp(fun, native.array(x[:1]), a)[1](native.array(bar[:1]))
    assert np.all(native.numpy(x_bar)[1] == 0)
    np.testing.assert_allclose(native.numpy(a_bar), native.numpy(alone), rtol=1e-12)


def test_a_module_is_trained():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    ).double()

    def f(s, params):
        return s * torch.func.functional_call(net, params, (s[..., None],))[..., 0]

    params = dict(net.named_parameters())
    x = torch.randn(16, 4, 3, dtype=torch.float64)
    target = sg.svd_function(x, F.tanh)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    found = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (sg.svd_function(x, f, params=params) - target).square().mean()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[-1] < 0.1 * found[0]


@pytest.mark.thinned
@by_dtype
def test_complex_valued(native, is_complex):
    xp = native.xp
    H = native.array(hermitian(SPECTRA["pair"], is_complex=is_complex))
    t = native.array(np.asarray(0.7))
    f = lambda w, t: xp.exp(-1j * t * w)
    out, pullback = native.vjp(lambda H, t: sg.eigh_function(H, f, params=t), H, t)
    w, Q = np.linalg.eigh(native.numpy(H))
    wanted = (Q * np.exp(-0.7j * w)) @ Q.conj().T
    np.testing.assert_allclose(native.numpy(out), wanted, atol=1e-13)
    C = random((4, 4), seed=1, is_complex=True)
    _, t_bar = pullback(native.array(C))
    slope = (Q * (-1j * w * np.exp(-0.7j * w))) @ Q.conj().T
    assert abs(float(np.real(native.numpy(t_bar))) - np.vdot(C, slope).real) < 1e-12


def test_what_is_refused(library):
    x = library.array(np.eye(3))
    one = library.array(np.asarray(1.0))
    f = lambda s, p: p * s
    if library.name not in ("torch", "jax"):
        with pytest.raises(TypeError, match="svd_function: `params` came with x a"):
            sg.svd_function(x, f, params=one)
        return
    with pytest.raises(TypeError, match="`params` holds float"):
        sg.svd_function(x, f, params=(one, 2.0))
    with pytest.raises(TypeError, match="`params` holds no array"):
        sg.svd_function(x, f, params=())
    with pytest.raises(TypeError, match=r"Parameters of a named function go to the function"):
        sg.eigvalsh_sum(x, F.tanh, params=one)


def test_a_captured_parameter_is_refused():
    torch = pytest.importorskip("torch")
    x, p = torch.eye(3), torch.ones((), requires_grad=True)
    for params, f in ((None, lambda s: p * s), (torch.ones(()), lambda s, q: p * q * s)):
        with pytest.raises(TypeError, match=r"closes over a value.*`params`"):
            sg.svd_function(x, f, params=params)
    with pytest.raises(TypeError, match=r"closes over a value.*`params`"):
        sg.svd_function(x, torch.nn.PReLU())
    assert torch.isfinite(sg.svd_function(x, lambda s: p.detach() * s)).all()


def test_equal_calls_compile_once():
    jax = pytest.importorskip("jax")
    f, traced = rational(jax.numpy), []

    @jax.jit
    def loss(x, a):
        traced.append(1)
        return jax.numpy.sum(sg.svd_function(x, f, params={"a": a, "b": [a]}))

    step = partial(jax.grad(loss, (0, 1)), jax.numpy.eye(3))
    step(0.3)
    step(0.4)
    assert len(traced) == 1
