"""The seam itself, with what later operations put on it: rules that are Primitives, differentiable
parameters, a linear solve by iteration, and functions made of several Primitives."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import random

import spectralgrad as sg
from spectralgrad._bindings.array import array_namespace
from spectralgrad._engine.primitive import Primitive
from spectralgrad._operations.svd_rules import svd_factors

# cube(x) = x^3, whose rules are a Primitive of their own: dcube(x, c) = 3 x^2 c.
dcube = Primitive(
    "dcube",
    forward=lambda x, c: 3 * x * x * c,
    jvp=lambda inputs, _, dots: _sum(_mixed(*inputs, dots[0]), _only(dcube, inputs[0], dots[1])),
    vjp=lambda inputs, _, bars: (_mixed(*inputs, bars[0]), _only(dcube, inputs[0], bars[0])),
)
cube = Primitive(
    "cube",
    forward=lambda x: x * x * x,
    jvp=lambda inputs, _, dots: dcube(inputs[0], dots[0]),
    vjp=lambda inputs, _, bars: (dcube(inputs[0], bars[0]),),
)


def _mixed(x, c, d):
    return None if d is None else 6 * x * c * d


def _only(primitive, x, c):
    return None if c is None else primitive(x, c)


def _sum(*terms):
    return sum(term for term in terms if term is not None)


# power_sum(x, U, S, Vh, p) = sum S^p, differentiable in x, through its factors, and in p.
def _power_bars(inputs, _, bars):
    _, U, S, Vh, p = inputs
    xp = array_namespace(S)
    x_bar = (U * (bars[0] * p * S ** (p - 1))[..., None, :]) @ Vh
    return x_bar, None, None, None, bars[0] * xp.sum(S**p * xp.log(S), axis=-1)


def _power_dot(inputs, outputs, dots):
    one = array_namespace(outputs[0]).ones_like(outputs[0])
    x_bar, *_, p_bar = _power_bars(inputs, outputs, (one,))
    along_x = None if dots[0] is None else array_namespace(x_bar).sum(x_bar * dots[0])
    return _sum(along_x, None if dots[4] is None else p_bar * dots[4])


power_sum = Primitive(
    "power_sum",
    forward=lambda x, U, S, Vh, p: array_namespace(S).sum(S**p, axis=-1),
    jvp=_power_dot,
    vjp=_power_bars,
    carried=(1, 2, 3),
)


# solve(A, b) for A = A^T > 0 by conjugate gradients: self-adjoint, so its rules call it again.
def _times(A, b):
    return (A @ b[..., None])[..., 0]


def _conjugate_gradients(A, b):
    sum_ = array_namespace(A).sum
    x, r, p = 0 * b, b, b
    for _ in range(b.shape[-1]):
        Ap, rr = _times(A, p), sum_(r * r, axis=-1, keepdims=True)
        step = rr / sum_(p * Ap, axis=-1, keepdims=True)
        x, r = x + step * p, r - step * Ap
        p = r + sum_(r * r, axis=-1, keepdims=True) / rr * p
    return x


def _solve_vjp(inputs, outputs, bars):
    b_bar = solve(inputs[0], bars[0])
    return -b_bar[..., :, None] * outputs[0][..., None, :], b_bar


def _solve_jvp(inputs, outputs, dots):
    dA, db = dots
    right = _sum(db, None if dA is None else -_times(dA, outputs[0]))
    return solve(inputs[0], right)


solve = Primitive("solve", _conjugate_gradients, _solve_jvp, _solve_vjp)


def _hessian(native, fun, x):
    if native.name == "torch":
        import torch

        both = torch.func.hessian(fun)(x), torch.func.jacrev(torch.func.jacrev(fun))(x)
    else:
        import jax

        both = jax.jit(jax.hessian(fun))(x), jax.jacrev(jax.jacrev(fun))(x)
    np.testing.assert_allclose(native.numpy(both[0]), native.numpy(both[1]), atol=1e-12)
    return native.numpy(both[0])


def test_rules_that_are_primitives(native):
    x = native.array(random((4,), seed=1))
    hessian = _hessian(native, lambda x: native.xp.sum(cube(cube(x))), x)
    np.testing.assert_allclose(hessian, np.diag(72 * native.numpy(x) ** 7), rtol=1e-12, atol=1e-13)


def test_parameters_are_primals(library):
    x, p = library.array(random((4, 3), seed=1)), library.array(np.asarray(2.5))
    fun = lambda x, p: power_sum(x, *svd_factors(x), p)
    one, h = library.array(np.asarray(1.0)), 1e-6
    for transform in (sg.vjp, library.vjp):
        x_bar, p_bar = transform(fun, x, p)[1](one)
        difference = (fun(x, p + h) - fun(x, p - h)) / (2 * h)
        assert float(p_bar) == pytest.approx(float(difference), rel=1e-8)
        direction = library.array(random((4, 3), seed=2))
        difference = (fun(x + h * direction, p) - fun(x - h * direction, p)) / (2 * h)
        pairing = np.vdot(library.numpy(x_bar), library.numpy(direction))
        assert pairing == pytest.approx(float(difference), rel=1e-8)


def test_an_iterative_solve_to_second_order(native):
    root = random((4, 4), seed=3)
    A, b = native.array(root @ root.T + np.eye(4)), native.array(random((4,), seed=4))

    def energy(t):
        return native.xp.sum(solve(A, cube(t)) * b)

    t = native.array(random((4,), seed=5))
    weights = np.linalg.solve(native.numpy(A), native.numpy(b))
    np.testing.assert_allclose(
        _hessian(native, energy, t), np.diag(6 * native.numpy(t) * weights), atol=1e-11
    )


def test_functions_of_several_primitives(library):
    root = random((4, 4), seed=3)
    A, b = library.array(root @ root.T + np.eye(4)), library.array(random((4,), seed=4))
    fun = lambda A, b: solve(A, cube(solve(A, b)))
    out_bar = library.array(random((4,), seed=6))
    dA = library.array(random((4, 4), seed=7) + random((4, 4), seed=7).T)
    db = library.array(random((4,), seed=8))
    for vjp, jvp in ((sg.vjp, sg.jvp), (library.vjp, library.jvp)):
        A_bar, b_bar = vjp(fun, A, b)[1](out_bar)
        _, dout = jvp(fun, (A, b), (dA, db))
        left = sg.testing.inner((A_bar, b_bar), (dA, db))
        assert left == pytest.approx(sg.testing.inner(out_bar, dout), rel=1e-10)
