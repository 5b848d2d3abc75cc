"""An adaptive rank: the conditions hold, and what is kept is a truncated SVD of that rank."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
import scipy.sparse
from matrices import random, with_spectrum
from scipy.sparse.linalg import aslinearoperator

import spectralgrad as sg

KRYLOV = {"solver": "krylov", "adjoint": "krylov"}
SPECTRA = {
    "decaying": 2.0 ** -np.arange(9),
    "slow": 1 / np.arange(1.0, 10.0),
    "rank 3": np.array([3.0, 2.0, 1.0, 0, 0, 0, 0, 0, 0]),
    "tied at most": np.array([3.0, 2.0, 1.5, 1.0, 0.5, 0.5, 0.5, 0.25, 0.1]),
    "tied above": np.array([4.0, 2.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.25, 0.1]),
    "all tied": np.full(9, 2.0),
    "zero": np.zeros(9),
    "rank 9": np.linspace(2.0, 1.0, 9),
}
CONDITIONS = [
    {"most": 5},
    {"most": 9},
    {"most": 30},
    {"most": 6, "rtol": 0.21},
    {"most": 9, "rtol": 1e-3},
    {"most": 6, "error": 0.3},
    {"most": 9, "error": 0.05},
    {"most": 9, "error": 1e-8},
    {"most": 7, "rtol": 0.3, "error": 0.1},
    {"most": 4, "error": 1.0},
]
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])


def rank_of(s, most, rtol=0.0, error=None):
    """The rank by its definition, from all of the values."""
    padded = np.append(s, 0.0)
    gap = np.finfo(float).eps ** 0.75 * s[0]
    ranks = [c for c in range(1, min(most, len(s)) + 1) if padded[c - 1] - padded[c] > gap]
    ranks = [0, *(c for c in ranks if s[c - 1] > rtol * s[0])]
    if error is None:
        return ranks[-1]
    enough = [c for c in ranks if np.linalg.norm(s[c:]) <= error * np.linalg.norm(s) and c]
    return enough[0] if enough else ranks[-1]


def stack_of(shape, is_complex, names=SPECTRA):
    parts = [
        with_spectrum(*shape, SPECTRA[name], seed=i, is_complex=is_complex)
        for i, name in enumerate(names)
    ]
    return np.stack(parts)


def of_rank(x, r, **options):
    """The triplets that a number for k gives, none for 0."""
    if r == 0:
        return np.zeros((x.shape[0], 0)), np.zeros(0), np.zeros((0, x.shape[1]))
    return sg.truncated_svd(x, r, **options)


@by_dtype
@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
def test_every_condition_holds(library, conditions, is_complex):
    shape = (12, 9)
    stack, truncation = stack_of(shape, is_complex), sg.truncation(**conditions)
    function = library.compiled(lambda x: sg.truncated_svd(x, truncation))
    U, S, Vh, mask = map(library.numpy, function(library.array(stack)))
    most = min(conditions["most"], 9)
    assert mask.dtype == bool
    assert U.shape[-1] == S.shape[-1] == Vh.shape[-2] == mask.shape[-1] == most
    for i, (x, s) in enumerate(zip(stack, SPECTRA.values(), strict=True)):
        r = rank_of(s, **conditions)
        np.testing.assert_array_equal(mask[i], np.arange(most) < r)
        assert not np.any(U[i, :, r:])
        assert not np.any(S[i, r:])
        assert not np.any(Vh[i, r:])
        wanted = of_rank(x, r)
        np.testing.assert_allclose(S[i, :r], wanted[1], rtol=1e-13)
        np.testing.assert_allclose(
            (U[i] * S[i]) @ Vh[i], (wanted[0] * wanted[1]) @ wanted[2], atol=1e-13
        )


def bars_of(U, S, Vh):
    """Cotangents of Re<C, U S^2 V^H> + sum S^3, also of zero columns, that ask nothing of phases."""
    C = random((U.shape[0], Vh.shape[1]), seed=2)
    CV = C @ Vh.conj().T
    S_bar = np.sum(U.conj() * CV, axis=0).real * 2 * S + 3 * S**2
    return CV * S**2, S_bar, (U * S**2).conj().T @ C


UNTIED = ("decaying", "slow", "rank 3", "tied at most", "zero", "rank 9")


@by_dtype
@pytest.mark.parametrize("shape", [(12, 9), (9, 12)], ids=str)
@pytest.mark.parametrize("options", [{}, KRYLOV], ids=["full", "krylov"])
def test_derivatives_are_those_of_the_rank(library, shape, options, is_complex):
    stack = stack_of(shape, is_complex, UNTIED)
    dx = random(stack.shape, seed=5, is_complex=is_complex)
    truncation = sg.truncation(6, rtol=0.05)
    ranks = [rank_of(SPECTRA[name], 6, 0.05) for name in UNTIED]
    assert ranks == [5, 6, 3, 4, 0, 6]
    found = sg.truncated_svd(stack, truncation, **options)
    bars = [random(part.shape, seed=7) for part in found[:3]]  # where nothing is kept
    wanted_x, wanted_dots = [], []
    for i, r in enumerate(ranks):
        out = of_rank(stack[i], r, **options)
        parts = bars_of(*(part[i] for part in (found.U[..., :r], found.S[..., :r], found.Vh[..., :r, :])))
        bars[0] = bars[0].astype(stack.dtype)
        bars[2] = bars[2].astype(stack.dtype)
        bars[0][i, :, :r], bars[1][i, :r], bars[2][i, :r] = parts
        if r == 0:
            wanted_x.append(0 * stack[i])
            wanted_dots.append(None)
            continue
        function = partial(sg.truncated_svd, k=r, **options)
        out, pullback = sg.vjp(function, stack[i])
        wanted_x.append(pullback(bars_of(*out))[0])
        wanted_dots.append(sg.jvp(function, (stack[i],), (dx[i],)))
    function = lambda x: tuple(sg.truncated_svd(x, truncation, **options)[:3])
    _, pullback = library.vjp(function, library.array(stack))
    (x_bar,) = pullback(tuple(map(library.array, bars)))
    np.testing.assert_allclose(library.numpy(x_bar), wanted_x, atol=1e-12)
    out, dots = library.jvp(function, (library.array(stack),), (library.array(dx),))
    U, S, Vh = map(library.numpy, out)
    dU, dS, dVh = map(library.numpy, dots)
    for i, (r, wanted) in enumerate(zip(ranks, wanted_dots, strict=True)):
        assert not np.any(dU[i, :, r:])
        assert not np.any(dS[i, r:])
        assert not np.any(dVh[i, r:])
        if wanted is None:
            continue
        (V, s, Wh), (dV, ds, dWh) = wanted
        np.testing.assert_allclose(dS[i, :r], ds, atol=1e-12)
        moved = (dU[i] * S[i]) @ Vh[i] + (U[i] * S[i]) @ dVh[i]
        np.testing.assert_allclose(moved, (dV * s) @ Wh + (V * s) @ dWh, atol=1e-11)
