r"""Norms of the singular values.

nuclear: N = sum_i s_i has the gradient U_r V_r^H over the values that do not count as zero. It is
the subgradient of least Frobenius norm where x is rank-deficient, and the jvp there is its inner
product with the direction.
"""

from __future__ import annotations

from . import _factor, _svd
from ._array import array_namespace, columnwise_dot, once_differentiable, real
from ._boundary import enter
from ._primitive import Primitive, is_differentiated
from ._ties import zero_tolerance


def nuclear_norm_forward(x, U, S, Vh):
    return (array_namespace(S).sum(S, axis=-1),)


def _subgradient(inputs):
    x, U, S, Vh = inputs
    xp = array_namespace(x)
    zero = S <= zero_tolerance(x, S)
    kept = xp.astype(~zero, S.dtype) + once_differentiable(S, zero)
    return (U * kept[..., None, :]) @ Vh


def nuclear_norm_jvp(inputs, outputs, tangents):
    xp = array_namespace(*inputs)
    gradient, dx = _subgradient(inputs), tangents[0]
    return (real(xp.sum(columnwise_dot(gradient, dx), axis=-1)),)


def nuclear_norm_vjp(inputs, outputs, cotangents):
    return cotangents[0][..., None, None] * _subgradient(inputs), None, None, None


nuclear = Primitive(
    "nuclear_norm", nuclear_norm_forward, nuclear_norm_jvp, nuclear_norm_vjp, carried=(1, 2, 3)
)


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
    full rank it is the derivative, at ties too; at low rank it is the subgradient of least
    Frobenius norm. One product of x's size a backward. Watson (1992), Characterization of the
    subdifferential of some matrix norms.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> norm, pullback = sg.vjp(sg.nuclear_norm, np.diag([3.0, 3.0, 0.0]))
    >>> pullback(np.asarray(1.0))[0].diagonal()
    array([1., 1., 0.])
    """
    x, narrow = enter(x, "nuclear_norm")
    if not is_differentiated(x):
        return narrow(array_namespace(x).sum(_factor.svdvals(x), axis=-1))
    return narrow(nuclear(x, *_svd.factors(x))[0])
