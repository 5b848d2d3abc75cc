"""How many singular triplets to keep, told by conditions on the spectrum in place of a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple

from .._bindings.array import ArrayT
from .._engine.options import check_count, check_rtol, check_tol


@dataclass(frozen=True)
class Truncation:
    """What `truncation` returns: conditions on a rank, which compare and hash by value."""

    most: int
    rtol: float | None = None
    error: float | None = None


class TruncatedSVDResult(NamedTuple, Generic[ArrayT]):
    """Factors of the kept part (U * S[..., None, :]) @ Vh, zero in columns that are not kept.

    `mask`, boolean and of the shape of S, says which columns are kept: the first ones.
    """

    U: ArrayT
    S: ArrayT
    Vh: ArrayT
    mask: ArrayT


def truncation(most: int, *, rtol: float | None = None, error: float | None = None) -> Truncation:
    r"""A rank by conditions, in place of the number k of `truncated_svd` and `truncation_error`.

    Parameters
    ----------
    most : int
        At most so many triplets are kept. As many are looked for, fewer only if min(m, n) is less:
        what most is, and not the rank, decides what a call costs.
    rtol : float, optional
        Only values above rtol S[0] are kept; in [0, 1).
    error : float, optional
        No more triplets are kept than it takes for the Frobenius norm of what is left out to be at
        most error times that of x, and at least the first multiplet; above 0, at most 1.

    Returns
    -------
    Truncation
        Constant and hashable: it may be a static argument of `jax.jit`.

    Raises
    ------
    ValueError
        For an argument out of range. From `truncated_svd` and `truncation_error`, for an `error`
        below eps^(1/4) and a large sparse matrix, where it cannot be told from rounding.

    See Also
    --------
    cut, truncated_svd, truncation_error

    Notes
    -----
    Each batch element has its own rank. It is the least that one of the conditions asks for, moved
    to a gap of the spectrum: a cut never splits a multiplet, values closer than gap_rtol S[0].
    Where `most` or `rtol` would, the multiplet is left out; where `error` would, it is kept, or
    left out if the other two ask for that. So `most` and `rtol` always hold, and what is left out
    is above `error` only if they want it so: `truncation_error` with the same truncation says how
    much it is. Zeros are a multiplet too, and never kept. The rank is 0 for x = 0, and, with a
    warning on the host, where the largest value alone has more than `most` copies.

    For `error` the norm of what is left out is that of x - U S Vh with `most` triplets, and to its
    square come those of the triplets that are dropped: a sum of squares in which nothing cancels.
    That is one product of an array's size, and for an operator n products in slices of 256. For a
    sparse matrix the squares of the values are subtracted from those of the entries. Nothing of
    this is needed where a full SVD finds the triplets.

    As a function of x the rank is constant between the matrices where it jumps. The derivative is
    that of `truncated_svd` with the rank as k, to every order, and does not depend on `most`. The
    strategies are those of MatrixAlgebraKit.jl (`truncrank`, `trunctol`, `truncerror`, and what
    keeps the least of them).

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> x = np.diag([5.0, 2.0, 2.0, 2.0, 1.0, 0.01])
    >>> U, S, Vh, mask = sg.truncated_svd(x, sg.truncation(most=5, error=0.2))
    >>> S
    array([5., 2., 2., 2., 0.])
    >>> mask
    array([ True,  True,  True,  True, False])
    >>> sg.truncated_svd(x, sg.truncation(most=3)).S  # where 3 would split the multiplet
    array([5., 0., 0.])
    """
    check_rtol(rtol, "truncation", "rtol")
    return Truncation(
        check_count(most, "truncation", "most", 1),
        None if rtol is None else float(rtol),
        None if error is None else check_tol(error, "truncation", "error", 1.0),
    )
