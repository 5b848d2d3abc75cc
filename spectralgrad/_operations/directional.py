r"""One-sided derivatives of sorted singular values and eigenvalues, at ties and at zero too.

Sorted values have kinks where they are equal, and singular values where they are zero, but along
every direction there is the limit

    s_i'(x; dx) = lim_{t -> 0+} (s_i(x + t dx) - s_i(x))/t.

Let U_c, V_c be the singular vectors of one value s > 0, simple or not. To first order in t the
values that grow from it are s + t times the eigenvalues of

    herm(U_c^H dx V_c),

and sorting them sorts the eigenvalues. At s = 0 and rank r, with U_0, V_0 all that is orthogonal to
the vectors of the values above zero (as many columns as make both square), the values that grow
from it are t times the singular values of U_0^H dx V_0. Of those there are min(m, n) - r, the zero
values of x. They are also the largest ones of

    (I - U_r U_r^H) dx (I - V_r V_r^H),

whose other values are zero: nothing of size m x m is formed. For eigenvalues the block is
Q_c^H herm(dx) Q_c, sorted ascending, as they are.

All blocks are diagonal blocks of one Hermitian matrix B. One eigendecomposition finds their
eigenvalues in the order of the blocks: B with everything between the blocks set to zero, and
3 ||B|| added to the diagonal for each block that came before, in the row-sum norm. It keeps the
blocks apart, and rounds the eigenvalues to eps ||B|| times the number of blocks. So only its
vectors q are used, and the eigenvalues are q^H B q, without what was added: their error is of
second order in that of q.

Sources: Watson (1992), Characterization of the subdifferential of some matrix norms; Lewis and
Sendov (2005), Nonsmooth analysis of singular values, part II; Overton and Womersley (1993) for
eigenvalues.
"""

from __future__ import annotations

from typing import NoReturn

from .._bindings.array import (
    Array,
    Arrays,
    ArrayT,
    adjoint,
    array_namespace,
    device,
    herm,
    real,
    trailing_columns,
    with_diagonal,
)
from .._bindings.lookup import adjoint_times
from .._bindings.matrix_products import columnwise_dot, product
from .._engine.arguments import enter
from .._engine.checks import check_like
from .._engine.linear import cast, dtype_name
from .._engine.options import check_rtol
from .._engine.primitive import Primitive
from .._spectrum import factorizations
from .._spectrum.ties import equals_mirror, first, gap_tolerance, largest, ties_of
from .svd_rules import factors_forward


def _block_eigenvalues(B: Array, block: Array) -> Array:
    """Those of the diagonal blocks of a Hermitian B, ascending in each; rows have block numbers."""
    xp, k = array_namespace(block), block.shape[-1]
    if k == 0:
        return xp.zeros_like(block)
    B = xp.where(block[..., :, None] == block[..., None, :], B, xp.zeros_like(B))
    norm = xp.max(xp.sum(xp.abs(B), axis=-1), axis=-1)[..., None]
    apart = with_diagonal(xp.zeros_like(B), 3 * norm * block)
    _, Q = factorizations.eigh(B + apart)
    return real(columnwise_dot(Q, product(B, Q)))


def _of_svdvals(x: Array, dx: Array, *, gap_rtol: float | None) -> Array:
    if x.shape[-2] < x.shape[-1]:
        x, dx = adjoint(x), adjoint(dx)
    U, S, Vh = factors_forward(x)
    xp, tolerance = array_namespace(S), gap_tolerance(first(S), gap_rtol)
    tie = ties_of(S, tolerance)
    last = max(0, S.shape[-1] - 1)
    zero = equals_mirror(trailing_columns(S, last), tolerance) & (
        tie == trailing_columns(tie, last)
    )
    kept = xp.astype(~zero, S.dtype)

    dx_V = product(dx, adjoint(Vh))
    dP = adjoint_times(U, dx_V)
    slopes = 0.0 - _block_eigenvalues(-herm(dP) * kept[..., None, :], tie)
    rest = (dx_V - product(U * kept[..., None, :], dP)) * (1 - kept)[..., None, :]
    return xp.where(zero, _behind(factorizations.svdvals(rest), kept), slopes)


def _behind(values: Array, kept: Array) -> Array:
    """The values, moved on by as many places as are kept."""
    xp = array_namespace(values)
    place = xp.arange(values.shape[-1], dtype=values.dtype, device=device(values))
    source = place - xp.sum(kept, axis=-1, keepdims=True)
    found = xp.where(source[..., :, None] == place, values[..., None, :], 0.0)
    return xp.sum(found, axis=-1)


def _of_eigvalsh(x: Array, dx: Array, *, gap_rtol: float | None) -> Array:
    w, Q = factorizations.eigh(x)
    tie = ties_of(w, gap_tolerance(largest(w), gap_rtol))
    return _block_eigenvalues(herm(product(adjoint(Q), herm(dx), Q)), tie)


