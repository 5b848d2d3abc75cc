r"""First and second derivatives of Q f(w) Q^H for Hermitian matrices.

    DF(A)[C] = Q (f[w_i, w_j] o Q^H C Q) Q^H
    D2F(A)[H, K] = Q E Q^H,   E_ij = sum_k f[w_i, w_k, w_j] (X_ik Y_kj + Y_ik X_kj)

with X = Q^H H Q and Y = Q^H K Q; directions are read by their Hermitian parts. The sum is that of
`triple_sums`. Sources: Daleckii
and Krein (1965); Higham, Functions of Matrices (2008), theorem 3.11; Higham and Relton (2014),
Higher order Frechet derivatives of matrix functions.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .._bindings.array import (
    Array,
    Arrays,
    ArrayT,
    adjoint,
    array_namespace,
    eps,
    herm,
    invalidated,
    nan_where,
)
from .._bindings.matrix_products import product
from .._engine.arguments import enter
from .._engine.learned import learned
from .._engine.primitive import Primitive
from .._engine.symmetric import symmetric
from .._functions.arguments import Function, as_learnable, as_scalar_function
from .._functions.exponentials import tanh
from .._functions.given import apply_in_parts
from .._functions.named import in_units, scaled
from .._spectrum.naming import name_zero
from .._spectrum.ties import zero_tolerance
from .._spectrum.triple_sums import triple_sums
from .._spectrum.undefined import ROUNDING, Policy, because, check_undefined
from .declaration import REQUIRED, operation
from .eigh import eigh_factors


def _values(w: Array, settled: bool) -> Array:
    """w, with exact zeros for what counts as zero if the function asks for that."""
    if not settled or w.shape[-1] == 0:
        return w
    xp = array_namespace(w)
    return xp.where(xp.abs(w) <= zero_tolerance(w.shape[-1], w), 0.0, w)


def guards_zero(f: Any) -> bool:
    """Whether what counts as zero is taken for zero, where f or its slope jumps or is infinite."""
    return bool(f.nonnegative or f.singular or f.jumps_at_zero)


def _at_break(values: Array, f: Any, parameters: Arrays, order: int) -> Array:
    """Zeros, and NaN for elements with an eigenvalue at a jump or a kink of f, as (..., 1, 1)."""
    xp = array_namespace(values)
    found = f.with_parameters(parameters, 1).breaks(
        values, zero_tolerance(values.shape[-1], values), order
    )
    if found is None:
        return 0.0
    return nan_where(xp.any(found, axis=-1), values)[..., None, None]


def eigh_value(
    factors: Arrays, directions: Arrays, parameters: Arrays, *, f: Any, semidefinite: bool = False
) -> Array:
    w, Q = factors
    fw = f.with_parameters(parameters, 1)(_values(w, semidefinite or f.jumps_at_zero))
    xp = array_namespace(w)
    fw = xp.where(xp.isfinite(fw), fw, float("nan"))
    return herm(product(Q * fw[..., None, :], adjoint(Q)))


def _slopes(w: Array, f: Any, parameters: Arrays) -> Array:
    """f[w_i, w_j], NaN beyond the dtype's range as f(w) is."""
    xp = array_namespace(w)
    slopes = f.with_parameters(parameters, 2).divided(w[..., :, None], w[..., None, :])
    return xp.where(xp.isfinite(slopes), slopes, float("nan"))


def eigh_differential(
    factors: Arrays,
    directions: Arrays,
    parameters: Arrays,
    *,
    f: Any,
    semidefinite: bool = False,
    lenient: bool = False,
) -> Array:
    w, Q = factors
    f, parameters, w, growth = in_units(f, parameters, w, 1)
    xp, values, grown = array_namespace(w), _values(w, semidefinite), scaled(Q, growth)
    P = product(adjoint(Q), herm(directions[0]), grown)
    G = _slopes(values, f, parameters)
    if lenient:
        return herm(product(grown, _defined(G, values, f, parameters) * P, adjoint(Q)))
    if semidefinite and w.shape[-1]:
        # an infinite slope between two zeros does not matter unless the direction touches them
        size = xp.abs(P)
        small = size <= w.shape[-1] * eps(w) * xp.max(size, axis=(-2, -1), keepdims=True)
        zero = values == 0
        G = xp.where(zero[..., :, None] & zero[..., None, :] & small & xp.isnan(G), 0.0, G)
    out = herm(product(grown, G * P, adjoint(Q)))
    return invalidated(out, _at_break(values, f, parameters, 1))


def _defined(G: Array, w: Array, f: Any, parameters: Arrays) -> Array:
    """Slopes with zeros for those that do not exist, or lead across a jump that both lie at."""
    xp, tolerance = array_namespace(w), zero_tolerance(w.shape[-1], w)
    G = xp.where(xp.isnan(G), 0.0, G)
    found = f.with_parameters(parameters, 1).breaks(w, tolerance, 1)
    if found is None:
        return G
    close = xp.abs(w[..., :, None] - w[..., None, :]) <= 2 * tolerance[..., None]
    return xp.where(close & found[..., :, None] & found[..., None, :], 0.0, G)


