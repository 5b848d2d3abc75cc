"""Matrices in a file of the safetensors format.

The format is the length of a header, 8 bytes, little-endian; the header, a JSON object of names
with `dtype`, `shape` and `data_offsets` [begin, end) behind the header; and the numbers, in C order
and little-endian. Nothing in it is code. Every number of the header is held against the length of
the file before it is used. The format's README, huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

MOST_HEADER = 100_000_000  # bytes, as the format has it
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<c8"}
BFLOAT16 = "BF16"  # the upper half of single precision


def matrices(data: bytes) -> Iterator[tuple[str, Any]]:
    """Names and arrays of those that hold floating-point matrices."""
    start, header = _header(data)
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        kind, shape, begin, end = _entry(name, entry)
        if kind not in DTYPES and kind != BFLOAT16:
            continue
        dtype = np.dtype(DTYPES.get(kind, "<u2"))
        if not 0 <= begin <= end <= len(data) - start:
            raise ValueError(f"the numbers of {name!r} lie beyond the end of the file")
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name!r} has {end - begin} bytes for the shape {shape} of {kind}")
        values = np.frombuffer(data, dtype, math.prod(shape), start + begin).reshape(shape)
        if kind == BFLOAT16:
            values = (values.astype(np.uint32) << 16).view(np.float32)
        if values.ndim >= 2:
            yield name, values


def _header(data: bytes) -> tuple[int, dict[str, Any]]:
    """Where the numbers start, and what the header says."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(len(data) - 8, MOST_HEADER):
        raise ValueError("the header is longer than the file")
    header = json.loads(data[8 : 8 + size])
    if not isinstance(header, dict):
        raise ValueError("the header is no JSON object")
    return 8 + size, header


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    try:
        kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, *offsets]
    except (KeyError, TypeError):
        raise ValueError(f"the header does not describe {name!r}") from None
    whole = all(type(number) is int and number >= 0 for number in numbers)
    if not isinstance(kind, str) or len(offsets) != 2 or not whole:
        raise ValueError(f"the header does not describe {name!r}")
    return kind, tuple(shape), *offsets
