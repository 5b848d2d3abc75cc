"""Which derivatives exist at a matrix, and how well they are known."""

from __future__ import annotations

from contextlib import nullcontext
from functools import reduce
from operator import and_
from typing import Any, NoReturn

from .._bindings.array import AnyArray, Array, Arrays, array_namespace, eps, is_complex
from .._bindings.lookup import is_dense, library_of
from .._engine.arguments import enter
from .._engine.checks import check_like, check_rank
from .._engine.tape import current_tape, recording
from .._truncated.arguments import as_operand, enter_operand
from .._truncated.solvers import by_size
from .._truncated.svd import truncated_svd
from . import measures
from .cotangents import gauge_of
from .measures import Spectrum, all_finite
from .report import Diagnosis

AHEAD = 8  # values beyond k in which a cut is looked for, of a matrix that is too large


def diagnose(
    x: AnyArray, *, k: int | None = None, cotangents: tuple[Any, Any, Any] | None = None
) -> Diagnosis:
    r"""A report on the derivatives that exist at each matrix, and on what to use instead of others.

    Parameters
    ----------
    x : array (..., m, n), sparse matrix, or operator
        As `truncated_svd` takes it; what is no array needs a `k`.
    k : int, optional
        Report on the k leading triplets, and on the cut after them. Of matrices with both sides
        above 256, of sparse ones and of operators the k + 8 largest values are found, by
        `truncated_svd`; of others all.
    cotangents : (U_bar, S_bar, Vh_bar), optional
        Those of a loss, with None for zero, at what ``svd(x)`` returned, with or without full
        matrices, or ``truncated_svd(x, k)``: the report says whether it has a gradient for them.
        The factors are computed again, and residuals mean nothing where vectors come out otherwise:
        in ties, in a library whose SVD is not reproducible.

    Returns
    -------
    Diagnosis
        Arrays of x's library with an entry for each batch element, and `mask`, the elements that
        are well-conditioned. It prints itself in sentences, and has `findings`, `to_dict` and
        `plot`.

    Raises
    ------
    TypeError, ValueError
        For an x that is no floating-point matrix, a k out of range or missing, or cotangents of
        other shapes.

    Warns
    -----
    ConvergenceWarning
        As `truncated_svd` does.

    See Also
    --------
    explain, explain_nan

    Notes
    -----
    What counts as equal or zero is what the rules go by: a report says that vectors are undefined
    where the gradient of `svd` (with k, of `truncated_svd`) by all of U, S and Vh is NaN. Nothing
    is read on the host before the report is printed, and nothing of it has a derivative. One SVD.
    Higham (2008), Functions of Matrices, chapter 8, for the polar factor; Townsend (2016) for the
    rest.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> report = sg.diagnose(np.stack([np.eye(2), np.diag([3.0, 1.0])]))
    >>> report.mask
    array([False,  True])
    >>> report.findings(0)[0].cause
    'tie'
    """
    # no tape has to know of what is called here
    with nullcontext() if current_tape(x) is None else recording(None):
        return _diagnosed(x, k, cotangents)


def _diagnosed(x: Any, k: int | None, cotangents: Any) -> Diagnosis:
    if k is None:
        if not is_dense(x) and len(getattr(x, "shape", ())) == 2:
            _refuse_without_k(x)
        x, _ = enter(x, "diagnose")
    else:
        x, _ = enter_operand(x, None, "diagnose")
        operand, leaves = as_operand(x, None, "diagnose")
        A = operand.products(*leaves)
        k = check_rank(k, A, "diagnose")
        if not is_dense(x) or by_size(operand, leaves, A) != "full":
            return _of_leading(x, k, cotangents)
    k_or_all = min(x.shape[-2:]) if k is None else k
    full = _wants_full(x, k, cotangents)
    U, S, Vh, of_functions = measures.factors(x, full_matrices=full)
    found = Spectrum(tuple(x.shape[-2:]), S, of_functions, is_complex(x))
    finite = all_finite(x, axes=2)
    kept = U[..., :k], S[..., :k], Vh[..., :k, :]
    factors = (U, S, Vh) if k is None else kept
    with library_of(S).computing(S):
        return _reported(x, found, k, k_or_all, finite, factors, cotangents)


