"""The array namespace and the few operations of linear algebra that every rule uses.

The only module that imports array_api_compat.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import array_api_compat
import array_api_compat.numpy as numpy_namespace
import numpy as np
from array_api_compat import is_array_api_obj, is_jax_array

from .owners import is_torch_array, unboxed
from .rows import any_across, sum_across

__all__ = [
    "AnyArray",
    "Array",
    "ArrayT",
    "Arrays",
    "adjoint",
    "any_row",
    "array_namespace",
    "beside",
    "conj",
    "device",
    "eps",
    "expand",
    "herm",
    "invalidated",
    "is_array",
    "is_complex",
    "is_floating",
    "is_jax_array",
    "is_zero",
    "leading_columns",
    "leading_rows",
    "nan_where",
    "on_diagonal",
    "on_one_device",
    "real",
    "running_sum",
    "skew",
    "svd_of_finite",
    "to_numpy",
    "trailing_columns",
    "with_diagonal",
]

Array = Any  # in rules, which know no library
Arrays = tuple[Any, ...]


class AnyArray(Protocol):
    """What type checkers ask of an array, a sparse matrix or an operator."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...


ArrayT = TypeVar("ArrayT", bound=AnyArray)  # of one library in a call: NumPy in, NumPy out


def is_array(x: Any) -> bool:
    if type(x) is np.ndarray or is_torch_array(x):
        return True
    return x is not None and is_array_api_obj(unboxed(x))


def device(x: Array) -> Any:
    if type(x) is np.ndarray:
        return "cpu"
    return x.device if is_torch_array(x) else array_api_compat.device(unboxed(x))


def on_one_device(a: Array, b: Array) -> bool:
    """Whether two arrays of one library can be used together."""
    if type(a) is np.ndarray:
        return True
    if is_torch_array(a):
        if a.device == b.device:
            return True
        return 0 in (a.ndim, b.ndim) and not (a.is_meta or b.is_meta)  # numbers may stay on the CPU
    # JAX moves what is not committed to a device
    return is_jax_array(a) or bool(device(a) == device(b))


def array_namespace(x: Any, *others: Any) -> Any:
    """The namespace of arrays of one library."""
    if type(x) is np.ndarray:  # most of the calls of a small matrix
        if not others or all(type(y) is np.ndarray for y in others):
            return numpy_namespace
    elif is_torch_array(x) and all(is_torch_array(y) for y in others):
        # PyTorch 2.9 cannot compile array_api_compat's (1.13 to 1.16): `issubclass` of a union
        import array_api_compat.torch as xp

        return xp
    return array_api_compat.array_namespace(*map(unboxed, (x, *others)))


def is_complex(x: Array) -> bool:
    dtype = x.dtype
    kind = getattr(dtype, "kind", None)  # of NumPy's dtypes, which isdtype takes ten times as long
    if kind is not None:
        return bool(kind == "c")
    if is_torch_array(x):
        return bool(dtype.is_complex)
    return bool(array_namespace(x).isdtype(dtype, "complex floating"))


def is_floating(x: Array) -> bool:
    """Whether x holds real or complex floating-point numbers."""
    if getattr(x.dtype, "kind", "") in ("f", "c"):  # as above; bfloat16 is of another kind
        return True
    if is_torch_array(x):
        return bool(x.dtype.is_floating_point or x.dtype.is_complex)
    return bool(array_namespace(x).isdtype(x.dtype, ("real floating", "complex floating")))


def eps(x: Array) -> float:
    return float(array_namespace(x).finfo(x.dtype).eps)


# functions of stacks of NumPy's that a compiler is not to look into; `factorizations` names them
OPAQUE: dict[str, Callable[[Array], Arrays]] = {}


def is_plain_matrix(x: Any) -> bool:
    """Whether x is, at a glance, what nearly all calls have: in single or double, and dense."""
    if type(x) is np.ndarray:
        return x.dtype.char in "fdFD" and x.ndim > 1
    if not is_torch_array(x):
        return False
    import torch

    if type(x) is not torch.Tensor or torch.compiler.is_compiling():
        return False
    full = x.dtype in (torch.float64, torch.float32, torch.complex128, torch.complex64)
    return full and x.ndim > 1 and x.layout is torch.strided and not x.is_nested


def is_surely_finite(x: Array) -> bool:
    """Whether x holds neither NaN nor Inf, of NumPy's arrays: of others it is not asked."""
    return type(x) is np.ndarray and bool(np.isfinite(x).all())


def to_numpy(x: Array) -> Array:
    """The values of x on the host."""
    for move in ("detach", "resolve_conj", "cpu", "get", "compute"):
        x = getattr(x, move)() if hasattr(x, move) else x
    return np.asarray(x)


def real(x: Array) -> Array:
    return array_namespace(x).real(x) if is_complex(x) else x


def adjoint(x: Array) -> Array:
    """Conjugate transpose; no pass over memory for real input."""
    # array_api_compat's conj for PyTorch is conj_physical, which has no rule for torch.func.vmap
    # (2.13): PyTorch's own lazy adjoint has one.
    if hasattr(x, "mH"):
        return x.mH
    transposed = x.mT if hasattr(x, "mT") else array_namespace(x).matrix_transpose(x)
    return array_namespace(x).conj(transposed) if is_complex(x) else transposed


