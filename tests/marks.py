"""What is left out of an ordinary run."""

from __future__ import annotations

import ast
from functools import partial

import pytest

slow = partial(pytest.param, marks=pytest.mark.slow)  # parameters that take --slow


def skip_without_imports(code):
    """Skip the test of a piece of code that imports, or plots with, what is not installed."""
    nodes = list(ast.walk(ast.parse(code)))
    names = [alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom)]
    names += ["matplotlib" for n in nodes if isinstance(n, ast.Attribute) and n.attr == "plot"]
    for name in names:
        pytest.importorskip(name.partition(".")[0])
