"""The regularized reciprocal and its derivatives by the regularization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .._bindings.array import Array, Arrays, array_namespace
from .named import NAN, Named, number, where


@dataclass(frozen=True, eq=False)
class tikhonov(Named):
    """The regularized reciprocal s/(s^2 + alpha), without squaring s.

    Parameters
    ----------
    alpha : number or array
        Above 0. An array, with a number for each matrix, is differentiated by.

    Raises
    ------
    TypeError, ValueError
        If alpha is neither an array nor a finite Python number above 0.

    Notes
    -----
    `svd_function` of it is the transposed Tikhonov inverse.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.functions.tikhonov(1.0)(np.array([1.0, 0.0]))
    array([0.5, 0. ])
    """

    alpha: Any
    odd = True
    degree = -1
    parameters: ClassVar[tuple[str, ...]] = ("alpha",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", number(self.alpha, "alpha", above=0))

    def in_units(self, unit: Array) -> dict[str, Any]:
        return {"alpha": self.alpha / unit / unit}

    @property
    def width(self) -> Any:
        return self.alpha**0.5

    def _unit(self, s: Array) -> Arrays:
        """h = hypot(s, sqrt(alpha)), and s and sqrt(alpha) over it: (s^2 + alpha) = h^2."""
        alpha = self.alpha
        if not isinstance(alpha, float):
            alpha = where((alpha > 0) & (alpha < float("inf")), alpha, NAN)
        root = alpha**0.5 + 0.0 * s
        h = array_namespace(s).hypot(s, root)
        return s / h, root / h, h

    def __call__(self, s: Array) -> Array:
        u, _, h = self._unit(s)
        return u / h

    def divided(self, a: Array, b: Array) -> Array:
        (ua, va, ha), (ub, vb, hb) = self._unit(a), self._unit(b)
        return (va * vb - ua * ub) / ha / hb

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        # f(s) = Re 1/(s + i r) with r^2 = alpha, whose second difference is a product of three
        (ua, va, ha), (ub, vb, hb), (uc, vc, hc) = map(self._unit, (a, b, c))
        return ((ua * ub - va * vb) * uc - (ua * vb + va * ub) * vc) / ha / hb / hc

    def by(self, name: str) -> Named:
        return _TikhonovByAlpha(self.alpha)


class _TikhonovByAlpha(tikhonov):
    """-s/(s^2 + alpha)^2."""

    degree = -3

    def __call__(self, s: Array) -> Array:
        u, _, h = self._unit(s)
        return -u / h / h / h

    def divided(self, a: Array, b: Array) -> Array:
        # (a b (h_a^2 + h_b^2 + a b) - alpha^2)/(h_a h_b)^4
        (ua, va, ha), (ub, vb, hb) = self._unit(a), self._unit(b)
        u, v = ua * ub, va * vb
        return (u * (ha / hb + hb / ha + u) - v * v) / ha / ha / hb / hb

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return NAN * (a + b + c)

    def by(self, name: str) -> Named:
        return _TikhonovByAlphaTwice(self.alpha)


class _TikhonovByAlphaTwice(_TikhonovByAlpha):
    """2 s/(s^2 + alpha)^3."""

    degree = -5

    def __call__(self, s: Array) -> Array:
        _, _, h = self._unit(s)
        return -2 * super().__call__(s) / h / h

    def divided(self, a: Array, b: Array) -> Array:
        return NAN * (a + b)
