"""The examples run, on every library that is installed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

INPAINT = Path(__file__).parents[1] / "docs" / "examples" / "inpaint.py"


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
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
