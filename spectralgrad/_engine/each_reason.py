"""The reasons of a NaN for every batch element, collected in place of a warning about the first.

A Primitive names the first batch element of what it is asked about. Here it is asked about each
alone, on demand: of its arrays those that have the axes of the stack in front are sliced, and the
others belong to all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._bindings.array import Arrays, array_namespace, to_numpy
from .._bindings.explaining import explain_nan
from .._bindings.lookup import is_dense

Index = tuple[int, ...]


@dataclass(frozen=True)
class Collected:
    """The batch elements whose result of one call is NaN, and who knows why."""

    reason: Callable[..., Exception | None]
    groups: tuple[Arrays, ...]
    missing: Any  # NumPy's mask, in the shape of the stack

    def problem(self, index: Index) -> Exception | None:
        """Why the result is NaN there; None if it is not, or if the NaN came in.

        A call on a stack of another rank, as where stacks broadcast, answers for its first.
        """
        if len(index) != self.missing.ndim:
            index = next(map(tuple, np.argwhere(self.missing)), ())
        if not self.missing.any() or not self.missing[index]:
            return None
        return self.reason(*(tuple(self._part(x, index) for x in g) for g in self.groups))

    def _part(self, x: Any, index: Index) -> Any:
        shape = self.missing.shape
        if not is_dense(x) or tuple(x.shape[: len(shape)]) != shape:
            return x
        return x[(*index, ...)]


_COLLECTED: ContextVar[list[Collected] | None] = ContextVar("spectralgrad_reasons", default=None)


def is_collecting() -> bool:
    return _COLLECTED.get() is not None


@contextmanager
def collecting() -> Iterator[list[Collected]]:
    """Collect reasons in the list; nothing is warned of, and nothing raised, for a NaN."""
    found: list[Collected] = []
    token = _COLLECTED.set(found)
    try:
        with explain_nan():  # on a GPU too
            yield found
    finally:
        _COLLECTED.reset(token)


def collect(
    reason: Callable[..., Exception | None], groups: tuple[Arrays, ...], batch: int
) -> None:
    """Note that results, the last of the groups, may hold NaN, with so many axes of a stack."""
    found = _COLLECTED.get()
    results = [x for x in groups[-1] if x is not None and is_dense(x)]
    if found is None or not results:
        return
    masks = []
    for x in results:
        xp = array_namespace(x)
        mask = xp.isnan(x)
        masks.append(to_numpy(mask).any(axis=tuple(range(batch, x.ndim))))
    found.append(Collected(reason, groups, np.logical_or.reduce(masks)))
