"""Threads over the slices of a stack, one BLAS thread in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
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


_taken = Lock()
_ALONE: ContextVar[bool] = ContextVar("spectralgrad_alone", default=False)


@contextmanager
def in_one_thread() -> Iterator[None]:
    """No threads within, as in one of several tasks whose scheduler has a thread for each."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def in_threads(work: Callable[[int], Any], starts: range, threads: int) -> list[Any]:
    """work(start) for each of them, in so many threads.

    In this thread alone under `in_one_thread`, where another caller has the cores already, or where
    the limits of BLAS are another thread's to set (threadpoolctl 3.8): its threads would wait for
    each other's turn.
    """
    if _ALONE.get() or not _taken.acquire(blocking=False):
        return list(map(work, starts))
    # NumPy's error state travels in the context
    tasks = [partial(copy_context().run, work, start) for start in starts]
    try:
        with _blas().limit(limits=1):
            if available() > 1:
                return list(map(work, starts))
            with ThreadPoolExecutor(min(threads, len(tasks))) as pool:
                return list(pool.map(lambda task: task(), tasks))
    except RuntimeError:  # no thread starts any more, as in a handler of atexit
        return list(map(work, starts))
    finally:
        _taken.release()
