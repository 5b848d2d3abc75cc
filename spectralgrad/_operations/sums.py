r"""Sums over the spectrum, whose gradients are functions of the matrix.

The gradient of sum f(s_i), f extended to an even function, is U f'(S) V^H with the odd f', and that
of sum f(w_i), the trace of f(A), is Q f'(w) Q^H. Their derivatives are those of `svd_differentials`
and `eigh_function`, with f' in place of f, and no gap enters:

    f'[a, b] = f[a, a, b] + f[a, b, b].

Where f'(0) is finite and not zero, the even extension has a kink at zero; in the subgradient of
least norm zeros count 0.

Sources: Lewis (1996), Derivatives of spectral functions; Lewis and Sendov (2001), Twice
differentiable spectral functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._bindings.array import Array, Arrays, ArrayT, array_namespace, nan_where
from .._bindings.matrix_products import product
from .._engine.arguments import enter
from .._engine.learned import learned, learned_potential
from .._engine.primitive import Primitive
from .._engine.symmetric import potential, symmetric
from .._functions.arguments import Function, as_learnable, as_scalar_function
from .._functions.given import apply_in_parts
from .._functions.powers import Power
from .._spectrum.naming import name_zero
from .._spectrum.ties import zero_tolerance, zero_values
from .._spectrum.undefined import ROUNDING, at_kinks, because
from .declaration import REQUIRED, operation
from .eigh import eigh_factors
from .eigh_function import eigh_differential, eigh_value, guards_zero
from .svd_differentials import svd_differential
from .svd_rules import svd_factors


def _sum(values: Array, zero: Array, parameters: Arrays, f: Any) -> Array:
    """The sum of f, and of f(0) where that is infinite, or zero an end, at what counts as zero."""
    xp, g = array_namespace(values), f.with_parameters(parameters, 1)
    origin = xp.zeros_like(values)
    settled = zero if guards_zero(f) else zero & ~xp.isfinite(g(origin))
    return xp.sum(g(xp.where(settled, origin, values)), axis=-1)


def _sum_of_singular(factors: Arrays, parameters: Arrays, *, f: Any) -> Array:
    return _sum(factors[1], zero_values(*factors), parameters, f)


def _singular_gradient(factors: Arrays, directions: Arrays, parameters: Arrays, *, f: Any) -> Array:
    U, S, Vh = factors
    xp, slope = array_namespace(S), f.slope().with_parameters(parameters, 1)
    weights, at_zero = slope(S), slope(xp.zeros_like(S))
    kink = zero_values(*factors) & (at_zero != 0)  # or where f' is infinite
    weights = xp.where(kink, nan_where(~xp.isfinite(at_zero), S), weights)
    weights = xp.where(xp.isfinite(weights), weights, float("nan"))
    return product(U * weights[..., None, :], Vh)


def _singular_hessian(factors: Arrays, directions: Arrays, parameters: Arrays, *, f: Any) -> Array:
    return svd_differential(factors, directions, parameters, f=f.slope())


def _why(values: list[float], *, f: Any) -> str:
    least = min(values, key=abs)
    if abs(least) <= ROUNDING * max(map(abs, values)):
        zero = name_zero("s", values, values.index(least))
        return f"f' does not exist or is infinite where {zero}"
    return "f has no derivative at one of the values"


_singular = "svdvals_sum'", 3, _singular_gradient, _singular_hessian
sum_of_singular = potential(
    "svdvals_sum",
    3,
    _sum_of_singular,
    symmetric(*_singular, explained=at_kinks(2, "svdvals_sum")),
    explained=because(2, _why, value=True, function="svdvals_sum"),
)
learned_sum_of_singular = learned_potential("svdvals_sum", 3, _sum_of_singular, learned(*_singular))


def _sum_of_eigen(factors: Arrays, parameters: Arrays, *, f: Any) -> Array:
    w, _ = factors
    zero = array_namespace(w).abs(w) <= zero_tolerance(w.shape[-1], w)
    return _sum(w, zero, parameters, f)


def _of_slope(rule: Callable[..., Array]) -> Callable[..., Array]:
    """The rule for f' instead of f."""

    def with_slope(factors: Arrays, directions: Arrays, parameters: Arrays, *, f: Any) -> Array:
        return rule(factors, directions, parameters, f=f.slope(), semidefinite=guards_zero(f))

    return with_slope


_eigen = "eigvalsh_sum'", 2, _of_slope(eigh_value), _of_slope(eigh_differential)
sum_of_eigen = potential(
    "eigvalsh_sum",
    2,
    _sum_of_eigen,
    symmetric(*_eigen, explained=at_kinks(1, "eigvalsh_sum")),
    explained=because(1, _why, value=True, function="eigvalsh_sum"),
)
learned_sum_of_eigen = learned_potential("eigvalsh_sum", 2, _sum_of_eigen, learned(*_eigen))


