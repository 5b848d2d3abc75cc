"""Errors and warnings, and the words they use: what came, what was wanted, why, what to do."""

from __future__ import annotations

from typing import NoReturn

from ._array import Array, array_namespace


class DerivativeUndefinedWarning(UserWarning):
    """A derivative does not exist at this input; the batch member's result is NaN."""


class DerivativeUndefinedError(ArithmeticError):
    """A derivative does not exist at this input, and the caller asked for an error."""


def check_matrix(x: Array, function: str, argument: str = "x", *, square: bool = False) -> None:
    """Raise for what no function of the library can take."""
    where = f"{function}: argument `{argument}`"
    try:
        xp = array_namespace(x)
    except TypeError:
        raise TypeError(
            f"{where} is a {type(x).__name__}, which no supported array library owns; wanted an "
            "array (..., m, n) of NumPy, CuPy, PyTorch, JAX or Dask. Convert it first, for "
            "example with numpy.asarray(x, dtype=float)."
        ) from None
    if not xp.isdtype(x.dtype, ("real floating", "complex floating")):
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


def check_precision(xp, x: Array, where: str) -> None:
    # NumPy's longdouble and clongdouble have no factorization in any library.
    if xp.finfo(x.dtype).bits > 64:
        raise TypeError(
            f"{where} has dtype {x.dtype}, which no library factorizes; wanted single or double "
            "precision (half is computed in single). Cast it to float64 or complex128."
        )


def check_choice(value: object, choices: tuple[str, ...], function: str, argument: str) -> None:
    if value not in choices:
        wanted = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{function}: `{argument}` is {value!r}; wanted one of {wanted}.")


def check_rtol(value: object, function: str, argument: str = "gap_rtol") -> None:
    if value is not None and not (isinstance(value, int | float) and 0 <= value < 1):
        raise ValueError(
            f"{function}: `{argument}` is {value!r}; wanted None or a Python number in [0, 1), "
            "relative to the largest singular value."
        )


def check_like(got: Array, wanted: Array, role: str) -> None:
    """Raise unless `got` is an array of the library and shape of `wanted`."""
    try:
        xp = array_namespace(got, wanted)
    except TypeError:
        raise TypeError(
            f"{role} is a {type(got).__name__} where the function deals in "
            f"{type(wanted).__name__}; wanted both from one array library. Convert it first."
        ) from None
    if tuple(got.shape) != tuple(wanted.shape):
        raise ValueError(
            f"{role} has shape {tuple(got.shape)}; wanted {tuple(wanted.shape)}, that of what it "
            "belongs to. Broadcast or sum it first."
        )
    if xp.isdtype(got.dtype, "complex floating") and xp.isdtype(wanted.dtype, "real floating"):
        raise TypeError(
            f"{role} has dtype {got.dtype}; wanted real values, since what it belongs to is "
            f"{wanted.dtype}. Take its real part."
        )


def raise_glue(what: str, transform: str) -> NoReturn:
    raise TypeError(
        f"sg.{transform}: {what}. It sees spectralgrad's own calls alone, and arithmetic between "
        "or around them would be lost from the derivative. Pass every array that the function "
        "uses as a primal, do the arithmetic outside by hand, or use PyTorch or JAX arrays with "
        "their own autodiff."
    )


REMEDY = (
    "Differentiate the function of the matrix instead of its factors (svd_function, "
    "eigh_function, orthogonalize, nuclear_norm, ... exist at ties; svdvals and eigvalsh for the "
    "values alone), or choose ties='split' for losses that are blind to the choice of vectors, "
    "or ties='drop' to leave the undefined part out."
)


def explain(
    name: str, values: Array, undefined: Array, directions: tuple, result: tuple
) -> str | None:
    """Name the first member that came out NaN and the columns to blame, on readable arrays.

    None where the input or a direction held the NaN already.
    """
    xp = array_namespace(values)
    members = xp.any(xp.isnan(result[0][..., 0, :]), axis=-1) & xp.all(xp.isfinite(values), axis=-1)
    members = xp.reshape(members, (-1,))
    if not bool(xp.any(members)):
        return None
    first = int(xp.argmax(xp.astype(members, xp.int8)))
    v = xp.reshape(values, (-1, values.shape[-1]))[first, :]
    columns = xp.reshape(undefined, (-1, values.shape[-1]))[first, :]
    others = int(xp.sum(xp.astype(members, xp.int64))) - 1
    member = _unravel(first, tuple(values.shape[:-1]))
    where = f"member {member}" + (f" (and {others} more)" if others else "") if member else "x"
    if bool(xp.any(columns)):
        what = _name_columns(v, columns)
    elif all(bool(xp.all(xp.isfinite(d))) for d in directions if d is not None):
        what = (
            "the loss depends on what x does not determine: the phase of a vector, the choice of "
            "completing columns (full_matrices), or of vectors within a tie that was split"
        )
    else:
        return None
    return f"{name}: the derivative is undefined for {where}, and NaN there: {what}. {REMEDY}"


def _name_columns(values: Array, columns: Array) -> str:
    xp = array_namespace(values)
    i = int(xp.argmax(xp.astype(columns, xp.int8)))
    first, second = float(values[i]), float(values[min(i + 1, values.shape[0] - 1)])
    largest = float(xp.max(xp.abs(values)))
    if i + 1 < values.shape[0] and bool(columns[i + 1]):
        gap = abs(first - second)
        return (
            f"values {i} and {i + 1}, {first:.6g} and {second:.6g}, count as equal (a gap of "
            f"{gap:.3g}, the largest value being {largest:.6g}; see gap_rtol)"
        )
    return f"value {i}, {first:.6g}, counts as zero (the largest being {largest:.6g}; see gap_rtol)"


def _unravel(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    indices = []
    for size in reversed(shape):
        index, remainder = divmod(index, size)
        indices.append(remainder)
    return tuple(reversed(indices))
