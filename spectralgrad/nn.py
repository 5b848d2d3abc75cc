r"""Parametrizations of matrices, for `torch.nn.utils.parametrize`, that PyTorch does not have.

Each is a module without parameters or buffers: forward takes the free matrix that is trained to the
weight, and right_inverse takes a weight, as it is registered or assigned, to a free matrix. In a
convolution's weight (out, in, h, w) matrices are the last two axes, as in PyTorch's `orthogonal`.

Singular values within bounds. With low < high and c^2 = high^2 - low^2, values go through

    f(s) = sqrt(low^2 + t^2)          with t = s/sqrt(1 + (s/c)^2)
    f^-1(y) = t/sqrt(1 - (t/c)^2)     with t^2 = y^2 - low^2

which increases from low to high. For low = 0 it is odd and smooth with slope 1 at zero. For low > 0
its slope at zero is zero, so a gradient does not push a value through zero, where the matrix, whose
singular vectors change sign there, would jump.

Positive definite: the exponential of the Hermitian part, a one-to-one map with the logarithm as
its inverse (Arsigny, Fillard, Pennec and Ayache, 2007, Geometric means in a novel vector space
structure on symmetric positive-definite matrices).
"""

from __future__ import annotations

import sys
import warnings
from functools import partial
from numbers import Real

import torch

from . import functions
from ._engine.checks import check_matrix
from ._engine.options import check_count
from ._operations.eigh_function import eigh_function
from ._operations.hermitian import logm
from ._operations.low_rank import low_rank
from ._operations.svd_function import svd_function

__all__ = ["BoundedSingularValues", "LowRank", "PositiveDefinite"]


def __dir__() -> list[str]:
    return __all__


class LowRank(torch.nn.Module):
    """The best approximation of the free matrix by one of a given rank.

    Parameters
    ----------
    rank : int
        From 1 to min(m, n).

    Raises
    ------
    ValueError
        For a rank that is no whole number above 0, or a weight that has fewer rows or columns.

    Notes
    -----
    `low_rank`: ties among the kept values do no harm. Where S[rank - 1] and S[rank] count as equal,
    as in a matrix of zeros, the gradient is NaN. A weight of higher rank is replaced by its best
    approximation as it is registered or assigned.

    Examples
    --------
    >>> import torch, spectralgrad as sg
    >>> layer = torch.nn.Linear(6, 5)
    >>> parametrize = torch.nn.utils.parametrize.register_parametrization
    >>> int(torch.linalg.matrix_rank(parametrize(layer, "weight", sg.nn.LowRank(2)).weight))
    2
    """

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank: int = check_count(rank, "LowRank", "rank", 1)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        check_matrix(X, "LowRank", "weight")
        if self.rank > min(X.shape[-2:]):
            raise ValueError(
                f"LowRank: argument `weight` has shape {tuple(X.shape)}; wanted matrices, the last "
                f"two axes, of at least `rank` = {self.rank} rows and columns."
            )
        return low_rank(X, self.rank)

    def right_inverse(self, A: torch.Tensor) -> torch.Tensor:
        return self.forward(A)

    def extra_repr(self) -> str:
        return f"rank={self.rank}"


