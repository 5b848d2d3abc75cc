"""Functions with a kink or a jump at a threshold: soft, hard, and their complement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .._bindings.array import Array, Arrays, array_namespace
from .._spectrum.divided_differences import widest_quotient
from .named import NAN, Named, magnitude, near, number, where


class _Piecewise(Named):
    """An odd function, linear below and above a kink or jump at |s| = t."""

    odd = True
    degree = 1
    inside: ClassVar[float] = 0.0  # the slopes on either side
    outside: ClassVar[float] = 1.0
    # a jump has no derivative; a kink has that of the side below
    jumps: ClassVar[bool] = False  # where t = 0 only if `jumps_at_zero`

    @property
    def threshold(self) -> Any:
        raise NotImplementedError

    def in_units(self, unit: Array) -> dict[str, Any]:
        return {self.parameters[0]: self.threshold / unit}

    def breaks(self, s: Array, tolerance: Array, order: int) -> Any:
        if order < 2 and not self.jumps:
            return None
        t = self.threshold + 0.0 * s
        return near(magnitude(s), t, tolerance) & ((t > 0) | self.jumps_at_zero)

    def _odd(self, size: Array) -> Array:
        raise NotImplementedError

    def _valid(self) -> Array:
        """0 where the threshold is one, NaN where an array holds a negative number or NaN."""
        t = self.threshold
        if isinstance(t, float):
            return 0.0
        return where(t >= 0, array_namespace(t).zeros_like(t), NAN)

    def _at_threshold(self, s: Array) -> Array:
        """Where the kink or jump is; at t = 0 the odd function may have none."""
        at = magnitude(s) == self.threshold
        return at if self.jumps_at_zero else at & (s != 0)

    def __call__(self, s: Array) -> Array:
        value = self._odd(magnitude(s)) + self._valid()
        # not by `sign`, which indexes by a mask in array_api_compat's PyTorch: no torch.func.vmap
        return where(s < 0, -value, value)

    def _pieces(self, s: Array) -> Arrays:
        """Which line of its graph s lies on, -1, 0 or 1 (NaN at a jump), its slope and f(s)."""
        t = self.threshold
        beyond, value = magnitude(s) > t, self(s)
        piece = where(beyond, where(s < 0, -1.0, 1.0 + 0.0 * s), 0.0) + self._valid()
        slope = where(beyond | (t + 0.0 * s == 0), self.outside + 0.0 * s, self.inside)
        if self.jumps:
            at = self._at_threshold(s)
            piece, value = where(at, NAN, piece), where(at, NAN, value)
        return piece, slope, value

    def divided(self, a: Array, b: Array) -> Array:
        (piece_a, slope, fa), (piece_b, _, fb) = self._pieces(a), self._pieces(b)
        same = piece_a == piece_b
        return where(same, slope, (fa - fb) / where(same, 1.0, a - b))

    def second(self, a: Array, b: Array, c: Array, ab: Array, bc: Array, ac: Array) -> Array:
        at_tie = where(self._at_threshold(a), NAN, 0.0 * a)
        return widest_quotient(a, b, c, ab, bc, ac, at_tie)[0]


@dataclass(frozen=True, eq=False)
class _AtTau(_Piecewise):
    tau: Any
    parameters: ClassVar[tuple[str, ...]] = ("tau",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tau", number(self.tau, "tau", least=0))

    @property
    def threshold(self) -> Any:
        return self.tau


class soft_threshold(_AtTau):
    """max(s - tau, 0). At the kink s = tau the derivative is taken as 0.

    Parameters
    ----------
    tau : number or array
        At least 0. An array, with a number for each matrix, is differentiated by.

    Raises
    ------
    TypeError, ValueError
        If tau is neither an array nor a finite Python number of at least 0.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.functions.soft_threshold(1.0)(np.array([3.0, 0.5]))
    array([2., 0.])
    """

    def _odd(self, size: Array) -> Array:
        return where(size > self.tau, size - self.tau, 0.0)

    def by(self, name: str) -> Named:
        return _MinusSign(self.tau)


@dataclass(frozen=True, eq=False)
class clip(_Piecewise):
    """min(s, max). At the kink s = max the derivative is taken as 1.

    Parameters
    ----------
    max : number or array
        At least 0. An array, with a number for each matrix, is differentiated by.

    Raises
    ------
    TypeError, ValueError
        If max is neither an array nor a finite Python number of at least 0.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.functions.clip(1.0)(np.array([3.0, 0.5]))
    array([1. , 0.5])
    """

    max: Any
    inside: ClassVar[float] = 1.0
    outside: ClassVar[float] = 0.0
    parameters: ClassVar[tuple[str, ...]] = ("max",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "max", number(self.max, "max", least=0))

    @property
    def threshold(self) -> Any:
        return self.max

    def _odd(self, size: Array) -> Array:
        return where(size > self.max, self.max, size)

    def by(self, name: str) -> Named:
        return sign_beyond(self.max)


class hard_threshold(_AtTau):
    """s above tau, 0 at and below it. No derivative at the jump s = tau: NaN.

    Parameters
    ----------
    tau : number or array
        At least 0. An array, with a number for each matrix, is differentiated by: the derivative
        is zero, and NaN at the jump.

    Raises
    ------
    TypeError, ValueError
        If tau is neither an array nor a finite Python number of at least 0.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.functions.hard_threshold(1.0)(np.array([3.0, 0.5]))
    array([3., 0.])
    """

    jumps = True

    def _odd(self, size: Array) -> Array:
        return where(size > self.tau, size, 0.0)

    def by(self, name: str) -> Named:
        return _Flat(self.tau)


class sign_beyond(_AtTau):
    """sign(s) beyond tau, 0 at and below it: the derivative of `clip` by its maximum."""

    degree = 0
    outside = 0.0
    jumps = True
    jumps_at_zero = True
    bounded_derivatives = 0

    def _odd(self, size: Array) -> Array:
        return where(size > self.tau, 0.0 * size + 1.0, 0.0)

    def ratio(self, s: Array, fs: Array) -> Array:
        return fs / s  # not as f[s, 0], where there may be a jump

    def by(self, name: str) -> Named:
        return _Flat(self.tau)


class _MinusSign(sign_beyond):
    """The derivative of `soft_threshold` by tau."""

    def _odd(self, size: Array) -> Array:
        return -super()._odd(size)


class _Flat(_AtTau):
    """The derivative of a jump by its place: 0, and none at the jump."""

    degree = 0
    outside = 0.0
    jumps = True

    def _odd(self, size: Array) -> Array:
        return where(self._at_threshold(size), NAN, 0.0 * size)

    def by(self, name: str) -> Named:
        return self
