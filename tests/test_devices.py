"""Many devices: what they exchange, and that nothing comes out otherwise than on one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def check(script, *arguments):
    command = [sys.executable, "-W", "error", str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.parametrize(
    "what",
    ["brief", *(pytest.param(w, marks=pytest.mark.slow) for w in ("stacks", "rows", "around"))],
)
def test_jax(what):
    pytest.importorskip("jax")
    check("devices_jax.py", what)
