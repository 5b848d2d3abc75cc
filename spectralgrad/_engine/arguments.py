"""What a public function does to its argument on the way in and to its results on the way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._bindings.array import ArrayT, array_namespace, is_plain_matrix
from .checks import check_matrix
from .linear import cast, dtype_name, place


def enter(
    x: ArrayT, function: str, argument: str = "x", *, square: bool = False, whole: bool = False
) -> tuple[Any, Callable[[Any], ArrayT]]:
    """Check x and widen half precision; return it, and what narrows each result again.

    `whole` says that no device can do with a part of a matrix, as of a square one.
    """
    if is_plain_matrix(x) and not (square and x.shape[-1] != x.shape[-2]):
        return x, _as_it_is
    check_matrix(x, function, argument, square=square)
    x = place(x, square or whole)
    if array_namespace(x).finfo(x.dtype).bits > 16:
        return x, _as_it_is
    half = dtype_name(x)
    return cast(x, "float32"), lambda result: cast(result, half)


def _as_it_is(result: ArrayT) -> ArrayT:
    return result
