"""The most memory that a call takes beyond what is taken before it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
HIGHEST, PRESENT = "VmHWM:", "VmRSS:"


def peak(call: Callable[[], object], device: str = "cpu") -> float | None:
    """MiB at the highest, of all libraries; None where the system does not tell (it is not Linux).

    Pages that an allocator kept from earlier calls are given back first.
    """
    if device != "cpu":
        return _peak_of_pytorch(call)
    if not CLEAR.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)
    try:
        CLEAR.write_text("5")  # the highest is the present again
    except OSError:
        return None
    before = _kibibytes(PRESENT)
    call()
    return max(0.0, (_kibibytes(HIGHEST) - before) / 1024)


def _kibibytes(key: str) -> int:
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def _peak_of_pytorch(call: Callable[[], object]) -> float | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20
