"""Reports agree with the rules, and every sentence is true of its matrix."""

from __future__ import annotations

import json
import re
import time
from itertools import pairwise

import numpy as np
import pytest
from matrices import random, with_spectrum

import spectralgrad as sg
from spectralgrad.testing import random_cotangent

HADAMARD = np.array([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
ROTATION = np.linalg.qr(random((4, 4), seed=1))[0]
TINY = (random((3, 3), seed=2) * 1e-20).astype(np.float32)
# name: matrix, what it is about, cause, what the sentence says, what the remedy says
NAMED = {
    "identity": (np.eye(3), "vectors", "tie", r"S\[0\] = 1 to S\[2\] = 1 count as equal", "ortho"),
    "rotation": (ROTATION, "vectors", "tie", r"S\[0\] = 1 to S\[3\] = 1 count as", "orthogonalize"),
    "hadamard": (HADAMARD, "vectors", "tie", r"S\[0\] = 2 to S\[3\] = 2 count as equal", "ties="),
    "rank one": (
        np.outer([1.0, 2, 3], [1, 1, 2]),
        "zero values",
        "zero",
        r"S\[1\] = .* counts as zero .*, as does S\[2\]: x has the numerical rank 1",
        r"low_rank\(x, 1\) and singular_projector\(x, 1\)",
    ),
    "nan": (np.diag([1, np.nan]), "entries", "not finite", "holds NaN or Inf", "Replace"),
    "float32 at 1e-20": (TINY, "scale", "range", r"S\[0\] = .* leaves the range", "scale x"),
}


@pytest.mark.thinned
@pytest.mark.parametrize("name", NAMED)
def test_names_cause_and_remedy(library, name):
    x, about, cause, what, remedy = NAMED[name]
    finding = next(f for f in sg.diagnose(library.array(x)).findings() if f.cause)
    assert (finding.about, finding.cause) == (about, cause)
    assert re.search(what, finding.what)
    assert re.search(remedy, finding.remedy)


def test_fields_of_the_named_matrices():
    rank_one = NAMED["rank one"][0]
    report = sg.diagnose(np.stack([np.eye(3), rank_one, np.full((3, 3), np.nan)]))
    np.testing.assert_array_equal(report.cluster[:2], [[0, 0, 0], [0, 1, 1]])
    np.testing.assert_array_equal(report.zero[:2], [[False] * 3, [False, True, True]])
    np.testing.assert_array_equal(report.undefined[:2], [[True] * 3, [False, True, True]])
    np.testing.assert_array_equal(report.rank, [3, 1, 0])
    np.testing.assert_array_equal(report.finite, [True, True, False])
    np.testing.assert_array_equal(report.mask, [False] * 3)
    assert report.polar_condition[0] == 1
    assert np.isposinf(report.polar_condition[1])
    report = sg.diagnose(TINY)
    assert report.mask
    assert report.S.dtype == np.float32


@pytest.mark.thinned
def test_a_loss_that_depends_on_the_phase(library):
    x = library.array(random((3, 3), seed=3, is_complex=True))
    U, S, Vh = sg.svd(x)
    U_bar = np.zeros((3, 3), complex)
    U_bar[0, 0] = 1
    report = sg.diagnose(x, cotangents=(library.array(U_bar), None, None))
    finding = report.findings()[-1]
    assert finding.cause == "phase"
    assert "phase of a complex vector" in finding.what
    assert "blind to it" in finding.remedy
    assert not report.ok
    assert library.numpy(report.phase_residual) > 1e-3
    blind = sg.diagnose(x, cotangents=random_cotangent(sg.SVDResult(U, S, Vh)))
    assert blind.ok
    assert library.numpy(blind.phase_residual) < 1e-14
    assert "gradient for these cotangents exists" in str(blind.findings()[-1])


SPECTRA = {
    "spread": (3.0, 2.0, 1.0),
    "pair": (2.0, 2.0, 1.0),
    "lower pair": (3.0, 1.0, 1.0),
    "triple": (1.0, 1.0, 1.0),
    "lone zero": (3.0, 2.0, 0.0),
    "two zeros": (3.0, 0.0, 0.0),
    "zero": (0.0, 0.0, 0.0),
    "tie and zero": (1.0, 1.0, 0.0),
    "near tie": (1.0, 1.0 - 1e-10, 0.5),
    "tie within the tolerance": (1.0, 1.0 - 1e-13, 0.5),
    "small": (3.0, 2.0, 1e-13),
    "two small": (3.0, 5e-13, 1e-13),
    "graded": (1.0, 1e-4, 1e-8),
}
KINDS = [(m, n, is_complex) for m, n in ((3, 3), (4, 3), (3, 5)) for is_complex in (False, True)]
by_kind = pytest.mark.parametrize(("m", "n", "is_complex"), KINDS)


def stack(m, n, *, is_complex=False):
    found = [
        with_spectrum(m, n, s, seed=i, is_complex=is_complex)
        for i, s in enumerate(SPECTRA.values())
    ]
    return np.stack(found)


def is_nan(x_bar):
    return np.isnan(x_bar).any(axis=(-2, -1))


@pytest.mark.thinned
@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.parametrize("full", [False, True])
@by_kind
def test_vectors_are_undefined_where_the_gradient_is_nan(library, m, n, is_complex, full):
    x = library.array(stack(m, n, is_complex=is_complex))
    out, pullback = sg.vjp(sg.svd, x, full_matrices=full)
    bars = random_cotangent(out, seed=4)
    missing = is_nan(library.numpy(pullback(bars)[0]))
    assert 0 < missing.sum() < len(SPECTRA)
    report = sg.diagnose(x)
    np.testing.assert_array_equal(library.numpy(report.ok), ~missing)
    np.testing.assert_array_equal(library.numpy(report.undefined).any(-1), missing)
    mask = library.numpy(report.mask)
    clear = mask | missing  # where PyTorch's SVD returns the same vectors twice, or they are free
    with_bars = library.numpy(sg.diagnose(x, cotangents=bars).ok)
    np.testing.assert_array_equal(with_bars[clear], ~missing[clear])
    assert not np.any(mask & missing)
    assert not mask[list(SPECTRA).index("near tie")]


@pytest.mark.thinned
@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.parametrize("k", [1, 2, 3])
@by_kind
def test_leading_vectors_are_undefined_where_the_gradient_is_nan(library, m, n, is_complex, k):
    x = library.array(stack(m, n, is_complex=is_complex))
    out, pullback = sg.vjp(sg.truncated_svd, x, k=k)
    bars = random_cotangent(out, seed=4)
    missing = is_nan(library.numpy(pullback(bars)[0]))
    report = sg.diagnose(x, k=k)
    np.testing.assert_array_equal(library.numpy(report.ok), ~missing)
    clear = library.numpy(report.mask) | missing
    with_bars = library.numpy(sg.diagnose(x, k=k, cotangents=bars).ok)
    np.testing.assert_array_equal(with_bars[clear], ~missing[clear])


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@by_kind
def test_cotangents_that_touch_some_columns(m, n, is_complex):
    """Any subset of columns of each factor, and losses that depend on what x leaves free."""
    x, rng = stack(m, n, is_complex=is_complex), np.random.default_rng(5)
    out, pullback = sg.vjp(sg.svd, x, full_matrices=False)
    exact = random_cotangent(out, seed=6)
    seen = set()
    for _ in range(20):
        bars = [bar * (rng.random(3) < 0.2) for bar in (exact[0], exact[1])]
        bars.append(exact[2] * (rng.random((3, 1)) < 0.2))
        if rng.random() < 0.3:
            bars[0] = bars[0] + rng.standard_normal(bars[0].shape)
        if rng.random() < 0.3:
            bars[rng.integers(3)] = None
        missing = is_nan(pullback(tuple(bars))[0])
        report = sg.diagnose(x, cotangents=tuple(bars))
        np.testing.assert_array_equal(report.ok, ~missing)
        seen.add(tuple(missing))
        for place in range(len(x)):
            (said,) = (f for f in report.findings(place) if f.about == "cotangents")
            assert bool(said.cause) == missing[place]
    assert len(seen) > 2


GRADIENTS = {
    "orthogonalize": sg.orthogonalize,
    "nuclear_norm": sg.nuclear_norm,
    "nearest_rotation": sg.nearest_rotation,
    "svd_function": lambda x: sg.svd_function(x, sg.functions.tanh),
}


def exists(fun, x):
    out, pullback = sg.vjp(fun, x)
    return bool(
        np.isfinite(
            pullback(random(np.shape(out), seed=7, is_complex=np.iscomplexobj(out)))[0]
        ).all()
    )


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.parametrize("spectrum", SPECTRA)
@by_kind
def test_remedies_exist(m, n, is_complex, spectrum):
    """What a report names has a gradient there, and what it says has none has none."""
    x = with_spectrum(m, n, SPECTRA[spectrum], seed=8, is_complex=is_complex)
    report = sg.diagnose(x, k=2)
    for finding in report.findings():
        for name, fun in GRADIENTS.items():
            if re.search(rf"\b{name}\b(?! is NaN)", f"{finding.what} {finding.remedy}"):
                assert exists(fun, x), (name, str(finding))
        if "directional_svdvals" in finding.remedy:
            assert np.isfinite(sg.directional_svdvals(x, x)).all()
        if finding.about == "polar factor":
            assert exists(sg.orthogonalize, x) == (not np.isinf(report.polar_condition))
        for k in re.findall(
            r"low_rank\(x, (\d)\)|with k = ([\d, ]+)|Cut at k = (\d)", str(finding)
        ):
            for cut in re.findall(r"\d", "".join(k)):
                assert exists(lambda x, cut=int(cut): sg.low_rank(x, cut), x)
                if int(cut) < 3:
                    assert exists(lambda x, cut=int(cut): sg.singular_projector(x, cut), x)
    assert exists(lambda x: sg.low_rank(x, 2), x) == (not report.cut_tied)


def test_the_nearest_cut():
    x = stack(4, 3)
    for k in (1, 2, 3):
        report = sg.diagnose(x, k=k)
        for place, S in enumerate(report.S):
            assert report.nearest_cut[place] == sg.cut(S, k)


@by_kind
def test_conditions_are_norms_of_derivatives(m, n, is_complex):
    """By the tangents along a basis of the real space of matrices."""
    x = with_spectrum(m, n, (3.0, 1.0, 0.4), seed=9, is_complex=is_complex)
    basis = np.eye(m * n).reshape(-1, m, n)
    directions = np.concatenate([basis, 1j * basis]) if is_complex else basis
    columns = [sg.jvp(sg.orthogonalize, (x,), (d.astype(x.dtype),))[1].ravel() for d in directions]
    jacobian = np.stack([np.concatenate([c.real, c.imag]) for c in columns])
    condition = sg.diagnose(x).polar_condition
    np.testing.assert_allclose(3 * np.linalg.norm(jacobian, 2), condition, rtol=1e-12)


def test_the_error_that_is_promised_is_the_one_there_is():
    """Of single precision, against double, over gaps from 1e-1 to 1e-4."""
    for gap in (1e-1, 1e-2, 1e-3, 1e-4):
        worst = []
        for seed in range(10):
            x = with_spectrum(4, 4, (1.0, 1.0 - gap, 0.3, 0.1), seed=seed).astype(np.float32)
            U_bar = sg.svd(x).U[:, [1, 0, 2, 3]] * np.float32(gap) * [[1, 0, 0, 0]]
            U_bar = U_bar.astype(np.float32)
            found = sg.vjp(sg.svd, x)[1]((U_bar, None, None))[0]
            exact, pull = sg.vjp(sg.svd, x.astype(float))
            signs = np.sign(np.sum(exact.U * sg.svd(x).U, axis=0))
            bar = pull((U_bar.astype(float) * signs, None, None))[0]
            worst.append(np.linalg.norm(found - bar) / np.linalg.norm(bar))
        promised = sg.diagnose(x).vector_error
        assert promised / 20 < max(worst) < 20 * promised


@pytest.mark.thinned
def test_scale_changes_nothing(library):
    x = stack(4, 3)
    one = sg.diagnose(library.array(x), k=2)
    for factor in (2.0**-600, 2.0**500):
        other = sg.diagnose(library.array(x * factor), k=2)
        for name in ("cluster", "zero", "undefined", "rank", "cut_tied", "nearest_cut", "mask"):
            found, wanted = (library.numpy(getattr(report, name)) for report in (other, one))
            np.testing.assert_array_equal(found, wanted)


def test_what_is_said_of_all_spectra_can_be_said():
    for m, n, is_complex in KINDS:
        report = sg.diagnose(stack(m, n, is_complex=is_complex), k=2)
        text = repr(report)
        assert "nan" not in text
        assert f"{len(SPECTRA)} {'complex' if is_complex else 'real'} {m} x {n}" in text
        for place in range(len(SPECTRA)):
            for finding in report.findings(place):
                assert bool(finding.cause) == bool(finding.remedy)
        json.dumps(report.to_dict())


def test_a_stack_in_print():
    x = np.zeros((2, 3, 3, 3)) + np.diag([3.0, 2.0, 1.0])
    x[0, 1], x[1, 2, 0, 0] = np.eye(3), np.inf
    report = sg.diagnose(x)
    text = repr(report)
    assert text.startswith("Diagnosis of 6 real 3 x 3 matrices: 4 are well-conditioned")
    assert re.search(r"at \(1, 2\) +The matrix, or a cotangent of it, holds NaN", text)
    assert re.search(r"at \(0, 1\) +S\[0\] = 1 to S\[2\] = 1 count as equal", text)
    assert report.worst() == [(1, 2), (0, 1)]
    html = report._repr_html_()
    assert html.startswith("<table>")
    assert html.count("<tr>") == html.count("</tr>") == 4
    assert "&#x27;split&#x27;" in html
    with pytest.raises(ValueError, match=r"`index` is 1 where the stack has shape \(2, 3\)"):
        report.findings(1)


@pytest.mark.parametrize("shape", [(0, 3, 3), (3, 0), (2, 0, 4), (1, 1)])
def test_empty_and_single(shape):
    report = sg.diagnose(np.ones(shape))
    assert report.mask.shape == shape[:-2]
    assert np.all(report.mask)
    assert isinstance(repr(report), str)
    pytest.importorskip("matplotlib")
    assert len(report.plot().axes) == 3


def test_overflow_is_named():
    x = np.full((3, 3), 1.7e308)
    finding = sg.diagnose(x).findings()[0]
    assert finding.cause == "overflow"
    assert "power of two" in finding.remedy


@pytest.mark.thinned
def test_half_precision(library):
    if library.name == "array_api_strict":
        pytest.skip("has no half precision")
    report = sg.diagnose(library.array(np.diag([3.0, 1.0]), "float16"))
    assert library.numpy(report.mask)
    assert report.S.dtype == library.xp.float32


def large(kind):
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.random_array((400, 300), density=0.02, rng=np.random.default_rng(0))
    if kind == "operator":
        return sparse.linalg.aslinearoperator(x)
    return x.toarray() if kind == "dense" else x.tocsr()


@pytest.mark.parametrize("kind", ["sparse", "operator", "dense"])
def test_what_is_too_large_to_decompose(kind):
    x, exact = large(kind), np.linalg.svd(large("dense"), compute_uv=False)
    report = sg.diagnose(x, k=5)
    np.testing.assert_allclose(report.S, exact[:13], rtol=1e-10)
    assert report.mask
    assert report.polar_condition is None
    assert not report.complete
    assert "(leading values)" in repr(report)
    assert "1 leading" not in repr(report)
    bars = random_cotangent(sg.truncated_svd(x, 5))
    assert sg.diagnose(x, k=5, cotangents=bars).ok
    if kind != "dense":
        with pytest.raises(TypeError, match=r"diagnose: argument `x` is a .* and no `k` came"):
            sg.diagnose(x)


def test_a_multiplet_of_an_operator():
    identity = sg.operators.from_matmat(
        lambda X: X, lambda X: X, shape=(400, 400), dtype=np.float64
    )
    report = sg.diagnose(identity, k=3)
    assert report.cut_tied
    assert not report.ok
    assert report.nearest_cut == 0
    (cut,) = (f for f in report.findings() if f.about == "cut")
    assert "No cut up to 10 splits none" in cut.remedy


def test_nothing_is_read_before_it_is_printed():
    jax = pytest.importorskip("jax")
    x = jax.numpy.asarray(stack(3, 3))
    text = []

    def masked(x):
        report = sg.diagnose(x, k=2)
        text.append(repr(report))
        return jax.numpy.where(report.mask, report.gap * sg.nuclear_norm(x), 0.0).sum()

    _, gradient = jax.jit(jax.value_and_grad(masked))(x)
    report = sg.diagnose(x, k=2)
    assert text[0] == f"Diagnosis(of ({len(SPECTRA)},), traced)"
    weights = np.where(np.asarray(report.mask), report.gap, 0)
    wanted = sg.vjp(sg.nuclear_norm, np.asarray(x))[1](weights)[0]
    np.testing.assert_allclose(gradient, wanted, atol=1e-12)  # that of the norm alone


def test_dask_stays_lazy():
    da = pytest.importorskip("dask.array")
    x = stack(3, 3)
    report = sg.diagnose(da.from_array(x, chunks=(5, 3, 3)), k=2)
    assert isinstance(report.mask, da.Array)
    np.testing.assert_array_equal(report.mask.compute(), sg.diagnose(x, k=2).mask)
    assert repr(report).startswith(f"Diagnosis of {len(SPECTRA)} real 3 x 3 matrices")


@pytest.mark.parametrize("k", [None, 3])
def test_reports_have_no_derivative(k):
    torch = pytest.importorskip("torch")
    x = torch.asarray(large("dense")).requires_grad_()
    report = sg.diagnose(x, k=k)
    assert not report.S.requires_grad
    assert not report.vector_error.requires_grad

    def shielded(x):
        for other in (2 * x, x.astype(np.float16)):  # of which sg.vjp knows nothing
            sg.diagnose(other, k=k)
        return sg.nuclear_norm(x)

    _, pullback = sg.vjp(shielded, large("dense"))
    assert np.isfinite(pullback(1.0)[0]).all()


def test_a_large_stack_takes_less_than_three_svds():
    x = np.random.default_rng(0).standard_normal((100_000, 3, 3))

    def least(function):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            function(x)
            times.append(time.perf_counter() - start)
        return min(times)

    assert least(sg.diagnose) < 3 * least(np.linalg.svd)


@pytest.mark.parametrize("shape", [(), (200,)])
def test_plots_are_labelled(shape):
    pytest.importorskip("matplotlib")
    x = np.random.default_rng(0).standard_normal((*shape, 6, 4))
    if shape:
        x[:2] = 0
        x[2] = np.nan
    figure = sg.diagnose(x, k=2).plot()
    canvas = pytest.importorskip("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    canvas.draw()
    assert len(figure.axes) == 3
    renderer = canvas.get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert axes.get_title()
        legend = axes.get_legend().get_window_extent(renderer)
        assert not legend.overlaps(axes.get_window_extent(renderer))
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    assert figure.bbox.contains(boxes[0].x0, boxes[0].y0)
    assert figure.bbox.contains(boxes[2].x1, boxes[2].y1)


def test_bad_input():
    x = np.eye(3)
    with pytest.raises(TypeError, match="diagnose: argument `x` has dtype int64"):
        sg.diagnose(np.eye(3, dtype=int))
    with pytest.raises(ValueError, match="diagnose: `k` is 4; wanted a whole number from 1 to 3"):
        sg.diagnose(x, k=4)
    with pytest.raises(
        ValueError, match=r"the cotangent U_bar has shape \(2, 2\); wanted \(3, 3\)"
    ):
        sg.diagnose(x, cotangents=(np.eye(2), None, None))
    with pytest.raises(ValueError, match="`cotangents` is a ndarray; wanted"):
        sg.diagnose(x, cotangents=np.eye(2))
    with pytest.raises(TypeError, match="diagnose: argument `x` is a list"):
        sg.diagnose([[1.0]])


def test_in_a_compiled_pytorch_program():
    torch = pytest.importorskip("torch")
    torch.compiler.reset()
    x = torch.asarray(random((4, 3), seed=1)).requires_grad_()
    compiled = torch.compile(lambda x: sg.diagnose(x).ok, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), sg.diagnose(x).ok)