def conj(x: Array) -> Array:
    """Complex conjugate of matrices, through the adjoint for the reason given there."""
    if not is_complex(x):
        return x
    turned = adjoint(x)
    return turned.mT if hasattr(turned, "mT") else array_namespace(x).matrix_transpose(turned)


def herm(x: Array) -> Array:
    """Hermitian part. Halved before the sum, which can then not overflow."""
    half = x / 2
    return half + adjoint(half)


def skew(x: Array) -> Array:
    """Skew-Hermitian part."""
    half = x / 2
    return half - adjoint(half)


def leading_columns(W: Array, k: int) -> Array:
    # a full slice is an alias, which has no rule for PyTorch's batched gradients (2.13)
    return W if W.shape[-1] == k else W[..., :k]


def trailing_columns(W: Array, k: int) -> Array:
    """All but the first k."""
    return W[..., k:] if k else W


def leading_rows(W: Array, k: int) -> Array:
    return W if W.shape[-2] == k else W[..., :k, :]


def expand(x: Array, axes: int) -> Array:
    """x with that many axes of length one behind its own."""
    return x[(..., *(None,) * axes)] if axes else x


def is_zero(x: Array, axes: int) -> Array:
    """Whether x is zero all over its last axes."""
    zero = x == 0
    for _ in range(axes):  # one by one: several have no rule for PyTorch's batched gradients (2.13)
        zero = array_namespace(x).all(zero, axis=-1)
    return ~any_across(~zero)


def any_row(mask: Array) -> Array:
    """Whether it is set in any row, for each column."""
    # whose sum takes half the time of its any (PyTorch 2.13)
    if is_torch_array(mask):
        return sum_across(mask.sum(-2)) != 0
    return any_across(array_namespace(mask).any(mask, axis=-2))


def beside(blocks: list[Array]) -> Array:
    """The blocks' columns, or the numbers of rows, side by side."""
    xp = array_namespace(*blocks)
    # torch.concat has no rule for batched gradients, and its older name does (2.13)
    return xp.cat(blocks, -1) if is_torch_array(blocks[0]) else xp.concat(blocks, axis=-1)


def running_sum(x: Array) -> Array:
    """The sums of the first, the first two, ... of the last axis."""
    # array_api_compat's (1.15) asks a cache, of which Dynamo warns the user
    return x.cumsum(-1) if is_torch_array(x) else array_namespace(x).cumulative_sum(x, axis=-1)


def svd_of_finite(R: Array) -> Arrays:
    """The thin SVD of triangles of blocks, all NaN where a NaN or an Inf of a block has come."""
    xp = array_namespace(R)
    size = xp.max(xp.abs(R), axis=(-2, -1), keepdims=True)  # which passes a NaN on
    U, S, Vh = xp.linalg.svd(xp.where(xp.isfinite(size), R, 0.0), full_matrices=False)
    invalid = size - size  # zero, or NaN
    return invalidated(U, invalid), S + invalid[..., 0], invalidated(Vh, invalid)


def on_diagonal(x: Array) -> Array:
    """Where the diagonal of square matrices like x is.

    Not by `eye`, which PyTorch's transforms record as a write into zeros, and whose
    torch.func.linearize folds away the write (2.13).
    """
    if type(x) is np.ndarray and x.shape[-1] <= SMALL_EYE:
        return _eye(x.shape[-1])
    i = array_namespace(x).arange(x.shape[-1], device=device(x))
    return i[:, None] == i[None, :]


SMALL_EYE = 64  # rows up to which that of NumPy's arrays is kept


@lru_cache(maxsize=SMALL_EYE)
def _eye(n: int) -> Array:
    eye = np.eye(n, dtype=bool)
    eye.flags.writeable = False
    return eye


def as_dtype(x: Array, dtype: Any) -> Array:
    """x in that dtype: itself where it has it, which is all that most calls of a rule ask."""
    return x if x.dtype == dtype else array_namespace(x).astype(x, dtype)


def with_diagonal(x: Array, diagonal: Array) -> Array:
    """Square matrices with another diagonal."""
    xp = array_namespace(x)
    eye = on_diagonal(x)
    # cast first: where of mixed dtypes has no double backward for complex x (PyTorch 2.13)
    return xp.where(eye, as_dtype(diagonal, x.dtype)[..., None, :], x)


def nan_where(mask: Array, x: Array) -> Array:
    """Zeros like the real part of `x`, NaN where `mask`, to be added to what is real."""
    xp = array_namespace(x)
    zero = xp.zeros(mask.shape, dtype=real(x).dtype, device=device(x))
    return xp.where(mask, float("nan"), zero)


def invalidated(x: Array, invalid: Any) -> Array:
    """x with all that `nan_where` made NaN, imaginary parts too, which a sum leaves finite."""
    return x if isinstance(invalid, float) else x * (1 + invalid)
