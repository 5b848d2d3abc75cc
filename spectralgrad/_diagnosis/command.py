"""``python -m spectralgrad diagnose FILE``: which derivatives exist at the matrices in a file."""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from .._engine.errors import ConvergenceWarning
from .diagnose import diagnose
from .files import BadFile, read_matrices
from .report import Diagnosis

PIECE = 2**20  # numbers in the matrices that are worked on at a time


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file", metavar="FILE", help=".npy, .npz, .mtx, .csv or .safetensors; - is stdin"
    )
    command.add_argument("--k", type=int, help="report on the K leading triplets and the cut")
    command.add_argument("--plot", type=Path, metavar="OUT.png", help="write a figure")
    command.add_argument("--json", action="store_true", help="print the fields as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the reports; the exit status, 2 for a file that cannot be used."""
    try:
        reports = _reports(options)
        if options.plot is not None:
            _write_figures(options.plot, reports)
    except BadFile as problem:
        print(f"diagnose: {problem}", file=sys.stderr)
        return 2
    if options.json:
        found = {name: _plain(report.to_dict()) for name, report in reports.items()}
        print(json.dumps(found, allow_nan=False))
        return 0
    for name, report in reports.items():
        print(f"{name}: {report!r}" if len(reports) > 1 else repr(report))
    return 0


def _reports(options: argparse.Namespace) -> dict[str, Diagnosis]:
    matrices = read_matrices(options.file)
    pieces = sum(len(_starts(x)) for _, x in matrices)
    found = {}
    with _progress(pieces) as advance:
        for name, x in matrices:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("always", ConvergenceWarning)
                    found[name] = _in_pieces(x, options.k, advance)
            except (TypeError, ValueError) as problem:
                raise BadFile(f"{options.file}, {name}: {problem}") from None
    return found


def _starts(x: Any) -> range:
    """Where each piece of a stack starts, in batch elements."""
    count = math.prod(x.shape[:-2])
    size = max(1, math.prod(x.shape[-2:]))
    return range(0, max(count, 1), max(1, PIECE // size))


def _in_pieces(x: Any, k: int | None, advance: Any) -> Diagnosis:
    """The report on a stack, by parts of it."""
    batch, starts = x.shape[:-2], _starts(x)
    if len(starts) == 1:
        report = diagnose(_leading_of(x, k), k=k)
        advance()
        return report
    flat = x.reshape(-1, *x.shape[-2:])
    parts = []
    for start in starts:
        parts.append(diagnose(flat[start : start + starts.step], k=k))
        advance()
    joined: dict[str, Any] = {}
    for name in (field.name for field in fields(Diagnosis)):
        values = [getattr(part, name) for part in parts]
        if isinstance(values[0], np.ndarray):
            whole = np.concatenate(values)
            joined[name] = whole.reshape(*batch, *whole.shape[1:])
    return replace(parts[0], **joined)


def _leading_of(x: Any, k: int | None) -> Any:
    """A sparse matrix without k as an array, where that is small."""
    if k is None and not isinstance(x, np.ndarray):
        if math.prod(x.shape) > PIECE:
            raise ValueError("is a large sparse matrix; give --k, the number of leading triplets")
        return x.toarray()
    return x


@contextmanager
def _progress(pieces: int) -> Iterator[Any]:
    """A bar on stderr if it is a terminal and there is something to wait for."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        pieces = 0
    if pieces < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("diagnose", total=pieces)
        yield lambda: bar.advance(task)


def _write_figures(path: Path, reports: dict[str, Diagnosis]) -> None:
    """One for each report: of several, with their numbers."""
    for i, report in enumerate(reports.values()):
        own = path if len(reports) == 1 else path.with_stem(f"{path.stem}-{i}")
        try:
            report.plot().savefig(own, dpi=150)
        except (ImportError, OSError, ValueError) as problem:  # no Matplotlib, folder, or format
            raise BadFile(f"{own}: {problem}") from None


def _plain(value: Any) -> Any:
    """The value as JSON has it: null for NaN, and "inf" for infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
