"""One matrix of a report, as numbers, and what is said of it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One sentence of a report, and a remedy where it names a cause."""

    about: (
        str  # "entries", "scale", "vectors", "zero values", "polar factor", "cut" or "cotangents"
    )
    cause: str  # "" where all is well
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}." if self.remedy else f"{self.what}."


@dataclass(frozen=True)
class Element:
    """The fields of a `Diagnosis` at one batch element, as numbers."""

    shape: tuple[int, int]
    k: int | None
    is_complex: bool
    complete: bool
    S: list[float]
    cluster: list[int]
    zero: list[bool]
    undefined: list[bool]
    gap: float
    vector_error: float
    rank: int
    polar_condition: float | None
    cut_gap: float | None
    cut_tied: bool | None
    nearest_cut: int | None
    tie_residual: float | None
    phase_residual: float | None
    finite: bool
    ok: bool
    eps: float
    smallest_normal: float

    @property
    def leading(self) -> int:
        return len(self.S) if self.k is None else self.k

    @property
    def is_real_square(self) -> bool:
        return self.shape[0] == self.shape[1] and not self.is_complex

    def good_cut(self, k: int) -> bool:
        """Whether a cut after k values splits no tie, as far as values are known."""
        return 0 < k < len(self.S) and self.cluster[k - 1] != self.cluster[k]

    def ties(self) -> list[tuple[int, int]]:
        """First and last index of each tie that holds a leading value, but for ties of zeros."""
        found = []
        for number in dict.fromkeys(self.cluster[: self.leading]):
            i, j = bisect_left(self.cluster, number), bisect_right(self.cluster, number) - 1
            if i < j and not self.zero[i]:
                found.append((i, j))
        return found
