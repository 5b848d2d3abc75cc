"""Many devices: what they exchange, and that nothing comes out otherwise than on one.

The checks are in `devices_jax` and `devices_torch`, which run in processes of their own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SLOW = [pytest.param(what, marks=pytest.mark.slow) for what in ("stacks", "rows", "around")]


def run(*commands):
    """Processes at once, of which none may fail."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    running = [subprocess.Popen([sys.executable, "-W", "error", *c], **options) for c in commands]
    said = [process.communicate(timeout=3600)[0] for process in running]
    assert not any(process.returncode for process in running), "\n".join(said)[-8000:]


@pytest.mark.parametrize("what", ["brief", *SLOW])
def test_jax(what):
    pytest.importorskip("jax")
    run([HERE / "devices_jax.py", what])


@pytest.mark.parametrize("what", ["brief", *SLOW, pytest.param("places", marks=pytest.mark.slow)])
def test_torch(what, tmp_path):
    distributed = pytest.importorskip("torch").distributed
    if not (distributed.is_available() and distributed.is_gloo_available()):
        pytest.skip("this PyTorch has no gloo")
    run(*([HERE / "devices_torch.py", rank, tmp_path / "store", what] for rank in "01"))
