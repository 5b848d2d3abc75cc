r"""Polar factors: the nearest matrix with orthonormal columns, the nearest rotation, x = U P.

Their derivatives are in `polar_differentials`, or without an SVD in `polar_iterations`.
"""

from __future__ import annotations

from typing import Generic, Literal, NamedTuple, get_args

from .._bindings.array import ArrayT, array_namespace, is_complex
from .._bindings.rows import longer_side
from .._engine.arguments import enter
from .._engine.linear import hermitian_part, matmul, nan_derivative, nan_unless_finite
from .._engine.options import check_choice
from .._spectrum.naming import name_zero
from .._spectrum.ties import zero_tolerance
from .._spectrum.undefined import Policy, because, check_undefined
from .declaration import operation
from .polar_differentials import polar_factor, polar_factors_found
from .polar_iterations import Method, iterated_factors
from .svd_rules import svd_factors

_nan_if_singular = nan_derivative(
    lambda S, *, side: array_namespace(S).any(zero_tolerance(side, S) >= S, axis=-1),
    **because(1, lambda S, *, side: f"P has a kink where {name_zero('S', S)}"),
)


class PolarResult(NamedTuple, Generic[ArrayT]):
    """x = U @ P (side="right") or P @ U (side="left")."""

    U: ArrayT
    P: ArrayT


@operation(
    "polar factors",
    rule=polar_factor,
    inputs="x U S Vh",
    options={"signed": False},
    at_zeros=False,
    over_rows={"method": "svd"},
)
def orthogonalize(x: ArrayT, /, *, method: Method = "svd", undefined: Policy = "nan") -> ArrayT:
    r"""The polar factor U Vh: the nearest matrix with orthonormal columns (or rows).

    Parameters
    ----------
    x : array (..., m, n)
    method : {"svd", "newton-schulz", "qdwh"}
        How it is computed:

        - "svd": from an SVD. The fastest of the three on a CPU.
        - "newton-schulz": by products of matrices alone, value and derivatives, in a number of
          steps that the dtype determines. For hardware that is made for products.
        - "qdwh": by linear systems, which the libraries solve for a stack at once; the derivatives
          by an eigendecomposition of the Hermitian factor, of min(m, n) rows.
    undefined : {"nan", "raise", "least_norm"}
        What becomes of a derivative that does not exist: NaN, with a `DerivativeUndefinedWarning`
        for arrays on the host; a `DerivativeUndefinedError`; or ("least_norm") what is left without
        the undefined quotients, which is finite and no derivative, for training to go on. Values
        are the same, and second derivatives stay NaN. "newton-schulz" has no "least_norm".

    Returns
    -------
    array (..., m, n)

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, or options that there are not.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    See Also
    --------
    polar, nearest_rotation, inv_sqrtm

    Notes
    -----
    The derivative divides only by sums of singular values: ties are as good as any. Where a value
    counts as zero, at 2 sqrt(max(m, n)) eps S[0], the factor jumps and the batch element's
    derivative is NaN. Second derivatives are as exact, at ties too, and take 10 products. 4
    products of x's size a backward, with the factors of an SVD. Kenney and Laub (1991), Polar
    decomposition and matrix sign function condition estimates.

    The iterations bring singular values to 1, to a few eps, that are at least 2 sqrt(max(m, n)) eps
    times the fourth root of sum(S^4), which is between S[0] and min(m, n)^(1/4) S[0]. Smaller ones
    they may leave between 0 and 1, where "svd" returns arbitrary orthonormal vectors, and there
    "newton-schulz" has no derivative. Largest errors of an entry for 64 x 64 matrices, of random
    entries, with a condition of 2e3, and of given conditions:

    ========  ===============  =======  =======  =======  =======
    dtype     method           random   1e3      1e6      1e12
    ========  ===============  =======  =======  =======  =======
    float64   "svd"            1e-15    1e-14    4e-12    1e-6
    float64   "newton-schulz"  2e-15    4e-15    1e-12    5e-7
    float64   "qdwh"           2e-15    3e-15    1e-12    2e-7
    float32   "svd"            5e-7     5e-6     2e-3     zeros
    float32   "newton-schulz"  9e-7     2e-6     5e-4     zeros
    float32   "qdwh"           4e-7     2e-6     7e-4     zeros
    bfloat16  all              1e-3     2e-3     1e-3     zeros
    ========  ===============  =======  =======  =======  =======

    ("zeros": the least values count as zero, as they do in single precision from 5e5 on.) The last
    row is the rounding of the result, since half precision is computed in single. With products of
    bfloat16, which optimizers such as Muon take, 2 to 8 % of the factor's norm would be wrong, and
    a third in the direction of a value of S[0]/1000. Who wants lower precision for its speed
    has the library's own switch, such as `torch.set_float32_matmul_precision`.

    In single and double precision "newton-schulz" takes 41 and 89 products of the shape of X^H X
    or X P, and a backward 94 and 206 of min(m, n) rows; "qdwh" takes 7 and 15 linear systems with a
    product each, and an eigendecomposition a backward. Second derivatives cost three times as much.
    No step is kept for the backward. On one core of a CPU, value and gradient of a 512 x 512 matrix
    in single precision take 6 times as long by "newton-schulz" as by "svd", and twice as long by
    "qdwh". Amsel, Persson, Musco and Gower (2025), The Polar Express; Nakatsukasa, Bai and
    Gygi (2010), Optimizing Halley's iteration for computing the matrix polar decomposition.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> out, pullback = sg.vjp(sg.orthogonalize, 2 * np.eye(2))
    >>> pullback(np.array([[0.0, 1.0], [0.0, 0.0]]))[0]
    array([[ 0.  ,  0.25],
           [-0.25,  0.  ]])
    """
    x, narrow = enter(x, "orthogonalize")
    check_choice(method, get_args(Method), "orthogonalize", "method")
    about = check_undefined(undefined, "orthogonalize")
    if method == "svd":
        return narrow(polar_factor(x, *svd_factors(x), undefined=about))
    if method == "newton-schulz" and about.lenient:
        raise ValueError(
            "orthogonalize: undefined='least_norm' came with method='newton-schulz', which knows "
            "no singular value that it could leave out. Use method='qdwh' or 'svd' with it."
        )
    return narrow(
        polar_factors_found[method](x, *iterated_factors(x, method=method), undefined=about)
    )


