"""Checks of arguments at the call, in words: what came, what was wanted, why, what to do."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._bindings.array import (
    Array,
    array_namespace,
    device,
    is_complex,
    is_floating,
    on_one_device,
)
from .._bindings.lookup import is_dense


def check_plain(x: Any, where: str) -> None:
    """Refuse what only looks like an array of NumPy's, and one whose shape nobody knows."""
    if isinstance(x, np.matrix):
        raise TypeError(
            f"{where} is a numpy.matrix, which multiplies and slices unlike an array; wanted a "
            "plain array. Convert it with numpy.asarray(x)."
        )
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{where} is a masked array, whose masked entries would be used; wanted a plain array. "
            "Fill them, x.filled(value), or take the plain array with x.data."
        )
    if any(n != n for n in getattr(x, "shape", ())):
        raise ValueError(
            f"{where} has an axis of unknown length, as Dask arrays have after a selection by "
            "values; wanted known lengths. Call x.compute_chunk_sizes() first."
        )


def check_matrix(x: Array, function: str, argument: str = "x", *, square: bool = False) -> None:
    """Raise for what no function of the library can take."""
    where = f"{function}: argument `{argument}`"
    check_plain(x, where)
    if not is_dense(x) and callable(getattr(x, "__matmul__", getattr(x, "matmat", None))):
        raise TypeError(
            f"{where} is a {type(x).__name__}, which is sparse, nested or known by its products; "
            "wanted an array (..., m, n). The largest triplets of a sparse one are "
            "truncated_svd's; for the rest convert it, for example with x.toarray() or "
            "x.to_dense()."
        )
    try:
        xp = array_namespace(x)
    except TypeError:
        raise TypeError(
            f"{where} is a {type(x).__name__}, which no supported array library owns; wanted an "
            "array (..., m, n) of NumPy, CuPy, PyTorch or JAX. Convert it first, for example with "
            "numpy.asarray(x, dtype=float)."
        ) from None
    if not is_floating(x):
        raise TypeError(
            f"{where} has dtype {x.dtype}, which has no derivative; wanted a real or complex "
            "floating dtype. Cast it first, for example to float64."
        )
    check_precision(xp, x, where)
    if x.ndim < 2:
        raise ValueError(
            f"{where} has shape {tuple(x.shape)}; wanted a matrix or a stack of them, "
            "(..., m, n). A single vector is a matrix after x[:, None]."
        )
    if square and x.shape[-1] != x.shape[-2]:
        raise ValueError(
            f"{where} has shape {tuple(x.shape)}; wanted square matrices, (..., n, n). For "
            "rectangular ones use the function of the singular values instead."
        )


def check_parameter(value: Array, x: Array, function: str, name: str) -> None:
    """Raise for an array of parameters that cannot go with x."""
    where = f"{function}: `{name}`"
    check_plain(value, where)
    try:
        xp = array_namespace(value, x)
    except TypeError:
        raise TypeError(
            f"{where} is a {type(value).__name__} where x is a {type(x).__name__}; wanted both "
            "from one array library, or a Python number. Convert it first."
        ) from None
    check_one_device(value, x, where, "x")
    if not xp.isdtype(value.dtype, "real floating"):
        raise TypeError(
            f"{where} has dtype {value.dtype}; wanted a real floating dtype. Cast it first, or "
            "give a Python number if it is a constant."
        )
    batch, shape = tuple(x.shape[:-2]), tuple(value.shape)
    if not _fits(shape, batch):
        raise ValueError(
            f"{where} has shape {shape} where x is a stack of shape {batch}; wanted one number, () "
            "or one for each matrix, in a shape that broadcasts to the stack's."
        )


