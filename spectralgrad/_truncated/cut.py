"""Where to cut a spectrum: at a gap, not inside a multiplet."""

from __future__ import annotations

import math
from typing import cast

from .._bindings.array import AnyArray, Array, array_namespace
from .._engine.checks import check_values
from .._engine.options import check_count, check_rtol
from .._spectrum.ties import first, gap_tolerance


def cut(S: AnyArray, /, k: int, *, rtol: float | None = None) -> int:
    """The number of values nearest to k that splits no multiplet.

    Parameters
    ----------
    S : array (..., n)
        Singular values in descending order, more than k of them: those of `svdvals`, or a few more
        than wanted of `truncated_svd`. Read on the host.
    k : int
        From 1 to n.
    rtol : float, optional
        Values closer than this times the largest are a multiplet, default eps^(3/4).

    Returns
    -------
    int
        The same for the whole stack; the smaller of two that are as near. n itself always
        counts as a cut: nothing is known of what follows.

    Raises
    ------
    TypeError, ValueError
        If S is no array of real values, finite and in descending order, or k is out of range.

    See Also
    --------
    truncation, truncated_svd

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.cut(np.array([5.0, 2.0, 2.0, 2.0, 1.0]), 3)
    4
    """
    check_values(S, "cut")
    n = S.shape[-1]
    k = check_count(k, "cut", "k", 1, n)
    check_rtol(rtol, "cut", "rtol")
    xp, values = array_namespace(S), cast("Array", S)
    width = gap_tolerance(first(values), rtol)
    gap = values[..., :-1] - values[..., 1:]
    if not bool(xp.all(gap >= 0)) or not bool(xp.all(xp.isfinite(values))):
        raise ValueError(
            "cut: `S` holds values that are not finite, or not in descending order; wanted "
            "singular values as svdvals has them. Sort what svds of SciPy returns."
        )
    places = xp.all(xp.reshape(gap > width, (math.prod(S.shape[:-1]), n - 1)), axis=0)
    cuts: list[int] = [i + 1 for i in range(n - 1) if bool(places[i])] + [n]
    return min(cuts, key=lambda i: (abs(i - k), i))
