"""The four policies at ties, zeros and phases: right, NaN, or named as biased."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from matrices import SPECTRA, hermitian, random, with_spectrum

import spectralgrad as sg

by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
TIED = {
    "identity": lambda c: np.eye(4) + 0j if c else np.eye(4),
    "triple": lambda c: with_spectrum(4, 4, SPECTRA["triple"], is_complex=c),
    "tall": lambda c: with_spectrum(6, 3, SPECTRA["pair"], is_complex=c),
    "wide": lambda c: with_spectrum(3, 5, SPECTRA["all_equal"], is_complex=c),
    "rank_deficient": lambda c: with_spectrum(5, 4, SPECTRA["rank_deficient"], is_complex=c),
    "cluster": lambda c: with_spectrum(8, 8, 1 + 1e-13 * np.arange(8)[::-1], seed=4, is_complex=c),
}
by_matrix = pytest.mark.parametrize("kind", TIED)


def _invariant_cotangents(x, factors, C, f):
    """Of L = Re<C, U f(S) Vh>, the way a user's chain rule makes them."""
    U, S, Vh = factors
    V = Vh.conj().T
    M = U.conj().T @ C @ V
    return C @ V * f(S), np.diagonal(M).real * f.derivative(S), (C.conj().T @ U * f(S)).conj().T


def _svd(library, x, ties, **options):
    out, pullback = sg.vjp(sg.svd, library.array(x), full_matrices=False, ties=ties, **options)

    def pull(bars):
        arrays = (None if b is None else library.array(np.ascontiguousarray(b)) for b in bars)
        return library.numpy(pullback(tuple(arrays))[0])

    return tuple(map(library.numpy, out)), pull


@pytest.mark.thinned
@by_matrix
@by_dtype
def test_nan_and_raise_say_what_is_undefined(library, kind, is_complex):
    x = TIED[kind](is_complex)
    stack = np.stack([with_spectrum(*x.shape, (4, 3, 2, 1, 0.5, 0.4, 0.3, 0.2)) + 0 * x, x])
    for ties, catch in (
        ("nan", library.warns(match=r"svd: .*element \(1,\)")),
        ("raise", pytest.raises(sg.DerivativeUndefinedError, match=r"svd: .*element \(1,\)")),
    ):
        factors, pull = _svd(library, stack, ties)
        bars = [random(f.shape, seed=i) for i, f in enumerate(factors)]
        bars[0], bars[2] = factors[0], factors[2]  # blind to the phase
        with catch as caught:
            x_bar = pull(bars)
            assert np.all(np.isnan(x_bar[1]))
            assert np.all(np.isfinite(x_bar[0]))
        if caught is not None and ties == "nan":
            text = str(caught[0].message)
            assert "gap" in text
            assert "ties='split'" in text


@pytest.mark.thinned
@by_matrix
@by_dtype
def test_split_is_right_for_functions_of_the_matrix(library, kind, is_complex):
    x = TIED[kind](is_complex)
    C = random(x.shape, seed=5, is_complex=is_complex)
    for f in (sg.functions.tanh, sg.functions.power(3)):
        factors, pull = _svd(library, x, "split")
        x_bar = pull(_invariant_cotangents(x, factors, C, f))
        _, exact = sg.vjp(lambda x, f=f: sg.svd_function(x, f), x)
        (wanted,) = exact(C)
        assert np.max(np.abs(x_bar - wanted)) < 1e-7 * np.max(np.abs(wanted))


@pytest.mark.parametrize("kind", ["identity", "triple", "rank_deficient"])
@by_dtype
def test_split_sees_other_losses(kind, is_complex):
    x = TIED[kind](is_complex)
    out, pullback = sg.vjp(sg.svd, x, full_matrices=False, ties="split")
    turned = out.U @ random((out.S.shape[0],) * 2, seed=1)
    with pytest.warns(sg.DerivativeUndefinedWarning, match="does not determine"):
        (x_bar,) = pullback((turned, None, None))
    assert np.all(np.isnan(x_bar))


@pytest.mark.parametrize("size", [1e-1, 1e-3, 1e-5])
def test_split_sees_other_losses_on_small_values(size):
    """Columns that shrink with their value do not hide a residual that does not."""
    x = with_spectrum(3, 3, (1.0, size, size), seed=2)
    out, pullback = sg.vjp(sg.svd, x, ties="split")
    C, weights = random((3, 3), seed=3), np.array([1.0, 1.0, 2.0]) * out.S
    bars = (C @ out.Vh.T * weights, np.zeros(3), (C.T @ out.U * weights).T)
    with pytest.warns(sg.DerivativeUndefinedWarning, match="does not determine"):
        assert np.all(np.isnan(pullback(bars)[0]))