def eigh_second(
    factors: Arrays, directions: Arrays, parameters: Arrays, *, f: Any, semidefinite: bool = False
) -> Array:
    w, Q = factors
    f, parameters, w, growth = in_units(f, parameters, w, 2)
    w = _values(w, semidefinite)
    G = _slopes(w, f, parameters)
    m, D = _reference(w, f, parameters, G)
    X, Y = (product(adjoint(Q), herm(scaled(C, growth)), Q) for C in directions)
    out = herm(product(Q, triple_sums(f, parameters, w, G, D, m, X, Y), adjoint(Q)))
    return invalidated(out, _at_break(w, f, parameters, 2))


def _reference(w: Array, f: Any, parameters: Arrays, G: Array) -> Arrays:
    """m and D for `triple_sums`."""
    middle = w.shape[-1] // 2
    m = w[..., middle : middle + 1]
    if f.singular or f.bounded_derivatives:
        m = 0.0 * m
    if f.singular:  # steeper towards zero at every order: its slopes lose nothing
        return m, G
    of_values, of_pairs = f.with_parameters(parameters, 1), f.with_parameters(parameters, 2)
    h = of_values.divided(w, m + 0.0 * w)
    w_i, w_k, h_i, h_k = w[..., :, None], w[..., None, :], h[..., :, None], h[..., None, :]
    w_m = m[..., None] + 0.0 * w_i
    return m, (w_i - w_m) * of_pairs.second(w_i, w_k, w_m, G, h_k, h_i)


def _why(w: list[float], *, f: Any, semidefinite: bool = False) -> str:
    least = min(w, key=abs)
    if semidefinite and abs(least) <= ROUNDING * max(map(abs, w)):
        return f"f or its slope does not exist where {name_zero('w', w, w.index(least))}"
    if semidefinite and w[0] < 0:
        return f"f does not exist at w[0] = {w[0]:.6g}, which is negative"
    return "f has no derivative at an eigenvalue"


_maps = "eigh_function", 2, eigh_value, eigh_differential, eigh_second
_explained = because(1, _why, value=True)
of_eigenvalues = symmetric(*_maps, explained=_explained)
learned_eigenvalues = learned(*_maps, explained=_explained)


@operation(
    "functions of Hermitian matrices",
    example={"f": tanh},
    rule=of_eigenvalues,
    inputs="x w Q",
    options={"f": REQUIRED},
    hermitian=True,
)
def eigh_function(
    x: ArrayT, /, f: Function, *, params: Any = None, undefined: Policy = "nan"
) -> ArrayT:
    r"""Q f(w) Q^H of the Hermitian part of x, with a derivative at repeated eigenvalues.

    Parameters
    ----------
    x : array (..., n, n)
        Its Hermitian part (x + x^H)/2 is read.
    f : function of `spectralgrad.functions`, (f, df), (f, df, d2f), or callable
        As for `svd_function`, complex-valued ones included, such as exp(-i t w); no symmetry is
        assumed.
    params : array, or tree of arrays, optional
        As for `svd_function`.
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    array (..., n, n), Hermitian for a real-valued f

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices, or an f as in `svd_function`.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    See Also
    --------
    svd_function, eigvalsh_sum, functions.ScalarFunction

    Notes
    -----
    Of functions that end, jump, have a kink or are infinitely steep at zero (`log`, `sqrt`,
    `reciprocal`, `entropy`, `positive_part`, powers that are not whole), an eigenvalue within 2
    sqrt(n) eps max|w| counts as zero. So near to a jump elsewhere (`step`, a cutoff) there is no
    derivative. The cotangent of x is Hermitian. Where f or its derivative does not exist at an
    eigenvalue the named functions are NaN. Second derivatives are exact at repeated eigenvalues
    too. 4 products of x's size a backward, 8 and a few evaluations of f at n^2 points a second
    derivative. Daleckii and Krein (1965); Higham (2008), theorem 3.11.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.eigh_function(np.diag([0.0, np.log(2.0)]), sg.functions.exp)
    array([[1., 0.],
           [0., 2.]])
    """
    x, narrow = enter(x, "eigh_function", square=True)
    about = check_undefined(undefined, "eigh_function")
    function: Primitive = of_eigenvalues
    if params is None:
        scalar, parameters = as_scalar_function(f, x, "eigh_function")
    else:
        scalar, parameters = as_learnable(f, params, x, "eigh_function")
        function = learned_eigenvalues.function
    options = {"semidefinite": guards_zero(scalar), "undefined": about}
    of = partial(function, x, *eigh_factors(x), *parameters, **options)
    return apply_in_parts(of, scalar, x, narrow, parameters)
