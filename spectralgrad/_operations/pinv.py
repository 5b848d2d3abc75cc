"""The pseudoinverse, the adjoint of U f(S) V^H with f = 1/s beyond rtol s_1."""

from __future__ import annotations

from .._bindings.array import (
    Array,
    Arrays,
    ArrayT,
    array_namespace,
    eps,
    herm,
    invalidated,
    nan_where,
    skew,
)
from .._bindings.matrix_products import product
from .._bindings.rows import longer_side
from .._engine.arguments import enter
from .._engine.elementary import filled
from .._engine.linear import adjoint_of
from .._engine.options import check_threshold
from .._engine.symmetric import symmetric
from .._engine.tape import as_constant
from .._functions.arguments import as_parameter
from .._functions.named import FREE, is_array
from .._functions.truncated_powers import InverseAbove
from .._spectrum.naming import name_zero
from .._spectrum.ties import first, guarded, least_of, zero_tolerance
from .._spectrum.undefined import Policy, because, check_undefined
from .declaration import operation
from .svd_differentials import sandwich, svd_second
from .svd_rules import svd_factors


def _threshold(S: Array, rtol: Array) -> Array:
    """rtol s_1, (..., 1), and infinite from rtol = 1 on, where every value is dropped, always."""
    xp, rtol = array_namespace(S), rtol[..., None]
    every = rtol >= 1
    tau = xp.where(every, float("inf"), xp.where(every, 1.0, rtol) * first(S))
    return xp.where(rtol >= 0, tau, float("nan"))


def _unclear(factors: Arrays, tau: Array) -> Array:
    """Zeros, and NaN for batch elements with a value at the threshold, or kept and zero."""
    (U, S, Vh), xp = factors[:3], array_namespace(tau)
    zero = zero_tolerance(longer_side(U, Vh), S)
    error = xp.where(tau > 2 * zero, zero, eps(S) * first(S))  # a zero is not at a threshold
    unclear = (xp.abs(S - tau) <= error) | (zero >= S) & (tau < S)
    return nan_where(xp.any(unclear, axis=-1), S)


def _value(factors: Arrays, directions: Arrays, parameters: Arrays) -> Array:
    U, S, Vh, rtol = factors
    return product(U * _inverses(S, _threshold(S, rtol))[..., None, :], Vh)


def _inverses(S: Array, tau: Array) -> Array:
    """1/s beyond tau, else 0; NaN if tau is."""
    xp, kept = array_namespace(S), tau < S
    r = xp.where(kept, 1 / xp.where(kept, S, 1.0), xp.zeros_like(S))
    return r + nan_where(~(tau >= 0), S)


def _differential(
    factors: Arrays, directions: Arrays, parameters: Arrays, *, lenient: bool = False
) -> Array:
    """`svd_differential` with r = 1/s for what is kept and 0 for the others.

    G+- = -+ r_i r_j for two that are kept, and (r_i -+ r_j)/(s_i -+ s_j) across the threshold;
    h = r^2. All in units of the least value kept, so that r^2 does not overflow.
    """
    U, S, Vh, rtol = factors
    xp, least, tau = array_namespace(S), least_of(S), _threshold(S, rtol)
    unit = xp.where((least < tau) & (tau < float("inf")), tau, least)
    S, tau = S / unit, tau / unit
    factors = U, S, Vh, rtol
    zero = zero_tolerance(longer_side(U, Vh), S)
    if lenient:  # what counts as zero is no value to invert
        tau = xp.where(tau < zero, zero, tau)
    r = _inverses(S, tau)
    if not lenient:
        r = r + _unclear(factors, tau)[..., None]
    r_i, r_j, s_i, s_j = r[..., :, None], r[..., None, :], S[..., :, None], S[..., None, :]
    kept = tau < S
    both = kept[..., :, None] & kept[..., None, :]
    tie = zero[..., None] if lenient else 0.0
    product = r_i * r_j
    plus = xp.where(both, -product, (r_i - r_j) / guarded(s_i - s_j, tie))
    minus = xp.where(both, product, (r_i + r_j) / guarded(s_i + s_j, tie))

    def couple(M: Array) -> Array:
        return plus * herm(M) + minus * skew(M)

    return sandwich(U, Vh, directions[0], couple, r * r, 1 / unit)


def _second(factors: Arrays, directions: Arrays, parameters: Arrays) -> Array:
    U, S, Vh, rtol = factors
    tau = _threshold(S, rtol)
    parameters = (array_namespace(S).sum(tau, axis=-1),)
    out = svd_second((U, S, Vh), directions, parameters, f=InverseAbove(-1, FREE))
    return invalidated(out, _unclear(factors, tau)[..., None, None])


def _why(S: list[float]) -> str:
    if max(S) == 0:
        return "x is zero, and every change gives it rank"
    return (
        "a singular value lies at the threshold rtol S[0], or above it and has an inverse that is "
        f"out of range, or {name_zero('S', S)}"
    )


# the inputs are x, U, S, Vh and rtol, one number for each matrix
pseudoinverse_adjoint = symmetric(
    "pinv", 4, _value, _differential, _second, explained=because(2, _why, value=True)
)


@operation("functions of singular values", at_zeros=False, over_rows={})
def pinv(x: ArrayT, /, *, rtol: float | ArrayT | None = None, undefined: Policy = "nan") -> ArrayT:
    """The Moore-Penrose pseudoinverse, values up to rtol S[0] counting as zero.

    Parameters
    ----------
    x : array (..., m, n)
    rtol : number or array, optional
        Not negative, default max(m, n) eps, as the array API standard has it. An array has a number
        for each matrix, in a shape that broadcasts to the stack's; NaN in it makes its batch
        element NaN. It is not differentiated by: where a value crosses the threshold, the result
        jumps.
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    array (..., n, m)

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, or an rtol out of range.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    See Also
    --------
    svd_function, functions.tikhonov

    Notes
    -----
    What is differentiated is the function with its threshold: at low rank its derivative is that
    along changes which keep the dropped values below the threshold. A value at the threshold, to
    rounding, or one kept that counts as zero at 2 sqrt(max(m, n)) eps S[0], makes the batch
    element's derivative NaN, and so does a zero matrix. Second derivatives too. From rtol = 1 on
    the result is zero, and so is its derivative. 4 products of x's size a backward. Golub and
    Pereyra (1973), The differentiation of pseudo-inverses and nonlinear least squares problems
    whose variables separate.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.pinv(np.diag([2.0, 0.0]))
    array([[0.5, 0. ],
           [0. , 0. ]])
    """
    x, narrow = enter(x, "pinv")
    about = check_undefined(undefined, "pinv")
    U, S, Vh = svd_factors(x)
    if is_array(rtol):
        rtols = as_parameter(as_constant(rtol), x, "pinv", "rtol")
    else:
        default = longer_side(x, x) * eps(x)
        rtols = filled(S, value=check_threshold(rtol, "pinv", "rtol", default), axes=1, ones=0)
    return narrow(adjoint_of(pseudoinverse_adjoint(x, U, S, Vh, rtols, undefined=about)))
