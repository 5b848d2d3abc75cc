"""Paired timing: two callables in turn, so that what slows the machine slows both.

The result is a ratio for each pair of neighbouring samples, and their median. Two medians taken one
after the other would compare the machine with itself as much as the code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from operator import truediv
from statistics import median
from time import perf_counter, process_time

SHORTEST_SAMPLE = 0.02  # seconds; what runs faster is called repeatedly within a sample


def nothing() -> None:
    """The synchronisation of a library that returns when it is done."""


@dataclass(frozen=True)
class Case:
    """Two callables of no argument to compare, and the ratio of their times to stay within.

    `synchronize` waits for a device to finish what it was given; `errors` are the relative errors
    of what ours and theirs return, and `orthogonality` what is left of U^H U - I, where that is
    worth telling.
    """

    name: str
    library: str
    size: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    against: str
    target: float | None = None
    synchronize: Callable[[], None] = nothing
    errors: tuple[float, ...] | None = None
    orthogonality: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Timing:
    """Seconds for each call, in the order of measurement: sample i of ours and theirs is a pair.

    Beside those of the clock those of the processor, all threads of this process together.
    """

    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    ours_cpu: tuple[float, ...]
    theirs_cpu: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    def summary(self) -> dict[str, float | int]:
        """Medians in milliseconds, and the ratio's median and extremes."""
        return {
            "ours_ms": 1e3 * median(self.ours),
            "theirs_ms": 1e3 * median(self.theirs),
            "ratio": median(self.ratios),
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
            "cpu_ratio": median(map(truediv, self.ours_cpu, self.theirs_cpu)),
            "repeats": len(self.ours),
        }


def time_pair(case: Case, *, repeats: int, warmup: int = 2) -> Timing:
    """Sample ours, theirs, ours, theirs, ... `repeats` times each, after a warm-up."""
    calls = (case.ours, case.theirs)
    for _ in range(warmup):  # compiles, fills caches, starts threads
        for call in calls:
            call()
    counts = [_calls_per_sample(call, case.synchronize) for call in calls]
    pairs = [
        [_sample(call, n, case.synchronize) for call, n in zip(calls, counts, strict=True)]
        for _ in range(repeats)
    ]
    (ours, ours_cpu), (theirs, theirs_cpu) = (
        zip(*samples, strict=True) for samples in zip(*pairs, strict=True)
    )
    return Timing(ours, theirs, ours_cpu, theirs_cpu)


def _sample(
    call: Callable[[], object], count: int, synchronize: Callable[[], None]
) -> tuple[float, float]:
    """Seconds for one of `count` calls, of the clock and of the processor.

    The device has finished all work before and after.
    """
    synchronize()
    start, cpu = perf_counter(), process_time()
    for _ in range(count):
        call()
    synchronize()
    return (perf_counter() - start) / count, (process_time() - cpu) / count


def _calls_per_sample(call: Callable[[], object], synchronize: Callable[[], None]) -> int:
    return max(1, ceil(SHORTEST_SAMPLE / _sample(call, 1, synchronize)[0]))