def _refuse_without_k(x: Any) -> NoReturn:
    raise TypeError(
        f"diagnose: argument `x` is a {type(x).__name__} and no `k` came; wanted an array "
        "(..., m, n), or k, the number of its leading triplets, for a sparse matrix or an operator."
    )


def _of_leading(x: Any, k: int, cotangents: Any) -> Diagnosis:
    """By the values that a truncated SVD finds."""
    m, n = x.shape[-2:]
    S = measures.held(truncated_svd(x, min(k + AHEAD, m, n)).S)
    factors: Any = None, S[..., :k], None
    if cotangents is not None:
        factors = tuple(map(measures.held, truncated_svd(x, k)))
    finite = all_finite(x, axes=2) if is_dense(x) else all_finite(S, axes=1)
    found = Spectrum((m, n), S, S, bool(array_namespace(S).isdtype(x.dtype, "complex floating")))
    with library_of(S).computing(S):
        return _reported(x, found, k, k, finite, factors, cotangents)


def _wants_full(x: Array, k: int | None, cotangents: Any) -> bool:
    """Whether cotangents belong to full matrices."""
    if cotangents is None or k is not None:
        return False
    U_bar, _, Vh_bar = _as_three(cotangents)
    m, n = x.shape[-2:]
    sides = ((U_bar, -1, m), (Vh_bar, -2, n))
    return m != n and any(
        bar is not None and bar.shape[axis] == side and side > min(m, n)
        for bar, axis, side in sides
    )


def _as_three(cotangents: Any) -> Arrays:
    if not isinstance(cotangents, (tuple, list)) or len(cotangents) != 3:
        raise ValueError(
            f"diagnose: `cotangents` is a {type(cotangents).__name__}; wanted (U_bar, S_bar, "
            "Vh_bar), with None for zero."
        )
    return tuple(cotangents)


def _reported(
    x: Any,
    found: Spectrum,
    k: int | None,
    leading: int,
    finite: Array,
    factors: Any,
    cotangents: Any,
) -> Diagnosis:
    S, xp = found.S, array_namespace(found.S)
    zero, columns = measures.zeros(found), measures.undefined_columns(found, leading)
    gap = measures.gap(S, leading)
    error = measures.vector_error(found, leading, gap)
    cut = (None, None, None) if k is None else measures.at_cut(found, k, zero)
    finite, bad, seen = finite & all_finite(S, axes=1), xp.any(columns, axis=-1), None
    sees_vectors = True
    if cotangents is not None:
        bars = _checked(cotangents, factors)
        finite = finite & _finite_bars(bars, len(S.shape) - 1)
        seen = gauge_of(x, found, factors, bars, cut=k is not None)
        bad, sees_vectors = seen.undetermined, not bars[0] is bars[2] is None
    ok = finite & ~bad
    return Diagnosis(
        shape=found.shape,
        k=k,
        S=S,
        cluster=measures.clusters(S),
        zero=zero,
        undefined=columns,
        gap=gap,
        vector_error=error,
        rank=xp.sum(xp.astype(~zero & xp.isfinite(S), xp.int32), axis=-1),
        polar_condition=measures.polar_condition(found, zero) if found.complete else None,
        cut_gap=cut[0],
        cut_tied=cut[1],
        nearest_cut=cut[2],
        tie_residual=None if seen is None else seen.tie,
        phase_residual=None if seen is None else seen.phase,
        finite=finite,
        ok=ok,
        mask=ok & (error <= eps(S) ** 0.5) if sees_vectors else ok,
        is_complex=found.is_complex,
    )


def _checked(cotangents: Any, factors: Arrays) -> Arrays:
    bars = _as_three(cotangents)
    for name, bar, factor in zip(("U_bar", "S_bar", "Vh_bar"), bars, factors, strict=True):
        if bar is not None:
            check_like(bar, factor, f"diagnose: the cotangent {name}")
    return bars


def _finite_bars(bars: Arrays, batch: int) -> Any:
    """Whether cotangents are finite, of each batch element."""
    masks = [all_finite(bar, axes=bar.ndim - batch) for bar in bars if bar is not None]
    return reduce(and_, masks, True)
