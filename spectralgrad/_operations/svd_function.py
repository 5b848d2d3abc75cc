"""Functions of the singular values, U f(S) V^H, without U and V of their own.

Their derivatives are derived in `svd_differentials`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .._bindings.array import ArrayT
from .._engine.arguments import enter
from .._engine.learned import learned
from .._engine.primitive import Primitive
from .._engine.symmetric import symmetric
from .._functions.arguments import Function, as_learnable, as_scalar_function
from .._functions.exponentials import tanh
from .._functions.given import apply_in_parts
from .._functions.thresholds import soft_threshold
from .._spectrum.naming import name_zero
from .._spectrum.undefined import ROUNDING, Policy, because, check_undefined
from .declaration import REQUIRED, operation
from .svd_differentials import svd_differential, svd_second, svd_value
from .svd_rules import svd_factors


def _why(S: list[float], *, f: Any) -> str:
    if S[-1] <= ROUNDING * S[0]:
        return f"U f(S) Vh jumps or is infinitely steep where {name_zero('S', S)}"
    return "f has no derivative at a singular value"


_maps = "svd_function", 3, svd_value, svd_differential, svd_second
_explained = because(2, _why, value=True)
of_singular_values = symmetric(*_maps, explained=_explained)
learned_singular_values = learned(*_maps, explained=_explained)


@operation(
    "functions of singular values",
    example={"f": tanh},
    rule=of_singular_values,
    inputs="x U S Vh",
    options={"f": REQUIRED},
    over_rows={"params": None},
)
def svd_function(
    x: ArrayT, /, f: Function, *, params: Any = None, undefined: Policy = "nan"
) -> ArrayT:
    r"""U f(S) Vh, with a derivative at ties, at low rank and at zero.

    Parameters
    ----------
    x : array (..., m, n)
    f : function of `spectralgrad.functions`, (f, df), (f, df, d2f), or callable
        Taken as an odd function, f(-s) = -f(s). The named functions have closed divided
        differences, and parameters that may be arrays to differentiate by. A tuple gives values and
        derivatives, elementwise. A bare callable works for PyTorch and JAX arrays, where the
        library differentiates it. f may be complex-valued; the result is complex then, and two
        functions are computed.
    params : array, or tree of arrays, optional
        In PyTorch and JAX: what f(s, params) takes besides, in nested tuples, lists and dicts, and
        what is differentiated by too, to second order. One for all matrices.
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    array (..., m, n)

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, for an f that is none of the above, that
        closes over a value being differentiated (its gradient would be lost), or that is not
        elementwise.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    See Also
    --------
    eigh_function, svdvals_sum, singular_value_threshold, functions.ScalarFunction

    Notes
    -----
    No gap enters: the derivative is exact to working precision for equal, close and zero values
    alike. Where f is not smooth at zero as an odd function, a value counts as zero at 2 sqrt(max(m,
    n)) eps S[0]; there f(0) = 0 and a finite f'(0) are needed: otherwise the function jumps or is
    infinitely steep, and the batch element's derivative is NaN. At the kink of a threshold the
    named function says which slope it takes. Second derivatives are as exact, at ties too; they
    need f''(0) = 0 at a zero value, and are NaN at a kink. 4 products of x's size a backward; some
    16 of k x k and a few evaluations of f at k^2 points a second derivative. Noferini (2017), here
    in the variables of the SVD.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> out, pullback = sg.vjp(lambda x: sg.svd_function(x, sg.functions.power(3)), np.eye(2))
    >>> pullback(np.array([[1.0, 0.0], [0.0, 0.0]]))[0]
    array([[3., 0.],
           [0., 0.]])
    """
    x, narrow = enter(x, "svd_function", whole=params is not None)
    about = check_undefined(undefined, "svd_function")
    function: Primitive = of_singular_values
    if params is None:
        scalar, parameters = as_scalar_function(f, x, "svd_function")
        scalar = scalar.of_singular_values()
    else:
        scalar, parameters = as_learnable(f, params, x, "svd_function")
        function = learned_singular_values.function
    of = partial(function, x, *svd_factors(x), *parameters, undefined=about)
    return apply_in_parts(of, scalar, x, narrow, parameters)


@operation("functions of singular values", example={"tau": 0.7}, over_rows={})
def singular_value_threshold(x: ArrayT, /, tau: float | ArrayT) -> ArrayT:
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
        For an x that is not a floating-point matrix, or a tau that is negative or does not go with
        x.

    See Also
    --------
    svd_function, nuclear_norm, functions.soft_threshold

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
    return narrow(of_singular_values(x, *svd_factors(x), *parameters, f=f))