@pytest.mark.thinned
@pytest.mark.parametrize("size", [1e-2, 1e-5, 1e-7])
@pytest.mark.parametrize("name", ["svd", "truncated_svd", "eigh"])
def test_a_split_that_no_cotangent_touches_moves_no_gap(library, name, size):
    """Zeros, or a pair near zero, beside small values, which a loss leaves out."""
    C = random((5, 5), seed=3)
    fun, options, projector, used = {
        "svd": (sg.svd, {}, sg.singular_projector, slice(0, 3)),
        "truncated_svd": (sg.truncated_svd, {"k": 5}, sg.singular_projector, slice(0, 3)),
        "eigh": (sg.eigh, {}, sg.eigenprojector, slice(2, 5)),
    }[name]
    for rest in (0.0, size / 10):
        Q = np.linalg.qr(random((5, 5), seed=1))[0]
        x = library.array((Q * [1.0, 2 * size, size, rest, rest]) @ Q.T)
        out, pullback = sg.vjp(fun, x, ties="split", **options)
        at, bars, bar = int(name == "eigh"), [None] * len(out), np.zeros((5, 5))
        bar[:, used] = (C + C.T) @ library.numpy(out[at])[:, used]
        bars[at] = library.array(bar)
        (got,) = pullback(tuple(bars))
        wanted = library.numpy(sg.vjp(projector, x, k=3)[1](library.array(C))[0])
        error = np.max(np.abs(library.numpy(got) - wanted))
        assert error < (1e-8 + 1e-15 / size) * np.max(np.abs(wanted))


@pytest.mark.thinned
@pytest.mark.parametrize("kept", [4, 2], ids=["svd", "truncated_svd"])
@pytest.mark.parametrize(
    "values", [(4e-9, 5e-10, 0.0), (1e-10, 1e-10, 0.0), (0.0, 0.0, 0.0)], ids=str
)
def test_a_cut_inside_of_a_tie_that_was_split_is_nan(library, values, kept):
    """Small entries of U_bar do not hide that the loss sees one vector of a tie."""
    x = library.array(with_spectrum(4, 4, (1.0, *values), seed=2))
    options = {"k": kept} if kept == 2 else {}
    fun = sg.truncated_svd if kept == 2 else sg.svd
    (U, S, Vh), pullback = sg.vjp(fun, x, ties="split", **options)
    C, used = random((4, 4), seed=3), np.arange(kept) < 2
    U_bar = C @ library.numpy(Vh).T * np.tanh(library.numpy(S)) * used
    Vh_bar = (C.T @ library.numpy(U) * np.tanh(library.numpy(S)) * used).T
    with library.warns("was split|counts as zero"):
        (x_bar,) = pullback((library.array(U_bar), None, library.array(Vh_bar.copy())))
    assert np.all(np.isnan(library.numpy(x_bar)))


def test_split_opens_values_and_leaves_vectors():
    x = np.diag([2.0, 1.0, 1.0, 0.0, 0.0])
    plain, split = sg.svd(x), sg.svd(x, ties="split")
    np.testing.assert_array_equal(plain.U, split.U)
    np.testing.assert_array_equal(plain.Vh, split.Vh)
    width = np.sqrt(np.finfo(float).eps / 5) * 2
    assert np.all(-np.diff(split.S) > 0.99 * np.array([0, width, width, width]))
    assert split.S[-1] >= 0.49 * width
    assert np.max(np.abs(split.S - plain.S)) < 5 * width


@pytest.mark.parametrize("call", [sg.svd, sg.eigh])
def test_split_of_nothing_but_zeros_is_undefined(call):
    """There is no scale to open the ties by."""
    x = np.zeros((3, 3))
    out, pullback = sg.vjp(call, x, ties="split")
    with pytest.warns(sg.DerivativeUndefinedWarning):
        assert np.all(np.isnan(pullback([np.ones_like(y) for y in out])[0]))
    with pytest.warns(sg.DerivativeUndefinedWarning):
        _, tangent = sg.jvp(call, (x,), (np.eye(3),), ties="split")
    assert all(np.all(np.isnan(dy)) for dy in tangent if dy.ndim == 2)


