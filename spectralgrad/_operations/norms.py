r"""Norms of the singular values: nuclear, spectral and Ky Fan.

A norm's gradient is a matrix U g V^H, and the Hessian applied to a direction that matrix's
derivative; both are symmetric maps (`symmetric`). Where the norm has a kink the gradient is the
subgradient of least Frobenius norm, the jvp its inner product with the direction, and the second
derivative NaN.

    nuclear     g = 1 over the values that do not count as zero: the polar factor there
    Ky Fan k    g = 1 over the k largest, a tie across the cut sharing its weight evenly: the
                partial isometry U_k V_k^H where there is none; spectral norm: k = 1

Source: Watson (1992), Characterization of the subdifferential of some matrix norms.
"""

from __future__ import annotations

from .._bindings.array import Array, Arrays, ArrayT, array_namespace
from .._bindings.matrix_products import product
from .._bindings.rows import longer_side
from .._engine.arguments import enter
from .._engine.checks import check_rank
from .._engine.symmetric import potential, symmetric
from .._engine.tape import is_differentiated
from .._spectrum import factorizations
from .._spectrum.ties import cut_shares, zero_tolerance, zero_values
from .._spectrum.undefined import Undefined, at_kinks
from .declaration import REQUIRED, operation
from .low_rank import isometry_differential, isometry_second
from .polar_differentials import polar_differential, polar_second
from .svd_rules import svd_factors


def _sum_of_values(factors: Arrays, parameters: Arrays, *, k: int | None = None) -> Array:
    return array_namespace(factors[1]).sum(factors[1][..., :k], axis=-1)


def _nuclear_gradient(factors: Arrays, directions: Arrays, parameters: Arrays) -> Array:
    U, S, Vh = factors
    kept = array_namespace(S).astype(~zero_values(*factors), S.dtype)
    return product(U * kept[..., None, :], Vh)


def _ky_fan_gradient(factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int) -> Array:
    U, S, Vh = factors
    weights = cut_shares(S, k, zero_tolerance(longer_side(U, Vh), S))
    weights = array_namespace(S).where(zero_values(*factors), 0.0, weights)
    return product(U * weights[..., None, :], Vh)


nuclear = potential(
    "nuclear_norm",
    3,
    _sum_of_values,
    symmetric(
        "nuclear_norm'",
        3,
        _nuclear_gradient,
        polar_differential,
        polar_second,
        explained=at_kinks(2, "nuclear_norm"),
    ),
)
ky_fan = potential(
    "ky_fan_norm",
    3,
    _sum_of_values,
    symmetric(
        "ky_fan_norm'",
        3,
        _ky_fan_gradient,
        isometry_differential,
        isometry_second,
        explained=at_kinks(2, "ky_fan_norm"),
    ),
)


def sum_of_largest(x: Array, k: int, function: str) -> Array:
    """The sum of the k largest singular values, for a public function of that name."""
    if not is_differentiated(x):
        return array_namespace(x).sum(factorizations.svdvals(x)[..., :k], axis=-1)
    factors, about = svd_factors(x), Undefined(function)
    if k == min(x.shape[-2:]):
        return nuclear(x, *factors, undefined=about)
    return ky_fan(x, *factors, k=k, undefined=about)


def largest_of_all(x: Array, function: str) -> Array:
    """That of a matrix without entries is 0."""
    return sum_of_largest(x, min(1, *x.shape[-2:]), function)


@operation("norms", rule=nuclear, inputs="x U S Vh", at_zeros=False, over_rows={})
def nuclear_norm(x: ArrayT, /) -> ArrayT:
    """Sum of the singular values.

    Parameters
    ----------
    x : array (..., m, n)

    Returns
    -------
    array (...), real

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix.

    See Also
    --------
    spectral_norm, schatten_norm, ky_fan_norm, singular_value_threshold

    Notes
    -----
    The gradient is U Vh over the values that do not count as zero, 2 sqrt(max(m, n)) eps S[0].
    Where x has full rank it is the derivative, at ties too, and the second derivative exists; at
    low rank it is the subgradient of least Frobenius norm, and the second derivative NaN. One
    product of x's size a backward. Watson (1992), Characterization of the subdifferential of some
    matrix norms.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> norm, pullback = sg.vjp(sg.nuclear_norm, np.diag([3.0, 3.0, 0.0]))
    >>> pullback(np.asarray(1.0))[0].diagonal()
    array([1., 1., 0.])
    """
    x, narrow = enter(x, "nuclear_norm")
    return narrow(sum_of_largest(x, min(x.shape[-2:]), "nuclear_norm"))


@operation(
    "norms",
    example={"k": 3},
    rule=ky_fan,
    inputs="x U S Vh",
    options={"k": REQUIRED},
    at_zeros=False,
    over_rows={},
)
def ky_fan_norm(x: ArrayT, /, k: int) -> ArrayT:
    """Sum of the k largest singular values.

    Parameters
    ----------
    x : array (..., m, n)
    k : int
        From 1 to min(m, n): the spectral norm to the nuclear norm.

    Returns
    -------
    array (...), real

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, or a k out of range.

    See Also
    --------
    nuclear_norm, spectral_norm, sum_largest_eigvalsh

    Notes
    -----
    The gradient is U_k V_k^H. At a tie across the cut, to the error of computed values, 2 sqrt(max(
    m, n)) eps S[0], and at zero values it is the subgradient of least Frobenius norm: the tied
    vectors share their weight evenly, zeros have none. The second derivative is NaN where the gap
    is within eps^(3/4) S[0], and has an error of eps S[0]/gap elsewhere. One product of x's size a
    backward. Watson (1992).

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> norm, pullback = sg.vjp(sg.ky_fan_norm, np.diag([3.0, 1.0, 1.0]), k=2)
    >>> pullback(1.0)[0].diagonal()
    array([1. , 0.5, 0.5])
    """
    x, narrow = enter(x, "ky_fan_norm")
    return narrow(sum_of_largest(x, check_rank(k, x, "ky_fan_norm"), "ky_fan_norm"))


@operation("norms", at_ties=False, at_zeros=False, over_rows={})
def spectral_norm(x: ArrayT, /) -> ArrayT:
    """The largest singular value.

    Parameters
    ----------
    x : array (..., m, n)

    Returns
    -------
    array (...), real

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix.

    See Also
    --------
    nuclear_norm, ky_fan_norm, schatten_norm

    Notes
    -----
    As `ky_fan_norm` with k = 1: where the r largest values are tied the gradient is
    U_r V_r^H / r, the subgradient of least Frobenius norm.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> norm, pullback = sg.vjp(sg.spectral_norm, np.diag([3.0, 2.0]))
    >>> float(norm), pullback(1.0)[0].diagonal()
    (3.0, array([1., 0.]))
    """
    x, narrow = enter(x, "spectral_norm")
    return narrow(largest_of_all(x, "spectral_norm"))
