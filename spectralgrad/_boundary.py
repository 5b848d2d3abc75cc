"""What a public function does to its argument on the way in and to its results on the way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._array import Array, array_namespace
from ._errors import check_matrix
from ._primitive import Primitive


def _to(x: Array, dtype: str) -> Array:
    xp = array_namespace(x)
    return xp.astype(x, getattr(xp, dtype))


def _name(x: Array) -> str:
    return str(x.dtype).removeprefix("torch.")


cast = Primitive(
    "cast",
    forward=lambda x, *, source, target: (_to(x, target),),
    jvp=lambda inputs, outputs, tangents, *, source, target: (_to(tangents[0], target),),
    vjp=lambda inputs, outputs, cotangents, *, source, target: (_to(cotangents[0], source),),
)


def enter(x: Array, function: str, *, square: bool = False) -> tuple[Array, Callable[[Any], Any]]:
    """Check `x`; widen half precision. Returns it, and what narrows the results again."""
    check_matrix(x, function, square=square)
    if array_namespace(x).finfo(x.dtype).bits > 16:
        return x, lambda result: result
    half = _name(x)

    def narrow(result: Any) -> Any:
        if isinstance(result, tuple):
            return type(result)(*(narrow(part) for part in result))
        return cast(result, source="float32", target=half)[0]

    return cast(x, source=half, target="float32")[0], narrow
