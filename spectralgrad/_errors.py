"""Errors and warnings, and the words they use: what came, what was wanted, why, what to do."""

from __future__ import annotations

import warnings
from typing import NoReturn

from ._array import Array, array_namespace


class DerivativeUndefinedWarning(UserWarning):
    """A derivative does not exist at this input; the batch member's result is NaN."""


class DerivativeUndefinedError(ArithmeticError):
    """A derivative does not exist at this input, and the caller asked for an error."""


class ConvergenceWarning(UserWarning):
    """An iteration ended before it reached its tolerance."""


class ConvergenceError(ArithmeticError):
    """An iteration ended before it reached its tolerance, and the caller asked for an error."""


def raise_glue(what: str, transform: str = "vjp") -> NoReturn:
    raise TypeError(
        f"sg.{transform}: {what}. It sees spectralgrad's own calls alone, and arithmetic between "
        "or around them would be lost from the derivative. Pass every array that the function "
        "uses as a primal, give constants as Python numbers, do the arithmetic outside by hand, or "
        "use PyTorch or JAX arrays with their own autodiff."
    )


def raise_no_second_order(name: str) -> NoReturn:
    raise TypeError(
        f"sg.hvp: `{name}` has no rule of second order here. Differentiate a function of the "
        "matrix instead of its factors (svd_function, eigh_function, polar, low_rank, norms, ...), "
        "or use PyTorch or JAX arrays with their own autodiff, away from ties."
    )


def complain(message: str | Warning, unconverged: str) -> None:
    """Say that an iteration did not converge, the way the caller asked for."""
    if unconverged == "raise":
        raise ConvergenceError(str(message))
    warnings.warn(ConvergenceWarning(str(message)), stacklevel=4)


def raise_captured(function: str, what: str, remedy: str) -> NoReturn:
    raise TypeError(
        f"{function}: {what} closes over a value that is being differentiated or traced, whose "
        f"gradient would be lost without a word. {remedy}, or detach the value if it is a constant."
    )


FUNCTIONS_INSTEAD = (
    "Differentiate the function of the matrix instead of its factors (svd_function, "
    "eigh_function, orthogonalize, nuclear_norm, ... exist at ties; svdvals and eigvalsh for the "
    "values alone)"
)
POLICIES_INSTEAD = (
    ", or choose ties='split' for losses that are blind to the choice of vectors, or ties='drop' "
    "to leave the undefined part out"
)


def explain(
    name: str,
    values: tuple[str, Array],
    undefined: Array,
    directions: tuple,
    result: tuple,
    ties: str,
) -> str | None:
    """Name the first member that came out NaN and the columns to blame, on readable arrays.

    None where the input or a direction held the NaN already.
    """
    symbol, v = values
    xp = array_namespace(v)
    members = xp.any(xp.isnan(result[0][..., 0, :]), axis=-1) & xp.all(xp.isfinite(v), axis=-1)
    members = xp.reshape(members, (-1,))
    if not bool(xp.any(members)):
        return None
    index = int(xp.argmax(xp.astype(members, xp.int8)))
    columns = xp.reshape(undefined, (-1, v.shape[-1]))[index, :]
    if bool(xp.any(columns)):
        what = _name_columns(symbol, xp.reshape(v, (-1, v.shape[-1]))[index, :], columns)
        remedy = FUNCTIONS_INSTEAD + (POLICIES_INSTEAD if ties != "split" else "")
    elif all(bool(xp.all(xp.isfinite(d))) for d in directions if d is not None):
        what = (
            "the loss depends on what x does not determine, such as the phase of a complex vector, "
            "the choice of completing columns, or that of vectors in a tie that was split"
        )
        remedy = (
            "Use products that are blind to it (U f(S) Vh, U U^H), full_matrices=False where the "
            "completing columns are not needed, or a function of the matrix such as svd_function"
        )
    else:
        return None
    others = int(xp.sum(xp.astype(members, xp.int64))) - 1
    where = f"member {member}" if (member := _unravel(index, tuple(v.shape[:-1]))) else "x"
    where += f" (and {others} more)" if others else ""
    return f"{name}: the derivative is undefined for {where}, and NaN there: {what}. {remedy}."


def _name_columns(symbol: str, values: Array, columns: Array) -> str:
    """The first column to blame, with the neighbour that it is tied to if it is no lone zero."""
    xp = array_namespace(values)
    i = int(xp.argmax(xp.astype(columns, xp.int8)))
    v = [float(values[j]) for j in range(values.shape[0])]
    largest = max(map(abs, v))
    j = min(
        (j for j in (i - 1, i + 1) if 0 <= j < len(v)), key=lambda j: abs(v[j] - v[i]), default=i
    )
    if i != j and abs(v[i]) > abs(v[i] - v[j]):
        i, j = min(i, j), max(i, j)
        return (
            f"{symbol}[{i}] = {v[i]:.6g} and {symbol}[{j}] = {v[j]:.6g} count as equal (a gap of "
            f"{abs(v[i] - v[j]):.3g} where the largest is {largest:.6g}; see gap_rtol)"
        )
    return f"{symbol}[{i}] = {v[i]:.6g} counts as zero (the largest is {largest:.6g}; see gap_rtol)"


def _unravel(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    indices = []
    for size in reversed(shape):
        index, remainder = divmod(index, size)
        indices.append(remainder)
    return tuple(reversed(indices))
