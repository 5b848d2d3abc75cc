"""Named functions of Hermitian matrices: roots, powers, logarithm and exponential.

Each is Q f(w) Q^H of the Hermitian part, with the derivatives of `eigh_function`. They have SciPy's
names and are SciPy's functions for Hermitian matrices alone: what is clearly something else is NaN.
A semidefinite matrix has computed eigenvalues of either sign around zero: |w| <= 2 sqrt(n) eps
max|w| counts as zero for roots, powers and the logarithm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .._bindings.array import Arrays, ArrayT
from .._engine.arguments import enter
from .._functions import exponentials
from .._functions.arguments import Function, as_scalar_function
from .._functions.powers import Power
from .._spectrum import factorizations
from .._spectrum.undefined import Policy, Undefined, check_undefined
from .declaration import operation
from .eigh import eigh_factors
from .eigh_function import of_eigenvalues


def _why_skew(
    inputs: Arrays, outputs: Arrays, *, undefined: Undefined, **_: Any
) -> Exception | None:
    return undefined.explain_skew(inputs[0], outputs[0])


def _named(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule, which does not mind what function it is for."""
    return lambda *args, undefined, **static: rule(*args, **static)


# where x has no eigenvalues they are NaN, and say for which function
hermitian_factors = replace(
    eigh_factors,
    forward=_named(factorizations.eigh_of_hermitian),
    jvp=_named(eigh_factors.jvp),
    vjp=_named(eigh_factors.vjp),
    no_value=_why_skew,
)


def _of_hermitian(
    x: ArrayT, f: Function, function: str, undefined: Policy = "nan", **options: bool
) -> ArrayT:
    x, narrow = enter(x, function, square=True)
    f, parameters = as_scalar_function(f, x, function)
    about = check_undefined(undefined, function)
    w, Q = hermitian_factors(x, undefined=about)
    return narrow(of_eigenvalues(x, w, Q, *parameters, f=f, undefined=about, **options))


@operation("functions of Hermitian matrices", hermitian=True, definite=True, at_zeros=False)
def sqrtm(x: ArrayT, /, *, undefined: Policy = "nan") -> ArrayT:
    """The square root of a positive semidefinite matrix.

    Parameters
    ----------
    x : array (..., n, n)
        Hermitian. What rounding leaves of a skew-Hermitian part is dropped; where that has entries
        above 1e-2 max|w|, the batch element is NaN, and so is its derivative.
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    array (..., n, n), Hermitian

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    Warns
    -----
    UserWarning
        For a value that is NaN, which says why.

    See Also
    --------
    inv_sqrtm, powm, polar

    Notes
    -----
    An eigenvalue below -2 sqrt(n) eps max|w| makes the batch element NaN. At an eigenvalue that
    counts as zero the root exists, and its slope is infinite: the derivative is NaN, unless the
    cotangent or tangent vanishes on the null space to rounding. 4 products of x's size a backward;
    second derivatives too, exact at repeated eigenvalues. Higham (2008), chapter 6.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.sqrtm(np.diag([9.0, 0.0]))
    array([[3., 0.],
           [0., 0.]])
    """
    return _of_hermitian(x, exponentials.sqrt, "sqrtm", undefined, semidefinite=True)


@operation("functions of Hermitian matrices", hermitian=True, definite=True, at_zeros=False)
def inv_sqrtm(x: ArrayT, /, *, undefined: Policy = "nan") -> ArrayT:
    """The inverse square root of a positive definite matrix, as in whitening.

    Parameters
    ----------
    x : array (..., n, n)
        Hermitian. What rounding leaves of a skew-Hermitian part is dropped; where that has entries
        above 1e-2 max|w|, the batch element is NaN, and so is its derivative.
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    array (..., n, n), Hermitian

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    Warns
    -----
    UserWarning
        For a value that is NaN, which says why.

    See Also
    --------
    sqrtm, powm, pinv

    Notes
    -----
    An eigenvalue that counts as zero, |w| <= 2 sqrt(n) eps max|w|, or is negative makes the batch
    element NaN: add a multiple of the identity first, or use `eigh_function` with a function that
    is tame at zero. 4 products of x's size a backward; second derivatives too, exact at repeated
    eigenvalues. Higham (2008), chapter 6.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.inv_sqrtm(np.diag([4.0, 1.0]))
    array([[0.5, 0. ],
           [0. , 1. ]])
    """
    return _of_hermitian(x, Power(-0.5), "inv_sqrtm", undefined, semidefinite=True)


