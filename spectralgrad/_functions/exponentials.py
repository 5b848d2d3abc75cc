"""The identity, square root, exponentials, logarithms, tanh and the reciprocal."""

from __future__ import annotations

from math import factorial
from typing import ClassVar

from .._bindings.array import Array, Arrays, array_namespace, eps
from .._spectrum.divided_differences import (
    in_order,
    log_ratio,
    quotient,
    saturation,
    second_by_series,
)
from .named import NAN, Named, magnitude, where
from .powers import power

# f^(n+2)(m)/(n+2)! in units of f's own scale, as far as `second_by_series` wants them
_EXPONENTIAL = tuple(1 / factorial(n + 2) for n in range(9))
_LOGARITHM = tuple((-1.0) ** (n + 1) / (n + 2) for n in range(9))


def _decay(d: Array) -> Array:
    """(1 - e^-d)/d for d >= 0."""
    floor = eps(d) ** 2  # 1 at 0 instead of 0/0; chosen, not added, to be constant to autodiff
    d = where(d > floor, d, floor)
    return saturation(d) / d


class _Identity(Named):
    """s."""

    odd = True
    degree = 1

    def __call__(self, s: Array) -> Array:
        return s + 0.0

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return 0.0 * (a + b + c)

    def divided(self, a: Array, b: Array) -> Array:
        return array_namespace(a, b).ones_like(a + b)


class _Sqrt(Named):
    """The square root: NaN below zero; no derivative at zero."""

    degree = 0.5
    singular = True

    def __call__(self, s: Array) -> Array:
        return where(s < 0, NAN, array_namespace(s).sqrt(where(s < 0, 0.0, s)))

    def divided(self, a: Array, b: Array) -> Array:
        total = self(a) + self(b)
        return where(total == 0, NAN, 1 / where(total == 0, 1.0, total))

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return -ab * bc * ac


class _Exp(Named):
    """e^s."""

    vanishes: ClassVar[bool] = False

    def __call__(self, s: Array) -> Array:
        return array_namespace(s).exp(s)

    def divided(self, a: Array, b: Array) -> Array:
        a, b = in_order(a, b)
        return array_namespace(a).exp(a) * _decay(a - b)

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        xp = array_namespace(a, b, c)

        def series(m: Array) -> Arrays:
            return xp.ones_like(m), xp.exp(m), _EXPONENTIAL

        return second_by_series(a, b, c, ab, bc, ac, series)


class _Expm1(_Exp):
    """e^s - 1."""

    vanishes: ClassVar[bool] = True
    bounded_derivatives = 2

    def __call__(self, s: Array) -> Array:
        xp = array_namespace(s)
        small = saturation(magnitude(s))
        return where(s > 0, xp.exp(s) * small, -small)


class _Log(Named):
    """The logarithm: NaN below zero; no derivative at zero."""

    vanishes = False
    degree = 0
    singular = True

    def __call__(self, s: Array) -> Array:
        at_most_zero = where(s == 0, -float("inf"), array_namespace(s).full_like(s, NAN))
        return where(s > 0, array_namespace(s).log(where(s > 0, s, 1.0)), at_most_zero)

    def divided(self, a: Array, b: Array) -> Array:
        a, b = in_order(a, b)
        at_tie = where(b > 0, 1 / where(b > 0, b, 1.0), NAN)
        return quotient(-log_ratio(a, b), a, b, at_tie)

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        def series(m: Array) -> Arrays:
            m = where(m > 0, m, NAN)
            return m, 1 / m / m, _LOGARITHM

        return second_by_series(a, b, c, ab, bc, ac, series)


class _Log1p(Named):
    """log(1 + s): NaN at -1 and below."""

    bounded_derivatives = 2

    def __call__(self, s: Array) -> Array:
        return where(s > -1, array_namespace(s).log1p(where(s > -1, s, 0.0)), NAN)

    def divided(self, a: Array, b: Array) -> Array:
        # log1p(r)/(r base) with r = |a - b|/base, which the floor keeps from 0/0
        xp = array_namespace(a, b)
        base_a, base_b = (1 + where(v > -1, v, NAN) for v in (a, b))
        base = xp.minimum(base_a, base_b)
        r = xp.maximum(xp.abs(a - b) / base, eps(base) ** 2 + 0.0 * base_a)
        return xp.log1p(r) / (r * base)

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        def series(m: Array) -> Arrays:
            r = where(m > -1, 1 + m, NAN)
            return r, 1 / r / r, _LOGARITHM

        return second_by_series(a, b, c, ab, bc, ac, series)


class _Tanh(Named):
    """The hyperbolic tangent."""

    odd = True

    def __call__(self, s: Array) -> Array:
        return array_namespace(s).tanh(s)

    def divided(self, a: Array, b: Array) -> Array:
        # tanh is odd: two negative arguments are as good as two positive ones.
        xp = array_namespace(a, b)
        large, small = magnitude(a), magnitude(b)  # in whichever order
        u, v = xp.exp(-2 * large), xp.exp(-2 * small)
        slope = 4 * xp.maximum(u, v) * _decay(2 * xp.abs(large - small)) / ((1 + u) * (1 + v))
        alike = (a < 0) == (b < 0)
        return where(alike, slope, (self(a) - self(b)) / where(alike, 1.0, a - b))

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return second_by_series(a, b, c, ab, bc, ac, self._series)

    @staticmethod
    def _series(m: Array) -> Arrays:
        """From f' = 1 - f^2: t_(n+1) = (delta_n0 - sum_i t_i t_(n-i))/(n + 1)."""
        xp = array_namespace(m)
        decay = xp.exp(-2 * magnitude(m))
        t = [xp.tanh(m), 4 * decay / (1 + decay) / (1 + decay)]  # 1 - tanh^2 does not cancel so
        for n in range(1, len(_EXPONENTIAL) + 1):
            t.append(-sum(t[i] * t[n - i] for i in range(n + 1)) / (n + 1))
        return xp.ones_like(m), xp.ones_like(m), t[2:]


class _Reciprocal(Named):
    """1/s: infinite at zero, where it has no derivative."""

    vanishes = False
    odd = True
    degree = -1
    singular = True

    def __call__(self, s: Array) -> Array:
        return power(-1)(s)

    def divided(self, a: Array, b: Array) -> Array:
        return power(-1).divided(a, b)

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return power(-1).second(a, b, c, ab, bc, ac)


identity: Named = _Identity()
sqrt: Named = _Sqrt()
exp: Named = _Exp()
expm1: Named = _Expm1()
log: Named = _Log()
log1p: Named = _Log1p()
tanh: Named = _Tanh()
reciprocal: Named = _Reciprocal()
