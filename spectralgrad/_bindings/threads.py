"""Threads over the slices of a stack, one BLAS thread in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import lru_cache, partial
from threading import Lock
from typing import Any


@lru_cache(maxsize=1)
def _blas() -> Any:
    """NumPy's BLAS as threadpoolctl sees it; imported late, since few programs come here."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def available() -> int:
    """As many as BLAS may use, which its environment variables and threadpoolctl limit."""
    return max((pool["num_threads"] for pool in _blas().info()), default=1)


class _Alone:
    """BLAS in one thread, while somebody is inside: its threads would wait for each other's turn.

    threadpoolctl restores what it has seen, which would be the limit of another user's thread.
    """

    lock = Lock()
    inside = 0
    limit: Any = None


@contextmanager
def _blas_alone() -> Iterator[None]:
    with _Alone.lock:
        _Alone.inside += 1
        if _Alone.inside == 1:
            _Alone.limit = _blas().limit(limits=1)
            _Alone.limit.__enter__()
    try:
        yield
    finally:
        with _Alone.lock:
            _Alone.inside -= 1
            if _Alone.inside == 0:
                _Alone.limit.__exit__(None, None, None)


def in_threads(work: Callable[[int], Any], starts: range, threads: int) -> list[Any]:
    """work(start) for each of them, in so many threads."""
    # NumPy's error state travels in the context
    tasks = [partial(copy_context().run, work, start) for start in starts]
    try:
        with _blas_alone(), ThreadPoolExecutor(min(threads, len(tasks))) as pool:
            return list(pool.map(lambda task: task(), tasks))
    except RuntimeError:  # no thread starts any more, as in a handler of atexit
        return list(map(work, starts))
