r"""Polar factors x = W P by iterations, without an SVD.

X is x over a bound of its largest singular value. A step replaces the singular values s of X by
r(s), with an odd function r that brings them nearer to 1; with G = X^H X,

    "newton-schulz"   r(s) = a s + b s^3 + c s^5         X' = X (a + b G + c G^2)
    "qdwh"            r(s) = s (a + b s^2)/(1 + c s^2)   X' = (b/c) X + (a - b/c) X (1 + c G)^-1

Singular values below 2 eps times the largest count as zero, so the number of steps that bring all
others to 1 is known before. The polynomials are the best of their degree for the interval that they
find: those of the least error max |r(s) - 1|, which by Chebyshev's theorem is reached with
alternating signs at both ends and at the two extrema between. That is four equations for a, b, c
and the error. Up to 0.06 one polynomial serves all steps and multiplies values by at least 3.94.
The best one for a smaller interval multiplies them by up to 4.26, but it throws values near 1 as
far down as it lifts the least, where they lose their digits. What maps to more than 1 would grow by
10 in each step, so the first ones are scaled to at most 0.99.

The rational steps are those of `halley`.

Sources: Amsel, Persson, Musco and Gower (2025), The Polar Express, for the composition of best
polynomials; Nakatsukasa and Higham (2012), Backward stability of iterations for
computing the polar decomposition, for what a step may do to large values. The coefficients are our
own, and tests/test_polar_methods.py computes them again.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from .._bindings.array import (
    Array,
    Arrays,
    adjoint,
    array_namespace,
    device,
    eps,
    herm,
    invalidated,
)
from .._bindings.lookup import adjoint_times, library_of
from .._engine.primitive import Primitive
from .._spectrum.halley import Coefficients, bounded, halley

Method = Literal["svd", "newton-schulz", "qdwh"]

# Numbers stand inside of functions: PyTorch makes variables of global ones where it compiles for
# shapes that change, and fails (2.13).


def polynomials(rounding: float) -> list[Coefficients]:
    """The steps for matrices of any shape."""
    lifting = (3.9757611865029254, -10.60940388777607, 7.623642701273144)
    finishing = [  # from [0.06, 1] to within 2.5e-8 of 1, and the cube of that
        lifting,
        (3.312974471264951, -6.356865183500855, 4.033890712235904),
        (2.242463198945153, -2.087813603748449, 0.8487450639531243),
        (1.8750121540279618, -1.2500135044101968, 0.3750013504444832),
        (15 / 8, -10 / 8, 3 / 8),
    ]
    count = _lifts(rounding)
    return [*[lifting] * count, *(finishing if rounding < 1e-8 else finishing[:-1])]


def _lifts(rounding: float) -> int:
    """How many steps lift 2 sqrt(2) eps to 0.06."""
    return 24 if rounding < 1e-8 else 9


def reach(rounding: float) -> float:
    """The least value that the polynomials bring to 1."""
    least: float = 0.06 / 3.937666134916338 ** _lifts(rounding)
    return least


def _by_products(X: Array) -> Array:
    for a, b, c in polynomials(eps(X)):
        G = adjoint_times(X, X)
        X = a * X + X @ (b * G + c * (G @ G))
    return X


def _factors(x: Array, *, method: Method) -> Arrays:
    """W and P of each matrix; NaN where x is not finite."""
    m, n = x.shape[-2:]
    if m < n:
        W, P = _factors(adjoint(x), method=method)
        return adjoint(W), P
    xp = array_namespace(x)
    size = xp.max(xp.abs(x), axis=(-2, -1), keepdims=True)  # which passes a NaN on
    x = xp.where(xp.isfinite(size), x, 0.0)  # of which some libraries' solve would complain
    X, _ = bounded(x)
    W = halley(X, 2 * eps(X)) if method == "qdwh" else _by_products(X)
    invalid = size - size  # zero, or NaN
    return invalidated(W, invalid), invalidated(herm(adjoint_times(W, x)), invalid)


def _forward(x: Array, *, method: Method) -> Arrays:
    (m, n), k = x.shape[-2:], min(x.shape[-2:])
    if 0 in x.shape:
        xp = array_namespace(x)
        return x + 0.0, xp.zeros((*x.shape[:-2], k, k), dtype=x.dtype, device=device(x))
    factors: Any = library_of(x).each(partial(_factors, method=method), ((m, n), (k, k)), x)
    return tuple(factors)


# W (..., m, n), and the Hermitian P on its shorter side. The derivative is that of the functions
# which take them beside x.
iterated_factors = Primitive(
    "orthogonalize",
    _forward,
    jvp=lambda inputs, outputs, tangents, **static: (None, None),
    vjp=lambda inputs, outputs, cotangents, **static: (None,),
    outputs=2,
    carried=(0,),
    decomposes=True,
    unread=lambda **static: (0,),
    reads_outputs=False,
)
