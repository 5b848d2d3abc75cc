r"""The polar factor of x = W P by linear systems: dynamically weighted Halley iteration.

A step replaces the singular values s of X by r(s) = s (a + b s^2)/(1 + c s^2), which brings them
nearer to 1:

    X' = (b/c) X + (a - b/c) X (1 + c X^H X)^-1

The weights are those of Nakatsukasa, Bai and Gygi for values in [s, 1], but c of at most 100, for
which the linear system has a condition of 101. With any c there are 6 steps in place of 15, but the
first ones need QR decompositions, which CuPy makes of a stack one by one (13). How many steps there
are follows from the least value that is to be brought to 1, and is known before.

Source: Nakatsukasa, Bai and Gygi (2010), Optimizing Halley's iteration for computing the matrix
polar decomposition.
"""

from __future__ import annotations

import math

from .._bindings.array import Array, adjoint, array_namespace, device, eps
from .._bindings.lookup import adjoint_times

Coefficients = tuple[float, float, float]


def weights(least: float, rounding: float) -> list[Coefficients]:
    """Those of the steps for values in [least, 1]."""
    s, found = least, []
    while 1 - s > rounding:
        a, b, c = _halley(s)
        found.append((a, b, c))
        s = min(s * (a + b * s * s) / (1 + c * s * s), 1.0)
    return found


def _halley(s: float) -> Coefficients:
    """The best weights for the interval [s, 1]: r(1) = 1 and the least r(s) is the largest."""
    most = 2 * math.sqrt(1 + 100) - 1  # where c is 100
    d = (4 * (1 - s) * (1 + s) / s**4) ** (1 / 3)
    root = math.sqrt(1 + d)
    a = min(root + 0.5 * math.sqrt(8 - 4 * d + 8 * (2 - s * s) / (s * s * root)), most)
    b = (a - 1) ** 2 / 4
    return a, b, a + b - 1


def bounded(x: Array) -> tuple[Array, Array]:
    """x over a bound of its largest singular value, and that, the fourth root of sum s^4."""
    xp = array_namespace(x)
    top = _or_one(xp.max(xp.abs(x), axis=(-2, -1), keepdims=True))
    x = x / top
    G = xp.abs(adjoint_times(x, x))
    bound = _or_one(xp.sum(G * G, axis=(-2, -1), keepdims=True) ** 0.25)
    return x / bound, bound * top


def _or_one(size: Array) -> Array:
    return array_namespace(size).where(size == 0, 1.0, size)


def identity_like(G: Array) -> Array:
    return array_namespace(G).eye(G.shape[-1], dtype=G.dtype, device=device(G))


def halley(X: Array, least: float) -> Array:
    """W of each matrix, with as many rows as columns or more, whose values are in [least, 1]."""
    solve = array_namespace(X).linalg.solve
    for a, b, c in weights(least, eps(X)):
        Z = identity_like(X) + c * adjoint_times(X, X)
        X = (b / c) * X + (a - b / c) * adjoint(solve(Z, adjoint(X)))
    return X
