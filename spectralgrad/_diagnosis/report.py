"""A report on the derivatives that exist at each matrix of a stack."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .._bindings.array import Array, array_namespace, to_numpy
from .._bindings.lookup import library_of
from .._bindings.owners import is_dask_array
from . import printing
from .element import Element, Finding
from .sentences import findings_of

LIMITS = ("eps", "smallest_normal")
WORST = 5  # batch elements that are described one by one


@dataclass(frozen=True, repr=False, eq=False)
class Diagnosis:
    """What `diagnose` returns: arrays with one entry for each batch element.

    Attributes
    ----------
    shape : tuple of int
        (m, n) of a matrix.
    k : int or None
        The number of leading triplets that the report is about; None for all.
    S : array (..., r)
        Singular values, descending: all of them, or of a matrix that is too large the leading ones.
    cluster : array (..., r) of int
        Values with the same number count as equal, within eps^(3/4) S[0].
    zero : array (..., r) of bool
        Whether a value counts as zero in functions of x, at 2 sqrt(max(m, n)) eps S[0].
    undefined : array (..., k) of bool
        Leading columns of U or V that a gradient may not touch: in a tie, in one that the cut
        splits, or free beside a zero value.
    gap : array (...)
        The smallest gap of a leading value to its neighbours, over S[0].
    vector_error : array (...)
        eps over the least of what gradients of the leading vectors divide by: gaps, and the values
        themselves where x is complex or not square.
    rank : array (...) of int
        How many of the values do not count as zero.
    polar_condition : array (...), or None if not all values are known
        S[0] times the norm of the derivative of `orthogonalize`, infinite at a singular matrix.
    cut_gap, cut_tied, nearest_cut : arrays (...), or None without k
        S[k - 1] - S[k] over S[0] (S[k - 1] itself if there is no S[k]); whether that counts as
        none; the number of values nearest to k that splits no tie, 0 if none was found.
    tie_residual, phase_residual : arrays (...), or None without cotangents
        What a rotation within a tie, and a phase, change in the loss, over the norm of the
        cotangents' columns. Both are zero, to rounding, for a loss that is a function of x.
    finite : array (...) of bool
        Whether the matrix, its values and the cotangents hold neither NaN nor Inf.
    ok : array (...) of bool
        Whether the gradient exists: for the cotangents that came, or for losses of U, S and Vh that
        are blind to phases.
    mask : array (...) of bool
        `ok`, and known to half of the digits at least: vector_error <= sqrt(eps).
    """

    shape: tuple[int, int]
    k: int | None
    S: Array
    cluster: Array
    zero: Array
    undefined: Array
    gap: Array
    vector_error: Array
    rank: Array
    polar_condition: Array | None
    cut_gap: Array | None
    cut_tied: Array | None
    nearest_cut: Array | None
    tie_residual: Array | None
    phase_residual: Array | None
    finite: Array
    ok: Array
    mask: Array
    is_complex: bool

    @property
    def batch(self) -> tuple[int, ...]:
        """The shape of the stack."""
        return tuple(self.S.shape[:-1])

    @property
    def complete(self) -> bool:
        """Whether all singular values are known."""
        return bool(self.S.shape[-1] == min(self.shape))

    def findings(self, index: int | tuple[int, ...] = ()) -> tuple[Finding, ...]:
        """What is defined at one batch element, in sentences; reads its values on the host."""
        place = (index,) if isinstance(index, int) else tuple(index)
        if len(place) != len(self.batch):
            raise ValueError(
                f"Diagnosis.findings: `index` is {index!r} where the stack has shape {self.batch}; "
                "wanted an index of one of its matrices."
            )
        return findings_of(self._element(place))

    def worst(self, count: int = WORST) -> list[tuple[int, ...]]:
        """Indices of batch elements outside of the mask, at most `count`, the worst first.

        That is NaN, then those without a derivative, then by their error.
        """
        error = to_numpy(self.vector_error).astype(float)
        grade = np.where(to_numpy(self.ok), 0, 1) + np.where(to_numpy(self.finite), 0, 1)
        order = np.lexsort((-np.nan_to_num(error, nan=np.inf).ravel(), -grade.ravel()))
        out = ~to_numpy(self.mask).ravel()
        chosen = order[out[order]][:count]
        return [tuple(map(int, np.unravel_index(i, self.batch))) for i in chosen]

    def to_dict(self) -> dict[str, Any]:
        """The fields as numbers and nested lists, and findings as dicts.

        Findings are those of a single matrix, or of the worst batch elements of a stack, with their
        index.
        """
        found: dict[str, Any] = {"library": array_namespace(self.S).__name__.rpartition(".")[2]}
        for field in fields(self):
            value = getattr(self, field.name)
            known = value is None or isinstance(value, (int, tuple))
            found[field.name] = value if known else to_numpy(value).tolist()
        places = self.worst() if self.batch else [()]
        found["shape"] = list(self.shape)
        found["findings"] = [
            {"index": list(place), **vars(finding)}
            for place in places
            for finding in self.findings(place)
        ]
        return found

    def plot(self) -> Any:
        """A figure of Matplotlib's.

        Of one matrix: its spectrum with ties, zeros and the cut; its gaps; and what each does to a
        gradient. Of a stack: how gaps and errors are distributed, and the worst spectra.
        """
        from .plot import figure_of

        return figure_of(self)

    def __repr__(self) -> str:
        return printing.text(self) if self._is_known() else f"Diagnosis(of {self.batch}, traced)"

    def _repr_html_(self) -> str:
        return printing.html(self)

    def _is_known(self) -> bool:
        return library_of(self.S).values(self.S) is not None or is_dask_array(self.S)

    def _element(self, place: tuple[int, ...]) -> Element:
        facts = {f.name: getattr(self, f.name) for f in fields(Element) if f.name not in LIMITS}
        read: dict[str, Any] = {
            name: to_numpy(value[(*place, ...)]).tolist() if hasattr(value, "ndim") else value
            for name, value in facts.items()
        }
        about = array_namespace(self.S).finfo(self.S.dtype)
        read.update((name, float(getattr(about, name))) for name in LIMITS)
        return Element(**read)