def check_pair(
    A: Array, B: Array, function: str, names: tuple[str, str], *, alike: str
) -> tuple[tuple[int, ...], Any]:
    """The stack's shape and the dtype of two point sets (real), or two matrices, of one shape."""
    check_one_library(A, B, function, names)
    for name, x in zip(names, (A, B), strict=True):
        check_plain(x, f"{function}: `{name}`")
    xp = array_namespace(A, B)
    a, b = tuple(A.shape), tuple(B.shape)
    if a[-2:] != b[-2:] or (alike == "points" and 0 in a[-2:]):
        raise ValueError(
            f"{function}: `{names[0]}` and `{names[1]}` have shapes {a} and {b}; wanted {alike} of "
            "one shape, without empty axes. Rows correspond to each other."
        )
    for name, x in zip(names, (A, B), strict=True):
        if alike == "points" and xp.isdtype(x.dtype, "complex floating"):
            raise TypeError(f"{function}: `{name}` has dtype {x.dtype}; wanted real points.")
    batch = _broadcast_shapes(a[:-2], b[:-2])
    if batch is None:
        raise ValueError(
            f"{function}: `{names[0]}` and `{names[1]}` have shapes {a} and {b}, whose stacks "
            f"{a[:-2]} and {b[:-2]} do not broadcast."
        )
    return batch, xp.result_type(A.dtype, B.dtype)


