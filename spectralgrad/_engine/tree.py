"""Nested tuples, lists and dicts of arrays, as functions take and return them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeGuard

from .._bindings.array import Array


def branches_of(tree: Any) -> list[tuple[str, Any]] | None:
    """The branches with what indexes them, those of a dict in the order of its keys; or None."""
    if isinstance(tree, (tuple, list)):
        return [(f"[{i}]", branch) for i, branch in enumerate(tree)]
    if is_dict(tree):
        return [(f"[{key!r}]", tree[key]) for key in keys_of(tree)]
    return None


def is_dict(tree: Any) -> TypeGuard[dict[Any, Any]]:
    """Whether it is one of arrays, and no matrix: SciPy's DOK format is a dict too."""
    return isinstance(tree, dict) and not hasattr(tree, "tocsr")


def keys_of(tree: dict[Any, Any]) -> list[Any]:
    """The keys in an order that does not depend on how the dict was made."""
    try:
        return sorted(tree)
    except TypeError:  # of several types
        return sorted(tree, key=lambda key: (type(key).__name__, repr(key)))


def leaves_of(tree: Any) -> list[Array]:
    branches = branches_of(tree)
    if branches is None:
        return [tree]
    return [leaf for _, branch in branches for leaf in leaves_of(branch)]


def paths_of(tree: Any) -> list[str]:
    """What indexes each leaf, such as "['a'][1]"."""
    branches = branches_of(tree)
    if branches is None:
        return [""]
    return [index + path for index, branch in branches for path in paths_of(branch)]


def rebuild(tree: Any, leaves: Iterator[Array]) -> Any:
    """The tree with other leaves."""
    if is_dict(tree):
        made = copy.copy(tree)  # of its own type, and its keys in its own order
        for key in keys_of(tree):
            made[key] = rebuild(tree[key], leaves)
        return made
    if isinstance(tree, (tuple, list)):
        branches = [rebuild(branch, leaves) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return next(leaves)
