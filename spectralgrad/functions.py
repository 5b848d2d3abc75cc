"""Scalar functions of a singular value or eigenvalue, each with exact divided differences.

A function of the singular values is extended to negative arguments as an odd function, which is
what makes U f(S) Vh a function of the matrix. Divided differences of the named functions are closed
forms that neither cancel at close arguments nor overflow.

All of these are immutable, hashable objects; equal ones compare equal, so a compiled program that
uses one is compiled once.
"""

from __future__ import annotations

from dataclasses import dataclass

from ._array import Array, array_namespace, eps
from ._divided import in_order, log_ratio, quotient, saturation
from ._scalar import NAN, Named, ScalarFunction, magnitude, number, where
from ._thresholds import clip, hard_threshold, soft_threshold

__all__ = [
    "ScalarFunction",
    "clip",
    "exp",
    "expm1",
    "hard_threshold",
    "identity",
    "log",
    "log1p",
    "power",
    "reciprocal",
    "soft_threshold",
    "sqrt",
    "tanh",
    "tikhonov",
]


def _decay(d: Array) -> Array:
    """(1 - e^-d)/d for d >= 0."""
    floor = eps(d) ** 2  # 1 at 0 instead of 0/0; chosen, not added, to be constant to autodiff
    d = where(d > floor, d, floor)
    return saturation(d) / d


@dataclass(frozen=True)
class _Identity(Named):
    def __call__(self, s):
        return s + 0.0

    def divided(self, a, b):
        return array_namespace(a, b).ones_like(a + b)


@dataclass(frozen=True)
class _Sqrt(Named):
    """NaN below zero; no derivative at zero."""

    def __call__(self, s):
        return where(s < 0, NAN, array_namespace(s).sqrt(where(s < 0, 0.0, s)))

    def divided(self, a, b):
        total = self(a) + self(b)
        return where(total == 0, NAN, 1 / where(total == 0, 1.0, total))


@dataclass(frozen=True)
class power(Named):
    """s^p for any real p; a whole p takes negative s too.

    Parameters
    ----------
    p : number
        Negative bases are NaN unless p is whole; zero has no derivative for p < 1 but 0.

    Raises
    ------
    TypeError, ValueError
        If p is no finite Python number.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.functions.power(2)(np.array([3.0, -1.0]))
    array([9., 1.])
    """

    p: float

    def __post_init__(self):
        p = number(self.p, "p")
        object.__setattr__(self, "p", int(p) if p.is_integer() else p)

    @property
    def vanishes(self):
        return self.p > 0

    def __call__(self, s):
        if isinstance(self.p, int) and self.p >= 0:
            return s**self.p
        fails = s == 0 if isinstance(self.p, int) else s <= 0
        at_zero = 0.0 if self.p > 0 else float("inf")
        return where(
            fails,
            where(s == 0, at_zero, array_namespace(s).full_like(s, NAN)),
            where(fails, 1.0, s) ** self.p,
        )

    def divided(self, a, b):
        if isinstance(self.p, int):
            return self._polynomial(a, b)
        # a^(p-1) (1 - r^p)/(1 - r) with r = b/a
        a, b = in_order(a, b)
        depth = -abs(self.p) * log_ratio(a, b)
        at_zero = 1.0 if self.p > 0 else NAN  # r = 0
        change = where(b == 0, at_zero, saturation(where(b == 0, 0.0, depth)))
        if self.p < 0:  # 1 - r^p = -r^p (1 - r^-p)
            change = -change * array_namespace(b).exp(where(b == 0, 0.0, depth))
        ratio = change / where(a == b, 1.0, (a - b) / where(a == 0, 1.0, a))
        at_origin = 0.0 if self.p > 1 else NAN
        return where(a == 0, at_origin, power(self.p - 1)(a) * where(a == b, float(self.p), ratio))

    def _polynomial(self, a, b):
        """sum_i a^i b^(p-1-i); for p < 0, -sum_i a^(p+i) b^(-1-i)."""
        if self.p < 0:
            zero = (a == 0) | (b == 0)
            r, t = 1 / where(zero, 1.0, a), 1 / where(zero, 1.0, b)
            return where(zero, NAN, -(r * t) * power(-self.p)._polynomial(r, t))
        if self.p < 2:
            return self.p + 0.0 * (a + b)
        half = self.p // 2  # sum over 2 h powers = sum over h powers, times a^h + b^h
        even = power(half)._polynomial(a, b) * (a**half + b**half)
        return even if self.p % 2 == 0 else even * a + b ** (self.p - 1)


