r"""Sums over the spectrum, whose gradients are functions of the matrix.

The gradient of sum f(s_i), f extended to an even function, is U f'(S) V^H with the odd f', and that
of sum f(w_i), the trace of f(A), is Q f'(w) Q^H. Their derivatives are those of `svd_differentials`
and `eigh_function`, with f' in place of f, and no gap enters:

    f'[a, b] = f[a, a, b] + f[a, b, b].

Where f'(0) is finite and not zero, the even extension has a kink at zero; in the subgradient of
least norm zeros count 0. The sum of the k largest eigenvalues has the projector on their vectors
for a gradient, and at a tie across the cut the subgradient of least norm, whose tied vectors share
their weight evenly.

Sources: Lewis (1996), Derivatives of spectral functions; Lewis and Sendov (2001), Twice
differentiable spectral functions; Overton and Womersley (1993), Optimality conditions and duality
theory for minimizing sums of the largest eigenvalues of symmetric matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._bindings.array import (
    Array,
    Arrays,
    ArrayT,
    adjoint,
    array_namespace,
    device,
    herm,
    nan_where,
    trailing_columns,
)
from .._engine.arguments import enter
from .._engine.checks import check_rank
from .._engine.learned import learned, learned_potential
from .._engine.primitive import Primitive
from .._engine.symmetric import potential, symmetric
from .._engine.tape import is_differentiated
from .._functions.arguments import Function, as_learnable, as_scalar_function
from .._functions.given import apply_in_parts
from .._functions.named import FREE
from .._functions.one_sided import step
from .._functions.powers import Power
from .._spectrum import factorizations
from .._spectrum.ties import (
    cut_shares,
    gap_tolerance,
    guarded,
    largest,
    zero_tolerance,
    zero_values,
)
from .._spectrum.undefined import Policy, because, check_undefined, name_pair
from .declaration import REQUIRED, operation
from .eigh import eigh_factors
from .eigh_function import eigh_differential, eigh_second, eigh_value, guards_zero
from .low_rank import whole_space
from .svd import svd_factors
from .svd_differentials import svd_differential


def _sum(values: Array, zero: Array, parameters: Arrays, f: Any) -> Array:
    """The sum of f, and of f(0) where that is infinite, or zero an end, at what counts as zero."""
    xp, g = array_namespace(values), f.with_parameters(parameters, 1)
    origin = xp.zeros_like(values)
    settled = zero & (guards_zero(f) | ~xp.isfinite(g(origin)))
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
    return (U * weights[..., None, :]) @ Vh


def _singular_hessian(factors: Arrays, directions: Arrays, parameters: Arrays, *, f: Any) -> Array:
    return svd_differential(factors, directions, parameters, f=f.slope())


_singular = "svdvals_sum'", 3, _singular_gradient, _singular_hessian
sum_of_singular = potential("svdvals_sum", 3, _sum_of_singular, symmetric(*_singular))
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
sum_of_eigen = potential("eigvalsh_sum", 2, _sum_of_eigen, symmetric(*_eigen))
learned_sum_of_eigen = learned_potential("eigvalsh_sum", 2, _sum_of_eigen, learned(*_eigen))


def _projector(factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int) -> Array:
    w, Q = factors
    kept = trailing_columns(Q, w.shape[-1] - k)
    return kept @ adjoint(kept)


def _projector_differential(
    factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int, lenient: bool = False
) -> Array:
    """Q (G o (Q^H C Q)) Q^H with G = (c_i - c_j)/(w_i - w_j), c = 1 for what is kept, else 0."""
    w, Q = factors
    xp, n = array_namespace(w), w.shape[-1]
    c = xp.astype(xp.arange(n, device=device(w)) >= n - k, w.dtype)
    tie = gap_tolerance(largest(w))
    G = (c[:, None] - c[None, :]) / guarded(w[..., :, None] - w[..., None, :], tie[..., None])
    if k < n and not lenient:
        tied = w[..., n - k] - w[..., n - k - 1] <= tie[..., 0]
        G = G + nan_where(tied, w)[..., None, None]
    return herm(Q @ (G * (adjoint(Q) @ herm(directions[0]) @ Q)) @ adjoint(Q))


def _at_cut(rule: Callable[..., Array]) -> Callable[..., Array]:
    """A rule for the step between the k largest eigenvalues and the others."""

    def cut(factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int) -> Array:
        w = factors[0]
        if k == w.shape[-1]:  # the projector is the identity
            return 0.0 * herm(directions[0]) + 0.0 * w[..., :1, None]
        below, above = w[..., w.shape[-1] - k - 1], w[..., w.shape[-1] - k]
        tied = above - below <= gap_tolerance(largest(w))[..., 0]
        middle = above / 2 + below / 2
        out = rule(factors, directions, (middle,), f=step(FREE))
        return out + nan_where(tied, w)[..., None, None]

    return cut


def _sum_of_largest(factors: Arrays, parameters: Arrays, *, k: int) -> Array:
    w = factors[0]
    return array_namespace(w).sum(trailing_columns(w, w.shape[-1] - k), axis=-1)


def _shared(factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int) -> Array:
    w, Q = factors
    if k == w.shape[-1]:
        return Q @ adjoint(Q)
    xp = array_namespace(w)
    weights = cut_shares(xp.flip(w, axis=-1), k, zero_tolerance(w.shape[-1], w))
    return (Q * xp.flip(weights, axis=-1)[..., None, :]) @ adjoint(Q)


def _why(w: list[float], *, k: int) -> str:
    return f"the cut splits a tie, {name_pair('w', w, len(w) - k - 1)}"


_cut_rules = _projector_differential, _at_cut(eigh_second)
leading_projector = symmetric(
    "eigenprojector", 2, _projector, *_cut_rules, explained=because(1, _why)
)
sum_of_largest = potential(
    "sum_largest_eigvalsh",
    2,
    _sum_of_largest,
    symmetric("sum_largest_eigvalsh'", 2, _shared, *_cut_rules),
)


@operation(
    "sums over the spectrum",
    example={"f": Power(3)},
    rule=sum_of_singular,
    inputs="x U S Vh",
    options={"f": REQUIRED},
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


@operation(
    "sums over the spectrum",
    example={"k": 3},
    rule=sum_of_largest,
    inputs="x w Q",
    options={"k": REQUIRED},
    hermitian=True,
)
def sum_largest_eigvalsh(x: ArrayT, /, k: int) -> ArrayT:
    """Sum of the k largest eigenvalues.

    Parameters
    ----------
    x : array (..., n, n)
        Its Hermitian part (x + x^H)/2 is read.
    k : int
        From 1 to n.

    Returns
    -------
    array (...), real

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices, or a k out of range.

    Notes
    -----
    The sum of the k lowest is minus that of -x. The gradient is the projector on the vectors of the
    k largest, `eigenprojector`. At a tie across the cut, to the error of computed values, 2 sqrt(n)
    eps max|w|, it is the subgradient of least Frobenius norm, in which the tied vectors share their
    weight evenly. The second derivative is NaN where the gap is within eps^(3/4) max|w|, and has an
    error of eps max|w|/gap elsewhere. One product of x's size a backward. Overton and Womersley
    (1993).

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> total, pullback = sg.vjp(sg.sum_largest_eigvalsh, np.diag([3.0, 1.0, 1.0]), k=2)
    >>> float(total), pullback(1.0)[0].diagonal()
    (4.0, array([1. , 0.5, 0.5]))
    """
    x, narrow = enter(x, "sum_largest_eigvalsh", square=True)
    k = check_rank(k, x, "sum_largest_eigvalsh")
    if not is_differentiated(x):
        w = factorizations.eigvalsh(x)
        return narrow(_sum_of_largest((w,), (), k=k))
    return narrow(sum_of_largest(x, *eigh_factors(x), k=k))


@operation(
    "subspaces",
    example={"k": 3},
    rule=leading_projector,
    inputs="x w Q",
    options={"k": REQUIRED},
    hermitian=True,
)
def eigenprojector(x: ArrayT, /, k: int, *, undefined: Policy = "nan") -> ArrayT:
    """The orthogonal projector on the eigenvectors of the k largest eigenvalues.

    Parameters
    ----------
    x : array (..., n, n)
        Its Hermitian part (x + x^H)/2 is read.
    k : int
        From 1 to n.
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    array (..., n, n), Hermitian

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices, or a k out of range.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    Notes
    -----
    That of -x belongs to the k lowest: the density matrix of k filled levels. Only the gap at the
    cut matters; the kept eigenvalues may be equal, and so may the others. Where the gap is within
    eps^(3/4) max|w| the subspace jumps and the batch element's derivative is NaN; above, its error
    is eps max|w|/gap. With k = n the projector is the identity, whose derivative is zero. Second
    derivatives too. 4 products of x's size a backward. Kato (1966), Perturbation theory for linear
    operators, chapter II.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.eigenprojector(np.diag([1.0, 3.0, 3.0]), 2)
    array([[0., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    x, narrow = enter(x, "eigenprojector", square=True)
    k = check_rank(k, x, "eigenprojector")
    about = check_undefined(undefined, "eigenprojector")
    w, Q = eigh_factors(x)
    if k == x.shape[-1]:
        return narrow(whole_space(x, Q, left=True))
    return narrow(leading_projector(x, w, Q, k=k, undefined=about))
