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


def ratio_second(s):
    return -2 / (1 + s) / (1 + s) / (1 + s)


CUBE_PAIR = (lambda w: w * w * w, lambda w: 3 * w * w, lambda w: 6 * w)
RATIO = F.ScalarFunction(ratio, ratio_derivative, ratio_second)


@dataclass(frozen=True)
class Operation:
    """A function of x; what its input must be and whether it exists at ties and at zero values."""

    name: str
    call: Callable
    square: bool = False
    at_ties: bool = True
    at_zeros: bool = True
    scale_power: int | None = None  # F(c A) = c^p F(A); None where there is no such law
    definite: bool = False  # of positive definite matrices
    cut: bool = False  # between the second and the third value
    fields: str = "rc"
    second: bool = True  # has derivatives of second order by rule
    curved_at_zeros: bool = False  # no second derivative at a zero value, though a first

    def exists_at(self, spectrum: str, *, twice: bool = False) -> bool:
        """Whether it is differentiable at matrices of that spectrum."""
        if self.cut and spectrum not in ("spread", "pair", "gap1e-8", "rank_deficient"):
            return False
        if not self.at_ties and spectrum != "spread":
            return False
        if twice and self.scale_power == 1 and spectrum == "zero" and "identity" not in self.name:
            return False  # a homogeneous function has a kink there, unless it is linear
        if twice and self.definite and spectrum in ("rank_deficient", "zero"):
            return False  # on the edge of where it is defined
        if spectrum in ("rank_deficient", "zero"):
            flat = self.second and not self.curved_at_zeros
            return (self.at_zeros or (self.cut and spectrum != "zero")) and (flat or not twice)
        return True


def thin_svd(x):
    return sg.svd(x, full_matrices=False)


def _svd_function(f):
    return lambda x: sg.svd_function(x, f)


def _eigh_function(f):
    return lambda x: sg.eigh_function(x, f)


OPERATIONS = (
    Operation("svd", thin_svd, at_ties=False, at_zeros=False, second=False),
    Operation("svd_full", sg.svd, at_ties=False, at_zeros=False, second=False),
    Operation("svdvals", sg.svdvals, at_ties=False, at_zeros=False, scale_power=1, second=False),
    Operation("eigh", sg.eigh, square=True, at_ties=False, second=False),
    Operation("eigvalsh", sg.eigvalsh, square=True, at_ties=False, scale_power=1, second=False),
    Operation("orthogonalize", sg.orthogonalize, at_zeros=False, scale_power=0),
    Operation("polar_left", lambda x: sg.polar(x, side="left"), at_zeros=False),
    Operation("polar_P", lambda x: sg.polar(x).P, at_zeros=False, scale_power=1),
    Operation(
        "nearest_rotation",
        sg.nearest_rotation,
        square=True,
        at_zeros=False,
        scale_power=0,
        fields="r",
    ),
    Operation("pinv", sg.pinv, at_zeros=False),
    Operation("low_rank", lambda x: sg.low_rank(x, 2), at_zeros=False, scale_power=1, cut=True),
    Operation(
        "left_projector",
        lambda x: sg.singular_projector(x, 2),
        at_zeros=False,
        scale_power=0,
        cut=True,
    ),
    Operation(
        "right_projector",
        lambda x: sg.singular_projector(x, 2, side="right"),
        at_zeros=False,
        scale_power=0,
        cut=True,
    ),
    Operation(
        "truncated_svd",
        lambda x: sg.truncated_svd(x, 2, solver="krylov", adjoint="krylov"),
        at_ties=False,
        at_zeros=False,
        cut=True,
        second=False,
    ),
    Operation(
        "truncation_error",
        lambda x: sg.truncation_error(x, 2),
        at_ties=False,
        at_zeros=False,
        scale_power=1,
        cut=True,
        second=False,
    ),
    Operation("nuclear_norm", sg.nuclear_norm, at_zeros=False, scale_power=1),
    Operation("spectral_norm", sg.spectral_norm, at_ties=False, at_zeros=False, scale_power=1),
    Operation(
        "ky_fan_norm", lambda x: sg.ky_fan_norm(x, 2), at_zeros=False, scale_power=1, cut=True
    ),
    Operation("schatten_3", lambda x: sg.schatten_norm(x, 3), scale_power=1),
    Operation(
        "schatten_1.5", lambda x: sg.schatten_norm(x, 1.5), scale_power=1, curved_at_zeros=True
    ),
    Operation("svd_function:identity", _svd_function(F.identity), scale_power=1),
    Operation("svd_function:tanh", _svd_function(F.tanh)),
    Operation("svd_function:expm1", _svd_function(F.expm1), curved_at_zeros=True),
    Operation("svd_function:cube", _svd_function(F.power(3))),
    Operation("svd_function:power", _svd_function(F.power(2.5))),
    Operation("svd_function:log1p", _svd_function(F.log1p), curved_at_zeros=True),
    Operation("singular_value_threshold", lambda x: sg.singular_value_threshold(x, 0.7)),
    Operation("svd_function:clip", _svd_function(F.clip(1.1))),
    Operation("svd_function:tikhonov", _svd_function(F.tikhonov(0.3))),
    Operation("svd_function:sqrt", _svd_function(F.sqrt), at_zeros=False),
    Operation("svd_function:ratio", _svd_function(RATIO), curved_at_zeros=True),
    Operation("eigh_function:tanh", _eigh_function(F.tanh), square=True),
    Operation("eigh_function:cube", _eigh_function(F.power(3)), square=True),
    Operation("eigh_function:pair", _eigh_function(CUBE_PAIR), square=True),
    Operation("expm", sg.expm, square=True),
    Operation("logm", sg.logm, square=True, definite=True, at_zeros=False),
    Operation("sqrtm", sg.sqrtm, square=True, definite=True, at_zeros=False),
    Operation("inv_sqrtm", sg.inv_sqrtm, square=True, definite=True, at_zeros=False),
    Operation("powm", lambda x: sg.powm(x, 2.3), square=True, definite=True),
)
SECOND = [operation for operation in OPERATIONS if operation.second]
REFERENCE = {
    "spectral:cube": lambda x: sg.svd_function(x, F.power(3)),
    "spectral:tanh": lambda x: sg.svd_function(x, F.tanh),
    "spectral:expm1": lambda x: sg.svd_function(x, F.expm1),
    "spectral:log1p": lambda x: sg.svd_function(x, F.log1p),
    "spectral:ratio": lambda x: sg.svd_function(x, RATIO),
    "orthogonal_factor": sg.orthogonalize,
    "pinv": lambda x: sg.pinv(x),
    "soft_threshold": sg.singular_value_threshold,
    "low_rank": lambda x, k: sg.low_rank(x, k),
    "left_projector": lambda x, k: sg.singular_projector(x, k),
    "nearest_rotation": sg.nearest_rotation,
    "nuclear_norm": lambda x: sg.nuclear_norm(x),
    "schatten_norm": lambda x, p: sg.schatten_norm(x, p),
    "ky_fan_norm": lambda x, k: sg.ky_fan_norm(x, k),
    "hermitian:exp": sg.expm,
    "hermitian:log": sg.logm,
    "hermitian:inv_sqrt": sg.inv_sqrtm,
}
