"""Who factorizes a stack: the array library, Jacobi's method, or the polar factor.

In one thread Jacobi's method takes 0.1 (2 x 2), 0.3 (3 x 3) and 0.6 (4 x 4) of LAPACK's time for
10^4 matrices, NumPy 2.4; from five rows and columns on it loses. Its steps are calls, some hundred
a sweep, which long stacks are worth, and which only NumPy and compiled programs of JAX make cheap:
tensors on the CPU are NumPy's to compute (`numpy_views`), and PyTorch's compiler, which takes
minutes for a thousand steps (2.13), gets one opaque operation that does the same.

On a GPU each step is a launch, and stacks are longer still. cuSOLVER's batched SVD ends at 32 x 32;
above it PyTorch and CuPy go through a stack matrix by matrix, while their `eigh` is batched at
every size: there the polar factor serves. `python -m benchmarks.drivers --device cuda` measures
who is the fastest; the sides below are cuSOLVER's, and have not been measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from .._bindings.array import Array, Arrays
from .._bindings.lookup import fuses, is_on_host, library_of, native
from .._bindings.matrix_products import FEW, MANY, stack_size
from . import jacobi, polar_svd

Driver = Literal["own", "jacobi", "polar", "opaque"]
Factorize = Callable[[Array], Arrays]

# thin SVDs, and eigendecompositions of Hermitian matrices, by others than the library
SVD: dict[Driver, Factorize] = {
    "jacobi": jacobi.svd,
    "polar": polar_svd.svd,
    "opaque": lambda x: native(x).opaque("svd", x),
}
EIGH: dict[Driver, Factorize] = {
    "jacobi": jacobi.eigh,
    "opaque": lambda x: native(x).opaque("eigh", x),
}

LONG = 10_000  # a stack on a GPU that is worth a launch for each step
BATCHED = 32  # the longest side that cuSOLVER has a batched SVD for


def svd_driver(x: Array) -> Driver:
    """The driver for the thin SVD of a stack of matrices."""
    if not is_on_host(x) and min(x.shape[-2:]) > BATCHED and stack_size(x) > 1:
        return "polar"
    return eigh_driver(x)


def eigh_driver(x: Array) -> Driver:
    """The driver for the eigendecomposition of a stack of Hermitian matrices."""
    rows, columns = x.shape[-2:]
    tiny = 0 < min(rows, columns) <= FEW and max(rows, columns) <= 2 * FEW
    if not tiny or stack_size(x) < (MANY if is_on_host(x) else LONG):
        return "own"
    if fuses(x) or not is_on_host(x):
        return "jacobi"
    return "opaque" if library_of(x).is_compiled(x) else "own"
