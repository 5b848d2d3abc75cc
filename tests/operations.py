"""The one table of operations that the property tests run over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import spectralgrad as sg
from spectralgrad._operations.declaration import OPERATIONS as DECLARED

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
class Case:
    """A function of x under test: what its input must be, and where it is differentiable."""

    name: str
    call: Callable
    square: bool
    definite: bool  # of positive definite matrices
    real: bool
    at_ties: bool
    at_zeros: bool
    second: bool  # has derivatives of second order by rule
    scale_power: int | None = None  # F(c A) = c^p F(A); None where there is no such law
    cut: bool = False  # between the second and the third value
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


def case(name: str, label: str | None = None, *, out: str | None = None, **given) -> Case:
    """A case of the operation of that name: the facts of its declaration, or what is given.

    What is neither is an option of the operation; `out` picks one of several results.
    """
    declared = DECLARED[name]
    facts = {fact: getattr(declared, fact) for fact in FACTS}
    facts["square"] = declared.square or declared.hermitian
    own = {fact: given.pop(fact) for fact in Case.__dataclass_fields__.keys() & given.keys()}

    def call(x):
        result = getattr(sg, name)(x, **given)
        return result if out is None else getattr(result, out)

    return Case(label or name, call, **facts | own)


FACTS = ("square", "definite", "real", "at_ties", "at_zeros", "second")
OPERATIONS = (
    case("svd", full_matrices=False),
    case("svd", "svd_full"),
    case("svdvals", scale_power=1),
    case("eigh"),
    case("eigvalsh", scale_power=1),
    case("orthogonalize", scale_power=0),
    case("polar", "polar_left", side="left"),
    case("polar", "polar_P", out="P", scale_power=1),
    case("nearest_rotation", scale_power=0),
    case("pinv"),
    case("low_rank", k=2, scale_power=1, cut=True),
    case("singular_projector", "left_projector", k=2, scale_power=0, cut=True),
    case("singular_projector", "right_projector", k=2, side="right", scale_power=0, cut=True),
    case("truncated_svd", k=2, solver="krylov", adjoint="krylov", cut=True),
    case("truncated_eigh", k=2, solver="krylov", cut=True),
    case("truncation_error", k=2, scale_power=1, cut=True),
    case("nuclear_norm", scale_power=1),
    case("spectral_norm", scale_power=1),
    case("ky_fan_norm", k=2, scale_power=1, cut=True),
    case("schatten_norm", "schatten_3", p=3, scale_power=1),
    case("schatten_norm", "schatten_1.5", p=1.5, scale_power=1, curved_at_zeros=True),
    case("svd_function", "svd_function:identity", f=F.identity, scale_power=1),
    case("svd_function", "svd_function:tanh", f=F.tanh),
    case("svd_function", "svd_function:expm1", f=F.expm1, curved_at_zeros=True),
    case("svd_function", "svd_function:cube", f=F.power(3)),
    case("svd_function", "svd_function:power", f=F.power(2.5)),
    case("svd_function", "svd_function:log1p", f=F.log1p, curved_at_zeros=True),
    case("singular_value_threshold", tau=0.7),
    case("svd_function", "svd_function:clip", f=F.clip(1.1)),
    case("svd_function", "svd_function:tikhonov", f=F.tikhonov(0.3)),
    case("svd_function", "svd_function:sqrt", f=F.sqrt, at_zeros=False),
    case("svd_function", "svd_function:ratio", f=RATIO, curved_at_zeros=True),
    case("svd_function", "svd_function:entropy", f=F.entropy, at_zeros=False),
    case("svd_function", "svd_function:power_above", f=F.power(-1, cutoff=0.1)),
    case("eigh_function", "eigh_function:tanh", f=F.tanh),
    case("eigh_function", "eigh_function:cube", f=F.power(3)),
    case("eigh_function", "eigh_function:pair", f=CUBE_PAIR),
    case("eigh_function", "eigh_function:fermi", f=F.fermi(0.7, 3.0)),
    case("eigh_function", "eigh_function:entropy", f=F.entropy, definite=True, at_zeros=False),
    case("svdvals_sum", "svdvals_sum:log", f=F.log, at_zeros=False),
    case("svdvals_sum", "svdvals_sum:cube", f=F.power(3)),
    case("eigvalsh_sum", "eigvalsh_sum:tanh", f=F.tanh),
    case("eigvalsh_sum", "eigvalsh_sum:entropy", f=F.entropy, definite=True, at_zeros=False),
    case("sum_largest_eigvalsh", k=2, scale_power=1, cut=True),
    case("eigenprojector", k=2, scale_power=0, cut=True),
    case("expm", definite=True),
    case("logm"),
    case("sqrtm"),
    case("inv_sqrtm"),
    case("powm", p=2.3),
)
SECOND = [operation for operation in OPERATIONS if operation.second]
REFERENCE = {
    "eigvalsh_sum:log": lambda x: sg.eigvalsh_sum(x, F.log),
    "eigvalsh_sum:sqrt": lambda x: sg.eigvalsh_sum(x, F.sqrt),
    "eigvalsh_sum:entropy": lambda x: sg.eigvalsh_sum(x, F.entropy),
    "eigvalsh_sum:exp": lambda x: sg.eigvalsh_sum(x, F.exp),
    "eigvalsh_sum:power": lambda x, p: sg.eigvalsh_sum(x, F.power(p)),
    "eigvalsh_sum:fermi": lambda x, mu, beta: sg.eigvalsh_sum(x, F.fermi(mu, beta)),
    "eigh_function:entropy": lambda x: sg.eigh_function(x, F.entropy),
    "eigh_function:fermi": lambda x, mu, beta: sg.eigh_function(x, F.fermi(mu, beta)),
    "eigh_function:step": lambda x, at: sg.eigh_function(x, F.step(at)),
    "eigh_function:positive_part": lambda x: sg.eigh_function(x, F.positive_part),
    "eigh_function:power": lambda x, p, cutoff: sg.eigh_function(x, F.power(p, cutoff)),
    "eigenprojector": lambda x, k: sg.eigenprojector(x, k),
    "sum_largest_eigvalsh": lambda x, k: sg.sum_largest_eigvalsh(x, k),
    "svdvals_sum:log": lambda x: sg.svdvals_sum(x, F.log),
    "svdvals_sum:entropy": lambda x: sg.svdvals_sum(x, F.entropy),
    "svdvals_sum:power": lambda x, p: sg.svdvals_sum(x, F.power(p)),
    "svdvals_sum:quartic": lambda x, p: sg.svdvals_sum(x, F.power(p)),
    "svd_function:entropy": lambda x: sg.svd_function(x, F.entropy),
    "svd_function:step": lambda x, at: sg.svd_function(x, F.step(at)),
    "svd_function:power": lambda x, p, cutoff: sg.svd_function(x, F.power(p, cutoff)),
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
