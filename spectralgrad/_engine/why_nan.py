"""Why a rule returned NaN: said when it did, or when the program runs that is traced now.

Primitives know the reason (`Primitive.undefined`), in words; here is when they are asked.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._bindings.array import Arrays
from .._bindings.explaining import is_explaining
from .._bindings.lookup import common_library, is_dense, library_of
from .errors import line_of_user, warn, warn_at
from .operators import LowRank
from .reading import holds_nan, values_of

Groups = tuple[Arrays, Arrays, Arrays, Arrays]  # inputs, outputs, directions, and the result


def explain(call: Any, groups: Groups, batch: int) -> None:
    """Warn or raise where the result holds a NaN and the Primitive can say why."""
    inputs, outputs, directions, result = groups
    groups = inputs, outputs, directions, tuple(map(array_of, result))
    insist = is_explaining() or call.primitive.insists(**dict(call.static))
    found = holds_nan(groups[-1], batch, insist=insist)
    if found is None:
        inputs, outputs, directions, result = (_unmapped(group, insist) for group in groups)
        batch += outputs[0].ndim - groups[1][0].ndim
        groups = inputs, outputs, directions, result
        found = holds_nan(result, batch, insist=insist)
    if found is None and is_explaining():
        _explain_later(call, groups, batch)
    if not found:
        return
    problem = _reason(call, [tuple(map(values_of, arrays)) for arrays in groups])
    if isinstance(problem, Warning):
        warn(problem)
    elif problem is not None:
        raise problem


def _unmapped(arrays: Arrays, insist: bool) -> Arrays:
    return tuple(library_of(x).unmapped(x, insist) if is_dense(x) else x for x in arrays)


def array_of(result: Any) -> Any:
    return result.left if isinstance(result, LowRank) else result


def _reason(call: Any, groups: list[Arrays]) -> Exception | None:
    problem: Exception | None = call.primitive.undefined(*groups, **dict(call.static))
    return problem


def _explain_later(call: Any, groups: Groups, batch: int) -> None:
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
            problem = _reason(call, found)
            if problem is not None:
                warn_at(problem, line)

    arrays = tuple(flat[i] for i in places)
    if all(map(is_dense, arrays)):
        common_library(arrays).call_later(report, arrays)
