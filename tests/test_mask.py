"""kabsch with a mask: padding may hold anything, and too few points have a defined answer."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import random

import spectralgrad as sg

OPTIONS = ({}, {"scale": True}, {"reflection": True})


def padded(count, length=7, *, fill=np.nan, seed=0):
    """Points of two sets, the first `count` of them real, and the mask."""
    P, Q = random((2, length, 3), seed=seed)
    P[count:] = Q[count:] = fill
    return P, Q, np.arange(length) < count


def derivative(library, P, Q, mask=None, weights=None, **options):
    """msd and rmsd, and the gradient of their sum by every array."""
    given = [library.array(a) for a in (P, Q, *(() if weights is None else (weights,)))]
    mask = None if mask is None else library.array(mask)

    def losses(P, Q, weights=None):
        found = sg.kabsch(P, Q, weights, mask=mask, **options)
        return found.msd, found.rmsd

    out, pullback = library.vjp(losses, *given)
    bars = tuple(map(library.xp.ones_like, out))
    return [library.numpy(a) for a in (*out, *pullback(bars))]


@pytest.mark.thinned
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "scale", "reflection"])
@pytest.mark.parametrize("fill", [0.0, 1e30, np.inf, np.nan])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_padding_does_not_matter(library, count, fill, options):
    P, Q, mask = padded(count, fill=fill)
    weights = np.linspace(1.0, 2.0, len(P))
    weights[count:] = fill
    for w in (None, weights):
        alone = derivative(
            library, P[:count], Q[:count], None, None if w is None else w[:count], **options
        )
        found = derivative(library, P, Q, mask, w, **options)
        for whole, part in zip(found, alone, strict=True):
            if whole.ndim == 0:
                np.testing.assert_allclose(whole, part, rtol=1e-12, atol=1e-15)
            else:
                np.testing.assert_allclose(whole[:count], part, rtol=1e-9, atol=1e-12)
                assert np.all(whole[count:] == 0)


@pytest.mark.thinned
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "scale", "reflection"])
def test_one_point(library, options):
    P, Q, mask = padded(1)
    for found in (
        derivative(library, P, Q, mask, **options),
        derivative(library, P[:1], Q[:1], **options),
    ):
        assert all(np.all(part == 0) for part in found)


def test_equal_points_have_no_scale(library):
    P = np.ones((4, 3)) / 3
    Q = random((4, 3), seed=1)
    found = sg.kabsch(library.array(P), library.array(Q), scale=True)
    assert np.isnan(float(library.numpy(found.scale)))
    spread = np.mean(np.sum((Q - Q.mean(axis=0)) ** 2, axis=1))
    np.testing.assert_allclose(float(library.numpy(found.msd)), spread, rtol=1e-13)
    _, _, P_bar, Q_bar = derivative(library, P, Q, scale=True)
    assert np.all(np.abs(P_bar) < 1e-12)
    assert np.all(np.isfinite(Q_bar))


@pytest.mark.filterwarnings("ignore:kabsch. the value is NaN for .*no point:UserWarning")
def test_no_point_at_all_is_nan(library):
    P, Q, mask = padded(0, fill=1.0)
    found = derivative(library, P, Q, mask)
    assert np.isnan(found[0])
    assert np.isnan(found[1])


@pytest.mark.thinned
def test_a_batch_of_all_kinds(library):
    """Each as by itself: full, padded, one point, none."""
    sets = [padded(count, seed=count) for count in (7, 4, 2, 1)]
    P, Q, mask = (np.stack(part) for part in zip(*sets, strict=True))
    found = derivative(library, P, Q, mask)
    for i, (p, q, m) in enumerate(sets):
        for whole, part in zip(found, derivative(library, p, q, m), strict=True):
            np.testing.assert_allclose(whole[i], part, rtol=1e-10, atol=1e-13)


@pytest.mark.thinned
def test_one_mask_for_all(library):
    P, Q = random((2, 3, 5, 3))
    mask = np.array([True, True, False, True, True])
    one, each = (derivative(library, P, Q, m) for m in (mask, np.stack([mask] * 3)))
    for a, b in zip(one, each, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.thinned
def test_second_order(library):
    P, Q, mask = padded(5, fill=1.0)
    dP = random(P.shape, seed=3)
    given, m = [library.array(a) for a in (P, Q)], library.array(mask)
    fun = lambda P, Q: sg.kabsch(P, Q, mask=m).msd
    product, _ = sg.hvp(fun, tuple(given), (library.array(dP), None), 1.0)
    alone = [library.array(a[:5]) for a in (P, Q, dP)]
    fun = lambda P, Q: sg.kabsch(P, Q).msd
    wanted, _ = sg.hvp(fun, tuple(alone[:2]), (alone[2], None), 1.0)
    product = library.numpy(product)
    np.testing.assert_allclose(product[:5], library.numpy(wanted), atol=1e-12)
    assert np.all(product[5:] == 0)


def test_points_in_columns_look_transposed():
    P = random((4, 3, 50))
    with pytest.warns(
        UserWarning, match="3 points in 50 dimensions.*swap the last two axes"
    ) as seen:
        sg.kabsch(P, P)
    assert seen[0].filename == __file__
    sg.kabsch(random((4, 4, 50)), random((4, 4, 50), seed=1))  # few points, but none too few
    sg.kabsch(random((2, 3)), random((2, 3), seed=1))


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.ones(5), TypeError, "`mask` has dtype float64; wanted a boolean array"),
        (np.ones(4, dtype=bool), ValueError, r"`mask` has shape \(4,\); wanted one entry"),
        ([True] * 5, TypeError, "`mask` is a list"),
    ],
)
def test_bad_masks(mask, error, message):
    P = random((5, 3))
    with pytest.raises(error, match=message):
        sg.kabsch(P, P, mask=mask)


def test_a_mask_among_the_weights():
    P = random((5, 3))
    with pytest.raises(TypeError, match="give a boolean array as `mask`"):
        sg.kabsch(P, P, np.ones(5, dtype=bool))
