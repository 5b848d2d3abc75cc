r"""The Schatten norm, its gradient, and their derivatives by the exponent.

With N the norm, T = sum t^p for t = s/s_1, and A, B the sums of t^p log t and t^p log^2 t:

    log N = log s_1 + (log T)/p
    L1 = d(log N)/dp = A/(p T) - (log T)/p^2
    L2 = d(L1)/dp    = (B/T - A^2/T^2)/p - 2 A/(p^2 T) + 2 (log T)/p^3
    dN/dp = N L1,    d2N/dp2 = N (L1^2 + L2)
    g = (s/N)^(p-1),    dg/dp = g (log(s/N) - (p - 1) L1)

The gradient is U g V^H, whose derivative along C is, with t = s/N and f(t) = t^(p-1),

    (D[U f(t) V^H][C] - (p - 1) <U g V^H, C> U g V^H)/N.

Source: Lewis (1995), The convex analysis of unitarily invariant matrix functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from .._bindings.array import Array, Arrays, ArrayT, array_namespace, nan_where
from .._bindings.matrix_products import product
from .._engine.arguments import enter
from .._engine.linear import inner
from .._engine.symmetric import potential, symmetric
from .._functions.arguments import as_parameter
from .._functions.named import FREE, is_array, number
from .._functions.powers import Power
from .._spectrum.ties import first, unit_of, zero_values
from .._spectrum.undefined import at_kinks
from .declaration import operation
from .norms import largest_of_all, sum_of_largest
from .svd_differentials import svd_differential
from .svd_rules import svd_factors


@dataclass(frozen=True)
class Schatten:
    """The norm of exponent p, or its derivative by p of that order."""

    p: Any
    order: int = 0
    foreign = False

    def by_parameter(self, index: int) -> Schatten:
        return replace(self, order=self.order + 1)


def _exponent(f: Any, parameters: Arrays, S: Array) -> Array:
    """p as (..., 1), and NaN where it is below 1 or infinite."""
    if not parameters:
        return f.p + 0.0 * first(S)
    p = parameters[0][..., None]
    return array_namespace(p).where((p >= 1) & (p < float("inf")), p, float("nan"))


def _norm(S: Array, p: Array) -> Arrays:
    """N, log t with 0 for zeros, t^p and T."""
    xp, top = array_namespace(S), first(S)
    t = S / xp.where(top == 0, 1.0, top)
    log_t = xp.log(xp.where(t == 0, 1.0, t))
    powers = xp.where(t == 0, 0.0, xp.exp(p * log_t))
    T = xp.sum(powers, axis=-1, keepdims=True)
    N = top * xp.where(T == 0, 0.0, xp.where(T == 0, 1.0, T) ** (1 / p))
    return N, log_t, powers, xp.where(T == 0, 1.0, T)


def _logarithmic(S: Array, p: Array) -> Arrays:
    """N, L1 and L2."""
    xp = array_namespace(S)
    N, log_t, powers, T = _norm(S, p)
    A, B = (xp.sum(powers * log_t**i, axis=-1, keepdims=True) / T for i in (1, 2))
    log_T = xp.log(T)
    L1 = A / p - log_T / p / p
    L2 = (B - A * A) / p - 2 * A / p / p + 2 * log_T / p / p / p
    return N, L1, L2


def norm_value(factors: Arrays, parameters: Arrays, *, f: Any) -> Array:
    S = factors[1]
    if S.shape[-1] == 0:
        return array_namespace(S).sum(S, axis=-1)
    p = _exponent(f, parameters, S)
    if f.order == 0:
        return _norm(S, p)[0][..., 0]
    N, L1, L2 = _logarithmic(S, p)
    return (N * (L1 if f.order == 1 else L1 * L1 + L2 if f.order == 2 else float("nan")))[..., 0]


def _weights(factors: Arrays, parameters: Arrays, f: Any) -> Arrays:
    U, S, Vh = factors
    xp, p = array_namespace(S), _exponent(f, parameters, S)
    zero = zero_values(U, S, Vh)
    N, L1, _ = _logarithmic(S, p)
    _, log_t, _, T = _norm(S, p)
    log_u = log_t - xp.log(T) / p  # log(S/N), whose rounding would be multiplied by p
    g = xp.exp((p - 1) * log_u)
    if f.order:
        g = g * (log_u - (p - 1) * L1 if f.order == 1 else float("nan"))
    return N, xp.where(zero, 0.0, g)


def gradient_value(factors: Arrays, directions: Arrays, parameters: Arrays, *, f: Any) -> Array:
    U, S, Vh = factors
    if S.shape[-1] == 0:
        return product(U, Vh)
    _, g = _weights(factors, parameters, f)
    return product(U * g[..., None, :], Vh)


def gradient_differential(
    factors: Arrays, directions: Arrays, parameters: Arrays, *, f: Any
) -> Array:
    U, S, Vh = factors
    (C,), xp = directions, array_namespace(S)
    if S.shape[-1] == 0:
        return 0 * C
    p = _exponent(f, parameters, S)
    N, g = _weights(factors, parameters, f)
    _, _, _, T = _norm(S, p)
    undefined = (N[..., 0] == 0) | (f.order > 0)
    G = product(U * g[..., None, :], Vh)
    slope, held = (Power(FREE), (p[..., 0] - 1,)) if parameters else (Power(f.p - 1), ())
    # of degree p - 2: taken at S/s_1, where large exponents do no harm to the largest value
    curved = svd_differential((U, S / unit_of(S), Vh), directions, held, f=slope)
    curved = xp.exp((2 / p - 1) * xp.log(T))[..., None] * curved
    along = (p - 1) * inner(G, C, axes=2)[..., None]
    N = N + nan_where(undefined, S)[..., None]
    return (curved - along[..., None] * G) / xp.where(N == 0, 1.0, N)[..., None]


schatten = potential(
    "schatten_norm",
    3,
    norm_value,
    symmetric(
        "schatten_norm'",
        3,
        gradient_value,
        gradient_differential,
        explained=at_kinks(2, "schatten_norm"),
    ),
)


@operation("norms", example={"p": 3.0}, over_rows={})
def schatten_norm(x: ArrayT, /, p: float | ArrayT) -> ArrayT:
    """The p-norm of the singular values.

    Parameters
    ----------
    x : array (..., m, n)
    p : number or array
        At least 1; `math.inf` is the spectral norm. An array, with a number for each matrix of the
        stack, is differentiated by; one below 1 or infinite makes its batch element NaN.

    Returns
    -------
    array (...), real

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix, or a p that is below 1 or does not go with x.

    See Also
    --------
    nuclear_norm, spectral_norm, svdvals_sum

    Notes
    -----
    Scale-free: no power of a singular value is formed but in units of the largest. The gradient is
    U (S/N)^(p - 1) Vh, right at ties; at p = 1 and zero values, and for a zero matrix, the
    subgradient of least Frobenius norm. The second derivative exists but for a zero matrix, for
    p < 2 at zero values, and where p is infinite at a tie of the largest: NaN. One product of x's
    size a backward. Lewis (1995), The convex analysis of unitarily invariant matrix functions.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> float(sg.schatten_norm(np.diag([3.0, 4.0]), 2))
    5.0
    """
    x, narrow = enter(x, "schatten_norm")
    exponent: Any
    parameters: Arrays = ()
    if is_array(p):
        exponent, parameters = FREE, (as_parameter(p, x, "schatten_norm", "p"),)
    elif p == math.inf:
        return narrow(largest_of_all(x, "schatten_norm"))
    else:
        exponent = number(p, "p", least=1)
        if exponent == 1:
            return narrow(sum_of_largest(x, min(x.shape[-2:]), "schatten_norm"))
    f = Schatten(exponent)
    return narrow(schatten(x, *svd_factors(x), *parameters, f=f))
