"""Derivatives of singular values, singular vectors and functions of the spectrum."""

from . import functions, rules, testing
from ._eigh import EighResult, eigh
from ._errors import DerivativeUndefinedError, DerivativeUndefinedWarning
from ._matrix_functions import eigh_function, orthogonalize, svd_function
from ._norms import nuclear_norm
from ._svd import SVDResult, svd
from ._transforms import jvp, vjp
from ._values import eigvalsh, svdvals

__all__ = [
    "DerivativeUndefinedError",
    "DerivativeUndefinedWarning",
    "EighResult",
    "SVDResult",
    "eigh",
    "eigh_function",
    "eigvalsh",
    "functions",
    "jvp",
    "nuclear_norm",
    "orthogonalize",
    "rules",
    "svd",
    "svd_function",
    "svdvals",
    "testing",
    "vjp",
]
__version__ = "0.1.0"
