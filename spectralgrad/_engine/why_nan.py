"""Why a rule returned NaN: said when it did, or when the program runs that is traced now.

Primitives know the reason (`Primitive.undefined`, `Primitive.no_value`), in words; here is when
they are asked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .._bindings.array import Arrays
from .._bindings.explaining import is_explaining
from .._bindings.lookup import common_library, is_dense, library_of
from .each_reason import collect, is_collecting
from .errors import line_of_user, warn, warn_at
from .operators import LowRank
from .reading import holds_nan, values_of

Groups = tuple[Arrays, ...]  # inputs, outputs, and of a derivative directions and the result
Reason = Callable[..., Exception | None]


def explain(call: Any, groups: Groups, batch: int) -> None:
    """Warn or raise where the result holds a NaN and the Primitive can say why."""
    inputs, outputs, directions, result = groups
    groups = inputs, outputs, directions, tuple(map(array_of, result))
    insist = is_explaining() or call.primitive.insists(**dict(call.static))
    _explain(partial(call.primitive.undefined, **dict(call.static)), groups, batch, insist)


def explain_value(call: Any, inputs: Arrays, outputs: Arrays) -> None:
    """Warn where the value of a call holds a NaN and the Primitive can say why.

    One entry of a batch element is NaN if all are.
    """
    value, core = outputs[0], call.primitive.core
    batch = value.ndim - core if isinstance(core, int) else inputs[0].ndim - 2
    if 0 in value.shape:
        return
    known, insist = values_of(value), is_explaining()
    entry = None if known is None else known[(..., *(0,) * (value.ndim - batch))]
    if isinstance(entry, np.generic):  # of a single matrix
        is_nan = bool(entry != entry)
    else:
        is_nan = entry is None or holds_nan((entry,), batch, insist=insist) is not False
    if is_nan:
        reason = partial(call.primitive.no_value, **dict(call.static))
        _explain(reason, (inputs, (value,)), batch, insist)


def _explain(reason: Reason, groups: Groups, batch: int, insist: bool) -> None:
    found = holds_nan(groups[-1], batch, insist=insist)
    if found is None:
        mapped, groups = groups, tuple(_unmapped(group, insist) for group in groups)
        batch += groups[1][0].ndim - mapped[1][0].ndim
        found = holds_nan(groups[-1], batch, insist=insist)
    if found is None and is_explaining():
        _explain_later(reason, groups, batch)
    if not found:
        return
    known = tuple(tuple(map(values_of, arrays)) for arrays in groups)
    if is_collecting():
        collect(reason, known, batch)
        return
    problem = reason(*known)
    if isinstance(problem, Warning):
        warn(problem)
    elif problem is not None:
        raise problem


def _unmapped(arrays: Arrays, insist: bool) -> Arrays:
    return tuple(library_of(x).unmapped(x, insist) if is_dense(x) else x for x in arrays)


def array_of(result: Any) -> Any:
    return result.left if isinstance(result, LowRank) else result


def _explain_later(reason: Reason, groups: Groups, batch: int) -> None:
    """The same by a call to the host, where nobody could catch an error."""
    flat, line = [x for group in groups for x in group], line_of_user()
    places = [i for i, x in enumerate(flat) if x is not None]

    def report(*values: Any) -> None:
        known = dict(zip(places, map(np.asarray, values), strict=True))
        found, start = [], 0
        for group in groups:
            found.append(tuple(known.get(i) for i in range(start, start + len(group))))
            start += len(group)
        if holds_nan(found[-1], batch):
            problem = reason(*found)
            if problem is not None:
                warn_at(problem, line)

    arrays = tuple(flat[i] for i in places)
    if all(map(is_dense, arrays)):
        common_library(arrays).call_later(report, arrays)