def _broadcast_shapes(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """The common shape, or None. PyTorch 2.9 cannot compile NumPy's."""
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    if any(m != n and 1 not in (m, n) for m, n in zip(a, b, strict=True)):
        return None
    return tuple(n if m == 1 else m for m, n in zip(a, b, strict=True))


def check_one_library(A: Array, B: Array, function: str, names: tuple[str, str]) -> None:
    try:
        array_namespace(A, B)
    except TypeError:
        raise TypeError(
            f"{function}: `{names[0]}` is a {type(A).__name__} and `{names[1]}` a "
            f"{type(B).__name__}; wanted both from one array library. Convert one first."
        ) from None
    check_one_device(A, B, f"{function}: `{names[0]}`", f"`{names[1]}`")


def check_one_device(x: Array, other: Array, where: str, name: str) -> None:
    if not on_one_device(x, other):
        raise ValueError(
            f"{where} is on {device(x)} where {name} is on {device(other)}; wanted both on one "
            "device. Move one first."
        )


def check_weights(weights: Array, P: Array) -> None:
    """Raise for weights that cannot go with the points."""
    remedy = "wanted a real floating dtype. Cast it first, or give a boolean array as `mask`."
    _check_per_point(weights, P, "weights", "real floating", remedy)


def check_mask(mask: Array, P: Array) -> None:
    """Raise for a mask that cannot go with the points."""
    remedy = "wanted a boolean array, True where a point counts. Numbers go by `weights`."
    _check_per_point(mask, P, "mask", "bool", remedy)


def _check_per_point(value: Array, P: Array, name: str, kind: str, remedy: str) -> None:
    """Raise unless there is a number or a bit for each point, of that kind of dtype."""
    if not hasattr(value, "shape"):
        raise TypeError(
            f"kabsch: `{name}` is a {type(value).__name__}; wanted an array (..., points)."
        )
    check_plain(value, f"kabsch: `{name}`")
    check_one_library(value, P, "kabsch", (name, "P"))
    if not array_namespace(value, P).isdtype(value.dtype, kind):
        raise TypeError(f"kabsch: `{name}` has dtype {value.dtype}; {remedy}")
    shape, wanted = tuple(value.shape), tuple(P.shape[:-1])
    if not shape or shape[-1] != wanted[-1] or not _fits(shape, wanted):
        raise ValueError(
            f"kabsch: `{name}` has shape {shape}; wanted one entry for each point, {wanted[-1:]} "
            f"or {wanted}."
        )


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a shape broadcasts to another."""
    filled = (1,) * (len(wanted) - len(shape)) + shape
    return len(filled) == len(wanted) and all(
        a in (1, b) for a, b in zip(filled, wanted, strict=True)
    )


def check_rank(k: object, x: Array, function: str) -> int:
    """k as a number of singular values or eigenvalues of x."""
    most = min(x.shape[-2:])
    if most == 0:
        raise ValueError(
            f"{function}: argument `x` has shape {tuple(x.shape)}; wanted matrices with at least "
            "one row and one column: empty ones have no values of which `k` could be the largest."
        )
    try:
        number = operator.index(k)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"{function}: `k` is a {type(k).__name__}; wanted a whole Python number from 1 to "
            f"{most}. It shapes the result and cannot be an array or traced."
        ) from None
    if isinstance(k, bool) or not 1 <= number <= most:
        raise ValueError(
            f"{function}: `k` is {k!r}; wanted a whole number from 1 to {most}, as many "
            f"values as matrices of shape {tuple(x.shape[-2:])} have."
        )
    return number


def check_values(S: Array, function: str) -> Any:
    """The namespace of an array (..., n) of real values."""
    try:
        xp = array_namespace(S)
    except TypeError:
        xp = None
    if xp is None or not xp.isdtype(S.dtype, "real floating") or S.ndim < 1:
        got = f"a {type(S).__name__}" if xp is None else f"{S.dtype} of shape {tuple(S.shape)}"
        raise TypeError(
            f"{function}: `S` is {got}; wanted an array (..., n) of real singular values, in "
            "descending order, as svdvals has them."
        )
    return xp


def check_precision(xp: Any, x: Array, where: str) -> None:
    """Refuse longdouble, which no library factorizes, and float8 and complex32, no better."""
    bits = xp.finfo(x.dtype).bits
    if bits not in (16, 32, 64) or (bits == 16 and xp.isdtype(x.dtype, "complex floating")):
        raise TypeError(
            f"{where} has dtype {x.dtype}; wanted real or complex single or double precision, "
            "float16 or bfloat16. Cast it first, for example to float64 or complex128."
        )


def check_like(got: Array, wanted: Array, role: str) -> None:
    """Raise unless `got` is an array of the library and shape of `wanted`."""
    if type(got) is type(wanted) is np.ndarray and got.dtype == wanted.dtype:  # as nearly always
        check_shape(got, wanted, role)
        return
    check_plain(got, role)
    try:
        array_namespace(got, wanted)
        if not hasattr(got, "shape"):  # array_api_compat lets Python numbers through
            raise TypeError
    except TypeError:
        raise TypeError(
            f"{role} is a {type(got).__name__} where the function deals in "
            f"{type(wanted).__name__}; wanted both from one array library. Convert it first."
        ) from None
    if not is_floating(got) and not array_namespace(got).isdtype(got.dtype, "numeric"):
        raise TypeError(
            f"{role} has dtype {got.dtype}; wanted numbers, as what it belongs to has them: "
            f"{wanted.dtype}. Cast it first."
        )
    check_one_device(got, wanted, role, "what it belongs to")
    check_shape(got, wanted, role)


def check_shape(got: Any, wanted: Any, role: str) -> None:
    if not hasattr(got, "shape"):
        raise TypeError(
            f"{role} is a {type(got).__name__}; wanted something of shape {tuple(wanted.shape)}."
        )
    if hasattr(got, "dtype") and is_complex(got) and not is_complex(wanted):
        raise TypeError(
            f"{role} has dtype {got.dtype}; wanted real values, since what it belongs to is "
            f"{wanted.dtype}. Take its real part."
        )
    if tuple(got.shape) != tuple(wanted.shape):
        raise ValueError(
            f"{role} has shape {tuple(got.shape)}; wanted {tuple(wanted.shape)}, that of what it "
            "belongs to. Broadcast or sum it first."
        )


def check_primals(fun: object, primals: Sequence[Any], transform: str) -> None:
    if not callable(fun):
        raise TypeError(
            f"sg.{transform}: the first argument is a {type(fun).__name__}; wanted a function of "
            f"arrays, as in sg.{transform}(sg.nuclear_norm, ...)."
        )
    for i, x in enumerate(primals):
        if not hasattr(x, "shape") or not hasattr(x, "dtype"):
            raise TypeError(
                f"sg.{transform}: primal {i} is a {type(x).__name__}; wanted an array. Options of "
                "the function go by keyword, such as f=sg.functions.tanh, and lists are converted "
                "first."
            )
    if not primals:
        raise TypeError(f"sg.{transform}: no primals came; wanted at least one array.")
