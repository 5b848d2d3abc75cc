"""The pseudoinverse, the adjoint of U f(S) V^H with f = 1/s beyond rtol s_1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._bindings.array import Array, Arrays, ArrayT, array_namespace, eps, nan_where
from .._engine.arguments import enter
from .._engine.checks import check_threshold
from .._engine.elementary import filled
from .._engine.linear import adjoint_of
from .._engine.symmetric import symmetric
from .._engine.tape import as_constant
from .._functions.arguments import as_parameter
from .._functions.named import FREE, is_array
from .._functions.truncated_powers import PowerAbove
from .._spectrum.ties import first, zero_values
from .declaration import operation
from .svd import svd_factors
from .svd_differentials import svd_differential, svd_second, svd_value


def _above(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule for 1/s beyond rtol s_1; NaN where a value lies at the threshold."""

    def inverse(factors: Arrays, directions: Arrays, parameters: Arrays) -> Array:
        S, rtol, xp = factors[1], factors[3][..., None], array_namespace(factors[1])
        factors = factors[:3]
        every = rtol >= 1  # value is dropped, always
        tau = xp.where(every, float("inf"), xp.where(every, 1.0, rtol) * first(S))
        out = rule(factors, directions, (xp.sum(tau, axis=-1),), f=PowerAbove(-1, FREE))
        unclear = ~(rtol >= 0) | xp.zeros_like(S, dtype=xp.bool)
        if directions:
            unclear = unclear | (xp.abs(S - tau) <= eps(S) * first(S))
            unclear = unclear | zero_values(*factors) & (tau < S)
        return out + nan_where(xp.any(unclear, axis=-1), S)[..., None, None]

    return inverse


# the inputs are x, U, S, Vh and rtol, one number for each matrix
pseudoinverse_adjoint = symmetric(
    "pinv",
    4,
    _above(svd_value),
    _above(svd_differential),
    _above(svd_second),
)


@operation("functions of singular values", at_zeros=False)
def pinv(x: ArrayT, /, *, rtol: float | ArrayT | None = None) -> ArrayT:
    """The Moore-Penrose pseudoinverse, values up to rtol S[0] counting as zero.

    Parameters
    ----------
    x : array (..., m, n)
    rtol : number or array, optional
        Not negative, default max(m, n) eps, as the array API standard has it. An array has a number
        for each matrix, in a shape that broadcasts to the stack's; NaN in it makes its batch
        element NaN. It is not differentiated by: where a value crosses the threshold, the result
        jumps.

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
    From rtol = 1 on the result is zero, and so is its derivative.
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
    U, S, Vh = svd_factors(x)
    if is_array(rtol):
        rtols = as_parameter(as_constant(rtol), x, "pinv", "rtol")
    else:
        default = max(x.shape[-2:]) * eps(x)
        rtols = filled(S, value=check_threshold(rtol, "pinv", "rtol", default), axes=1, ones=0)
    return narrow(adjoint_of(pseudoinverse_adjoint(x, U, S, Vh, rtols)))
