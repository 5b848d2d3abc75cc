"""Large stacks of small matrices in NumPy, a slice at a time and on every core.

NumPy walks a stack in one thread (2.4), and a rule's every step over all of a large stack goes
through memory. Slices are shorter, and NumPy lets go of the interpreter within a step, so threads
share them. As many run as NumPy's BLAS may use, which its environment variables and threadpoolctl
limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ._array import Array

SLICE = 2**17  # numbers in an array of a slice; threads that take short steps wait for each other
SMALL = 64  # up to this side BLAS works in one thread itself


@lru_cache(maxsize=1)
def _blas() -> Any:
    """NumPy's BLAS as threadpoolctl sees it; imported late, since few programs come here."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:  # an environment put together by hand, such as that of `ci/gpu`
        return None
    return ThreadpoolController().select(user_api="blas")


def _threads() -> int:
    blas = _blas()
    return max((pool["num_threads"] for pool in blas.info()), default=1) if blas else 1


def in_slices(function: Callable, batch: tuple[int, ...], *arrays: Array) -> Any:
    """function(*arrays), for arrays that have the axes of `batch` in front, as its results do.

    It must treat each member of the stack alone.
    """
    if type(arrays[0]) is not np.ndarray:
        return function(*arrays)
    count = math.prod(batch)
    largest = max(x.size // max(count, 1) for x in arrays)
    if not 0 < largest <= SMALL * SMALL or count * largest < SLICE // 4:
        return function(*arrays)
    flat = [x.reshape(count, *x.shape[len(batch) :]) for x in arrays]
    threads = _threads()
    step = min(SLICE // largest, -(-count // threads))

    def work(start: int) -> Any:
        return function(*(x[start : start + step] for x in flat))

    # NumPy's error state travels in the context
    tasks = [partial(copy_context().run, work, start) for start in range(0, count, step)]
    with ThreadPoolExecutor(min(threads, len(tasks))) as pool:
        parts = list(pool.map(lambda task: task(), tasks))
    if isinstance(parts[0], tuple):
        return tuple(_joined(results, batch) for results in zip(*parts, strict=True))
    return _joined(parts, batch)


def _joined(parts: Any, batch: tuple[int, ...]) -> np.ndarray:
    whole = np.concatenate(parts)
    return whole.reshape(*batch, *whole.shape[1:])
