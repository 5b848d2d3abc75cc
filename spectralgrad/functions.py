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
from ._functions.powers import power
from ._functions.thresholds import clip, hard_threshold, soft_threshold
from ._functions.tikhonov import tikhonov

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


def __dir__() -> list[str]:
    return __all__
