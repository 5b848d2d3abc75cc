"""Matrices in files: NumPy's, Matrix Market's, CSV and safetensors. None of them runs code."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .safetensors import matrices as of_safetensors


class BadFile(Exception):
    """A file that holds no matrix, in one line."""


def read_matrices(name: str) -> list[tuple[str, Any]]:
    """Names and matrices, dense or sparse, of a file, or of stdin for "-"."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as problem:
        raise BadFile(f"{name}: {problem.strerror or problem}") from None
    suffix = Path(name).suffix.lower()
    read = READERS.get(suffix) or _reader_of(data)
    try:
        found = [(label, x) for label, x in read(data) if x.ndim >= 2 and x.dtype.kind in "fc"]
    except Exception as problem:  # whatever a reader makes of a damaged file
        words = str(problem).partition("\n")[0] or type(problem).__name__
        raise BadFile(f"{name}: {words}") from None
    found = [(ascii(label)[1:-1], x) for label, x in found]  # fit for a terminal
    if not found:
        raise BadFile(f"{name}: holds no matrix of floating-point numbers")
    return found


def _npy(data: bytes) -> Iterator[tuple[str, Any]]:
    # np.load takes what is of no format of NumPy's for a pickle
    yield "x", np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)


def _npz(data: bytes) -> Iterator[tuple[str, Any]]:
    if not data.startswith(b"PK"):
        raise ValueError("is no archive of arrays")
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        for name in archive.files:
            try:
                values = archive[name]
            except ValueError as problem:  # of Python objects
                raise ValueError(f"{name!r}: {problem}") from None
            yield name, values


def _mtx(data: bytes) -> Iterator[tuple[str, Any]]:
    try:
        from scipy.io import mmread
    except ImportError:
        raise ValueError("a .mtx file is read by SciPy, which is not installed") from None
    x = mmread(io.BytesIO(data))
    if not isinstance(x, np.ndarray):
        x = x.tocsr()
    yield "x", x.astype(np.result_type(x.dtype, np.float32)) if x.dtype.kind in "biu" else x


def _csv(data: bytes) -> Iterator[tuple[str, Any]]:
    """Rows of numbers, real or complex as 1+2j, after at most one line of headings."""
    lines = [line for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    if lines and not any(map(_is_number, lines[0].split(","))):
        lines = lines[1:]
    if not lines:
        raise ValueError("holds no numbers")
    dtype = complex if any("j" in line for line in lines) else float
    yield "x", np.loadtxt(lines, dtype=dtype, delimiter=",", ndmin=2)


def _is_number(cell: str) -> bool:
    try:
        complex(cell)
    except ValueError:
        return False
    return True


READERS: dict[str, Callable[[bytes], Iterator[tuple[str, Any]]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".mtx": _mtx,
    ".csv": _csv,
    ".safetensors": of_safetensors,
}


def _reader_of(data: bytes) -> Callable[[bytes], Iterator[tuple[str, Any]]]:
    """The reader for what a file begins with, where its name does not tell."""
    for start, suffix in ((b"\x93NUMPY", ".npy"), (b"PK", ".npz"), (b"%%MatrixMarket", ".mtx")):
        if data.startswith(start):
            return READERS[suffix]
    return of_safetensors if data[8:9] == b"{" else _csv
