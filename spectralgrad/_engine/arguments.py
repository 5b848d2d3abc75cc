"""What a public function does to its argument on the way in and to its results on the way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._bindings.array import Array, array_namespace
from .checks import check_matrix
from .linear import cast, dtype_name


def enter(
    x: Array, function: str, argument: str = "x", *, square: bool = False
) -> tuple[Array, Callable[[Any], Any]]:
    """Check `x`; widen half precision. Returns it, and what narrows the results again."""
    check_matrix(x, function, argument, square=square)
    if array_namespace(x).finfo(x.dtype).bits > 16:
        return x, lambda result: result
    half = dtype_name(x)

    def narrow(result: Any) -> Any:
        if isinstance(result, tuple):
            return type(result)(*(narrow(part) for part in result))
        return cast(result, half)

    return cast(x, "float32"), narrow