@operation(
    "sums over the spectrum",
    example={"f": Power(3)},
    rule=sum_of_singular,
    inputs="x U S Vh",
    options={"f": REQUIRED},
    over_rows={"params": None},
)
def svdvals_sum(x: ArrayT, /, f: Function, *, params: Any = None) -> ArrayT:
    r"""Sum of f over the singular values, exact to second order at ties.

    Parameters
    ----------
    x : array (..., m, n)
    f : function of `spectralgrad.functions`, (f, df), (f, df, d2f), or callable
        As for `svd_function`, taken as an even function, f(-s) = f(s): `log` for log|det x|,
        `entropy`, the energy of principal stretches.
    params : array, or tree of arrays, optional
        As for `svd_function`.

    Returns
    -------
    array (...), real unless f is complex-valued

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, or an f as in `svd_function`.

    See Also
    --------
    eigvalsh_sum, svd_function, nuclear_norm

    Notes
    -----
    The gradient is U f'(S) Vh, in which no gap enters, and the second derivative that of
    `svd_function` with f'. A sum of f(svdvals(x)) has the same gradient and at ties no second
    derivative. Where f'(0) is finite and not zero, a value that counts as zero, 2 sqrt(max(m, n))
    eps S[0], is a kink: in the gradient it counts 0, the subgradient of least norm, and the second
    derivative is NaN. Where f'(0) is infinite the gradient is NaN. One product of x's size a
    backward, 4 a second derivative. Lewis (1996), Derivatives of spectral functions; Lewis and
    Sendov (2001), Twice differentiable spectral functions.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> x = np.diag([2.0, 2.0])
    >>> value, pullback = sg.vjp(sg.svdvals_sum, x, f=sg.functions.log)
    >>> bool(np.isclose(value, np.log(np.linalg.det(x))))
    True
    >>> np.allclose(pullback(1.0)[0], np.linalg.inv(x).T)
    True
    """
    x, narrow = enter(x, "svdvals_sum")
    function: Primitive = sum_of_singular
    if params is None:
        scalar, parameters = as_scalar_function(f, x, "svdvals_sum")
        scalar = scalar.of_singular_values()
    else:
        scalar, parameters = as_learnable(f, params, x, "svdvals_sum")
        function = learned_sum_of_singular.function
    of = partial(function, x, *svd_factors(x), *parameters)
    return apply_in_parts(of, scalar, x, narrow, parameters)


@operation(
    "sums over the spectrum",
    example={"f": Power(3)},
    rule=sum_of_eigen,
    inputs="x w Q",
    options={"f": REQUIRED},
    hermitian=True,
)
def eigvalsh_sum(x: ArrayT, /, f: Function, *, params: Any = None) -> ArrayT:
    r"""Sum of f over the eigenvalues, the trace of f(x), exact to second order at ties.

    Parameters
    ----------
    x : array (..., n, n)
        Its Hermitian part (x + x^H)/2 is read.
    f : function of `spectralgrad.functions`, (f, df), (f, df, d2f), or callable
        As for `eigh_function`: `log` for log det x, `entropy` of a density matrix, `fermi` for the
        number of particles.
    params : array, or tree of arrays, optional
        As for `svd_function`.

    Returns
    -------
    array (...), real unless f is complex-valued

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices, or an f as in `svd_function`.

    See Also
    --------
    svdvals_sum, eigh_function, sum_largest_eigvalsh

    Notes
    -----
    The gradient is Q f'(w) Q^H, in which no gap enters, and the second derivative that of
    `eigh_function` with f'. Of functions that end, jump or have a kink at zero (`log`, `sqrt`,
    `entropy`, powers that are not whole, `positive_part`), an eigenvalue within 2 sqrt(n) eps
    max|w| counts as zero; the gradient is NaN where f'(0) is infinite. 2 products of x's size a
    backward, 4 a second derivative. Lewis (1996); Lewis and Sendov (2001).

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> float(sg.eigvalsh_sum(np.eye(2) / 2, sg.functions.entropy) / np.log(2))
    1.0
    """
    x, narrow = enter(x, "eigvalsh_sum", square=True)
    function: Primitive = sum_of_eigen
    if params is None:
        scalar, parameters = as_scalar_function(f, x, "eigvalsh_sum")
    else:
        scalar, parameters = as_learnable(f, params, x, "eigvalsh_sum")
        function = learned_sum_of_eigen.function
    of = partial(function, x, *eigh_factors(x), *parameters)
    return apply_in_parts(of, scalar, x, narrow, parameters)
