r"""Divided differences f[a, b] = (f(a) - f(b))/(a - b), with f[a, a] = f'(a).

Named functions bring closed forms that neither cancel nor overflow (`functions`). For a function
given by values and derivative, the quotient q loses eps |f|/(a - b), and the mean Q of f' over
[b, a] by Gauss-Legendre quadrature loses whatever f' does between the nodes. Neither is good
everywhere: a threshold on the gap alone fails for steep f. But where Q explains q to within q's own
rounding error,

    e = eps (|f(a)| + |f(b)| + |a f'(a)| + |b f'(b)|)/(a - b),      |q - Q| <= 4 e,

Q is right to working precision, and where it does not, f moves too much between a and b for q to
cancel. The terms a f'(a) account for the rounding of a itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._array import Array, array_namespace, eps

# On [0, 1]: f[a, b] = int_0^1 f'(b + u (a - b)) du.
_LEGENDRE = np.polynomial.legendre.leggauss(8)
_NODES = tuple(float(u + 1) / 2 for u in _LEGENDRE[0])
_WEIGHTS = tuple(float(w) / 2 for w in _LEGENDRE[1])


def quotient(difference: Array, a: Array, b: Array, equal: Array) -> Array:
    """difference / (a - b), and `equal` where a = b."""
    xp = array_namespace(a, b)
    d = a - b
    return xp.where(d == 0, equal, difference / xp.where(d == 0, 1.0, d))


def by_quadrature(f: Callable, df: Callable, a: Array, b: Array) -> Array:
    """f[a, b] of a function known by its values and its derivative."""
    xp = array_namespace(a, b)
    fa, fb, dfa, dfb = f(a), f(b), df(a), df(b)
    d = a - b
    mean = sum(w * df(b + u * d) for u, w in zip(_NODES, _WEIGHTS, strict=True))
    q = quotient(fa - fb, a, b, mean)
    slack = 4 * eps(a) * (xp.abs(fa) + xp.abs(fb) + xp.abs(a * dfa) + xp.abs(b * dfb))
    return xp.where(xp.abs((q - mean) * d) <= slack, mean, q)


def in_order(a: Array, b: Array) -> tuple[Array, Array]:
    """The larger and the smaller of each pair."""
    xp = array_namespace(a, b)
    return xp.maximum(a, b), xp.minimum(a, b)


def saturation(d: Array) -> Array:
    """1 - e^-d for d >= 0, without expm1: PyTorch's inductor computes that as e^d - 1 (2.13)."""
    t = array_namespace(d).tanh(d / 2)
    return 2 * t / (1 + t)


def log_ratio(a: Array, b: Array) -> Array:
    """log(b/a) for a >= b > 0, to working precision near and far; elsewhere NaN."""
    xp = array_namespace(a, b)
    ok = b > 0
    a, b = xp.where(ok, a, 1.0), xp.where(ok, b, 1.0)
    near = 2 * b > a
    return xp.where(
        ok,
        xp.where(
            near,
            xp.log1p(xp.where(near, (b - a) / a, 0.0)),
            xp.log(xp.where(near, 1.0, b / a)),
        ),
        float("nan"),
    )