def _undifferentiated(inputs: Arrays, outputs: Arrays, directions: Arrays, **_: object) -> NoReturn:
    raise TypeError(
        "directional_svdvals and directional_eigvalsh have no derivative of their own. Where the "
        "values are simple it is a second derivative of svdvals or eigvalsh, which PyTorch and JAX "
        "take; sums over functions of the values have it at ties too (svdvals_sum, eigvalsh_sum, "
        "with sg.hvp). Detach x and dx if the slopes are constants."
    )


_svdvals_slopes, _eigvalsh_slopes = (
    Primitive(name, forward, _undifferentiated, _undifferentiated, core=1, decomposes=True)
    for name, forward in (
        ("directional_svdvals", _of_svdvals),
        ("directional_eigvalsh", _of_eigvalsh),
    )
)


def _slopes(
    primitive: Primitive, x: ArrayT, dx: ArrayT, gap_rtol: float | None, *, square: bool = False
) -> ArrayT:
    function = primitive.name
    check_rtol(gap_rtol, function)
    wide, narrow = enter(x, function, square=square)
    check_like(dx, x, f"{function}: argument `dx`")
    return narrow(primitive(wide, cast(dx, dtype_name(wide)), gap_rtol=gap_rtol))


def directional_svdvals(x: ArrayT, dx: ArrayT, /, *, gap_rtol: float | None = None) -> ArrayT:
    """One-sided derivatives of the sorted singular values along dx, at ties and at zero too.

    Parameters
    ----------
    x : array (..., m, n)
    dx : array (..., m, n)
        The direction. Of x's shape and library, and real if x is.
    gap_rtol : float, optional
        Values closer than this times the largest count as equal, and values within half of it as
        zero; default eps^(3/4).

    Returns
    -------
    array (..., k), real
        lim (s_i(x + t dx) - s_i(x))/t for t -> 0 from above, in the order of the values. Within a
        tie they descend, as the values do for small t.

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, a dx that is not like it, or a gap_rtol out of
        range. A TypeError too from a derivative of the result, which has none by rule.

    See Also
    --------
    directional_eigvalsh, svdvals, singular_value_jacobian

    Notes
    -----
    They exist everywhere. They are homogeneous in dx, but linear only where the values are simple
    and not zero: the slope along -dx is another one. At a tie they are the eigenvalues of the
    Hermitian part of U_c^H dx V_c, with the tie's vectors; at zero the singular values of
    U_0^H dx V_0, with all vectors that are orthogonal to those of the values above zero.

    The sum of the k first is the one-sided derivative of `ky_fan_norm(x, k)`, also where k cuts a
    tie; the first is that of `spectral_norm`, and the sum of all that of `nuclear_norm`. Their
    gradients at a kink are one element of the subdifferential, and give a slope between these and
    those of the other side.

    Errors are some eps ||dx||, and eps S[0]/gap ||dx|| for values with a gap above the tolerance.
    A batch element with a NaN or an Inf is NaN throughout. It takes an SVD of x, one of a matrix
    of x's size, and an eigendecomposition (k, k). Watson (1992); Lewis and Sendov (2005).

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> x, dx = np.diag([2.0, 2.0, 0.0]), np.diag([1.0, 3.0, -1.0])
    >>> slopes = sg.directional_svdvals(x, dx)
    >>> slopes
    array([3., 1., 1.])
    >>> float(slopes[0]), float(slopes.sum())  # of the spectral norm, and of the nuclear norm
    (3.0, 5.0)
    """
    return _slopes(_svdvals_slopes, x, dx, gap_rtol)


def directional_eigvalsh(x: ArrayT, dx: ArrayT, /, *, gap_rtol: float | None = None) -> ArrayT:
    """One-sided derivatives of the sorted eigenvalues of the Hermitian part along dx, at ties too.

    Parameters
    ----------
    x : array (..., n, n)
        Its Hermitian part (x + x^H)/2 is read.
    dx : array (..., n, n)
        The direction, of which the same is read. Of x's shape and library, and real if x is.
    gap_rtol : float, optional
        Eigenvalues closer than this times the largest modulus count as equal, default eps^(3/4).

    Returns
    -------
    array (..., n), real
        lim (w_i(x + t dx) - w_i(x))/t for t -> 0 from above, in the order of the eigenvalues.
        Within a tie they ascend, as the eigenvalues do for small t.

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices, a dx that is not like it, or a
        gap_rtol out of range. A TypeError too from a derivative of the result.

    See Also
    --------
    directional_svdvals, eigvalsh

    Notes
    -----
    At a tie they are the eigenvalues of Q_c^H dx Q_c, with the tie's vectors. The sum of the k last
    is the one-sided derivative of `sum_largest_eigvalsh(x, k)`, also where k cuts a tie. Errors are
    as for `directional_svdvals`. Two eigendecompositions. Overton and Womersley (1993).

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.directional_eigvalsh(np.eye(2), np.array([[0.0, 1.0], [1.0, 0.0]]))
    array([-1.,  1.])
    """
    return _slopes(_eigvalsh_slopes, x, dx, gap_rtol, square=True)
