"""Functions of the side on which an argument lies: a step, and the positive part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .._bindings.array import Array, array_namespace
from .._spectrum.divided_differences import quotient, widest_quotient
from .exponentials import identity
from .named import NAN, Named, near, number, where
from .protocol import Scalar


@dataclass(frozen=True, eq=False)
class step(Named):
    """1 above a place and 0 up to it: a spectral projector. No derivative at the jump: NaN.

    Parameters
    ----------
    at : number or array
        An array, with a number for each matrix, is differentiated by: the derivative is zero, and
        NaN at the jump.

    Raises
    ------
    TypeError, ValueError
        If the place is neither an array nor a finite Python number.

    Notes
    -----
    `eigh_function` of it is the projector on the vectors of all eigenvalues above; that on the k
    largest is `eigenprojector`. A value within 2 sqrt(n) eps of the largest counts as at the jump.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.functions.step(1.0)(np.array([3.0, 0.5, -2.0]))
    array([1., 0., 0.])
    """

    at: Any
    parameters: ClassVar[tuple[str, ...]] = ("at",)
    degree = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", number(self.at, "at"))

    @property
    def vanishes(self) -> bool | None:
        return self.at >= 0 if isinstance(self.at, float) else None

    @property
    def nonnegative(self) -> bool:
        return isinstance(self.at, float) and self.at == 0

    @property
    def bounded_derivatives(self) -> float:
        return math.inf if isinstance(self.at, float) and self.at > 0 else 0

    def in_units(self, unit: Array) -> dict[str, Any]:
        return {"at": self.at / unit}

    def breaks(self, s: Array, tolerance: Array, order: int) -> Any:
        return near(s, self.at, tolerance)

    def __call__(self, s: Array) -> Array:
        place = self.at + 0.0 * s
        valid = where(place == place, array_namespace(s).zeros_like(place), NAN)
        return where(s > place, 1.0, valid)

    def ratio(self, s: Array, fs: Array) -> Array:
        return self.divided(s, 0.0 * s) if fs is None else fs / s

    def divided(self, a: Array, b: Array) -> Array:
        jump = where((a == self.at) | (b == self.at), NAN, 0.0 * a)
        return quotient(self(a) - self(b), a, b, jump) + jump

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return widest_quotient(a, b, c, ab, bc, ac, 0.0 * a)[0]

    def by(self, name: str) -> Named:
        return _StepByPlace(self.at)


class _StepByPlace(step):
    """0, and NaN at the jump."""

    def __call__(self, s: Array) -> Array:
        return where(s == self.at, NAN, 0.0 * s)

    def by(self, name: str) -> Named:
        return self


class PositivePart(Named):
    """max(s, 0): `eigh_function` of it is the nearest positive semidefinite matrix.

    At the kink, an eigenvalue that counts as zero, the slope is taken as 0; there is no second
    derivative.
    """

    degree = 1
    nonnegative = True

    def breaks(self, s: Array, tolerance: Array, order: int) -> Any:
        return s == 0 if order > 1 else None

    def of_singular_values(self) -> Scalar:
        return identity

    def __call__(self, s: Array) -> Array:
        return where(s < 0, 0.0 * s, s + 0.0)

    def divided(self, a: Array, b: Array) -> Array:
        return quotient(self(a) - self(b), a, b, where(a > 0, 1.0, 0.0 * a))

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        return widest_quotient(a, b, c, ab, bc, ac, where(a == 0, NAN, 0.0 * a))[0]


positive_part: Named = PositivePart()
