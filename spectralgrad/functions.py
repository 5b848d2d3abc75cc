"""Scalar functions of a singular value or eigenvalue, each with exact divided differences.

A function of the singular values is extended to negative arguments as an odd function, which is
what makes U f(S) Vh a function of the matrix. Divided differences of the named functions, of first
and second order, are closed forms that neither cancel at close arguments nor overflow.

All of these are immutable, hashable objects; equal ones compare equal, so a compiled program that
uses one is compiled once. A parameter may be an array instead of a number, one for each matrix of a
stack, and is then differentiated by.
"""

from __future__ import annotations

from ._functions.exponentials import exp, expm1, identity, log, log1p, reciprocal, sqrt, tanh
from ._functions.given import ScalarFunction
from ._functions.one_sided import positive_part, step
from ._functions.statistics import entropy, fermi
from ._functions.thresholds import clip, hard_threshold, soft_threshold
from ._functions.tikhonov import tikhonov
from ._functions.truncated_powers import power

__all__ = [
    "ScalarFunction",
    "clip",
    "entropy",
    "exp",
    "expm1",
    "fermi",
    "hard_threshold",
    "identity",
    "log",
    "log1p",
    "positive_part",
    "power",
    "reciprocal",
    "soft_threshold",
    "sqrt",
    "step",
    "tanh",
    "tikhonov",
]


def __dir__() -> list[str]:
    return __all__
