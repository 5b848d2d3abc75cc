"""The one table of operations that the property tests run over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import spectralgrad as sg

F = sg.functions


def ratio(s):
    return s / (1 + s)


def ratio_derivative(s):
    return 1 / (1 + s) / (1 + s)


CUBE_PAIR = (lambda w: w * w * w, lambda w: 3 * w * w)
RATIO = F.ScalarFunction(ratio, ratio_derivative)


@dataclass(frozen=True)
class Operation:
    """A function of x; what its input must be and whether it exists at ties and at zero values."""

    name: str
    call: Callable
    square: bool = False
    at_ties: bool = True
    at_zeros: bool = True
    scale_power: int | None = None  # F(c A) = c^p F(A); None where there is no such law


def thin_svd(x):
    return sg.svd(x, full_matrices=False)


def _svd_function(f):
    return lambda x: sg.svd_function(x, f)


def _eigh_function(f):
    return lambda x: sg.eigh_function(x, f)


OPERATIONS = (
    Operation("svd", thin_svd, at_ties=False, at_zeros=False),
    Operation("svd_full", sg.svd, at_ties=False, at_zeros=False),
    Operation("svdvals", sg.svdvals, at_ties=False, at_zeros=False, scale_power=1),
    Operation("eigh", sg.eigh, square=True, at_ties=False),
    Operation("eigvalsh", sg.eigvalsh, square=True, at_ties=False, scale_power=1),
    Operation("orthogonalize", sg.orthogonalize, at_zeros=False, scale_power=0),
    Operation("nuclear_norm", sg.nuclear_norm, at_zeros=False, scale_power=1),
    Operation("svd_function:identity", _svd_function(F.identity), scale_power=1),
    Operation("svd_function:tanh", _svd_function(F.tanh)),
    Operation("svd_function:expm1", _svd_function(F.expm1)),
    Operation("svd_function:cube", _svd_function(F.power(3))),
    Operation("svd_function:log1p", _svd_function(F.log1p)),
    Operation("svd_function:soft", _svd_function(F.soft_threshold(0.7))),
    Operation("svd_function:clip", _svd_function(F.clip(1.1))),
    Operation("svd_function:tikhonov", _svd_function(F.tikhonov(0.3))),
    Operation("svd_function:sqrt", _svd_function(F.sqrt), at_zeros=False),
    Operation("svd_function:ratio", _svd_function(RATIO)),
    Operation("eigh_function:exp", _eigh_function(F.exp), square=True),
    Operation("eigh_function:tanh", _eigh_function(F.tanh), square=True),
    Operation("eigh_function:cube", _eigh_function(F.power(3)), square=True),
    Operation("eigh_function:pair", _eigh_function(CUBE_PAIR), square=True),
)
REFERENCE = {
    "spectral:cube": lambda x: sg.svd_function(x, F.power(3)),
    "spectral:tanh": lambda x: sg.svd_function(x, F.tanh),
    "spectral:expm1": lambda x: sg.svd_function(x, F.expm1),
    "spectral:log1p": lambda x: sg.svd_function(x, F.log1p),
    "spectral:ratio": lambda x: sg.svd_function(x, RATIO),
    "orthogonal_factor": sg.orthogonalize,
    "soft_threshold": lambda x, tau: sg.svd_function(x, F.soft_threshold(tau)),
    "nuclear_norm": lambda x: sg.nuclear_norm(x),
    "hermitian:exp": lambda x: sg.eigh_function(x, F.exp),
    "hermitian:log": lambda x: sg.eigh_function(x, F.log),
    "hermitian:inv_sqrt": lambda x: sg.eigh_function(x, F.power(-0.5)),
}
