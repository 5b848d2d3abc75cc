"""Functions of the spectrum: U f(S) V^H and Q f(w) Q^H, without U, V or Q of their own.

Their derivatives are derived in `_svd_kernel` and `_eigh_kernel`.
"""

from __future__ import annotations

from . import _eigh, _svd
from ._arguments import as_scalar_function
from ._boundary import enter
from ._eigh_kernel import eigh_differential, eigh_second, eigh_value
from ._svd_kernel import svd_differential, svd_second, svd_value
from ._symmetric import symmetric
from .functions import soft_threshold

of_singular_values = symmetric("svd_function", 3, svd_value, svd_differential, svd_second)
of_eigenvalues = symmetric("eigh_function", 2, eigh_value, eigh_differential, eigh_second)


def svd_function(x, /, f):
    r"""U f(S) Vh, with a derivative at ties, at low rank and at zero.

    Parameters
    ----------
    x : array (..., m, n)
    f : function of `spectralgrad.functions`, (f, df), (f, df, d2f), or callable
        Taken as an odd function, f(-s) = -f(s). The named functions have closed divided
        differences, and parameters that may be arrays to differentiate by. A tuple gives values and
        derivatives, elementwise. A bare callable serves PyTorch and JAX arrays, where the library
        differentiates it.

    Returns
    -------
    array (..., m, n)

    Raises
    ------
    TypeError, ValueError
        For an x that is no floating matrix, for an f that is none of the above, that closes over a
        value being differentiated (its gradient would be lost), or that is not elementwise.

    Notes
    -----
    No gap enters: the derivative is exact to working precision for equal, close and zero values
    alike. A value counts as zero at max(m, n) eps S[0]; there f(0) = 0 and a finite f'(0) are
    needed: otherwise the function jumps or is infinitely steep, and the member's derivative is NaN,
    without a warning. At the kink of a threshold the named function says which slope it takes.
    Second derivatives are as exact, at ties too; they need f''(0) = 0 at a zero value, and are NaN
    at a kink. 4 products of x's size a backward, k^3 divided differences a second derivative.
    Noferini (2017), here in the variables of the SVD.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> out, pullback = sg.vjp(lambda x: sg.svd_function(x, sg.functions.power(3)), np.eye(2))
    >>> pullback(np.array([[1.0, 0.0], [0.0, 0.0]]))[0]
    array([[3., 0.],
           [0., 0.]])
    """
    x, narrow = enter(x, "svd_function")
    f, parameters = as_scalar_function(f, x, "svd_function")
    return narrow(of_singular_values(x, *_svd.factors(x), *parameters, f=f)[0])


def eigh_function(x, /, f):
    r"""Q f(w) Q^H of the Hermitian part of x, with a derivative at repeated eigenvalues.

    Parameters
    ----------
    x : array (..., n, n)
        Its Hermitian part (x + x^H)/2 is read.
    f : function of `spectralgrad.functions`, (f, df), (f, df, d2f), or callable
        As for `svd_function`; no symmetry is assumed.

    Returns
    -------
    array (..., n, n), Hermitian

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices, or an f as in `svd_function`.

    Notes
    -----
    Eigenvalues are taken as computed, with their error of n eps max|w|: what is infinitely steep at
    zero, such as `reciprocal`, is not guarded at a singular matrix. `powm`, `sqrtm` and `logm` are.
    The cotangent of x is Hermitian. Where f or its derivative does not exist at an eigenvalue the
    named functions are NaN, without a warning. Second derivatives are exact at repeated eigenvalues
    too. 4 products of x's size a backward, n^3 divided differences a second derivative. Daleckii
    and Krein (1965); Higham (2008), theorem 3.11.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.eigh_function(np.diag([0.0, np.log(2.0)]), sg.functions.exp)
    array([[1., 0.],
           [0., 2.]])
    """
    x, narrow = enter(x, "eigh_function", square=True)
    f, parameters = as_scalar_function(f, x, "eigh_function")
    return narrow(of_eigenvalues(x, *_eigh.factors(x), *parameters, f=f)[0])


def singular_value_threshold(x, /, tau):
    r"""U max(S - tau, 0) Vh, the proximal operator of tau times the nuclear norm.

    Parameters
    ----------
    x : array (..., m, n)
    tau : number or array
        At least 0. An array, with a number for each matrix of the stack, is differentiated by.

    Returns
    -------
    array (..., m, n)

    Raises
    ------
    TypeError, ValueError
        For an x that is no floating matrix, or a tau that is negative or does not go with x.

    Notes
    -----
    Right at ties and at low rank. At the kink, a singular value equal to tau, the slope 0 is taken;
    the second derivative is NaN there. 4 products of x's size a backward. Cai, Candes, Shen (2010),
    A singular value thresholding algorithm for matrix completion.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.singular_value_threshold(np.diag([3.0, 0.5]), 1.0)
    array([[2., 0.],
           [0., 0.]])
    >>> out, pullback = sg.vjp(
    ...     sg.singular_value_threshold, np.diag([3.0, 0.5]), np.asarray(1.0)
    ... )
    >>> float(pullback(np.eye(2))[1])
    -1.0
    """
    x, narrow = enter(x, "singular_value_threshold")
    f, parameters = as_scalar_function(soft_threshold(tau), x, "singular_value_threshold")
    return narrow(of_singular_values(x, *_svd.factors(x), *parameters, f=f)[0])
