"""The pseudoinverse's threshold: as the array API standard and PyTorch have it."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import random, with_spectrum

import spectralgrad as sg

SPECTRUM = (3.0, 2.0, 0.5, 0.1)


def stack(*, is_complex=False):
    return np.stack([with_spectrum(5, 4, SPECTRUM, seed=s, is_complex=is_complex) for s in (1, 3)])


def keeping(x, rank):
    """The pseudoinverse of the leading part by NumPy."""
    return np.linalg.pinv(x, rcond=(1e-15, 0.1, 0.3, 0.8, 1.5)[4 - rank])


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
def test_one_threshold_for_each_matrix(library, is_complex):
    x = stack(is_complex=is_complex)
    rtol = library.array(np.array([0.1, 0.5]))
    out = library.numpy(sg.pinv(library.array(x), rtol=rtol))
    np.testing.assert_allclose(out[0], keeping(x[0], 3), atol=1e-12)
    np.testing.assert_allclose(out[1], keeping(x[1], 2), atol=1e-12)


@pytest.mark.thinned
def test_shapes_that_broadcast(library):
    x = np.stack([stack()] * 3)
    for shape in ((), (2,), (3, 1), (3, 2), (1, 1)):
        out = sg.pinv(library.array(x), rtol=library.array(np.full(shape, 0.1)))
        wanted = sg.pinv(library.array(x), rtol=0.1)
        np.testing.assert_array_equal(library.numpy(out), library.numpy(wanted))


@pytest.mark.thinned
def test_derivatives_of_both_orders_with_an_array(library):
    x, dx = stack(), random((2, 5, 4), seed=5)
    out_bar, rtol = random((2, 4, 5), seed=6), np.array([0.1, 0.5])
    given = [library.array(a) for a in (x, dx, out_bar, rtol)]

    def derivatives(x, dx, out_bar, rtol):
        fun = lambda x: sg.pinv(x, rtol=rtol)
        return sg.vjp(fun, x)[1](out_bar)[0], sg.hvp(fun, x, dx, out_bar)

    both = library.compiled(derivatives)(*given)
    for i, number in enumerate(rtol):
        one = derivatives(*(a[i, ...] for a in given[:3]), float(number))
        for got, wanted in zip(both, one, strict=True):
            wanted = library.numpy(wanted)
            atol = 1e-12 * np.max(np.abs(wanted))
            np.testing.assert_allclose(library.numpy(got)[i], wanted, atol=atol)


@pytest.mark.thinned
@pytest.mark.parametrize("rtol", [1, 1.0, 2.5, "array"])
def test_from_one_on_everything_is_zero(library, rtol):
    x = library.array(
        np.stack([stack()[0], np.diag([2.0, 2.0, 2.0, 2.0, 0.0])[:, :4], 0 * stack()[0]])
    )
    rtol = library.array(np.asarray(1.0)) if rtol == "array" else rtol
    out, pullback = library.vjp(lambda x: sg.pinv(x, rtol=rtol), x)
    for zeros in (out, *pullback(library.xp.ones_like(out))):
        assert np.all(library.numpy(zeros) == 0)


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
def test_a_value_at_the_threshold_has_no_derivative(library):
    x = np.stack([np.diag([2.0, 1.0]), np.diag([2.0, 1.5])])
    (x_bar,) = library.vjp(lambda x: sg.pinv(x, rtol=0.5), library.array(x))[1](library.array(x))
    x_bar = library.numpy(x_bar)
    assert np.all(np.isnan(x_bar[0]))
    assert np.all(np.isfinite(x_bar[1]))


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.filterwarnings("ignore:pinv. the value is NaN for batch element .0,.:UserWarning")
def test_numbers_that_are_none(library):
    x = stack()
    rtol = library.array(np.array([np.nan, 0.1]))
    out, pullback = library.vjp(lambda x: sg.pinv(x, rtol=rtol), library.array(x))
    for result in (out, *pullback(library.xp.ones_like(out))):
        result = library.numpy(result)
        assert np.all(np.isnan(result[0]))
        assert np.all(np.isfinite(result[1]))


@pytest.mark.parametrize("rtol", [-1e-3, float("nan"), float("inf"), True, "0.1"])
def test_bad_thresholds(rtol):
    with pytest.raises(ValueError, match=r"pinv: `rtol` is .*at least 0"):
        sg.pinv(np.eye(2), rtol=rtol)


def test_arrays_that_do_not_go_with_x():
    with pytest.raises(ValueError, match=r"pinv: `rtol` has shape \(3,\)"):
        sg.pinv(np.eye(2), rtol=np.ones(3))
    with pytest.raises(TypeError, match="pinv: `rtol` has dtype int64"):
        sg.pinv(np.eye(2), rtol=np.ones((), dtype=np.int64))


@pytest.mark.parametrize("gap", [0.7, 0.9])
def test_close_values_on_both_sides_of_a_small_threshold(gap):
    """The quotient across is large, and no part of it is left out."""
    error = 2 * np.sqrt(3) * np.finfo(float).eps  # what counts as zero beside 1
    a, b = (1.2 + gap) * error, 1.2 * error
    out_bar = np.zeros((3, 3))
    out_bar[1, 2] = 1.0
    _, pullback = sg.vjp(sg.pinv, np.diag([1.0, a, b]), rtol=(1.2 + gap / 2) * error)
    found = np.sort(np.abs(pullback(out_bar)[0][[1, 2], [2, 1]]))
    # half the sum and half the difference of 1/(a (a - b)) and 1/(a (a + b))
    np.testing.assert_allclose(found, [b / a / (a - b) / (a + b), 1 / (a - b) / (a + b)], rtol=1e-6)
