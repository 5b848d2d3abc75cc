"""Real and whole powers, and their derivatives by the exponent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .._bindings.array import Array, Arrays, array_namespace
from .._spectrum.divided_differences import (
    in_order,
    log_ratio,
    quotient,
    saturation,
    second_by_series,
)
from .named import NAN, Named, number, where


def _choose(condition: Any, x: Array, otherwise: Any) -> Array:
    """where, or Python's choice if the exponent is a Python number."""
    if isinstance(condition, bool):
        return x if condition else otherwise
    return where(condition, x, otherwise)


def _positive(s: Array) -> Array:
    """s, and NaN where it is not above zero."""
    return where(s > 0, s, NAN)


@dataclass(frozen=True, eq=False)
class Power(Named):
    """s^p for any real p; a whole p takes negative s too.

    Negative bases are NaN unless p is a whole number; zero has no derivative for p < 1 but 0. An
    array never counts as whole.
    """

    p: Any
    parameters: ClassVar[tuple[str, ...]] = ("p",)

    def __post_init__(self) -> None:
        p = number(self.p, "p")
        object.__setattr__(self, "p", int(p) if isinstance(p, float) and p.is_integer() else p)

    @property
    def vanishes(self) -> bool:
        return not isinstance(self.p, (int, float)) or self.p > 0

    @property
    def odd(self) -> bool:
        return isinstance(self.p, int) and self.p % 2 == 1

    @property
    def nonnegative(self) -> bool:
        return not isinstance(self.p, int)

    @property
    def degree(self) -> Any:
        return self.p

    @property
    def singular(self) -> bool:  # type: ignore[override]
        return isinstance(self.p, (int, float)) and self.p < 1

    @property
    def bounded_derivatives(self) -> float:
        if self.odd and self.vanishes:
            return math.inf
        return max(0, math.floor(self.p)) if isinstance(self.p, (int, float)) else 0

    def __call__(self, s: Array) -> Array:
        if isinstance(self.p, int) and self.p >= 0:
            return s**self.p
        fails = s == 0 if isinstance(self.p, int) else s <= 0
        zero = 0.0 * s
        at_zero = _choose(self.p > 0, zero, _choose(self.p == 0, zero + 1, zero + float("inf")))
        return where(fails, where(s == 0, at_zero, NAN), where(fails, 1.0, s) ** self.p)

    def ratio(self, s: Array, fs: Array) -> Array:
        return Power(self.p - 1)(s)

    def divided(self, a: Array, b: Array) -> Array:
        if isinstance(self.p, int):
            return self._polynomial(a, b)
        if type(self.p) is float and self.p == -0.5:  # whose closed form takes no logarithm
            u, v = (where(y < float("inf"), y, NAN) for y in (self(a), self(b)))
            return (-u) * v / (1 / u + 1 / v)
        # with r = b/a: a^(p-1) (1 - r^p)/(1 - r) for p > 0, -b^p/a (1 - r^-p)/(1 - r) for p < 0
        x, y = a, b
        a, b = in_order(x, y)
        unit = where(a == 0, 1.0, a)
        depth = where(b == 0, 0.0, -abs(self.p) * log_ratio(a, b))
        change = where(b == 0, 1.0, saturation(depth))
        ratio = change / where(a == b, 1.0, (a - b) / unit)
        ratio = where(a == b, abs(self.p) + 0.0 * a, ratio)
        if isinstance(self.p, (int, float)):
            scale = self._rising(x, y) if self.p > 0 else self._falling(x, y) / unit
        else:
            scale = where(self.p > 0, self._rising(x, y), self._falling(x, y) / unit)
        return where(a == 0, self._at_origin(1, a), scale * ratio)

    def _rising(self, x: Array, y: Array) -> Array:
        """a^(p-1) for the larger of each pair; powers are taken before the pairs are formed."""
        u, v = (Power(self.p - 1)(where(s == 0, 1.0, s)) for s in (x, y))
        return where(x >= y, u, v)

    def _falling(self, x: Array, y: Array) -> Array:
        """-b^p for the smaller of each pair, NaN for zero."""
        u, v = (where(s == 0, NAN, -Power(self.p)(where(s == 0, 1.0, s))) for s in (x, y))
        return where(x >= y, v, u)

    def _at_origin(self, order: int, zero: Array) -> Array:
        """The divided difference of that order where all arguments are zero."""
        xp, p = array_namespace(zero), self.p + 0.0 * zero
        lower = (p >= 0) & (p < order) & (p == xp.round(p))
        flat = where((p > order) | lower, xp.zeros_like(p), NAN)
        return where(p == order, 1.0, flat)

    def _polynomial(self, a: Array, b: Array) -> Array:
        """sum_i a^i b^(p-1-i); for p < 0, -sum_i a^(p+i) b^(-1-i)."""
        if self.p < 0:
            zero = (a == 0) | (b == 0)
            r, t = 1 / where(zero, 1.0, a), 1 / where(zero, 1.0, b)
            return where(zero, NAN, -(r * t) * Power(-self.p)._polynomial(r, t))
        if self.p < 2:
            return self.p + 0.0 * (a + b)
        half = self.p // 2  # sum over 2 h powers = sum over h powers, times a^h + b^h
        even = Power(half)._polynomial(a, b) * (a**half + b**half)
        return even if self.p % 2 == 0 else even * a + b ** (self.p - 1)

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        if not isinstance(self.p, int):
            change = second_by_series(a, b, c, ab, bc, ac, self._series)
            return where((a == 0) & (b == 0) & (c == 0), self._at_origin(2, a), change)
        if self.p >= 0:
            return _homogeneous(self.p - 2, a, b, c)
        zero = (a == 0) | (b == 0) | (c == 0)
        r, t, u = (1 / where(zero, 1.0, v) for v in (a, b, c))
        return where(zero, NAN, _homogeneous(-self.p - 1, r, t, u) * r * t * u)

    def _series(self, m: Array) -> Arrays:
        """Binomials (p over n + 2), within a radius that large exponents shorten."""
        m, term, coefficients = _positive(m), self.p * (self.p - 1) / 2, []
        steep = abs(self.p) > 4
        short = _choose(steep, 4 / _choose(steep, abs(self.p), 1.0), 1.0)
        for n in range(9):
            coefficients.append(term)
            term = term * (self.p - (n + 2)) / (n + 3) * short
        return m * short, Power(self.p - 2)(m), coefficients[::-1]

    def by(self, name: str) -> Named:
        return PowerLog(self.p, 1)


