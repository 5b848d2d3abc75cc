"""The package as a whole: public names, imports, layers, the command line, and docstrings."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import spectralgrad as sg
from spectralgrad.__main__ import AT_SIMPLE, AT_TIES, main

ROOT = Path(sg.__file__).parent
MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages([str(ROOT)], "spectralgrad.")
    if "_bind" not in name and "__main__" not in name
)
PUBLIC = {
    "ConvergenceError", "ConvergenceWarning", "DerivativeUndefinedError",
    "DerivativeUndefinedWarning", "EighResult", "KabschResult", "PolarResult", "ProcrustesResult",
    "SVDResult", "cut", "eigh", "eigh_function", "eigvalsh", "expm", "functions", "hvp",
    "inv_sqrtm", "jvp", "kabsch", "ky_fan_norm", "logm", "low_rank", "nearest_rotation",
    "nuclear_norm", "operators", "orthogonalize", "pinv", "polar", "powm", "procrustes", "rules",
    "schatten_norm", "singular_projector", "singular_value_threshold", "spectral_norm", "sqrtm",
    "svd", "svd_function", "svdvals", "testing", "truncated_svd", "truncation_error", "vjp",
}  # fmt: skip


def test_public_names():
    assert set(sg.__all__) == PUBLIC
    modules = {"functions", "operators", "rules", "testing"}
    visible = {name for name in vars(sg) if not name.startswith("_")}
    assert visible == PUBLIC
    assert all(inspect.ismodule(getattr(sg, name)) == (name in modules) for name in PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC - {"functions", "operators", "rules", "testing"}))
def test_public_docstrings(name):
    thing = getattr(sg, name)
    text = inspect.getdoc(thing)
    assert text
    if inspect.isfunction(thing):
        for section in ("Parameters", "Returns", "Raises", "Examples"):
            assert f"{section}\n{'-' * len(section)}" in text, section


@pytest.mark.parametrize("name", ["spectralgrad", *MODULES])
def test_examples_run(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_import_brings_no_library():
    code = (
        "import sys, spectralgrad as sg, numpy as np; sg.svdvals(np.eye(2)); "
        "print([m for m in ('torch', 'jax', 'cupy', 'dask', 'scipy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_layers_have_no_cycle_and_one_door_to_array_api_compat():
    imports = {}
    for path in ROOT.glob("*.py"):
        nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
        imports[path.stem] = {
            part
            for node in nodes
            if node.level == 1
            for part in ([node.module] if node.module else [alias.name for alias in node.names])
        }
        if path.stem != "_array":
            assert not any((node.module or "").startswith("array_api") for node in nodes), path
    done: set[str] = set()
    while pending := {name for name in imports if name not in done}:
        ready = {n for n in pending if {i.split(".")[0] for i in imports[n]} & pending <= {n}}
        assert ready, f"a cycle among {pending}"
        done |= ready


def test_check_command(capsys, library):
    assert main(["check", "--library", library.name, "--device", library.device]) == 0
    table = capsys.readouterr().out
    assert table.count("right") == len(AT_SIMPLE) + len(AT_TIES)
    assert library.name in table


def test_check_command_notices(capsys, monkeypatch):
    from spectralgrad import _values

    wrong = replace(_values.of_svd, jvp=lambda inputs, outputs, tangents: (2 * inputs[2],))
    monkeypatch.setattr(_values, "of_svd", wrong)
    assert main(["check", "--library", "numpy"]) == 1
    assert capsys.readouterr().out.count("WRONG") == 1


def test_check_command_refuses_what_is_not_there(capsys):
    assert main(["check", "--library", "numpy", "--device", "cuda"]) == 1
    assert "nothing to check" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["check", "--library", "fortran"])


def test_version_is_in_the_changelog():
    changelog = (ROOT.parent / "CHANGELOG.md").read_text()
    assert f"## [{sg.__version__}]" in changelog
