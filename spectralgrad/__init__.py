"""Derivatives of singular values, singular vectors and functions of the spectrum."""

from . import functions, operators, rules, testing
from ._alignment import KabschResult, ProcrustesResult, kabsch, procrustes
from ._eigh import EighResult, eigh
from ._errors import (
    ConvergenceError,
    ConvergenceWarning,
    DerivativeUndefinedError,
    DerivativeUndefinedWarning,
)
from ._hermitian import expm, inv_sqrtm, logm, powm, sqrtm
from ._matrix_functions import eigh_function, singular_value_threshold, svd_function
from ._norms import ky_fan_norm, nuclear_norm, schatten_norm, spectral_norm
from ._polar import PolarResult, nearest_rotation, orthogonalize, polar
from ._subspaces import low_rank, pinv, singular_projector
from ._svd import SVDResult, svd
from ._transforms import hvp, jvp, vjp
from ._truncated import truncated_svd
from ._truncation import cut, truncation_error
from ._values import eigvalsh, svdvals

__all__ = [
    "ConvergenceError",
    "ConvergenceWarning",
    "DerivativeUndefinedError",
    "DerivativeUndefinedWarning",
    "EighResult",
    "KabschResult",
    "PolarResult",
    "ProcrustesResult",
    "SVDResult",
    "cut",
    "eigh",
    "eigh_function",
    "eigvalsh",
    "expm",
    "functions",
    "hvp",
    "inv_sqrtm",
    "jvp",
    "kabsch",
    "ky_fan_norm",
    "logm",
    "low_rank",
    "nearest_rotation",
    "nuclear_norm",
    "operators",
    "orthogonalize",
    "pinv",
    "polar",
    "powm",
    "procrustes",
    "rules",
    "schatten_norm",
    "singular_projector",
    "singular_value_threshold",
    "spectral_norm",
    "sqrtm",
    "svd",
    "svd_function",
    "svdvals",
    "testing",
    "truncated_svd",
    "truncation_error",
    "vjp",
]
__version__ = "0.1.0"
