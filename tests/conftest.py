"""Options, the `library` fixture, a count of what was skipped, and the memory that was needed."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path

import pytest
from libraries import AUTODIFF, NAMES, Library, is_available

MOST_MEMORY = 1.4e9
PEAKS = pytest.StashKey[list[int]]()


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", choices=("cpu", "cuda"))
    parser.addoption("--slow", action="store_true", help="all that takes minutes too")
    parser.addoption("--examples", type=int, help="of each operation in test_fuzz, in place of few")
    parser.addoption("--library", action="append", choices=NAMES, help="test these alone")


def pytest_configure(config):
    config.addinivalue_line("markers", "thinned: JAX takes every 80th alone, but with --slow")
    config.addinivalue_line("markers", "slow: for --slow alone")
    config.addinivalue_line("markers", "numpy_views: small tensors are NumPy's to compute, as ever")
    try:
        import jax
    except ImportError:
        return
    jax.config.update("jax_enable_x64", True)
    # most of the suite's time is XLA compiling what runs once
    jax.config.update("jax_disable_most_optimizations", True)


def pytest_runtest_teardown(item, nextitem):
    """What PyTorch and JAX compiled is dropped before it takes gigabytes."""
    if _memory() > MOST_MEMORY:
        if "jax" in sys.modules:
            sys.modules["jax"].clear_caches()
        if "torch._dynamo" in sys.modules:
            sys.modules["torch._dynamo"].reset()
        gc.collect()
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):  # glibc keeps what is freed
            libc.malloc_trim(0)


def _memory():
    """Bytes that this process holds, where the system says so."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * resource.getpagesize() if pages.exists() else 0


def pytest_generate_tests(metafunc):
    """`library` is each library in turn, `native` each of those with an autodiff of its own."""
    device = metafunc.config.getoption("device")
    host = [name for name in NAMES if name != "cupy"]  # CuPy runs on a GPU alone
    chosen = metafunc.config.getoption("library") or (host if device == "cpu" else NAMES)
    autodiff = [name for name in chosen if name in AUTODIFF]
    for fixture, names in (("library", chosen), ("native", autodiff)):
        if fixture in metafunc.fixturenames:
            parameters = [_parameter(name, device) for name in names]
            metafunc.parametrize(fixture, parameters, scope="session")


def _parameter(name, device):
    reason = f"{name} is not installed, or not on {device}"
    skip = pytest.mark.skipif(not is_available(name, device), reason=reason)
    return pytest.param(Library(name, device), id=name, marks=skip)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    of_jax = [i for i in items if hasattr(i, "callspec") and "jax" in i.callspec.id.split("-")]
    heavy = [item for item in of_jax if item.get_closest_marker("thinned")]
    slow = [item for item in items if item.get_closest_marker("slow")]
    left_out = set(heavy) - set(heavy[::80]) | set(slow)
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def own_operations(request, monkeypatch):
    """PyTorch's own operations for small tensors too, as large ones and GPUs have."""
    if "torch" in sys.modules and not request.node.get_closest_marker("numpy_views"):
        from spectralgrad._bindings import numpy_views

        monkeypatch.setattr(numpy_views, "SMALL", -1)
        monkeypatch.setattr(numpy_views, "SMALL_FOR_LAPACK", -1)


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KB on Linux
        session.config.workeroutput["peak"] = peak


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    node.config.stash.setdefault(PEAKS, []).append(getattr(node, "workeroutput", {}).get("peak", 0))


def pytest_terminal_summary(terminalreporter, config):
    skipped = len(terminalreporter.stats.get("skipped", []))
    terminalreporter.write_line(f"skipped for want of a library or a device: {skipped}")
    for peak in config.stash.get(PEAKS, []):
        terminalreporter.write_line(f"most memory of a worker: {peak / 1e6:.2f} GB")
