r"""Divided differences of first and second order, for any function of one variable.

    f[a, b] = (f(a) - f(b))/(a - b),   f[a, a] = f'(a),
    f[a, b, c] = (f[a, b] - f[b, c])/(a - c),   f[a, a, a] = f''(a)/2,

symmetric in their arguments. Named functions bring closed forms that neither cancel nor overflow
(`functions`). For a function given by values and derivative, the quotient q loses eps |f|/(a - b),
and the mean Q of f' over [b, a] by Gauss-Legendre quadrature loses whatever f' does between the
nodes. Neither is good everywhere: a threshold on the gap by itself fails for steep f. But where Q
explains q to within q's own rounding error,

    e = eps (|f(a)| + |f(b)| + |a f'(a)| + |b f'(b)|)/(a - b),      |q - Q| <= 4 e,

Q is right to working precision, and where it does not, f moves too much between a and b for q to
cancel. The terms a f'(a) account for the rounding of a itself. The same test serves the second
order, with f[x, y] in place of f and, for x >= y >= z and theta = (y - z)/(x - z),

    f[x, y, z] = theta int_0^1 u f''(z + u (y - z)) du + (1 - theta) int_0^1 u f''(x - u (x - y)) du
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._bindings.array import Array, array_namespace, eps

# On [0, 1]: f[a, b] = int_0^1 f'(b + u (a - b)) du.
_LEGENDRE = np.polynomial.legendre.leggauss(8)
_NODES = tuple(float(u + 1) / 2 for u in _LEGENDRE[0])
_WEIGHTS = tuple(float(w) / 2 for w in _LEGENDRE[1])


def _gauss_jacobi(count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Nodes and weights of int_0^1 u g(u) du: Golub and Welsch (1969) on the recurrence."""
    n = np.arange(count)
    diagonal = 1 / ((2 * n + 1) * (2 * n + 3))
    n = n[1:]
    off = np.sqrt(n * (n + 1)) / (2 * n + 1)
    nodes, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
    return tuple(map(float, (nodes + 1) / 2)), tuple(map(float, vectors[0] ** 2 / 2))


_JACOBI = tuple(zip(*_gauss_jacobi(8), strict=True))


def quotient(difference: Array, a: Array, b: Array, equal: Array) -> Array:
    """difference / (a - b), and `equal` where a = b."""
    xp = array_namespace(a, b)
    d = a - b
    return xp.where(d == 0, equal, difference / xp.where(d == 0, 1.0, d))


def by_quadrature(f: Callable[..., Any], df: Callable[..., Any], a: Array, b: Array) -> Array:
    """f[a, b] of a function known by its values and its derivative."""
    xp = array_namespace(a, b)
    fa, fb, dfa, dfb = f(a), f(b), df(a), df(b)
    d = a - b
    mean = sum(w * df(b + u * d) for u, w in zip(_NODES, _WEIGHTS, strict=True))
    q = quotient(fa - fb, a, b, mean)
    slack = 4 * eps(a) * (xp.abs(fa) + xp.abs(fb) + xp.abs(a * dfa) + xp.abs(b * dfb))
    return xp.where(xp.abs((q - mean) * d) <= slack, mean, q)


def widest_quotient(
    a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array, at_tie: Any
) -> tuple[Array, Array]:
    """f[a, b, c] from the first differences f[a, b], f[b, c], f[a, c], and the width of the three.

    The difference is taken over the widest of the three gaps, where it cancels least; `at_tie` is
    the answer where all three arguments are equal.
    """
    xp = array_namespace(a, b, c)
    d_ab, d_bc, d_ac = a - b, b - c, a - c
    left = xp.abs(d_ab) >= xp.abs(d_bc)
    gap, change = xp.where(left, d_ab, d_bc), xp.where(left, ac - bc, ab - ac)
    outer = xp.abs(d_ac) >= xp.abs(gap)
    gap, change = xp.where(outer, d_ac, gap), xp.where(outer, ab - bc, change)
    tied = gap == 0
    return xp.where(tied, at_tie, change / xp.where(tied, 1.0, gap)), xp.abs(gap)


def second_by_quadrature(
    d2f: Callable[..., Any], a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array
) -> Array:
    """f[a, b, c] of a function known by its first differences and its second derivative."""
    xp = array_namespace(a, b, c)
    x, z = xp.maximum(xp.maximum(a, b), c), xp.minimum(xp.minimum(a, b), c)
    y = xp.maximum(xp.minimum(xp.maximum(a, b), c), xp.minimum(a, b))
    width = x - z
    theta = xp.where(width == 0, 0.5, (y - z) / xp.where(width == 0, 1.0, width))
    low = sum(w * d2f(z + u * (y - z)) for u, w in _JACOBI)
    high = sum(w * d2f(x - u * (x - y)) for u, w in _JACOBI)
    mean = theta * low + (1 - theta) * high
    q, _ = widest_quotient(a, b, c, ab, bc, ac, mean)
    sizes = xp.abs(ab) + xp.abs(bc) + xp.abs(ac)
    for v in (x, y, z):
        v = xp.where(v == 0, x, v)  # d2f may be infinite at 0, where v d2f(v) is of no weight
        sizes = sizes + xp.abs(v * d2f(v))
    return xp.where(xp.abs((q - mean) * width) <= 8 * eps(width) * sizes, mean, q)


NEAR = 1 / 32  # the series stops at its ninth term: (2/3 of that)^9 is below eps


def second_by_series(
    a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array, series: Callable[..., Any]
) -> Array:
    r"""f[a, b, c] by Taylor's series about the mean of close arguments, else by the quotient.

    `series(m)` gives a radius r, number or array, a factor g and coefficients k_n, the last first,
    with f^(n+2)(m)/(n+2)! = g k_n/r^n. Then f[a, b, c] = g sum_n k_n h_n(d/r), where h_n is the
    complete homogeneous symmetric polynomial of the deviations d from m. They add up to zero, so
    h_n = e_3 h_(n-3) - e_2 h_(n-2), e_2 and e_3 being the elementary ones. Within width <= r/32
    nine terms are exact to rounding; beyond, the quotient loses 8 eps r/width at most.
    """
    xp = array_namespace(a, b, c)
    m = (a + b + c) / 3
    r, g, coefficients = series(m)
    q, width = widest_quotient(a, b, c, ab, bc, ac, float("nan"))
    near = width <= NEAR * r
    unit = r if isinstance(r, float) else xp.where(r == 0, 1.0, r)
    u, v = (xp.where(near, (x - m) / unit, 0.0) for x in (a, b))
    w = -u - v
    e2, e3 = u * v + (u + v) * w, u * v * w
    sums = [0.0, 0.0, 0.0]  # Clenshaw's (1955), from the last term to the first
    for k_n in coefficients:
        sums = [k_n - e2 * sums[1] + e3 * sums[2], *sums[:2]]
    return xp.where(near, g * sums[0], q)


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
