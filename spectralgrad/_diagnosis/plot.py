"""The figures of a report: three panels, with their legends below."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._bindings.array import eps, to_numpy

BLUE, RED, GREY, GREEN = "#3b6ea8", "#c0392b", "0.6", "#2e7d4f"
SPECTRA = 4  # of a stack, the worst of which are drawn
BINS = 40


def figure_of(report: Any) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "Diagnosis.plot: Matplotlib is not installed; install it, or spectralgrad[plot]."
        ) from None
    figure = Figure(figsize=(12, 4.5))
    figure.set_layout_engine("constrained", w_pad=0.1)
    panels = figure.subplots(1, 3)
    draw = _of_stack if report.batch else _of_matrix
    draw(report, panels)
    for axes in panels:
        axes.grid(axis="y", alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}
            axes.legend(fontsize="small", ncols=2, frameon=False, **place)
    return figure


def _shown(values: Any, least: float, most: float = 1.0) -> Any:
    """Values as a logarithmic axis shows them: what is beyond its ends, at them."""
    return np.clip(np.nan_to_num(values, nan=most, posinf=most), least, most)


def _relative(S: Any) -> Any:
    return S / S[0] if S.size and S[0] > 0 else 0.0 * S


def _positions(axes: Any, count: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(-0.5, max(count, 1) - 0.5)


def _of_matrix(report: Any, panels: Any) -> None:
    S, small = _relative(to_numpy(report.S).astype(float)), eps(report.S)
    steps = S[:-1] - S[1:]
    _draw_spectrum(panels[0], report, S, small)
    _draw_gaps(panels[1], steps, small)
    _draw_errors(panels[2], report, steps, small)
    for axes in panels:
        _positions(axes, len(S))
        axes.set_yscale("log")
        axes.set_ylim(small / 30, 10)
        if report.k is not None:
            axes.axvline(report.k - 0.5, color=GREEN, linestyle="--", label=f"cut, k = {report.k}")


def _draw_spectrum(axes: Any, report: Any, S: Any, small: float) -> None:
    axes.set(title="Spectrum", xlabel="i", ylabel="S[i] / S[0]")
    zero, cluster, values = to_numpy(report.zero), to_numpy(report.cluster), _shown(S, small / 10)
    tied = (np.bincount(cluster, minlength=1)[cluster] > 1) & ~zero if S.size else zero
    axes.plot(values, "o", color=BLUE, markersize=4, label="values")
    for mask, marker, label in ((tied, "o", "in a tie"), (zero, "s", "count as zero")):
        if mask.any():
            style = {"color": RED, "fillstyle": "none", "markersize": 9, "label": label}
            axes.plot(np.flatnonzero(mask), values[mask], marker, **style)
    law = 2 * max(report.shape) ** 0.5 * small
    axes.axhline(law, color=GREY, linestyle=":", label="zero from here")


def _draw_gaps(axes: Any, steps: Any, small: float) -> None:
    axes.set(title="Gaps", xlabel="i", ylabel="(S[i] - S[i + 1]) / S[0]")
    at = np.arange(len(steps)) + 0.5
    axes.plot(at, _shown(steps, small / 10), "o", color=BLUE, markersize=4, label="gaps")
    axes.axhline(small**0.75, color=RED, linestyle=":", label="equal from here")


def _draw_errors(axes: Any, report: Any, steps: Any, small: float) -> None:
    """eps over what gradients divide by."""
    axes.set(title="Errors of gradients", xlabel="i", ylabel="relative error, eps / gap")
    at, error, tied = (
        np.arange(len(steps)) + 0.5,
        small / _shown(steps, small),
        steps <= small**0.75,
    )
    if not tied.all():
        axes.plot(at[~tied], error[~tied], "o", color=BLUE, markersize=4, label="U and Vh")
    if tied.any():
        axes.plot(at[tied], np.ones(tied.sum()), "x", color=RED, label="U and Vh, undefined")
    condition = (
        np.inf if report.polar_condition is None else float(to_numpy(report.polar_condition))
    )
    if np.isfinite(condition):
        level = max(condition, 1.0) * small
        axes.axhline(level, color=BLUE, linestyle="-.", label="polar factor")
    axes.axhline(small**0.5, color=GREY, linestyle=":", label="half of the digits")


def _of_stack(report: Any, panels: Any) -> None:
    small = eps(report.S)
    gaps = "Smallest gaps", "smallest gap / S[0]", small**0.75, "equal to the left"
    _histogram(panels[0], report, to_numpy(report.gap), (small / 10, 1.0), *gaps)
    errors = "Errors of gradients", "relative error, eps / gap", small**0.5, "half of the digits"
    _histogram(panels[1], report, to_numpy(report.vector_error), (small / 3, 1.0), *errors)
    _worst_spectra(panels[2], report, small)


def _histogram(
    axes: Any,
    report: Any,
    values: Any,
    bounds: tuple[float, float],
    title: str,
    xlabel: str,
    line: float,
    words: str,
) -> None:
    mask, finite = to_numpy(report.mask).ravel(), to_numpy(report.finite).ravel()
    bad, shown = finite & ~mask, _shown(values.ravel(), *bounds)
    labels = [f"well-conditioned ({mask.sum()})", f"others ({bad.sum()})"]
    bins = np.geomspace(*bounds, BINS)
    axes.set(xlim=bounds, ylim=(0.5, 3 * max(1, len(shown))), xscale="log", yscale="log")
    axes.hist([shown[mask], shown[bad]], bins, stacked=True, color=[BLUE, RED], label=labels)
    axes.axvline(line, color="black", linestyle=":", label=words)
    axes.set(title=title, xlabel=xlabel, ylabel="batch elements")


def _worst_spectra(axes: Any, report: Any, small: float) -> None:
    axes.set(title="Spectra of the worst", xlabel="i", ylabel="S[i] / S[0]", yscale="log")
    finite = to_numpy(report.finite)
    places = [place for place in report.worst() if finite[place]][:SPECTRA]
    for j, place in enumerate(places):
        S = _shown(_relative(to_numpy(report.S[(*place, ...)]).astype(float)), small / 10)
        aside = (j - (len(places) - 1) / 2) * 0.15  # lest equal spectra hide each other
        label = f"x[{', '.join(map(str, place))}]"
        axes.plot(np.arange(len(S)) + aside, S, "o", markersize=4, label=label)
    if not places:
        axes.text(0.5, 0.5, "none to show", ha="center", transform=axes.transAxes)
    _positions(axes, report.S.shape[-1])
    axes.set_ylim(small / 30, 10)
