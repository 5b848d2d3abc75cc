"""Functions of statistical physics: the entropy of a probability, and occupations of levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .._bindings.array import Array, array_namespace
from .exponentials import Log, tanh
from .named import NAN, Named, Nowhere, magnitude, number, where
from .protocol import Scalar, Slope


@dataclass(frozen=True, eq=False)
class Entropy(Named):
    """-s log s, 0 at zero, where its slope is infinite; NaN below. A shift is what units leave."""

    shift: Any = 0.0
    parameters: ClassVar[tuple[str, ...]] = ("shift",)
    degree = 1
    nonnegative = True

    def in_units(self, unit: Array) -> dict[str, Any]:
        return {"shift": self.shift + array_namespace(unit).log(unit)}

    def __call__(self, s: Array) -> Array:
        x = where(s > 0, s, 1.0)
        value = -x * (array_namespace(s).log(x) + self.shift)
        return where(s > 0, value, where(s == 0, 0.0 * s, NAN))

    def divided(self, a: Array, b: Array) -> Array:
        # (s log)[a, b] = log a + b log[a, b], with the larger for a
        xp = array_namespace(a, b)
        a, b = xp.maximum(a, b), xp.minimum(a, b)
        above, x = b > 0, where(b > 0, b, 1.0)
        top = where(a > 0, a, 1.0)
        change = where(above, x * Log().divided(where(above, a, 1.0), x), 0.0)
        slope = -(xp.log(top) + self.shift + change)
        return where((a > 0) & (b >= 0), slope, NAN)

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        # (s log)[a, b, c] = log[a, b] + c log[a, b, c], with the least for c
        xp = array_namespace(a, b, c)
        low, high = xp.minimum(a, b), xp.maximum(a, b)
        z, rest = xp.minimum(low, c), xp.maximum(low, c)
        x, y = xp.maximum(high, rest), xp.minimum(high, rest)
        inside, above = y > 0, z > 0
        x, y = where(inside, x, 1.0), where(inside, y, 1.0)
        u = where(above & inside, z, y)
        log, xy = Log(), Log().divided(x, y)
        curve = log.second(x, y, u, xy, log.divided(y, u), log.divided(x, u))
        value = -(xy + where(above, u * curve, 0.0))
        return where(inside & (z >= 0), value, NAN)


entropy: Named = Entropy()


@dataclass(frozen=True, eq=False)
class fermi(Named):
    """1/(exp(beta (s - mu)) + 1), the occupation of a level: `step` downwards, smoothed.

    Parameters
    ----------
    mu, beta : number or array
        The chemical potential and the inverse temperature, which is above 0. Arrays, with a number
        for each matrix, are differentiated by.

    Raises
    ------
    TypeError, ValueError
        If one is neither an array nor a finite Python number, or beta is not above 0.

    Notes
    -----
    `eigh_function` of it is the density matrix of a Hamiltonian, and `eigvalsh_sum` the number of
    particles.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.functions.fermi(mu=0.0, beta=1.0)(np.array([0.0, 1000.0]))
    array([0.5, 0. ])
    """

    mu: Any
    beta: Any
    parameters: ClassVar[tuple[str, ...]] = ("mu", "beta")
    vanishes: ClassVar[bool] = False
    degree: ClassVar[int | None] = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "mu", number(self.mu, "mu"))
        object.__setattr__(self, "beta", number(self.beta, "beta", above=0))

    def in_units(self, unit: Array) -> dict[str, Any]:
        return {"mu": self.mu / unit, "beta": self.beta * unit}

    def _rate(self, s: Array) -> Array:
        """beta/2, NaN where it is not above zero."""
        beta = self.beta + 0.0 * s
        return where((beta > 0) & (beta < float("inf")), beta / 2, NAN)

    # f(s) = (1 - tanh(t))/2 with t = beta (s - mu)/2

    def __call__(self, s: Array) -> Array:
        xp, t = array_namespace(s), self._rate(s) * (s - self.mu)
        decay = xp.exp(-2 * magnitude(t))
        return where(t > 0, decay, 1.0 + 0.0 * decay) / (1 + decay)

    def divided(self, a: Array, b: Array) -> Array:
        rate = self._rate(a + b)
        return -rate / 2 * tanh.divided(rate * (a - self.mu), rate * (b - self.mu))

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        rate = self._rate(a + b + c)
        x, y, z = (rate * (v - self.mu) for v in (a, b, c))
        xy, yz, xz = (-2 * slope / rate for slope in (ab, bc, ac))
        return -rate * rate / 2 * tanh.second(x, y, z, xy, yz, xz)

    def by(self, name: str) -> Scalar:
        return Slope(self, factor=-1.0) if name == "mu" else _ByBeta(self.mu, self.beta)


class _ByBeta(fermi):
    """(s - mu)/beta f'(s)."""

    degree = None

    def __call__(self, s: Array) -> Array:
        return (s - self.mu) / self.beta * super().divided(s, s)

    def divided(self, a: Array, b: Array) -> Array:
        # Leibniz: ((s - mu) f')[a, b] = (a - mu) f'[a, b] + f'(b)
        f = fermi(self.mu, self.beta)
        return ((a - self.mu) * Slope(f).divided(a, b) + f.derivative(b)) / self.beta

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return NAN * (a + b + c)

    def by(self, name: str) -> Scalar:
        return Slope(self, factor=-1.0) if name == "mu" else _ByBetaTwice(self.mu, self.beta)


class _ByBetaTwice(_ByBeta):
    """((s - mu)/beta)^2 f''(s)."""

    def __call__(self, s: Array) -> Array:
        t = (s - self.mu) / self.beta
        return t * t * Slope(fermi(self.mu, self.beta)).derivative(s)

    def divided(self, a: Array, b: Array) -> Array:
        return NAN * (a + b)

    def by(self, name: str) -> Scalar:
        return Nowhere()