@pytest.mark.thinned
@by_matrix
@by_dtype
def test_drop_is_finite_and_exact_for_projectors(library, kind, is_complex):
    x = TIED[kind](is_complex)
    C = random((x.shape[0],) * 2, seed=6, is_complex=is_complex)
    factors, pull = _svd(library, x, "drop")
    everything = [random(f.shape, seed=i) for i, f in enumerate(factors)]
    assert np.all(np.isfinite(pull(everything)))
    if kind == "triple":  # the projector on a whole multiplet
        U = factors[0].copy()
        bar = (C + C.conj().T) @ U
        bar[:, 3:] = 0
        x_bar = pull((bar, None, None))
        for dx in (random(x.shape, seed=s, is_complex=is_complex) for s in range(3)):
            h = 1e-5
            U3 = [np.linalg.svd(x + t * dx)[0][:, :3] for t in (h, -h)]
            values = [np.vdot(C, W @ W.conj().T).real for W in U3]
            assert np.vdot(x_bar, dx).real == pytest.approx((values[0] - values[1]) / (2 * h), 1e-7)


@by_dtype
def test_untouched_ties_are_served(library, is_complex):
    x = TIED["rank_deficient"](is_complex)
    factors, pull = _svd(library, x, "raise")
    bars = [np.zeros_like(f) for f in factors]
    bars[0][:, :2] = factors[0][:, :2] * np.array([1.0, 2.0])
    bars[1][:2] = 1.0
    assert np.all(np.isfinite(pull(bars)))
    ones = np.ones(4)
    np.testing.assert_allclose(pull((None, ones, None)), factors[0] @ factors[2], atol=1e-14)


@by_dtype
def test_used_outputs_are_told_apart_natively(native, is_complex):
    """A loss of S alone is served at a tie, since the library tells what was used."""
    x = native.array(TIED["identity"](is_complex))
    (x_bar,) = native.vjp(lambda x: sg.svd(x, ties="raise").S, x)[1](native.array(np.ones(4)))
    np.testing.assert_allclose(native.numpy(x_bar), np.eye(4), atol=1e-14)


@by_dtype
def test_tangents_are_nan_in_tied_columns(is_complex):
    x = TIED["triple"](is_complex)
    dx = random(x.shape, seed=8, is_complex=is_complex)
    with pytest.warns(sg.DerivativeUndefinedWarning, match=r"S\[0\] = .* count as equal"):
        _, (dU, dS, dVh) = sg.jvp(sg.svd, (x,), (dx,))
    for columns in (dU, dVh.T):
        assert np.all(np.isnan(columns[:, :3]))
        assert np.all(np.isfinite(columns[:, 3]))
    assert np.all(np.isfinite(dS))


def test_a_loss_of_the_phase_is_undefined():
    x = random((4, 4), seed=9, is_complex=True)
    out, pullback = sg.vjp(sg.svd, x)
    with pytest.warns(sg.DerivativeUndefinedWarning, match="phase"):
        assert np.all(np.isnan(pullback((1j * out.U, None, None))[0]))


def test_a_loss_of_the_completion_is_undefined():
    x = random((5, 3), seed=9)
    out, pullback = sg.vjp(sg.svd, x)
    bar = np.zeros_like(out.U)
    bar[:, 3] = out.U[:, 4]
    with pytest.warns(sg.DerivativeUndefinedWarning, match="completing"):
        assert np.all(np.isnan(pullback((bar, None, None))[0]))


@by_dtype
def test_eigenvectors_follow_the_same_policies(library, is_complex):
    x = hermitian(SPECTRA["triple"], is_complex=is_complex)
    C = random((4, 4), seed=3, is_complex=is_complex)
    C = C + C.conj().T

    def pulled(ties):
        (w, Q), pullback = sg.vjp(sg.eigh, library.array(x), ties=ties)
        w, Q = library.numpy(w), library.numpy(Q)
        bars = (np.diagonal(Q.conj().T @ C @ Q).real * np.exp(w), 2 * C @ Q * np.exp(w))
        return library.numpy(pullback(tuple(map(library.array, bars)))[0])

    wanted = sg.vjp(lambda x: sg.eigh_function(x, sg.functions.exp), x)[1](C)[0]
    assert np.max(np.abs(pulled("split") - wanted)) < 1e-7 * np.max(np.abs(wanted))
    assert np.all(np.isfinite(pulled("drop")))
    with library.warns(match="eigh"):
        assert np.all(np.isnan(pulled("nan")))
    with pytest.raises(sg.DerivativeUndefinedError, match="eigh"):
        pulled("raise")


