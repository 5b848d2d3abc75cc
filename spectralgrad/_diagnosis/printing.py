"""A report as text, and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np

from .._bindings.array import to_numpy

SHOWN = 8  # singular values of a matrix


def _values(S: Any) -> str:
    words = [f"{value:.6g}" for value in to_numpy(S).tolist()]
    return ", ".join(words if len(words) <= SHOWN else [*words[:4], "...", *words[-3:]])


def _heading(report: Any) -> str:
    m, n = report.shape
    kind = f"{'complex' if report.is_complex else 'real'} {m} x {n}"
    about = "" if report.k is None else f", {report.k} leading triplets"
    if not report.batch:
        return f"Diagnosis of a {kind} matrix{about}"
    count, good = int(np.prod(report.batch)), int(np.sum(to_numpy(report.mask)))
    return f"Diagnosis of {count} {kind} matrices{about}: {good} are well-conditioned"


def counts(report: Any) -> list[tuple[str, int]]:
    """How many batch elements have what."""
    finite, ok, mask = (to_numpy(x) for x in (report.finite, report.ok, report.mask))
    zero, undefined = to_numpy(report.zero), to_numpy(report.undefined)
    found = [
        ("NaN or Inf", ~finite),
        ("values that count as equal, or zeros, that leave vectors undefined", undefined.any(-1)),
        ("numerical rank below min(m, n)", finite & zero.any(-1)),
        ("a cut that splits a tie", finite & to_numpy(report.cut_tied))
        if report.cut_tied is not None
        else ("", np.zeros(0, dtype=bool)),
        ("no gradient for these cotangents", finite & ~ok)
        if report.tie_residual is not None
        else ("", np.zeros(0, dtype=bool)),
        ("a gradient, but less than half of its digits", ok & ~mask),
    ]
    return [(what, int(np.sum(where))) for what, where in found if np.any(where)]


def _lines(report: Any) -> Iterator[tuple[str, str]]:
    """Pairs of a label and what belongs to it."""
    if not report.batch:
        yield "S", _values(report.S) + ("" if report.complete else ", ... (leading values)")
        for finding in report.findings():
            yield finding.about, str(finding)
        return
    for what, count in counts(report):
        yield str(count), what
    for place in report.worst():
        bad = [finding for finding in report.findings(place) if finding.cause]
        yield f"at {place}", " ".join(map(str, bad))


def text(report: Any) -> str:
    lines = list(_lines(report))
    width = max((len(label) for label, _ in lines), default=0)
    return "\n".join([_heading(report), *(f"  {label:<{width}}  {what}" for label, what in lines)])


def html(report: Any) -> str:
    rows = "".join(
        f'<tr><th style="text-align:left;vertical-align:top">{escape(label)}</th>'
        f'<td style="text-align:left">{escape(what)}</td></tr>'
        for label, what in _lines(report)
    )
    return f"<table><caption>{escape(_heading(report))}</caption>{rows}</table>"
