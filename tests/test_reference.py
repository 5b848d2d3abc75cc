"""Gradients against references of 50 digits, made without any derivative formula."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matrices import random
from operations import REFERENCE

import spectralgrad as sg

CASES = json.loads((Path(__file__).parent / "data" / "open.json").read_text())["cases"]
SCALE_FREE = (
    "orthogonal_factor", "nuclear_norm", "low_rank", "left_projector", "nearest_rotation",
    "schatten_norm", "ky_fan_norm",
)  # fmt: skip


def _array(parts):
    real = np.array(parts["re"])
    return real + 1j * np.array(parts["im"]) if "im" in parts else real


def _problem(case):
    fun = partial(REFERENCE[case["op"]], **case["params"])
    matrix, cotangent = _array(case["matrix"]), _array(case["cotangent"])
    if case["op"].endswith("_norm"):  # the reference keeps a norm as a 1 x 1 matrix
        cotangent = cotangent.real[0, 0]
    return fun, matrix, cotangent, _array(case["gradient"])


def _error(got, wanted):
    return np.max(np.abs(got - wanted)) / np.max(np.abs(wanted))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_double(library, case):
    fun, matrix, cotangent, gradient = _problem(case)
    x, out_bar = library.array(matrix), library.array(cotangent)
    bound = 1e-9 if "graded" in case["id"] else 5e-12

    for transform in (sg.vjp, library.vjp):
        (x_bar,) = transform(fun, x)[1](out_bar)
        assert _error(library.numpy(x_bar), gradient) < bound

    direction = random(matrix.shape, is_complex=np.iscomplexobj(matrix))
    dx = library.array(direction)
    pairing = np.vdot(gradient, direction).real
    size = np.linalg.norm(gradient) * np.linalg.norm(direction)
    for transform in (sg.jvp, library.jvp):
        _, tangent = transform(fun, (x,), (dx,))
        assert abs(np.vdot(cotangent, library.numpy(tangent)).real - pairing) < bound * size


@pytest.mark.thinned
@pytest.mark.parametrize(
    "case", [case for case in CASES if "graded" not in case["id"]], ids=lambda case: case["id"]
)
def test_single(library, case):
    fun, matrix, cotangent, _ = _problem(case)
    single = np.complex64 if np.iscomplexobj(matrix) else np.float32
    matrix, cotangent = (
        matrix.astype(single),
        np.asarray(cotangent).astype(np.float32 if np.ndim(cotangent) == 0 else single),
    )
    double = np.result_type(single, np.float64)
    scales = (1.0, 1e-25, 1e25) if case["op"] in SCALE_FREE else (1.0,)
    for scale in scales:
        scaled = (matrix * np.float32(scale)).astype(single)
        exact = scaled.astype(double)
        (wanted,) = sg.vjp(fun, exact)[1](cotangent)
        x_bar = library.vjp(fun, library.array(scaled))[1](library.array(cotangent))[0]
        assert str(x_bar.dtype).endswith(np.dtype(single).name)
        assert _error(library.numpy(x_bar).astype(double), wanted) < 1e-4
