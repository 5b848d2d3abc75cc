"""Nested tuples and lists of arrays, as functions take and return them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._bindings.array import Array


def leaves_of(tree: Any) -> list[Array]:
    if isinstance(tree, (tuple, list)):
        return [leaf for branch in tree for leaf in leaves_of(branch)]
    return [tree]


def rebuild(tree: Any, leaves: Iterator[Array]) -> Any:
    if isinstance(tree, (tuple, list)):
        branches = [rebuild(branch, leaves) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return next(leaves)
