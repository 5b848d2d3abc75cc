"""The checks themselves: they pass what is right and fail what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matrices import random

import spectralgrad as sg
from spectralgrad._engine.transforms import vjp
from spectralgrad.testing import check_jvp, check_vjp, random_cotangent


@pytest.mark.thinned
def test_a_pipeline_of_the_users_own(native):
    """Any code at all, through the library's own autodiff."""
    xp = native.xp

    def pipeline(x):
        U, S, Vh = sg.svd(x, full_matrices=False)
        return xp.sum(S**2), (U[:, :2] * xp.exp(-S[:2])) @ Vh[:2, :] + 2 * x

    x = native.array(random((5, 4), seed=1))
    check_vjp(pipeline, x)
    check_jvp(pipeline, x)


def test_a_wrong_rule_is_caught(monkeypatch):
    from spectralgrad._operations import polar_differentials

    right = polar_differentials.sandwich
    x = random((4, 3), seed=2)
    check_vjp(sg.orthogonalize, x)
    check_jvp(sg.orthogonalize, x)
    monkeypatch.setattr(polar_differentials, "sandwich", lambda *a: (1 + 1e-6) * right(*a))
    with pytest.raises(AssertionError, match="pullback and central differences"):
        check_vjp(sg.orthogonalize, x)
    with pytest.raises(AssertionError, match="tangent and central differences"):
        check_jvp(sg.orthogonalize, x)


def test_an_adjoint_that_drifts_is_caught(monkeypatch):
    from spectralgrad._operations import norms

    right = norms.nuclear
    off = lambda *a, **_: (right.vjp(*a)[0]() * (1 + 1e-11), None, None, None)
    monkeypatch.setattr(norms, "nuclear", replace(right, vjp=off))
    with pytest.raises(AssertionError, match="adjoint identity"):
        check_jvp(sg.nuclear_norm, random((3, 3)))


def test_an_undefined_derivative_is_caught():
    with (
        pytest.warns(sg.DerivativeUndefinedWarning),
        pytest.raises(AssertionError, match="no derivative here"),
    ):
        check_vjp(sg.svd, np.eye(3))


@pytest.mark.parametrize("call", [sg.svd, sg.eigh])
def test_random_cotangents_are_free_of_gauge(library, call):
    """The same pullback whatever the phases that the factors came with."""
    x = library.array(random((4, 4), seed=3, is_complex=True))
    out, pullback = vjp(call, x)
    bars = random_cotangent(out, seed=5)
    assert type(bars) is type(out)
    assert not np.any(np.isnan(library.numpy(pullback(bars)[0])))
    phased = np.exp(1j * np.arange(4))
    if call is sg.svd:
        U, S, Vh = map(library.numpy, out)
        turned = sg.SVDResult(U * phased, S, phased.conj()[:, None] * Vh)
        wanted = sg.rules.svd_vjp(library.numpy(x), (U, S, Vh), tuple(map(library.numpy, bars)))
        got = sg.rules.svd_vjp(library.numpy(x), turned, random_cotangent(turned, seed=5))
        np.testing.assert_allclose(got, wanted, atol=1e-11)
