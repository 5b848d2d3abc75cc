"""Derivatives of singular values, singular vectors and functions of the spectrum."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import functions, operators, testing
from ._bindings.dask_passes import in_passes
from ._bindings.explaining import explain_nan
from ._diagnosis.diagnose import diagnose
from ._diagnosis.explain import Explanation, explain
from ._diagnosis.report import Diagnosis
from ._engine.errors import (
    ConvergenceError,
    ConvergenceWarning,
    DerivativeUndefinedError,
    DerivativeUndefinedWarning,
)
from ._engine.transforms import hvp, jvp, vjp
from ._operations.alignment import KabschResult, ProcrustesResult, kabsch, procrustes
from ._operations.directional import directional_eigvalsh, directional_svdvals
from ._operations.eigenprojector import eigenprojector, sum_largest_eigvalsh
from ._operations.eigh import EighResult, eigh
from ._operations.eigh_function import eigh_function
from ._operations.hermitian import expm, inv_sqrtm, logm, powm, sqrtm
from ._operations.low_rank import low_rank, singular_projector
from ._operations.norms import ky_fan_norm, nuclear_norm, spectral_norm
from ._operations.over_rows import over_rows
from ._operations.pinv import pinv
from ._operations.polar import PolarResult, nearest_rotation, orthogonalize, polar
from ._operations.schatten import schatten_norm
from ._operations.singular_jacobians import (
    SingularVectorJacobianResult,
    singular_value_jacobian,
    singular_vector_jacobian,
)
from ._operations.sums import eigvalsh_sum, svdvals_sum
from ._operations.svd import SVDResult, svd
from ._operations.svd_function import singular_value_threshold, svd_function
from ._operations.svdvals import eigvalsh, svdvals
from ._paths.analytic import AnalyticSVDResult, analytic_svd
from ._truncated.cut import cut
from ._truncated.eigh import truncated_eigh
from ._truncated.error import truncation_error
from ._truncated.svd import truncated_svd
from ._truncated.truncation import TruncatedSVDResult, Truncation, truncation

# isort: split
from . import rules  # which the declarations of the operations above fill

if _TYPE_CHECKING:
    from . import nn as nn

__all__ = [
    "AnalyticSVDResult",
    "ConvergenceError",
    "ConvergenceWarning",
    "DerivativeUndefinedError",
    "DerivativeUndefinedWarning",
    "Diagnosis",
    "EighResult",
    "Explanation",
    "KabschResult",
    "PolarResult",
    "ProcrustesResult",
    "SVDResult",
    "SingularVectorJacobianResult",
    "TruncatedSVDResult",
    "Truncation",
    "analytic_svd",
    "cut",
    "diagnose",
    "directional_eigvalsh",
    "directional_svdvals",
    "eigenprojector",
    "eigh",
    "eigh_function",
    "eigvalsh",
    "eigvalsh_sum",
    "explain",
    "explain_nan",
    "expm",
    "functions",
    "hvp",
    "in_passes",
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
    "over_rows",
    "pinv",
    "polar",
    "powm",
    "procrustes",
    "rules",
    "schatten_norm",
    "singular_projector",
    "singular_value_jacobian",
    "singular_value_threshold",
    "singular_vector_jacobian",
    "spectral_norm",
    "sqrtm",
    "sum_largest_eigvalsh",
    "svd",
    "svd_function",
    "svdvals",
    "svdvals_sum",
    "testing",
    "truncated_eigh",
    "truncated_svd",
    "truncation",
    "truncation_error",
    "vjp",
]
__version__ = "0.1.0"


def __dir__() -> list[str]:
    return __all__


if not _TYPE_CHECKING:  # where it would make every name one of the package's

    def __getattr__(name: str) -> object:
        if name != "nn":  # which imports PyTorch
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return importlib.import_module(".nn", __name__)