def _homogeneous(degree: int, a: Array, b: Array, c: Array) -> Array:
    """The sum of all monomials of a degree in a, b, c: of one variable, of two, of three."""
    if degree < 0:
        return 0.0 * (a + b + c)
    one = two = three = 1.0 + 0.0 * (a + b + c)
    for _ in range(degree):
        one = one * a
        two = one + b * two
        three = two + c * three
    return three


@dataclass(frozen=True, eq=False)
class PowerLog(Named):
    """s^p (log s)^n, the n-th derivative of s^p by p: 0 at 0 for p > 0."""

    p: Any
    n: int
    parameters: ClassVar[tuple[str, ...]] = ("p",)
    jumps_at_zero: ClassVar[bool] = True  # steeply for a small p, and endlessly for p = 0

    def __call__(self, s: Array) -> Array:
        x = where(s > 0, s, 1.0)
        value = Power(self.p)(x) * array_namespace(s).log(x) ** self.n
        at_zero = where(self.p + 0.0 * s > 0, array_namespace(s).zeros_like(s), NAN)
        return where(s > 0, value, where(s == 0, at_zero, NAN))

    def ratio(self, s: Array, fs: Array) -> Array:
        return fs / s

    def divided(self, a: Array, b: Array) -> Array:
        # Leibniz: (g log)[a, b] = g[a, b] log(a) + g(b) log[a, b]
        a, b = in_order(a, b)
        lower = Power(self.p) if self.n == 1 else PowerLog(self.p, self.n - 1)
        x, y = (where(v > 0, v, 1.0) for v in (a, b))
        log_slope = quotient(-log_ratio(x, where(b > 0, y, x)), x, where(b > 0, y, x), 1 / y)
        slope = lower.divided(a, b) * array_namespace(x).log(x) + lower(b) * log_slope
        slope = where(b == 0, _choose(self.p > 0, self(a) / x, NAN), where(b < 0, NAN, slope))
        return where(a == 0, _choose(self.p > 1, 0.0 * a, NAN), slope)

    def by(self, name: str) -> Named:
        return PowerLog(self.p, self.n + 1)
