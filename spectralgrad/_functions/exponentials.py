"""The identity, square root, exponentials, logarithms, tanh and the reciprocal."""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import Any, ClassVar

from numpy.polynomial import Polynomial

from .._bindings.array import Array, Arrays, array_namespace, eps
from .._spectrum.divided_differences import (
    in_order,
    log_ratio,
    quotient,
    saturation,
    second_by_series,
)
from .named import NAN, Named, magnitude, where
from .powers import Power

# f^(n+2)(m)/(n+2)! in units of f's own scale, as `second_by_series` wants them: the last first
_EXPONENTIAL = tuple(1 / factorial(n + 2) for n in reversed(range(9)))
_LOGARITHM = tuple((-1.0) ** (n + 1) / (n + 2) for n in reversed(range(9)))


def _derivatives_of_tanh(count: int) -> list[tuple[int, list[float]]]:
    """f^(n+2)/(n+2)! in units of f' as polynomials in t^2, times t for even n.

    With t = tanh and f' = 1 - t^2, f^(n) = f' q_n(t) and q_(n+1) = (1 - t^2) q_n' - 2 t q_n.
    """
    q, found = Polynomial([1.0]), []
    for n in range(count):
        q = Polynomial([1.0, 0.0, -1.0]) * q.deriv() - Polynomial([0.0, 2.0]) * q
        found.append((n, [float(c) / factorial(n + 2) for c in q.coef[(n + 1) % 2 :: 2]]))
    return found[::-1]


_TANH = _derivatives_of_tanh(9)


def _horner(coefficients: list[float], z: Array) -> Any:
    total: Any = coefficients[-1]
    for c in coefficients[-2::-1]:
        total = total * z + c
    return total


def _decay(d: Array) -> Array:
    """(1 - e^-d)/d for d >= 0."""
    floor = eps(d) ** 2  # 1 at 0 instead of 0/0; chosen, not added, to be constant to autodiff
    d = where(d > floor, d, floor)
    return saturation(d) / d


class Identity(Named):
    """The identity, f(s) = s."""

    odd = True
    degree = 1

    def __call__(self, s: Array) -> Array:
        return s + 0.0

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return 0.0 * (a + b + c)

    def divided(self, a: Array, b: Array) -> Array:
        return array_namespace(a, b).ones_like(a + b)


class Sqrt(Named):
    """The square root: NaN below zero; no derivative at zero."""

    degree = 0.5
    singular = True
    nonnegative = True

    def __call__(self, s: Array) -> Array:
        return where(s < 0, NAN, array_namespace(s).sqrt(where(s < 0, 0.0, s)))

    def divided(self, a: Array, b: Array) -> Array:
        total = self(a) + self(b)
        return where(total == 0, NAN, 1 / where(total == 0, 1.0, total))

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return -ab * bc * ac


class Exp(Named):
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
            return 1.0, xp.exp(m), _EXPONENTIAL

        return second_by_series(a, b, c, ab, bc, ac, series)


class Expm1(Exp):
    """e^s - 1."""

    vanishes: ClassVar[bool] = True
    bounded_derivatives = 2

    def __call__(self, s: Array) -> Array:
        xp = array_namespace(s)
        small = saturation(magnitude(s))
        return where(s > 0, xp.exp(s) * small, -small)


@dataclass(frozen=True, eq=False)
class Log(Named):
    """The logarithm: NaN below zero; no derivative at zero. A shift is what units leave of it."""

    shift: Any = 0.0
    parameters: ClassVar[tuple[str, ...]] = ("shift",)
    vanishes = False
    degree = 0
    singular = True
    nonnegative = True

    def __call__(self, s: Array) -> Array:
        at_most_zero = where(s == 0, -float("inf"), array_namespace(s).full_like(s, NAN))
        return where(s > 0, array_namespace(s).log(where(s > 0, s, 1.0)) + self.shift, at_most_zero)

    def in_units(self, unit: Array) -> dict[str, Any]:
        return {"shift": self.shift + array_namespace(unit).log(unit)}

    def divided(self, a: Array, b: Array) -> Array:
        a, b = in_order(a, b)
        at_tie = where(b > 0, 1 / where(b > 0, b, 1.0), NAN)
        return quotient(-log_ratio(a, b), a, b, at_tie)

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        def series(m: Array) -> Arrays:
            m = where(m > 0, m, NAN)
            return m, 1 / m / m, _LOGARITHM

        return second_by_series(a, b, c, ab, bc, ac, series)


class Log1p(Named):
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


class Tanh(Named):
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
        xp = array_namespace(m)
        t, decay = xp.tanh(m), xp.exp(-2 * magnitude(m))
        z, slope = t * t, 4 * decay / (1 + decay) / (1 + decay)  # 1 - z does not cancel so
        return 1.0, slope, (_horner(c, z) * (t if n % 2 == 0 else 1.0) for n, c in _TANH)


class Reciprocal(Named):
    """1/s: infinite at zero, where it has no derivative."""

    vanishes = False
    odd = True
    degree = -1
    singular = True

    def __call__(self, s: Array) -> Array:
        return Power(-1)(s)

    def divided(self, a: Array, b: Array) -> Array:
        return Power(-1).divided(a, b)

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return Power(-1).second(a, b, c, ab, bc, ac)


identity: Named = Identity()
sqrt: Named = Sqrt()
exp: Named = Exp()
expm1: Named = Expm1()
log: Named = Log()
log1p: Named = Log1p()
tanh: Named = Tanh()
reciprocal: Named = Reciprocal()
