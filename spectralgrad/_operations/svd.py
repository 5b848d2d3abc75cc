"""The singular value decomposition: U, S and V themselves (`svd_rules` differentiates them)."""

from __future__ import annotations

from typing import Generic, NamedTuple

from .._bindings.array import ArrayT
from .._bindings.lookup import autodiff_of, block_library
from .._engine.arguments import enter
from .._engine.options import check_choice, check_flag, check_rtol
from .._engine.primitive import Primitive
from .._spectrum.ties import POLICIES, Ties
from .._spectrum.undefined import insists
from .declaration import operation
from .svd_rules import svd_forward, svd_jvp, svd_undefined, svd_vjp, unread_input


class SVDResult(NamedTuple, Generic[ArrayT]):
    """Factors of x = (U * S[..., None, :]) @ Vh."""

    U: ArrayT
    S: ArrayT
    Vh: ArrayT


_svd = Primitive(
    "svd",
    svd_forward,
    svd_jvp,
    svd_vjp,
    outputs=3,
    core=2,
    undefined=svd_undefined,
    insists=insists,
    decomposes=True,
    unread=unread_input,
)


@operation(
    "factors and values",
    rule=_svd,
    outputs="U S Vh",
    options={"ties": "nan", "gap_rtol": None},
    at_ties=False,
    at_zeros=False,
    second=False,
    over_rows={"full_matrices": False},
)
def svd(
    x: ArrayT, /, *, full_matrices: bool = True, ties: Ties = "nan", gap_rtol: float | None = None
) -> SVDResult[ArrayT]:
    r"""Singular value decomposition, differentiable in U, S and Vh.

    Parameters
    ----------
    x : array (..., m, n)
        Real or complex, single or double; half is computed in single and returned in half.
    full_matrices : bool
        Whether U is (..., m, m) and Vh (..., n, n), or (..., m, k) and (..., k, n) with
        k = min(m, n).
    ties : {"nan", "raise", "drop", "split"}
        What becomes of a cotangent or tangent of U or Vh at singular values that count as equal,
        or at zeros that leave their vectors free:

        - "nan": the gradient of that batch element is NaN, with a `DerivativeUndefinedWarning` for
          arrays on the host.
        - "raise": a `DerivativeUndefinedError`; NaN under tracing.
        - "drop": the undefined part is left out. Use `svd_function` or another function of x if the
          loss can be written with one. Right for losses of U and Vh alone that are blind to the
          choice of vectors (projectors, polar factors); wrong for losses that use S, by as much as
          their gradient.
        - "split": S comes back with its ties opened by about sqrt(eps). Gradients of losses that
          are blind to the choice of vectors are right to 4 eps^(7/16) of the largest entry of
          U^H x_bar V, 6e-7 in double precision and 4e-3 in single, and mostly much better, if the
          loss's derivative by a value changes no more than that over the width. They are NaN for
          other losses, found by their residuals, and where an opened tie has moved another gap by
          more. A column that the loss does not use, neither value nor vector, is not in the way:
          its gaps are those before. A tangent is that of the split matrix.
    gap_rtol : float, optional
        Values closer than this times the largest count as equal, default eps^(3/4). "split" has a
        width of its own.

    Returns
    -------
    SVDResult
        U, S (..., k) in descending order, and Vh, with x = (U * S[..., None, :]) @ Vh (thin).

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, an option out of range, or full matrices of
        one matrix in several blocks.
    DerivativeUndefinedError
        From the derivative, with ties="raise".

    See Also
    --------
    svd_function, svdvals, orthogonalize, truncated_svd, diagnose

    Notes
    -----
    A batch element with a NaN or an Inf is NaN throughout and affects no other. A tie that no
    cotangent touches, exactly zero in U, S and Vh, is differentiated normally; so is a loss of S
    only. A lone zero leaves the vector of the shorter side determined up to its sign or phase, and
    that is differentiated too. A complex loss that depends on the phase of a vector has no
    derivative and is treated as a tie; a tangent has the phase that leaves W_U + W_V without a
    diagonal. Second derivatives (PyTorch, JAX) lose eps/gap and are NaN at ties and zeros under
    every policy. Above the threshold first derivatives of U and Vh still have an error of eps/gap,
    which nothing removes: where only a function of x is wanted, use `svd_function`,
    `orthogonalize`, `nuclear_norm` or `svdvals`, which know no gap.

    A backward takes 4 products of x's size for square x, 3 tall ones for m >> n. Formulas after
    Townsend (2016), and Wan and Zhang (2019) for complex x.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> x = np.array([[3.0, 0.0], [0.0, 1.0]])
    >>> (U, S, Vh), pullback = sg.vjp(sg.svd, x)
    >>> pullback((None, np.array([1.0, 0.0]), None))[0]
    array([[1., 0.],
           [0., 0.]])
    """
    full_matrices = check_flag(full_matrices, "svd", "full_matrices")
    x, narrow = enter(x, "svd", whole=full_matrices)
    check_choice(ties, POLICIES, "svd", "ties")
    check_rtol(gap_rtol, "svd")
    if x.shape[-2] == x.shape[-1]:
        full_matrices = False
    if full_matrices and block_library(x) is not None and autodiff_of(x) is None:
        raise ValueError(
            f"svd: argument `x` is one matrix of shape {tuple(x.shape)} in several blocks, and "
            "full_matrices=True asks for a square matrix of its longer side, which no block has "
            "room for; pass full_matrices=False."
        )
    return SVDResult(
        *map(narrow, _svd(x, full_matrices=full_matrices, ties=ties, gap_rtol=gap_rtol))
    )
