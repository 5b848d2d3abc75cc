"""Functions with a kink or a jump at a threshold: soft, hard, and their complement."""

from __future__ import annotations

from dataclasses import dataclass

from ._divided import in_order, quotient
from ._scalar import NAN, Named, magnitude, number, where


class _Piecewise(Named):
    """An odd function, linear below and above a kink or jump at |s| = t."""

    inside: float
    outside: float

    @property
    def threshold(self) -> float:
        raise NotImplementedError

    def _odd(self, size):
        raise NotImplementedError

    def __call__(self, s):
        value = self._odd(magnitude(s))
        # not by `sign`, which indexes by a mask in array_api_compat's PyTorch: no torch.func.vmap
        return where(s < 0, -value, value)

    def divided(self, a, b):
        t = self.threshold
        large, small = in_order(magnitude(a), magnitude(b))
        if t == 0:  # no kink: the function is linear
            return self.outside + 0.0 * large
        across = quotient(self(large) - self(small), large, small, 0.0 * large)
        same = where(small > t, self.outside, where(large <= t, self.inside, across))
        return where((a < 0) == (b < 0), same, quotient(self(a) - self(b), a, b, same))


@dataclass(frozen=True)
class _AtTau(_Piecewise):
    tau: float
    inside, outside = 0.0, 1.0

    def __post_init__(self):
        object.__setattr__(self, "tau", number(self.tau, "tau", least=0))

    @property
    def threshold(self):
        return self.tau


class soft_threshold(_AtTau):
    """max(s - tau, 0). At the kink s = tau the derivative is taken as 0.

    Parameters
    ----------
    tau : number
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If tau is no finite Python number of at least 0.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.functions.soft_threshold(1.0)(np.array([3.0, 0.5]))
    array([2., 0.])
    """

    def _odd(self, size):
        return where(size > self.tau, size - self.tau, 0.0)


@dataclass(frozen=True)
class clip(_Piecewise):
    """min(s, max). At the kink s = max the derivative is taken as 1.

    Parameters
    ----------
    max : number
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If max is no finite Python number of at least 0.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.functions.clip(1.0)(np.array([3.0, 0.5]))
    array([1. , 0.5])
    """

    max: float
    inside, outside = 1.0, 0.0

    def __post_init__(self):
        object.__setattr__(self, "max", number(self.max, "max", least=0))

    @property
    def threshold(self):
        return self.max

    def _odd(self, size):
        return where(size > self.max, self.max, size)


class hard_threshold(_AtTau):
    """s above tau, 0 at and below it. No derivative at the jump s = tau: NaN.

    Parameters
    ----------
    tau : number
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If tau is no finite Python number of at least 0.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.functions.hard_threshold(1.0)(np.array([3.0, 0.5]))
    array([3., 0.])
    """

    def _odd(self, size):
        return where(size > self.tau, size, 0.0)

    def divided(self, a, b):
        at_jump = (magnitude(a) == self.tau) | (magnitude(b) == self.tau)
        return where(at_jump & (self.tau > 0), NAN, super().divided(a, b))
