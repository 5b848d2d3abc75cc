"""A lone zero singular value: the vector of the shorter side is determined, and differentiated."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import random, with_spectrum

import spectralgrad as sg

pytestmark = pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
VALUES = (3.0, 2.0, 1.0, 0.0)


def outer(w):
    return w[..., :, None] * np.conj(w[..., None, :])


def of_the_last(x, side):
    """The projector on the last left or right vector, and what is determined by both sides."""
    U, _, Vh = np.linalg.svd(x, full_matrices=False)
    return outer(U[:, -1]) if side == "U" else outer(Vh[-1].conj())


def cotangents(library, x, side, C, **options):
    """Of the loss Re<C, w w^H> with w the last vector of a side, by the chain rule."""
    out, pullback = library.vjp(lambda x: sg.svd(x, **options), library.array(x))
    U, S, Vh = map(library.numpy, out)
    k = S.shape[-1]
    bars = [np.zeros_like(U), np.zeros_like(S), np.zeros_like(Vh)]
    herm = C + C.conj().T
    if side == "U":
        bars[0][:, k - 1] = herm @ U[:, k - 1]
    else:
        bars[2][k - 1] = (herm @ Vh[k - 1].conj()).conj()
    bars = type(out)(*map(library.array, bars))
    return library.numpy(pullback(bars)[0])


def by_differences(x, side, C):
    h, result = 1e-4, np.zeros_like(x)

    def loss(x):
        return np.sum(np.conj(C) * of_the_last(x, side)).real

    for at in np.ndindex(x.shape):
        for unit in (1, 1j) if np.iscomplexobj(x) else (1,):
            E = np.zeros_like(x)
            E[at] = unit
            near, far = (loss(x + s * h * E) - loss(x - s * h * E) for s in (1, 2))
            result[at] += unit * (8 * near - far) / 12 / h
    return result


@pytest.mark.thinned
@by_dtype
@pytest.mark.parametrize(
    ("shape", "side"), [((6, 4), "V"), ((4, 6), "U"), ((4, 4), "U"), ((4, 4), "V")]
)
@pytest.mark.parametrize("zero", [0.0, 1e-16])
def test_gradients(library, shape, side, zero, is_complex):
    x = with_spectrum(*shape, (*VALUES[:3], zero), seed=3, is_complex=is_complex)
    n = shape[0] if side == "U" else shape[1]
    C = random((n, n), seed=1, is_complex=is_complex)
    C = C + C.conj().T
    x_bar = cotangents(library, x, side, C, full_matrices=False)
    np.testing.assert_allclose(x_bar, by_differences(x, side, C), atol=1e-9)
    np.testing.assert_allclose(x_bar, cotangents(library, x, side, C), atol=1e-13)


def test_single_precision(library):
    """S[3]/S[0] = 2.8e-6 counts as zero, and the gradient is right to 3e-5 all the same."""
    values = (1.0, 0.7, 0.4, 2.8e-6)
    x = with_spectrum(8, 4, values, seed=3).astype(np.float32)
    C = random((4, 4), seed=1).astype(np.float32)
    wanted = by_differences(x.astype(float), "V", (C + C.T).astype(float))
    x_bar = cotangents(library, x, "V", C + C.T, full_matrices=False)
    np.testing.assert_allclose(x_bar, wanted, atol=3e-5 * np.max(np.abs(wanted)))


@pytest.mark.thinned
@by_dtype
@pytest.mark.parametrize(("shape", "side"), [((6, 4), "U"), ((4, 6), "V")])
def test_the_other_side_is_free(library, shape, side, is_complex):
    x = with_spectrum(*shape, VALUES, seed=3, is_complex=is_complex)
    C = random((6, 6), seed=1, is_complex=is_complex)
    assert np.all(np.isnan(cotangents(library, x, side, C, full_matrices=False)))


@pytest.mark.thinned
@by_dtype
def test_completing_columns_are_free(library, is_complex):
    x = with_spectrum(6, 4, VALUES, seed=3, is_complex=is_complex)
    out, pullback = library.vjp(sg.svd, library.array(x))
    U, _, Vh = map(library.numpy, out)
    U_bar = np.zeros_like(U)
    U_bar[:, 4:] = random((6, 2), seed=1)
    bars = type(out)(library.array(U_bar), library.xp.zeros_like(out[1]), library.array(0 * Vh))
    with (
        library.warns("derivative is undefined")
        if library.name != "jax"
        else pytest.MonkeyPatch.context()
    ):
        (x_bar,) = pullback(bars)
    assert np.all(np.isnan(library.numpy(x_bar)))


@pytest.mark.parametrize("side", ["U", "V"])
def test_a_phase_of_each_vector(library, side):
    """In a square complex matrix the phases of a zero's two vectors are free apart."""
    x = with_spectrum(4, 4, VALUES, seed=3, is_complex=True)
    out, pullback = library.vjp(sg.svd, library.array(x))
    U, _, Vh = map(library.numpy, out)
    bars = [np.zeros_like(U), np.zeros(4), np.zeros_like(Vh)]
    bars[0][:, 3], bars[2][3] = 1j * U[:, 3], 1j * Vh[3]  # blind to a phase that both share
    (x_bar,) = pullback(type(out)(*map(library.array, bars)))
    assert np.all(np.isnan(library.numpy(x_bar)))


@pytest.mark.thinned
@by_dtype
@pytest.mark.parametrize(("shape", "side"), [((6, 4), "V"), ((4, 6), "U"), ((4, 4), "U")])
def test_tangents(library, shape, side, is_complex):
    x = with_spectrum(*shape, VALUES, seed=3, is_complex=is_complex)
    dx = random(shape, seed=2, is_complex=is_complex)
    fun = lambda x: sg.svd(x, full_matrices=False)
    out, tangent = library.jvp(fun, *((library.array(a),) for a in (x, dx)))
    (U, _, Vh), (dU, _, dVh) = (tuple(map(library.numpy, part)) for part in (out, tangent))
    w, dw = (U[:, -1], dU[:, -1]) if side == "U" else (Vh[-1].conj(), dVh[-1].conj())
    found = dw[:, None] * w.conj() + w[:, None] * dw.conj()
    h = 1e-5
    wanted = (of_the_last(x + h * dx, side) - of_the_last(x - h * dx, side)) / 2 / h
    np.testing.assert_allclose(found, wanted, atol=1e-8)
    if shape[0] != shape[1]:
        free = dU[:, -1] if side == "V" else dVh[-1]
        assert np.all(np.isnan(free))


@pytest.mark.thinned
@by_dtype
def test_two_zeros_are_free_among_themselves(library, is_complex):
    x = with_spectrum(6, 4, (3.0, 2.0, 0.0, 0.0), seed=3, is_complex=is_complex)
    C = random((4, 4), seed=1, is_complex=is_complex)
    assert np.all(np.isnan(cotangents(library, x, "V", C, full_matrices=False)))


def test_the_warning_names_the_zero():
    x = with_spectrum(6, 4, VALUES, seed=3)
    (U, S, Vh), pullback = sg.vjp(sg.svd, x)
    with pytest.warns(sg.DerivativeUndefinedWarning, match=r"S\[3\] = .* counts as zero"):
        pullback((np.ones_like(U), None, None))
    pullback((None, None, np.ones_like(Vh)))  # determined, and nothing is warned of
    assert S[3] < 1e-15
