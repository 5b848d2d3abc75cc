"""The derivative of a truncated SVD: values that were split, triplets from elsewhere, its cost."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import random, with_spectrum

import spectralgrad as sg

by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])


def difference(x, y):
    return np.linalg.norm(x - y) / np.linalg.norm(y)


def below_a_multiplet(gap, shape, is_complex):
    """Seven equal values, and the next one a relative gap below."""
    rest = (1 - gap) * np.linspace(1, 0.3, min(shape) - 7)
    return with_spectrum(*shape, np.concatenate([np.ones(7), rest]), is_complex=is_complex)


def cubed(C, U, S, Vh):
    """Cotangents of Re<C, U S^3 V^H>."""
    CV, UC = C @ Vh.conj().T, U.conj().T @ C
    return CV * S**3, np.sum(U.conj() * CV, axis=0).real * 3 * S**2, S[:, None] ** 3 * UC


def cubed_tangent(triplets, dots):
    (U, S, Vh), (dU, dS, dVh) = triplets, dots
    return (dU * S**3 + U * (3 * S**2 * dS)) @ Vh + (U * S**3) @ dVh


def cubed_by_low_rank(x, C, dx):
    """The same of L L^H L, where L is the best approximation of rank 7 and no tie is one."""
    L, pullback = sg.vjp(sg.low_rank, x, k=7)
    _, dL = sg.jvp(sg.low_rank, (x,), (dx,), k=7)
    Lh = L.conj().T
    (x_bar,) = pullback(C @ Lh @ L + L @ C.conj().T @ L + L @ Lh @ C)
    return x_bar, dL @ Lh @ L + L @ dL.conj().T @ L + L @ Lh @ dL


@by_dtype
@pytest.mark.parametrize("adjoint", ["krylov", "full"])
def test_a_split_multiplet_may_lie_close_above_the_rest(library, adjoint, is_complex):
    options = {"k": 7, "ties": "split", "solver": "full", "adjoint": adjoint}
    function = lambda x: tuple(sg.truncated_svd(x, **options))
    for shape in library.brief(((40, 30), (30, 40))):
        C, dx = (random(shape, seed=seed, is_complex=is_complex) for seed in (2, 5))
        for gap in (1e-1, 1e-2, 1e-3, 1e-5, 1e-6):
            x = below_a_multiplet(gap, shape, is_complex)
            wanted, wanted_tangent = cubed_by_low_rank(x, C, dx)
            out, pullback = library.vjp(function, library.array(x))
            bars = map(library.array, cubed(C, *map(library.numpy, out)))
            assert difference(library.numpy(pullback(tuple(bars))[0]), wanted) < 2e-7
            both = library.jvp(function, (library.array(x),), (library.array(dx),))
            tangent = cubed_tangent(*(tuple(map(library.numpy, part)) for part in both))
            assert difference(tangent, wanted_tangent) < 2e-7
