r"""Functions of the spectrum: U f(S) V^H and Q f(w) Q^H, without U, V or Q of their own.

Let F(A) = U f(S) V^H with f extended to an odd function, and M = U^H C V for a direction C. The
Hermitian matrix [[0, A], [A^H, 0]] has eigenvalues +-s_i and eigenvectors (u_i, +-v_i)/sqrt 2, and
F of A is the corner of f of it; Daleckii and Krein's formula there gives

    DF(A)[C] = U (G+ o herm(M) + G- o skew(M)) V^H
             + (I - U U^H) C V diag(h) V^H + U diag(h) U^H C (I - V V^H)

    G+_ij = f[s_i, s_j]
    G-_ij = f[s_i, -s_j] = (f_i + f_j)/(s_i + s_j)
    h_i   = f[s_i, 0] = f_i/s_i

No gap is divided by. G+, G- and h are real and symmetric, so the map is self-adjoint: the same
function is the jvp and the vjp. A value counts as zero at max(m, n) eps s_1; there f(0) = 0 is
needed and f'(0) is used, and f(0) != 0 makes F discontinuous: NaN.

For Hermitian A, DF(A)[C] = Q (f[w_i, w_j] o Q^H C Q) Q^H.

Sources: Daleckii and Krein (1965); Higham, Functions of Matrices (2008), section 3.2; Noferini
(2017), A formula for the Frechet derivative of a generalized matrix function.
"""

from __future__ import annotations

from . import _eigh, _svd
from ._array import adjoint, array_namespace, eps, herm, nan_where, once_differentiable, skew
from ._boundary import enter
from ._factor import adjoint_times
from ._primitive import Primitive
from ._scalar import as_scalar_function
from ._ties import first, guarded, zero_tolerance


def sandwich(U, Vh, C, couple, h):
    """U couple(U^H C V) V^H, with the complements' part scaled by h: 4 products of x's size."""
    m, n, k = U.shape[-2], Vh.shape[-1], U.shape[-1]
    if m >= n:
        CV = C @ adjoint(Vh)
        M = adjoint_times(U, CV)
        if m == k:
            return U @ couple(M) @ Vh
        return (U @ (couple(M) - M * h[..., None, :]) + CV * h[..., None, :]) @ Vh
    UC = adjoint_times(U, C)
    M = UC @ adjoint(Vh)
    return U @ ((couple(M) - h[..., :, None] * M) @ Vh + h[..., :, None] * UC)


def svd_function_forward(x, U, S, Vh, *, f):
    return ((U * f(S)[..., None, :]) @ Vh,)


def _svd_differential(inputs, C, f):
    x, U, S, Vh = inputs
    xp = array_namespace(x)
    zero = S <= zero_tolerance(x, S)
    s = xp.where(zero, 0.0, S)
    fs, scale = f(s), xp.where(first(S) == 0, 1.0, first(S))
    undefined = xp.any(zero & (fs != 0), axis=-1)
    h = xp.where(zero, f.derivative(s), f.ratio(xp.where(zero, 1.0, S), fs))
    h = h + nan_where(undefined, x)[..., None] + once_differentiable(S, zero)
    # G- = (t_i h_i + t_j h_j)/(t_i + t_j) in units of s_1, where zeros become specks: it is f'(0)
    # for two of them, and no other pair feels them; no pass over pairs tells them apart.
    t = xp.where(zero, max(x.shape[-2:]) * eps(x) ** 1.5, S / scale)
    ht = h * t

    def couple(M):
        plus = f.divided(s[..., :, None], s[..., None, :])
        minus = (ht[..., :, None] + ht[..., None, :]) / (t[..., :, None] + t[..., None, :])
        M = M / 2  # G+ o herm(M) + G- o skew(M), with one transposition
        return (plus + minus) * M + (plus - minus) * adjoint(M)

    return sandwich(U, Vh, C, couple, h)


def svd_function_jvp(inputs, outputs, tangents, *, f):
    return (_svd_differential(inputs, tangents[0], f),)


