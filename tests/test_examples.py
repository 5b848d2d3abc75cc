"""The examples run, on every library that is installed."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from marks import slow

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
INPAINT = EXAMPLES / "inpaint.py"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
NEEDED = {"matplotlib", "torch", "jax", "sklearn", "scipy", "rich", "PIL", "dask"}
QUICK = ("molecules", "slopes", "transformer", "whitening")
SLOW = ("denoise", "muon", "pose", "quantum")


@pytest.mark.numpy_views
@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_example_holds_what_it_says(name, monkeypatch):
    """Each asserts it itself, and leaves a picture."""
    script = EXAMPLES / f"{name}.py"
    imported = re.findall(r"^(?:import|from) (\w+)", script.read_text(), re.MULTILINE)
    for needed in NEEDED.intersection(imported):
        pytest.importorskip(needed)
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    monkeypatch.setattr(sys, "argv", [str(script)])
    runpy.run_path(str(script), run_name="__main__")
    assert plt.get_fignums()
    plt.close("all")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_example_has_the_form_of_a_gallery(script):
    title, underline, *_ = ast.get_docstring(ast.parse(script.read_text())).splitlines()
    assert underline == "=" * len(title)
    assert re.search(r"^# %%\n# \w", script.read_text(), re.MULTILINE)
    assert re.search(r"^ *assert ", script.read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["numpy", *map(slow, ("torch", "jax"))])
def test_inpaint_lowers_its_loss_and_writes_the_picture(name, tmp_path):
    for needed in ("sklearn", "PIL", "matplotlib", "rich", name):
        pytest.importorskip(needed)
    picture = tmp_path / "picture.png"
    options = ["--library", name, "--iterations", "3", "--output", picture]

    # a process of its own: the example sets up JAX for double precision
    done = subprocess.run(
        [sys.executable, INPAINT, *options], capture_output=True, text=True, timeout=300
    )

    assert done.returncode == 0, done.stderr
    number = r"([\d.e+-]+)"
    first, last = re.search(f"loss: {number} at first, {number} after 3", done.stdout).groups()
    assert float(last) < float(first)
    disagreement = re.search(f"relative difference: {number}", done.stdout)[1]
    assert float(disagreement) < 1e-6
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_slopes_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "slopes.png"
    table = output_of("slopes.py", "--output", picture)
    assert "slopes [1. 2.] on the left of t = 0, [2. 1.] on the right" in table
    assert "slopes [ 0. -1.] on the left of t = 0, [0. 1.] on the right" in table
    assert picture.read_bytes().startswith(b"\x89PNG")


def output_of(name, *options):
    for needed in ("scipy", "rich", "torch"):
        pytest.importorskip(needed)
    command = [sys.executable, EXAMPLES / name, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ising_agrees_with_onsager_and_with_differences():
    table = output_of("ising.py", "--quick").splitlines()
    lines = [line for line in table if line.startswith("ln Z/N") or "krylov" in line]
    for line, bound in zip(lines, (1e-9, 1e-7, 1e-4), strict=True):
        computed, exact = map(float, re.findall(r"-?\d+\.\d{12}", line))
        assert abs(computed - exact) < bound
        if "krylov" in line:
            assert abs(float(line.split()[-1])) < 1e-8


def test_crossing_is_smooth_and_writes_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "picture.png"
    command = [sys.executable, EXAMPLES / "crossing.py", "--output", picture]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    analytic, kinked = re.search(r"^crossing: .*analytic (\S+), sorted (\S+)", done.stdout).groups()
    assert float(analytic) < 1e-12
    assert float(kinked) > 0.01
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_embeddings_learn_by_the_gradient_on_a_sparse_pattern():
    found = output_of("embeddings.py", "--steps", "1")
    documents, terms = re.search(r"(\d+) documents of \d+ modules x (\d+) terms", found).groups()
    assert int(documents) >= 5000
    assert int(terms) >= 20000
    first, last = re.search(r"loss: ([\d.]+) at first, ([\d.]+) after", found).groups()
    assert float(last) < float(first)
    assert float(re.search(r"relative difference: ([\d.e+-]+)", found)[1]) < 1e-6


def test_out_of_core_finds_the_outliers(tmp_path):
    pytest.importorskip("dask.array")
    pytest.importorskip("matplotlib")
    picture = tmp_path / "memory.png"
    table = output_of("out_of_core.py", "--blocks", "2", "--output", picture)
    found = re.search(r"rows that bend the plane most: ([\d ]+)", table)[1]
    assert sorted(map(int, found.split())) == [0, 1, 2, 3, 4]
    assert picture.read_bytes().startswith(b"\x89PNG")
