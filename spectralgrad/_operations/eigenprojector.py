r"""The projector on the k leading eigenvectors, and the sum of the k largest eigenvalues.

With c = 1 for what is kept and else 0, P = Q diag(c) Q^H has the derivative

    DP(A)[C] = Q (G o (Q^H C Q)) Q^H,    G_ij = (c_i - c_j)/(w_i - w_j):

only the gap at the cut is divided by. It is the gradient of the sum of the kept eigenvalues. At a
tie across the cut, where P jumps, that sum has a kink, and in its subgradient of least norm the
tied vectors share their weight evenly.

Sources: Kato (1966), Perturbation theory for linear operators, chapter II; Overton and Womersley
(1993), Optimality conditions and duality theory for minimizing sums of the largest eigenvalues of
symmetric matrices.
"""

from __future__ import annotations

from collections.abc import Callable

from .._bindings.array import (
    Array,
    Arrays,
    ArrayT,
    adjoint,
    array_namespace,
    device,
    herm,
    invalidated,
    nan_where,
    trailing_columns,
)
from .._bindings.matrix_products import product
from .._engine.arguments import enter
from .._engine.checks import check_rank
from .._engine.symmetric import potential, symmetric
from .._engine.tape import is_differentiated
from .._functions.named import FREE
from .._functions.one_sided import step
from .._spectrum import factorizations
from .._spectrum.naming import name_pair
from .._spectrum.ties import cut_shares, gap_tolerance, guarded, largest, zero_tolerance
from .._spectrum.undefined import Policy, at_kinks, because, check_undefined
from .declaration import REQUIRED, operation
from .eigh import eigh_factors
from .eigh_function import eigh_second
from .low_rank import whole_space


def _projector(factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int) -> Array:
    w, Q = factors
    kept = trailing_columns(Q, w.shape[-1] - k)
    return product(kept, adjoint(kept))


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
    return herm(product(Q, G * product(adjoint(Q), herm(directions[0]), Q), adjoint(Q)))


def _at_cut(rule: Callable[..., Array]) -> Callable[..., Array]:
    """A rule for the step between the k largest eigenvalues and the others."""

    def cut(factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int) -> Array:
        w = factors[0]
        if k == w.shape[-1]:  # the projector is the identity
            return 0.0 * herm(directions[0]) + 0.0 * w[..., :1, None]
        start = w.shape[-1] - k - 1
        below, above = w[..., start : start + 1], w[..., start + 1 : start + 2]
        tied = (above - below <= gap_tolerance(largest(w)))[..., 0]
        middle = (above / 2 + below / 2)[..., 0]  # no number of NumPy's, which may not be NaN
        out = rule(factors, directions, (middle,), f=step(FREE))
        return invalidated(out, nan_where(tied, w)[..., None, None])

    return cut


def _sum_of_largest(factors: Arrays, parameters: Arrays, *, k: int) -> Array:
    w = factors[0]
    return array_namespace(w).sum(trailing_columns(w, w.shape[-1] - k), axis=-1)


def _shared(factors: Arrays, directions: Arrays, parameters: Arrays, *, k: int) -> Array:
    w, Q = factors
    if k == w.shape[-1]:
        return product(Q, adjoint(Q))
    xp = array_namespace(w)
    weights = cut_shares(xp.flip(w, axis=-1), k, zero_tolerance(w.shape[-1], w))
    return product(Q * xp.flip(weights, axis=-1)[..., None, :], adjoint(Q))


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
    symmetric(
        "sum_largest_eigvalsh'",
        2,
        _shared,
        *_cut_rules,
        explained=at_kinks(1, "sum_largest_eigvalsh"),
    ),
)


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

    See Also
    --------
    eigenprojector, eigvalsh_sum, ky_fan_norm

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

    See Also
    --------
    singular_projector, sum_largest_eigvalsh

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