@operation("functions of Hermitian matrices", example={"p": 2.5}, hermitian=True, definite=True)
def powm(x: ArrayT, /, p: float | ArrayT, *, undefined: Policy = "nan") -> ArrayT:
    """A power of a Hermitian matrix: whole, or real if it is positive semidefinite.

    Parameters
    ----------
    x : array (..., n, n)
        Hermitian. What rounding leaves of a skew-Hermitian part is dropped; where that has entries
        above 1e-2 max|w|, the batch element is NaN, and so is its derivative.
    p : number or array
        An array, with a number for each matrix of the stack, is differentiated by, and never counts
        as whole.
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    array (..., n, n), Hermitian

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices, or a p that does not go with x.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    Warns
    -----
    UserWarning
        For a value that is NaN, which says why.

    See Also
    --------
    sqrtm, inv_sqrtm, eigh_function

    Notes
    -----
    Unless p is a whole number, an eigenvalue below -2 sqrt(n) eps max|w| makes the batch element
    NaN. At one that counts as zero, |w| <= 2 sqrt(n) eps max|w|: for p < 0 the batch element is
    NaN; for 0 < p < 1 the derivative is, as for `sqrtm`; from p = 1 on it exists. 4 products of x's
    size a backward; second derivatives too, exact at repeated eigenvalues. Higham (2008), chapter
    7.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.powm(np.diag([4.0, 1.0]), 1.5)
    array([[8., 0.],
           [0., 1.]])
    """
    return _of_hermitian(x, Power(p), "powm", undefined, semidefinite=True)


@operation("functions of Hermitian matrices", hermitian=True, definite=True, at_zeros=False)
def logm(x: ArrayT, /, *, undefined: Policy = "nan") -> ArrayT:
    """The logarithm of a positive definite matrix.

    Parameters
    ----------
    x : array (..., n, n)
        Hermitian. What rounding leaves of a skew-Hermitian part is dropped; where that has entries
        above 1e-2 max|w|, the batch element is NaN, and so is its derivative.
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    array (..., n, n), Hermitian

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    Warns
    -----
    UserWarning
        For a value that is NaN, which says why.

    See Also
    --------
    expm, eigvalsh_sum

    Notes
    -----
    An eigenvalue that counts as zero, |w| <= 2 sqrt(n) eps max|w|, or is negative makes the batch
    element NaN. 4 products of x's size a backward; second derivatives too, exact at repeated
    eigenvalues. Higham (2008), chapter 11.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.logm(np.diag([np.e, 1.0]))
    array([[1., 0.],
           [0., 0.]])
    """
    return _of_hermitian(x, exponentials.log, "logm", undefined, semidefinite=True)


@operation("functions of Hermitian matrices", hermitian=True)
def expm(x: ArrayT, /) -> ArrayT:
    """The exponential of a Hermitian matrix.

    Parameters
    ----------
    x : array (..., n, n)
        Hermitian. What rounding leaves of a skew-Hermitian part is dropped; where that has entries
        above 1e-2 max|w|, the batch element is NaN, and so is its derivative.

    Returns
    -------
    array (..., n, n), Hermitian

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices.

    Warns
    -----
    UserWarning
        For a value that is NaN, which says why.

    See Also
    --------
    logm, eigh_function

    Notes
    -----
    Smooth everywhere. 4 products of x's size a backward; second derivatives too, exact at repeated
    eigenvalues. Higham (2008), chapter 10.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.expm(np.diag([np.log(2.0), 0.0]))
    array([[2., 0.],
           [0., 1.]])
    """
    return _of_hermitian(x, exponentials.exp, "expm")