class BoundedSingularValues(torch.nn.Module):
    """A matrix whose singular values lie between two bounds.

    Parameters
    ----------
    low, high : float
        With 0 <= low < high.

    Raises
    ------
    TypeError, ValueError
        For other bounds, and for those that are out of range for the dtype of a weight, or too
        close together: high - low has to be above 100 eps times `high`, in half precision eps.

    Notes
    -----
    The bounds are approached, not reached. Values of a weight outside of them, or nearer than a
    hundredth of high - low to one that is only approached, are moved there as it is registered or
    assigned. For low > 0 a free matrix that is singular has no gradient (NaN).

    Examples
    --------
    >>> import torch, spectralgrad as sg
    >>> layer = torch.nn.Linear(6, 6)
    >>> parametrize = torch.nn.utils.parametrize.register_parametrization
    >>> _ = parametrize(layer, "weight", sg.nn.BoundedSingularValues(0.5, 2.0))
    >>> S = torch.linalg.svdvals(layer.weight)
    >>> bool(0.5 < S.min()) and bool(S.max() < 2.0)
    True
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        are_numbers = all(isinstance(bound, Real) for bound in (low, high))
        if not (are_numbers and 0 <= low < high <= sys.float_info.max):
            raise ValueError(
                f"BoundedSingularValues: `low`, `high` = {low!r}, {high!r} came; wanted Python "
                "numbers with 0 <= low < high. For equal singular values use "
                "torch.nn.utils.parametrizations.orthogonal or `orthogonalize`."
            )
        self.low: float = float(low)
        self.high: float = float(high)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        _check_bounds(X, self.low, self.high)
        return svd_function(X, partial(_bounded, low=self.low, high=self.high))

    def right_inverse(self, A: torch.Tensor) -> torch.Tensor:
        _check_bounds(A, self.low, self.high)
        return svd_function(A, partial(_free, low=self.low, high=self.high))

    def extra_repr(self) -> str:
        return f"low={self.low}, high={self.high}"


def _check_bounds(x: torch.Tensor, low: float, high: float) -> None:
    """Whether the dtype holds the bounds, and the free matrix, which reaches 10 high."""
    check_matrix(x, "BoundedSingularValues", "weight")
    of = torch.finfo(x.dtype)
    computed = torch.finfo(torch.promote_types(x.dtype, torch.float32))
    least, most, apart = 16 * of.smallest_normal, of.max / 16, max(of.eps, 100 * computed.eps)
    if not (least <= high <= most and high - low > apart * high):
        raise ValueError(
            f"BoundedSingularValues: a weight of dtype {x.dtype} came for `low`, `high` = "
            f"{low}, {high}; wanted `high` from {least:.2g} to {most:.2g}, and high - low more "
            f"than {apart:.1g} times `high`, as this dtype needs. Take other bounds, or a weight "
            "of a wider dtype."
        )


def _bounded(s: torch.Tensor, low: float, high: float) -> torch.Tensor:
    c = (high - low) ** 0.5 * (high + low) ** 0.5
    t = s / torch.hypot(s / c, torch.ones_like(s))
    return torch.hypot(t, torch.full_like(t, low)) if low else t


def _free(y: torch.Tensor, low: float, high: float) -> torch.Tensor:
    margin = (high - low) / 100
    y = torch.clamp(y, low + margin if low else 0.0, high - margin)
    t = torch.sqrt(y - low) * torch.sqrt(y + low)
    return t * torch.sqrt((high - low) / (high - y) * ((high + low) / (high + y)))


class PositiveDefinite(torch.nn.Module):
    """A symmetric or Hermitian positive definite matrix: the exponential of the free matrix.

    Raises
    ------
    TypeError, ValueError
        As a weight is registered or assigned that is not square, or not positive definite.

    Notes
    -----
    The Hermitian part of the free matrix is read, and its gradient is Hermitian. Rounding makes
    weights of a condition above 1/eps semidefinite, that is where eigenvalues of the free matrix
    are 36 apart in double precision and 16 in single.

    Examples
    --------
    >>> import torch, spectralgrad as sg
    >>> form = torch.nn.Bilinear(4, 4, 1, bias=False)
    >>> _ = torch.nn.init.eye_(form.weight[0])
    >>> parametrize = torch.nn.utils.parametrize.register_parametrization
    >>> _ = parametrize(form, "weight", sg.nn.PositiveDefinite())
    >>> bool((torch.linalg.eigvalsh(form.weight) > 0).all())
    True
    """

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        check_matrix(X, "PositiveDefinite", "weight", square=True)
        return eigh_function(X, functions.exp)

    def right_inverse(self, A: torch.Tensor) -> torch.Tensor:
        check_matrix(A, "PositiveDefinite", "weight", square=True)
        with warnings.catch_warnings(action="ignore"):
            logarithm = logm(A)
        if not torch.isfinite(logarithm).all():
            raise ValueError(
                "PositiveDefinite: a weight came that is not positive definite, or not symmetric; "
                "wanted one that is, as `original` is its logarithm. Begin with the identity, by "
                "torch.nn.init.eye_, or with A @ A.mH plus a multiple of it."
            )
        return logarithm
