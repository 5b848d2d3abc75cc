r"""Polar factors: the nearest matrix with orthonormal columns, the nearest rotation, and x = U P.

The derivative of the polar factor divides by sums of singular values alone (`_polar_kernel`): ties
do not matter. P is the Hermitian part of U^H x, and inherits that.
"""

from __future__ import annotations

from typing import NamedTuple

from . import _svd
from ._array import Array, is_complex
from ._boundary import enter
from ._checks import check_choice
from ._linear import hermitian_part, matmul, nan_unless_finite
from ._polar_kernel import polar_differential, polar_second, polar_value
from ._symmetric import symmetric

polar_factor = symmetric("orthogonalize", 3, polar_value, polar_differential, polar_second)


class PolarResult(NamedTuple):
    """x = U @ P (side="right") or P @ U (side="left")."""

    U: Array
    P: Array


def orthogonalize(x, /):
    r"""The polar factor U Vh: the nearest matrix with orthonormal columns (or rows).

    Parameters
    ----------
    x : array (..., m, n)

    Returns
    -------
    array (..., m, n)

    Raises
    ------
    TypeError, ValueError
        For an x that is no floating matrix.

    Notes
    -----
    The derivative divides by sums of singular values alone: ties are as good as any. Where a value
    counts as zero, at max(m, n) eps S[0], the factor jumps and the member's derivative is NaN,
    without a warning. Second derivatives are as exact, at ties too, and take 10 products. 4
    products of x's size a backward.
    Kenney and Laub (1991), Polar decomposition and matrix sign function condition estimates.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> out, pullback = sg.vjp(sg.orthogonalize, 2 * np.eye(2))
    >>> pullback(np.array([[0.0, 1.0], [0.0, 0.0]]))[0]
    array([[ 0.  ,  0.25],
           [-0.25,  0.  ]])
    """
    x, narrow = enter(x, "orthogonalize")
    return narrow(polar_factor(x, *_svd.factors(x))[0])


def polar(x, /, *, side="right"):
    r"""Polar decomposition x = U P or x = P U, P positive semidefinite.

    Parameters
    ----------
    x : array (..., m, n)
    side : {"right", "left"}
        On which side P stands: x = U P with P (..., n, n), or x = P U with P (..., m, m).

    Returns
    -------
    PolarResult
        U (..., m, n), the polar factor, and P, Hermitian.

    Raises
    ------
    TypeError, ValueError
        For an x that is no floating matrix, or a side that is neither.

    Notes
    -----
    Values as those of `scipy.linalg.polar`. The derivative exists at ties, to second order. Where a
    value counts as zero, at max(m, n) eps S[0], U jumps and P has a kink: NaN. The derivative of P
    is that of U^H x, and errs by eps S[0]/S[-1]. 7 products of x's size a backward. Higham (2008),
    chapter 8.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.polar(np.array([[0.0, -2.0], [3.0, 0.0]])).P
    array([[3., 0.],
           [0., 2.]])
    """
    x, narrow = enter(x, "polar")
    check_choice(side, ("right", "left"), "polar", "side")
    (U,) = polar_factor(x, *_svd.factors(x))
    finite = nan_unless_finite(x)
    product = matmul(U, finite, left=True) if side == "right" else matmul(finite, U, right=True)
    return narrow(PolarResult(U, hermitian_part(product)[0]))


def nearest_rotation(x, /):
    r"""The rotation nearest to x: orthogonal, with determinant +1.

    Parameters
    ----------
    x : array (..., n, n)
        Real.

    Returns
    -------
    array (..., n, n)

    Raises
    ------
    TypeError, ValueError
        For an x that is complex or no stack of square floating matrices.

    Notes
    -----
    U diag(1, ..., 1, d) Vh with d = det(U Vh). The derivative exists at ties and for singular x,
    to second order, as long as S[-2] + d S[-1] does not count as zero, at n eps S[0]; otherwise the
    rotation jumps and the member's derivative is NaN, without a warning. 4 products of x's size a
    backward. Umeyama (1991), Least-squares estimation of transformation parameters between two
    point patterns, for the value.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.nearest_rotation(np.diag([3.0, 2.0, -1.0]))
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    x, narrow = enter(x, "nearest_rotation", square=True)
    if is_complex(x):
        raise TypeError(
            f"nearest_rotation: argument `x` has dtype {x.dtype}; wanted real matrices, since a "
            "rotation has no complex counterpart with one determinant. For the nearest unitary "
            "matrix use orthogonalize."
        )
    return narrow(polar_factor(x, *_svd.factors(x), signed=True)[0])