@operation("polar factors", at_zeros=False, over_rows={"side": "right"})
def polar(
    x: ArrayT,
    /,
    *,
    side: Literal["right", "left"] = "right",
    undefined: Policy = "nan",
) -> PolarResult[ArrayT]:
    r"""Polar decomposition x = U P or x = P U, P positive semidefinite.

    Parameters
    ----------
    x : array (..., m, n)
    side : {"right", "left"}
        On which side P stands: x = U P with P (..., n, n), or x = P U with P (..., m, m).
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    PolarResult
        U (..., m, n), the polar factor, and P, Hermitian.

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, or a side that is neither.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    See Also
    --------
    orthogonalize, nearest_rotation, sqrtm

    Notes
    -----
    Values as those of `scipy.linalg.polar`. The derivative exists at ties, to second order. Where a
    value counts as zero, at 2 sqrt(max(m, n)) eps S[0], U jumps and P has a kink: NaN. The
    derivative of P is that of U^H x, with an error of eps S[0]/S[-1]. 7 products of x's size a
    backward. Higham (2008), chapter 8.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.polar(np.array([[0.0, -2.0], [3.0, 0.0]])).P
    array([[3., 0.],
           [0., 2.]])
    """
    x, narrow = enter(x, "polar")
    check_choice(side, ("right", "left"), "polar", "side")
    about = check_undefined(undefined, "polar")
    factors = svd_factors(x)
    U = polar_factor(x, *factors, undefined=about)
    finite = nan_unless_finite(x)
    product = matmul(U, finite, left=True) if side == "right" else matmul(finite, U, right=True)
    P = hermitian_part(product)
    if not about.lenient:  # also where the cotangent of U happens to be zero
        P = _nan_if_singular(P, factors[1], side=longer_side(x, x), undefined=about)
    return PolarResult(narrow(U), narrow(P))


@operation("polar factors", square=True, real=True, at_zeros=False)
def nearest_rotation(x: ArrayT, /, *, undefined: Policy = "nan") -> ArrayT:
    r"""The rotation nearest to x: orthogonal, with determinant +1.

    Parameters
    ----------
    x : array (..., n, n)
        Real.
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    array (..., n, n)

    Raises
    ------
    TypeError, ValueError
        For an x that is complex or no stack of square floating matrices.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    See Also
    --------
    orthogonalize, kabsch

    Notes
    -----
    U diag(1, ..., 1, d) Vh with d = det(U Vh). The derivative exists at ties and for singular x, to
    second order, as long as S[-2] + d S[-1] does not count as zero, at 2 sqrt(n) eps S[0];
    otherwise the rotation jumps and the batch element's derivative is NaN. 4 products of x's size a
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
    about = check_undefined(undefined, "nearest_rotation")
    return narrow(polar_factor(x, *svd_factors(x), signed=True, undefined=about))
