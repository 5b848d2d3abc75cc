"""Norms of the singular values; their gradients are derived in `_norm_rules`."""

from __future__ import annotations

import math

from . import _factor, _svd
from ._arguments import as_parameter
from ._array import array_namespace
from ._boundary import enter
from ._checks import check_rank
from ._norm_rules import ky_fan, nuclear, schatten
from ._primitive import is_differentiated
from ._scalar import FREE, is_array, number
from ._schatten import Schatten


def _nuclear_norm(x):
    if not is_differentiated(x):
        return array_namespace(x).sum(_factor.svdvals(x), axis=-1)
    return nuclear(x, *_svd.factors(x))[0]


def _ky_fan_norm(x, k):
    if k == min(x.shape[-2:]):
        return _nuclear_norm(x)
    if not is_differentiated(x):
        return array_namespace(x).sum(_factor.svdvals(x)[..., :k], axis=-1)
    return ky_fan(x, *_svd.factors(x), k=k)[0]


def _spectral_norm(x):
    return _ky_fan_norm(x, min(1, *x.shape[-2:]))  # that of a matrix without entries is 0


def nuclear_norm(x, /):
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
        For an x that is no floating matrix.

    Notes
    -----
    The gradient is U Vh over the values that do not count as zero, max(m, n) eps S[0]. Where x has
    full rank it is the derivative, at ties too, and the second derivative exists; at low rank it is
    the subgradient of least Frobenius norm, and the second derivative NaN. One product of x's size
    a backward. Watson (1992), Characterization of the subdifferential of some matrix norms.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> norm, pullback = sg.vjp(sg.nuclear_norm, np.diag([3.0, 3.0, 0.0]))
    >>> pullback(np.asarray(1.0))[0].diagonal()
    array([1., 1., 0.])
    """
    x, narrow = enter(x, "nuclear_norm")
    return narrow(_nuclear_norm(x))


def ky_fan_norm(x, /, k):
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
        For an x that is no floating matrix, or a k out of range.

    Notes
    -----
    The gradient is U_k V_k^H. At a tie across the cut, within eps^(3/4) S[0], and at zero values it
    is the subgradient of least Frobenius norm: the tied vectors share their weight evenly, zeros
    have none. The second derivative is NaN there, and errs by eps S[0]/gap elsewhere. One product
    of x's size a backward. Watson (1992).

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> norm, pullback = sg.vjp(sg.ky_fan_norm, np.diag([3.0, 1.0, 1.0]), k=2)
    >>> pullback(1.0)[0].diagonal()
    array([1. , 0.5, 0.5])
    """
    x, narrow = enter(x, "ky_fan_norm")
    return narrow(_ky_fan_norm(x, check_rank(k, x, "ky_fan_norm")))


def spectral_norm(x, /):
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
        For an x that is no floating matrix.

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
    return narrow(_spectral_norm(x))


def schatten_norm(x, /, p):
    """The p-norm of the singular values.

    Parameters
    ----------
    x : array (..., m, n)
    p : number or array
        At least 1; `math.inf` is the spectral norm. An array, with a number for each matrix of the
        stack, is differentiated by; one below 1 makes its member NaN.

    Returns
    -------
    array (...), real

    Raises
    ------
    TypeError, ValueError
        For an x that is no floating matrix, or a p that is below 1 or does not go with x.

    Notes
    -----
    Scale-free: no power of a singular value is formed but in units of the largest. The gradient is
    U (S/N)^(p - 1) Vh, right at ties; at p = 1 and zero values, and for a zero matrix, the
    subgradient of least Frobenius norm. The second derivative exists but for a zero matrix, for
    p < 2 at zero values, and where p is infinite at a tie of the largest: NaN. One product of x's
    size a backward. Lewis (1995), The convex analysis of unitarily invariant matrix functions.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> float(sg.schatten_norm(np.diag([3.0, 4.0]), 2))
    5.0
    """
    x, narrow = enter(x, "schatten_norm")
    if is_array(p):
        exponent, parameters = FREE, (as_parameter(p, x, "schatten_norm", "p"),)
    elif p == math.inf:
        return narrow(_spectral_norm(x))
    else:
        exponent, parameters = number(p, "p", least=1), ()
        if exponent == 1:
            return narrow(_nuclear_norm(x))
    f = Schatten(exponent)
    return narrow(schatten(x, *_svd.factors(x), *parameters, f=f)[0])