@dataclass(frozen=True)
class _Exp(Named):
    vanishes = False

    def __call__(self, s):
        return array_namespace(s).exp(s)

    def divided(self, a, b):
        a, b = in_order(a, b)
        return array_namespace(a).exp(a) * _decay(a - b)


@dataclass(frozen=True)
class _Expm1(_Exp):
    vanishes = True

    def __call__(self, s):
        xp = array_namespace(s)
        small = saturation(magnitude(s))
        return where(s > 0, xp.exp(s) * small, -small)


@dataclass(frozen=True)
class _Log(Named):
    """NaN below zero; no derivative at zero."""

    vanishes = False

    def __call__(self, s):
        at_most_zero = where(s == 0, -float("inf"), array_namespace(s).full_like(s, NAN))
        return where(s > 0, array_namespace(s).log(where(s > 0, s, 1.0)), at_most_zero)

    def divided(self, a, b):
        a, b = in_order(a, b)
        at_tie = where(b > 0, 1 / where(b > 0, b, 1.0), NAN)
        return quotient(-log_ratio(a, b), a, b, at_tie)


@dataclass(frozen=True)
class _Log1p(Named):
    """NaN at -1 and below."""

    def __call__(self, s):
        return where(s > -1, array_namespace(s).log1p(where(s > -1, s, 0.0)), NAN)

    def divided(self, a, b):
        # log1p(r)/(r base) with r = |a - b|/base, which the floor keeps from 0/0
        xp = array_namespace(a, b)
        base_a, base_b = (1 + where(v > -1, v, NAN) for v in (a, b))
        base = xp.minimum(base_a, base_b)
        r = xp.maximum(xp.abs(a - b) / base, eps(base) ** 2 + 0.0 * base_a)
        return xp.log1p(r) / (r * base)


@dataclass(frozen=True)
class _Tanh(Named):
    def __call__(self, s):
        return array_namespace(s).tanh(s)

    def divided(self, a, b):
        # tanh is odd: two negative arguments are as good as two positive ones.
        xp = array_namespace(a, b)
        large, small = in_order(magnitude(a), magnitude(b))
        denominator = (1 + xp.exp(-2 * large)) * (1 + xp.exp(-2 * small))
        same = 4 * xp.exp(-2 * small) * _decay(2 * (large - small)) / denominator
        return where((a < 0) == (b < 0), same, quotient(self(a) - self(b), a, b, same))


@dataclass(frozen=True)
class _Reciprocal(Named):
    """Infinite at zero, where it has no derivative."""

    vanishes = False

    def __call__(self, s):
        return power(-1)(s)

    def divided(self, a, b):
        return power(-1).divided(a, b)


@dataclass(frozen=True)
class tikhonov(Named):
    """The regularized reciprocal s/(s^2 + alpha), without squaring s.

    Parameters
    ----------
    alpha : number
        Above 0. `svd_function` of it is the transposed Tikhonov inverse.

    Raises
    ------
    TypeError, ValueError
        If alpha is no finite Python number above 0.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.functions.tikhonov(1.0)(np.array([1.0, 0.0]))
    array([0.5, 0. ])
    """

    alpha: float

    def __post_init__(self):
        object.__setattr__(self, "alpha", number(self.alpha, "alpha", above=0))

    def _modulus(self, s):
        root = float(self.alpha) ** 0.5
        return root, array_namespace(s).hypot(s, root + 0.0 * s)

    def __call__(self, s):
        _, h = self._modulus(s)
        return s / h / h

    def divided(self, a, b):
        (root, ha), (_, hb) = self._modulus(a), self._modulus(b)
        return (root / ha / ha) * (root / hb / hb) - (a / ha / ha) * (b / hb / hb)


identity = _Identity()
sqrt = _Sqrt()
exp = _Exp()
expm1 = _Expm1()
log = _Log()
log1p = _Log1p()
tanh = _Tanh()
reciprocal = _Reciprocal()
