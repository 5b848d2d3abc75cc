"""The package as a whole: public names, imports, layers, the command line, and docstrings."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typed_user

import spectralgrad as sg
from spectralgrad.__main__ import main
from spectralgrad._operations import declaration
from spectralgrad._operations.declaration import OPERATIONS

ROOT, CHECKOUT = Path(sg.__file__).parent, Path(__file__).parent.parent
MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages([str(ROOT)], "spectralgrad.")
    if not name.startswith(
        tuple(f"spectralgrad._bindings.{name}" for name in ("torch", "jax", "numpy_views"))
    )
    and "__main__" not in name
)
SUBMODULES = {"functions", "operators", "rules", "testing"}
BESIDE_OPERATIONS = SUBMODULES | {
    "AnalyticSVDResult", "ConvergenceError", "ConvergenceWarning", "DerivativeUndefinedError",
    "DerivativeUndefinedWarning", "Diagnosis", "EighResult", "Explanation", "KabschResult",
    "PolarResult", "ProcrustesResult", "SVDResult", "SingularVectorJacobianResult",
    "TruncatedSVDResult", "Truncation", "analytic_svd", "cut", "diagnose", "directional_eigvalsh",
    "directional_svdvals", "explain", "explain_nan", "hvp", "in_passes", "jvp", "over_rows",
    "singular_value_jacobian", "singular_vector_jacobian", "truncation", "vjp",
}  # fmt: skip
PUBLIC = BESIDE_OPERATIONS | OPERATIONS.keys()


def test_public_names():
    assert set(sg.__all__) == PUBLIC
    visible = {name for name in vars(sg) if not name.startswith("_")} - {"nn"}  # if asked for
    assert visible == PUBLIC == set(dir(sg))
    assert all(inspect.ismodule(getattr(sg, name)) == (name in SUBMODULES) for name in PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC - SUBMODULES))
def test_public_docstrings(name):
    thing = getattr(sg, name)
    text = inspect.getdoc(thing)
    assert text
    if inspect.isfunction(thing) and inspect.signature(thing).parameters:
        for section in ("Parameters", "Returns", "Raises", "Examples"):
            assert f"{section}\n{'-' * len(section)}" in text, section


@pytest.mark.parametrize("name", ["spectralgrad", *MODULES])
def test_examples_run(name):
    for module, needed in (("nn", "torch"), ("_operations.over_rows", "jax")):
        if name == f"spectralgrad.{module}":
            pytest.importorskip(needed)
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_import_brings_no_library():
    code = (
        "import sys, spectralgrad as sg, numpy as np; sg.svdvals(np.eye(2)); "
        "print([m for m in ('torch', 'jax', 'cupy', 'dask', 'scipy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


LAYERS = (
    "_bindings", "_engine", "_spectrum", "_functions", "_operations", "_truncated", "_paths",
    "_diagnosis",
)  # fmt: skip


def _imports(path):
    """The modules of the package that a file imports, by their full names, and all others."""
    package = ["spectralgrad", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            yield from ((module, alias.name) for alias in node.names)


def _layer(module):
    folder = [*module.split("."), ""][1]
    return LAYERS.index(folder) if folder in LAYERS else len(LAYERS)


def test_imports_go_down_the_layers_without_a_cycle():
    """Imports inside functions count too: there is no hidden cycle."""
    graph = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        graph[name] = set()
        for module, item in _imports(path):
            if module.startswith("array_api_compat"):
                assert name == "spectralgrad._bindings.array"
            if module.split(".")[0] == "spectralgrad":
                file = ROOT.parent.joinpath(*module.split("."), item)
                is_module = file.is_dir() or file.with_suffix(".py").exists()
                graph[name].add(f"{module}.{item}" if is_module else module)
        if _layer(name) < len(LAYERS):
            assert all(_layer(other) <= _layer(name) for other in graph[name]), name
    assert len(graph) > 40
    done = set()
    while pending := graph.keys() - done:
        ready = {name for name in pending if graph[name] & pending <= {name}}
        assert ready, f"a cycle among {sorted(pending)}"
        done |= ready


def test_no_class_is_recognised_by_the_name_of_its_module():
    for path in ROOT.rglob("*.py"):
        assert not re.search(r"\.__module__(?! =)", path.read_text()), path


def test_typed_script_runs():
    x = np.diag([3.0, 2.0, 1.0])
    typed_user.right(x, x)


def test_check_command(capsys, library):
    names = ["nuclear_norm"] if library.name == "jax" else list(OPERATIONS)
    assert main(["check", "--library", library.name, "--device", library.device, *names]) == 0
    table = capsys.readouterr().out
    assert table.count("  right\n") == len(names)
    assert f"{len(names)} checks of {len(names)} operations on {library.name} (" in table
    assert table.endswith(": all right\n")


def test_check_command_takes_dask(capsys):
    pytest.importorskip("dask.array")
    assert main(["check", "--library", "dask", "svdvals", "nuclear_norm"]) == 0
    assert "2 checks of 2 operations on dask (cpu): all right" in capsys.readouterr().out


def test_version_command(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"spectralgrad {sg.__version__}\n"


def test_check_command_notices(capsys, monkeypatch):
    from spectralgrad._operations import svdvals

    wrong = replace(svdvals.of_svd, jvp=lambda inputs, outputs, tangents: 2 * inputs[2])
    monkeypatch.setattr(svdvals, "of_svd", wrong)
    assert main(["check", "--library", "numpy"]) == 1
    table = capsys.readouterr().out
    assert table.count("WRONG") == 1
    assert table.endswith(": wrong: svdvals (numpy, cpu)\n")


def test_every_operation_is_in_the_table(capsys):
    assert main(["operations"]) == 0
    table = capsys.readouterr().out
    assert all(f"| `{name}` | " in table for name in OPERATIONS)


@pytest.mark.parametrize("name", sorted(SUBMODULES | {"nn"}))
def test_public_modules_show_what_is_public(name):
    if name == "nn":
        pytest.importorskip("torch")
    module = getattr(sg, name)
    assert sorted(dir(module)) == sorted(module.__all__)
    assert all(inspect.getdoc(getattr(module, item)) for item in module.__all__)


def test_the_operation_that_contributing_adds(monkeypatch):
    text = (CHECKOUT / "CONTRIBUTING.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.setattr(declaration, "OPERATIONS", dict(OPERATIONS))
    module = {"__package__": "spectralgrad._operations", "__name__": "log_abs_det"}
    exec(compile(block, "CONTRIBUTING.md", "exec"), module)  # our own text
    x = np.array([[2.0, 1.0], [0.0, 3.0]])
    value, pullback = sg.vjp(module["log_abs_det"], x)
    assert np.isclose(value, np.log(6))
    np.testing.assert_allclose(pullback(1.0)[0], np.linalg.inv(x).T, atol=1e-15)
    assert "log_abs_det" in declaration.OPERATIONS


def test_check_command_refuses_what_is_not_there(capsys):
    assert main(["check", "--library", "numpy", "--device", "cuda"]) == 1
    assert "nothing to check" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["check", "--library", "fortran"])
    with pytest.raises(SystemExit):
        main(["check", "no_such_operation"])


def test_version_is_in_the_changelog():
    changelog = (CHECKOUT / "CHANGELOG.md").read_text()
    assert f"## [{sg.__version__}]" in changelog
    assert f"\nversion: {sg.__version__}\n" in (CHECKOUT / "CITATION.cff").read_text()
