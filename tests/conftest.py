"""Options, the `library` fixture, and a count of what was skipped."""

from __future__ import annotations

import gc
import sys

import pytest
from libraries import AUTODIFF, NAMES, Library, is_available


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", choices=("cpu", "cuda"))
    parser.addoption("--slow", action="store_true", help="all that JAX compiles minutes for too")
    parser.addoption("--library", action="append", choices=NAMES, help="test these alone")


def pytest_configure(config):
    config.addinivalue_line("markers", "thinned: JAX takes every ninth alone, but with --slow")
    try:
        import jax
    except ImportError:
        return
    jax.config.update("jax_enable_x64", True)
    # most of the suite's time is XLA compiling what runs once
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True, scope="module")
def _compiled_programs_are_dropped():
    """What PyTorch and JAX compiled for a module is of no use to the next, and takes gigabytes."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    if "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()
    gc.collect()


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
    left_out = set(heavy) - set(heavy[::9])
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter):
    skipped = len(terminalreporter.stats.get("skipped", []))
    terminalreporter.write_line(f"skipped for want of a library or a device: {skipped}")
