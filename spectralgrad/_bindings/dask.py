"""Dask: as the host, but that no value can be read before the user computes."""

from __future__ import annotations

from functools import partial
from typing import Any

from .array import Array
from .host import adjoint_times as adjoint_times
from .host import apply as apply
from .host import autodiff as autodiff
from .host import is_differentiated as is_differentiated
from .host import quiet as quiet
from .host import repeat
from .host import sees_context as sees_context
from .host import sum_over_rows as sum_over_rows


def values(x: Any) -> Any:
    return None


def truth(flag: Array) -> None:
    return None


def can_loop(x: Array) -> bool:
    return False


loop = partial(repeat, truth)