def test_gap_rtol_moves_the_threshold():
    x = np.diag([1.0, 1.0 - 1e-6, 0.5])
    out, pullback = sg.vjp(sg.svd, x)
    bar = out.U * np.arange(1.0, 4.0)
    assert np.all(np.isfinite(pullback((bar, None, None))[0]))
    _, pullback = sg.vjp(sg.svd, x, gap_rtol=1e-5)
    with pytest.warns(sg.DerivativeUndefinedWarning):
        assert np.all(np.isnan(pullback((bar, None, None))[0]))


def test_functions_of_the_spectrum_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fun in (sg.svdvals, sg.nuclear_norm, sg.orthogonalize, sg.eigvalsh):
            out, pullback = sg.vjp(fun, np.eye(3))
            assert np.all(np.isfinite(pullback(np.ones_like(out))[0]))


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
def test_undefined_functions_are_nan():
    """f(0) != 0 makes U f(S) Vh jump at a zero value."""
    x = np.stack([np.diag([2.0, 1.0, 0.0]), np.diag([3.0, 2.0, 1.0]), np.zeros((3, 3))])
    for fun in (
        sg.orthogonalize,
        lambda x: sg.svd_function(x, sg.functions.exp),
        lambda x: sg.svd_function(x, sg.functions.sqrt),
        lambda x: sg.svd_function(x, sg.functions.power(0.5)),
    ):
        x_bar = sg.vjp(fun, x)[1](np.ones_like(x))[0]
        assert np.all(np.isnan(x_bar[::2]))
    assert np.all(np.isfinite(sg.vjp(sg.orthogonalize, x)[1](np.ones_like(x))[0][1]))


@pytest.mark.parametrize("f", [sg.functions.soft_threshold(0), sg.functions.hard_threshold(0)])
def test_a_threshold_of_zero_is_no_kink(f):
    C = random((3, 3), seed=1)
    np.testing.assert_allclose(
        sg.vjp(lambda x: sg.svd_function(x, f), np.diag([1.0, 0.5, 0.0]))[1](C)[0], C, atol=1e-15
    )
    assert not np.any(
        sg.vjp(lambda x: sg.svd_function(x, sg.functions.clip(0)), np.diag([1.0, 0.0]))[1](
            C[:2, :2]
        )[0]
    )


def test_f_is_asked_for_singular_values_alone():
    """arctanh, which NumPy warns of at 1, on a matrix of low rank and values below 1."""
    pair = (np.arctanh, lambda s: 1 / (1 - s * s))
    x_bar = sg.vjp(lambda x: sg.svd_function(x, pair), np.diag([0.5, 0.0]))[1](np.eye(2))[0]
    np.testing.assert_allclose(x_bar, np.diag([4 / 3, 1.0]))


def test_f_may_underflow_where_its_derivative_does_not():
    x, C = np.diag([2.0, 1.0, 0.5]), random((3, 3), seed=1)
    fun = lambda x: sg.svd_function(x, sg.functions.power(2))
    for c in (2.0**-600, 2.0**500):
        np.testing.assert_allclose(sg.vjp(fun, c * x)[1](C)[0] / c, sg.vjp(fun, x)[1](C)[0])


def test_a_split_is_not_undone_by_a_wide_tolerance():
    x, C = np.diag([2.0, 2.0, 1.0]), random((3, 3))
    (U, S, Vh), pullback = sg.vjp(sg.svd, x, ties="split", gap_rtol=1e-3)
    CV = C @ Vh.T
    x_bar = pullback((CV * S**2, np.sum(U * CV, axis=0) * 2 * S, (U * S**2).T @ C))[0]
    wanted = sg.vjp(sg.svd_function, x, f=sg.functions.power(2))[1](C)[0]
    np.testing.assert_allclose(x_bar, wanted, atol=1e-6)
    (w, Q), pullback = sg.vjp(sg.eigh, x, ties="split", gap_rtol=1e-3)
    CQ = (C + C.T) / 2 @ Q
    x_bar = pullback((np.sum(Q * CQ, axis=0) * 2 * w, 2 * CQ * w**2))[0]
    wanted = sg.vjp(sg.eigh_function, x, f=sg.functions.power(2))[1](C)[0]
    np.testing.assert_allclose(x_bar, wanted, atol=1e-6)
