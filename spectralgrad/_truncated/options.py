"""The options of a truncated SVD, as one static argument that compares and hashes by value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict

from .._bindings.array import Array, ArrayT
from .._spectrum.ties import Ties, first, gap_tolerance
from .truncation import Truncation

Method = Literal["krylov", "full"]
Solver = Literal["krylov", "full", "scipy", "cupyx"] | Callable[..., Any]
Unconverged = Literal["warn", "raise"]
Params = tuple[Any, ...] | list[Any] | dict[Any, Any]  # nested, of arrays


class Choices(TypedDict, Generic[ArrayT], total=False):
    """What `truncated_svd` takes by keyword."""

    ties: Ties
    gap_rtol: float | None
    solver: Solver | None
    oversample: int | None
    tol: float | None
    maxiter: int
    seed: int
    adjoint: Method | None
    adjoint_tol: float | None
    unconverged: Unconverged
    params: ArrayT | Params | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `truncated_svd`, in which `decompose` replaces None by its choice."""

    ties: Ties = "nan"
    gap_rtol: float | None = None
    solver: Solver | None = None
    oversample: int | None = None
    tol: float | None = None
    maxiter: int = 100
    seed: int = 0
    adjoint: Method | None = None
    adjoint_tol: float | None = None
    unconverged: Unconverged = "warn"
    # what `decompose` adds
    function: str = "truncated_svd"  # that was called
    which: str = ""  # end of the spectrum, of `truncated_eigh`
    k: int = 0
    rank: Truncation | None = None  # how many of the k are kept, if not all
    block: int = 0  # columns of the iteration
    accepted: float = 0.0  # residual over S[0]
    reported: bool = True  # whether a warning about x can be raised

    @property
    def foreign(self) -> bool:
        """Whether the solver is the user's code."""
        return callable(self.solver)

    @property
    def most(self) -> int:
        """Iterations of the conjugate gradients."""
        return 10 * self.maxiter

    def tolerance(self, S: Array) -> Array:
        """The gap up to which values count as equal, (..., 1)."""
        return gap_tolerance(first(S), self.gap_rtol, self.ties)
