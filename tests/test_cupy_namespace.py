"""What the library asks of a namespace exists in CuPy's, keyword by keyword; no GPU is needed.

Every call into the namespace is recorded while all operations run on NumPy, and looked up in
array_api_compat.cupy, which imports without a device.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from matrices import SHAPES, SPECTRA, random, with_spectrum
from operations import OPERATIONS, REFERENCE

import spectralgrad as sg
from spectralgrad._bindings import array

pytest.importorskip("cupy")
import array_api_compat.cupy as cupy_namespace
import cupy


class Recorder:
    """Stands for a namespace and notes each function called, with the keywords."""

    def __init__(self, namespace, calls, path=()):
        self._namespace, self._calls, self._path = namespace, calls, path

    def __getattr__(self, name):
        value, path = getattr(self._namespace, name), (*self._path, name)
        if isinstance(value, types.ModuleType):
            return Recorder(value, self._calls, path)
        if not callable(value) or isinstance(value, type):
            self._calls.add((path, None, ()))
            return value

        def recorded(*args, **keywords):
            self._calls.add((path, len(args), tuple(sorted(keywords))))
            return value(*args, **keywords)

        return recorded


@pytest.fixture(scope="module")
def calls():
    made = set()
    original = array.array_namespace
    patch = pytest.MonkeyPatch()
    for name, module in list(sys.modules.items()):
        if name.startswith("spectralgrad") and hasattr(module, "array_namespace"):
            patch.setattr(module, "array_namespace", lambda *x: Recorder(original(*x), made))
    try:
        with warnings.catch_warnings(action="ignore"):  # what is computed does not matter
            _run_everything()
    finally:
        patch.undo()
    return made


def _run_everything():
    functions = {op.name: (op.call, op.square) for op in OPERATIONS if not op.real}
    for ties in ("nan", "drop", "split"):
        functions[f"svd {ties}"] = lambda x, ties=ties: sg.svd(x, ties=ties), False
        functions[f"eigh {ties}"] = lambda x, ties=ties: sg.eigh(x, ties=ties), True
    functions |= {
        name: (fun, name.startswith(("hermitian", "eig")))
        for name, fun in REFERENCE.items()
        if inspect.signature(fun).parameters.keys() == {"x"} and name != "nearest_rotation"
    }
    for fun, is_square in functions.values():
        for shape in ((4, 4),) if is_square else SHAPES:
            for is_complex in (False, True):
                for x in (
                    random(shape, is_complex=is_complex),
                    random(shape).astype(np.float16),
                    with_spectrum(*shape[-2:], SPECTRA["spread"], is_complex=is_complex),
                ):
                    out, pullback = sg.vjp(fun, x)
                    pullback(sg.testing.random_cotangent(out))
                    sg.jvp(fun, (x,), (x,))
                    fun(x)
    for is_complex in (False, True):
        x = random((2, 4, 3), is_complex=is_complex)
        sg.diagnose(x, k=2)
        sg.diagnose(x, cotangents=sg.testing.random_cotangent(sg.svd(x)))
    for x in (random((4, 3)), np.eye(3), random((3, 4), is_complex=True)):
        sg.directional_svdvals(x, x)
        sg.singular_value_jacobian(x)
    sg.directional_eigvalsh(np.eye(3), np.eye(3))
    sg.singular_vector_jacobian(random((4, 3)), 0)
    # what sizes beyond a few lead to
    wide, points = random((260, 260)), random((2, 600, 3))
    sg.vjp(sg.orthogonalize, wide)[1](wide)
    for fun in (sg.svd_function, sg.eigh_function):
        sg.hvp(fun, wide[:20, :20], wide[:20, :20], wide[:20, :20], f=sg.functions.tanh)
    weighted = (*points, np.abs(random((600,))))
    out, pullback = sg.vjp(sg.kabsch, *weighted, scale=True)
    pullback(sg.testing.random_cotangent(out))


def test_cupy_has_every_function_with_its_keywords(calls):
    assert len(calls) > 30
    missing = [problem for call in sorted(calls, key=str) if (problem := _problem(*call))]
    assert not missing


CREATION = {"arange", "empty", "eye", "full", "linspace", "ones", "zeros"}


def test_what_is_made_is_on_the_device_of_the_input(calls):
    made = [call for call in calls if call[0][-1] in CREATION]
    assert made
    assert not [(path, keywords) for path, _, keywords in made if "device" not in keywords]


def test_devices_and_streams_are_the_users():
    sources = {path: path.read_text() for path in Path(sg.__file__).parent.rglob("*.py")}
    words = re.compile(r"\bStream\b|\bsynchronize\(|\bcuda\.Device\b|\buse_mem_pool\b|cupy\.cuda")
    assert not {str(path) for path, text in sources.items() if words.search(text)}


def _problem(path, positional, keywords):
    function = cupy_namespace
    for name in path:
        function = getattr(function, name, None)
        if function is None:
            return f"{'.'.join(path)} is missing"
    if positional is None:
        return None
    if isinstance(function, cupy.ufunc):
        unknown = set(keywords) - {"out", "dtype", "where", "casting"}
        return f"{'.'.join(path)} takes no {unknown}" if unknown else None
    try:
        inspect.signature(function).bind(*[None] * positional, **dict.fromkeys(keywords))
    except TypeError as error:
        return f"{'.'.join(path)}: {error}"
    return None


def test_the_recorder_would_notice():
    assert _problem(("no_such_function",), 1, ())
    assert _problem(("sum",), 1, ("no_such_keyword",))
    assert _problem(("exp",), 1, ("no_such_keyword",))
