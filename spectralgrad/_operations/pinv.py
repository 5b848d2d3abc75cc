"""The pseudoinverse, the adjoint of U f(S) V^H with f = 1/s beyond rtol s_1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._bindings.array import Array, Arrays, ArrayT, array_namespace, eps, nan_where
from .._engine.arguments import enter
from .._engine.checks import check_rtol
from .._engine.linear import adjoint_of
from .._engine.symmetric import symmetric
from .._functions.named import FREE
from .._functions.thresholds import inverse_above
from .._spectrum.ties import first, zero_values
from .declaration import operation
from .svd import svd_factors
from .svd_differentials import svd_differential, svd_second, svd_value


def _above(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule for 1/s beyond rtol s_1; NaN where a value lies at the threshold."""

    def inverse(factors: Arrays, directions: Arrays, parameters: Arrays, *, rtol: float) -> Array:
        S, xp = factors[1], array_namespace(factors[1])
        tau = rtol * first(S)
        out = rule(factors, directions, (xp.sum(tau, axis=-1),), f=inverse_above(FREE))
        if not directions:
            return out
        unclear = (xp.abs(S - tau) <= eps(S) * first(S)) | zero_values(*factors) & (tau < S)
        return out + nan_where(xp.any(unclear, axis=-1), S)[..., None, None]

    return inverse


pseudoinverse_adjoint = symmetric(
    "pinv",
    3,
    _above(svd_value),
    _above(svd_differential),
    _above(svd_second),
)


@operation("functions of singular values", at_zeros=False)
def pinv(x: ArrayT, /, *, rtol: float | None = None) -> ArrayT:
    """The Moore-Penrose pseudoinverse, values up to rtol S[0] counting as zero.

    Parameters
    ----------
    x : array (..., m, n)
    rtol : float, optional
        Default max(m, n) eps, as the array API standard has it.

    Returns
    -------
    array (..., n, m)

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, or an rtol out of range.

    Notes
    -----
    What is differentiated is the function with its threshold: at low rank its derivative is that
    along changes which keep the dropped values below the threshold. A value at the threshold, to
    rounding, or one kept that counts as zero at 2 sqrt(max(m, n)) eps S[0], makes the batch
    element's derivative NaN, without a warning, and so does a zero matrix. Second derivatives too.
    4 products of x's size a backward. Golub and Pereyra (1973), The differentiation of
    pseudo-inverses and nonlinear least squares problems whose variables separate.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.pinv(np.diag([2.0, 0.0]))
    array([[0.5, 0. ],
           [0. , 0. ]])
    """
    x, narrow = enter(x, "pinv")
    check_rtol(rtol, "pinv", "rtol")
    rtol = max(x.shape[-2:]) * eps(x) if rtol is None else float(rtol)
    return narrow(adjoint_of(pseudoinverse_adjoint(x, *svd_factors(x), rtol=rtol)))
