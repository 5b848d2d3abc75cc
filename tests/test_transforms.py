"""sg.vjp and sg.jvp: structure, zeros, several primals, and code that they cannot see."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import random

import spectralgrad as sg
from spectralgrad._engine.primitive import Primitive

add = Primitive(
    "add",
    forward=lambda x, y: x + y,
    jvp=lambda inputs, outputs, tangents: sum(t for t in tangents if t is not None),
    vjp=lambda inputs, outputs, cotangents: (cotangents[0], cotangents[0]),
)


def total(x, y):
    return sg.svdvals(add(x, y))


def test_none_is_zero(library):
    x = library.array(random((4, 3)))
    out, pullback = sg.vjp(sg.svd, x)
    zero = library.numpy(pullback((None, None, None))[0])
    np.testing.assert_array_equal(zero, np.zeros((4, 3)))
    np.testing.assert_array_equal(library.numpy(pullback(None)[0]), zero)
    ones = library.array(np.ones(3))
    np.testing.assert_allclose(
        library.numpy(pullback((None, ones, None))[0]),
        library.numpy(sg.vjp(sg.svdvals, x)[1](ones)[0]),
        atol=1e-14,
    )
    _, tangent = sg.jvp(sg.svd, (x,), (None,))
    assert type(tangent) is type(out)
    assert all(not np.any(library.numpy(t)) for t in tangent)


def test_several_primals_and_one_given_twice(library):
    x, y = (library.array(random((3, 3), seed=s)) for s in (0, 1))
    ones = library.array(np.ones(3))
    x_bar, y_bar = sg.vjp(total, x, y)[1](ones)
    np.testing.assert_array_equal(library.numpy(x_bar), library.numpy(y_bar))
    for pulled in sg.vjp(total, x, x)[1](ones):
        np.testing.assert_allclose(
            library.numpy(pulled), library.numpy(sg.vjp(sg.svdvals, 2 * x)[1](ones)[0]), atol=1e-14
        )
    _, both = sg.jvp(total, (x, y), (y, None))
    _, one = sg.jvp(sg.svdvals, (x + y,), (y,))
    np.testing.assert_allclose(library.numpy(both), library.numpy(one), atol=1e-14)


def test_compositions_and_structure(library):
    x = library.array(random((3, 3)))

    def both(x):
        q = sg.orthogonalize(x)
        return q, (sg.nuclear_norm(x), sg.svd_function(q, sg.functions.tanh)), x

    out, pullback = sg.vjp(both, x)
    bars = sg.testing.random_cotangent(out)
    (x_bar,) = pullback(bars)
    _, tangent = sg.jvp(both, (x,), (x,))
    left = np.vdot(library.numpy(x_bar), library.numpy(x))
    assert left == pytest.approx(sg.testing.inner(bars, tangent), rel=1e-12)
    assert isinstance(tangent[1], tuple)


def test_static_arguments_are_passed_on():
    x = random((4, 3))
    out, _ = sg.vjp(sg.svd, x, full_matrices=False)
    assert out.U.shape == (4, 3)
    out, tangent = sg.jvp(sg.svd, (x,), (x,), full_matrices=False)
    assert tangent.U.shape == (4, 3)


def test_what_would_be_lost_is_refused(library):
    x = library.array(random((3, 3)))
    other = library.array(np.eye(3))
    for fun in (
        lambda x: sg.svdvals(2 * x),
        lambda x: 2 * sg.svdvals(x),
        lambda x: sg.svd_function(sg.orthogonalize(x) + 1, sg.functions.tanh),
        lambda x: sg.svdvals(other),
        lambda x: (sg.svdvals(x), other),
    ):
        with pytest.raises(TypeError, match="would be lost"):
            sg.vjp(fun, x)
        with pytest.raises(TypeError, match="would be lost"):
            sg.jvp(fun, (x,), (x,))


def test_a_number_is_a_cotangent_of_a_number(library):
    x = library.array(random((3, 3), seed=4), "float32")
    (by_number,) = sg.vjp(sg.nuclear_norm, x)[1](2)
    assert by_number.dtype == x.dtype
    (by_array,) = sg.vjp(sg.nuclear_norm, x)[1](library.array(np.float32(2)))
    np.testing.assert_array_equal(library.numpy(by_number), library.numpy(by_array))


def test_nothing_is_noted_after_an_error():
    with pytest.raises(TypeError):
        sg.vjp(lambda x: sg.svdvals(2 * x), np.eye(2))
    assert sg.svdvals(2 * np.eye(2)).shape == (2,)


def test_an_unused_primal_has_a_zero_cotangent():
    x_bar, y_bar = sg.vjp(lambda x, y: sg.svdvals(x), np.eye(2), np.ones((3, 3)))[1](np.ones(2))
    np.testing.assert_allclose(x_bar, np.eye(2))
    np.testing.assert_array_equal(y_bar, np.zeros((3, 3)))


def test_own_transforms_are_differentiable_natively(native):
    """sg.vjp inside the library's autodiff: a gradient penalty."""
    xp, x = native.xp, native.array(random((3, 3), seed=2))

    def penalty(x):
        out, pullback = sg.vjp(sg.orthogonalize, x)
        return xp.sum(pullback(xp.ones_like(out))[0] ** 2)

    (second,) = native.vjp(penalty, x)[1](native.array(np.asarray(1.0)))
    h, dx = 1e-5, native.array(random((3, 3), seed=3))
    difference = (penalty(x + h * dx) - penalty(x - h * dx)) / (2 * h)
    pairing = np.vdot(native.numpy(second), native.numpy(dx))
    assert pairing == pytest.approx(float(difference), rel=1e-6)
