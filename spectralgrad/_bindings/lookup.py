"""Which library owns an object, and what that library does in a way of its own.

The binding of a library is a module with the names of `Library`; `library_of` finds it. An object
of a library can exist only once the library is imported, so nothing is imported to recognise one.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from . import dask, host
from .array import Array, Arrays, array_namespace, is_array, is_jax_array
from .library import AutodiffLibrary, BlockLibrary, Library, SparseLibrary
from .matrix_products import product
from .owners import is_box, is_dask_array, is_imported, is_torch_array


def library_of(x: Any) -> Library:
    """The binding of the library that owns x; the host's for what no other one owns."""
    if type(x) is np.ndarray:
        return host
    if is_torch_array(x):
        from . import torch

        return host if torch.is_sparse(x) else torch  # no Function takes sparse tensors
    if is_jax_array(x):
        from . import jax

        return jax
    if is_box(x):
        from . import autograd

        return autograd
    return dask if is_dask_array(x) else host


def common_library(arrays: Arrays) -> Library:
    """The binding of arrays of one library; of autograd's for plain arrays beside its boxes."""
    boxes = [x for x in arrays if is_box(x)]
    return library_of((boxes or arrays)[0])


def block_library(x: Array) -> BlockLibrary | None:
    """The binding of x if that is one matrix in several blocks."""
    library = library_of(x)
    return cast("BlockLibrary", library) if library.is_blocked(x) else None


def is_distributed(x: Any) -> bool:
    """Whether x is a DTensor of PyTorch."""
    if not is_torch_array(x):
        return False
    from . import torch

    return torch.is_spread(x)


def placement(x: Any, whole: bool) -> tuple[Any, ...] | None:
    """How a DTensor of PyTorch has to lie for its rules, or those of a `whole`, if otherwise."""
    if not is_torch_array(x):
        return None
    from . import torch

    return torch.placement(x, whole)


def placed(x: Array, at: tuple[Any, ...]) -> Array:
    """A tensor where it shall lie."""
    from . import torch

    return torch.placed(x, at)


def native(x: Any) -> AutodiffLibrary:
    """The binding that owns x, which is known to be an array of a library with autodiff."""
    return cast("AutodiffLibrary", library_of(x))


def autodiff_of(x: Any) -> AutodiffLibrary | None:
    """The binding of a library with autodiff that owns x, or None."""
    return native(x) if library_of(x).autodiff else None


def sparse_library(A: Any) -> SparseLibrary | None:
    """The binding of the library that owns a sparse tensor, or None for anything else."""
    if type(A) is np.ndarray:
        return None
    if is_torch_array(A):
        from . import torch, torch_sparse

        return torch_sparse if torch.is_sparse(A) else None
    if not is_imported("jax.experimental.sparse"):
        return None
    from jax.experimental.sparse import JAXSparse

    from . import jax_sparse

    return jax_sparse if isinstance(A, JAXSparse) else None


def is_dense(x: Any) -> bool:
    """Whether x is an array, and not a sparse matrix or an operator."""
    return is_array(x) and sparse_library(x) is None


def is_linear_operator(A: Any) -> bool:
    """Whether A is a LinearOperator of SciPy or CuPyX."""
    if is_imported("scipy.sparse.linalg"):
        from scipy.sparse.linalg import LinearOperator

        if isinstance(A, LinearOperator):
            return True
    return _is_cupyx_operator(A)


def _is_cupyx_operator(A: Any) -> bool:
    if not is_imported("cupyx.scipy.sparse.linalg"):
        return False
    from cupyx.scipy.sparse.linalg import LinearOperator

    return isinstance(A, LinearOperator)


def is_cupyx(A: Any) -> bool:
    """Whether A is a sparse matrix or a linear operator of CuPy."""
    if _is_cupyx_operator(A):
        return True
    if not is_imported("cupyx.scipy.sparse"):
        return False
    from cupyx.scipy.sparse import issparse

    return bool(issparse(A))


def torch_dtype(dtype: Any) -> Any:
    """PyTorch, if the dtype is one of its own, or None."""
    if not is_imported("torch"):
        return None
    import torch

    return torch if isinstance(dtype, torch.dtype) else None


def truth(flag: Array) -> bool | None:
    """What a 0-d boolean array says, or None where nobody can know."""
    return library_of(flag).truth(flag)


def is_on_host(x: Array) -> bool:
    """Whether x is in the memory of the CPU, so that its values can be read without waiting."""
    return type(x) is np.ndarray or library_of(x).is_on_host(x)


def fuses(x: Array) -> bool:
    """Whether a long row of elementwise steps on arrays like x costs little but arithmetic."""
    return library_of(x).fuses(x)


def own_eigh(x: Array) -> Arrays:
    """Eigenvalues, ascending, and eigenvectors of Hermitian matrices by the library's own."""
    return tuple(array_namespace(x).linalg.eigh(x, **library_of(x).hermitian))


def adjoint_times(U: Array, B: Array) -> Array:
    """U^H B."""
    return library_of(U).adjoint_times(U, B)


def qr(x: Array) -> Arrays:
    """Q and R, thin, of x of full rank with at least as many rows as columns."""
    return library_of(x).qr(x)


def project_out(W: Array, X: Array) -> Array:
    """X - W W^H X."""
    return X - product(W, adjoint_times(W, X))
