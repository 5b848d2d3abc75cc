"""Gradients against references of 50 digits, made without any derivative formula."""

from __future__ import annotations

import json
from functools import partial
from itertools import groupby
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


def _of_one_kind(case):
    """What the cases of a stack have in common: JAX compiles each such group once."""
    params = ",".join(f"{name}={value}" for name, value in case["params"].items())
    shape = "x".join(map(str, _array(case["matrix"]).shape))
    return f"{case['op']}({params})-{shape}-{'complex' if 'im' in case['matrix'] else 'real'}"


def _by_group(cases):
    kinds = groupby(sorted(cases, key=_of_one_kind), key=_of_one_kind)
    groups = {kind: list(members) for kind, members in kinds}
    return pytest.mark.parametrize("cases", groups.values(), ids=groups)


def _stacked(cases):
    fun = partial(REFERENCE[cases[0]["op"]], **cases[0]["params"])
    matrices, cotangents, gradients = (
        np.stack([_array(case[part]) for case in cases])
        for part in ("matrix", "cotangent", "gradient")
    )
    if cases[0]["op"].endswith("_norm"):  # the reference keeps a norm as a 1 x 1 matrix
        cotangents = cotangents.real[:, 0, 0]
    return fun, matrices, cotangents, gradients


def _errors(got, wanted):
    return np.max(np.abs(got - wanted), axis=(1, 2)) / np.max(np.abs(wanted), axis=(1, 2))


def _pairings(a, b):
    return np.array([np.vdot(*pair).real for pair in zip(a, b, strict=True)])


@_by_group(CASES)
def test_double(library, cases):
    fun, matrices, cotangents, gradients = _stacked(cases)
    directions = random(matrices.shape, is_complex=np.iscomplexobj(matrices))
    x, out_bar, dx = map(library.array, (matrices, cotangents, directions))
    bounds = np.array([1e-9 if "graded" in case["id"] else 5e-12 for case in cases])
    pairings = _pairings(gradients, directions)
    sizes = np.linalg.norm(gradients, axis=(1, 2)) * np.linalg.norm(directions, axis=(1, 2))

    # JAX compiles each for a second, and has the own transforms in the other modules
    own = [] if library.name == "jax" else [(sg.vjp, sg.jvp)]
    for vjp, jvp in (*own, (library.vjp, library.jvp)):

        def both(x, out_bar, dx, vjp=vjp, jvp=jvp):
            return vjp(fun, x)[1](out_bar)[0], jvp(fun, (x,), (dx,))[1]

        x_bar, tangent = map(library.numpy, library.compiled(both)(x, out_bar, dx))
        by_case = [case["id"] for case in cases], _errors(x_bar, gradients)
        assert np.all(by_case[1] < bounds), by_case
        by_case = [case["id"] for case in cases], _pairings(cotangents, tangent) - pairings
        assert np.all(np.abs(by_case[1]) < bounds * sizes), by_case


@pytest.mark.thinned
@_by_group([case for case in CASES if "graded" not in case["id"]])
def test_single(library, cases):
    fun, matrices, cotangents, _ = _stacked(cases)
    single = np.complex64 if np.iscomplexobj(matrices) else np.float32
    matrices = matrices.astype(single)
    cotangents = cotangents.astype(single if np.iscomplexobj(cotangents) else np.float32)
    double = np.result_type(single, np.float64)
    pulled = library.compiled(lambda x, out_bar: library.vjp(fun, x)[1](out_bar)[0])
    for scale in (1.0, 1e-25, 1e25) if cases[0]["op"] in SCALE_FREE else (1.0,):
        scaled = (matrices * np.float32(scale)).astype(single)
        (wanted,) = sg.vjp(fun, scaled.astype(double))[1](cotangents)
        x_bar = pulled(library.array(scaled), library.array(cotangents))
        assert str(x_bar.dtype).endswith(np.dtype(single).name)
        assert np.all(_errors(library.numpy(x_bar).astype(double), wanted) < 1e-4)