def svd_function_vjp(inputs, outputs, cotangents, *, f):
    return _svd_differential(inputs, cotangents[0], f), None, None, None


of_singular_values = Primitive(
    "svd_function", svd_function_forward, svd_function_jvp, svd_function_vjp, carried=(1, 2, 3)
)


def orthogonalize_forward(x, U, S, Vh):
    return (U @ Vh,)


def _polar_differential(inputs, C):
    """f = sign: G+ = 0, G- = 2/(s_i + s_j), h = 1/s; undefined where a value counts as zero."""
    x, U, S, Vh = inputs
    tolerance = zero_tolerance(x, S)
    undefined = array_namespace(x).any(tolerance >= S, axis=-1)
    s = guarded(S, tolerance) + nan_where(undefined, x)[..., None]
    return sandwich(U, Vh, C, lambda M: skew(2 * M) / (s[..., :, None] + s[..., None, :]), 1 / s)


def orthogonalize_jvp(inputs, outputs, tangents):
    return (_polar_differential(inputs, tangents[0]),)


def orthogonalize_vjp(inputs, outputs, cotangents):
    return _polar_differential(inputs, cotangents[0]), None, None, None


polar_factor = Primitive(
    "orthogonalize", orthogonalize_forward, orthogonalize_jvp, orthogonalize_vjp, carried=(1, 2, 3)
)


def eigh_function_forward(x, w, Q, *, f):
    return ((Q * f(w)[..., None, :]) @ adjoint(Q),)


def _eigh_differential(inputs, C, f):
    _, w, Q = inputs
    G = f.divided(w[..., :, None], w[..., None, :])
    return herm(Q @ (G * (adjoint(Q) @ herm(C) @ Q)) @ adjoint(Q))


def eigh_function_jvp(inputs, outputs, tangents, *, f):
    return (_eigh_differential(inputs, tangents[0], f),)


def eigh_function_vjp(inputs, outputs, cotangents, *, f):
    return _eigh_differential(inputs, cotangents[0], f), None, None


of_eigenvalues = Primitive(
    "eigh_function", eigh_function_forward, eigh_function_jvp, eigh_function_vjp, carried=(1, 2)
)


def svd_function(x, /, f):
    r"""U f(S) Vh, with a derivative at ties, at low rank and at zero.

    Parameters
    ----------
    x : array (..., m, n)
    f : function of `spectralgrad.functions`, pair (f, df), or callable
        Taken as an odd function, f(-s) = -f(s). The named functions have closed divided
        differences. A pair gives values and derivative, elementwise. A bare callable serves PyTorch
        and JAX arrays, where the library differentiates it.

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
    Second derivatives (PyTorch, JAX) lose eps/gap and are NaN at ties and zeros. 4 products of x's
    size a backward.
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
    f = as_scalar_function(f, x, "svd_function")
    return narrow(of_singular_values(x, *_svd.factors(x), f=f)[0])


def eigh_function(x, /, f):
    r"""Q f(w) Q^H of the Hermitian part of x, with a derivative at repeated eigenvalues.

    Parameters
    ----------
    x : array (..., n, n)
        Its Hermitian part (x + x^H)/2 is read.
    f : function of `spectralgrad.functions`, pair (f, df), or callable
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
    The cotangent of x is Hermitian. Where f or its derivative does not exist at an eigenvalue the
    named functions are NaN, without a warning. 4 products of x's size a backward. Daleckii and
    Krein (1965); Higham (2008), theorem 3.11.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.eigh_function(np.diag([0.0, np.log(2.0)]), sg.functions.exp)
    array([[1., 0.],
           [0., 2.]])
    """
    x, narrow = enter(x, "eigh_function", square=True)
    f = as_scalar_function(f, x, "eigh_function")
    return narrow(of_eigenvalues(x, *_eigh.factors(x), f=f)[0])


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
    without a warning. 4 products of x's size a backward.
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
