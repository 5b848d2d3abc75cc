"""Why a derivative is NaN, in words."""

from __future__ import annotations

from .._bindings.array import Array, Arrays, array_namespace
from .._engine.errors import DerivativeUndefinedError, DerivativeUndefinedWarning

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
    directions: Arrays,
    result: Arrays,
    ties: str,
) -> Exception | None:
    """Name the first batch element that came out NaN and the columns to blame, on readable arrays.

    None where the input or a direction held the NaN already.
    """
    symbol, v = values
    xp = array_namespace(v)
    elements = xp.any(xp.isnan(result[0][..., 0, :]), axis=-1) & xp.all(xp.isfinite(v), axis=-1)
    elements = xp.reshape(elements, (-1,))
    if not bool(xp.any(elements)):
        return None
    index = int(xp.argmax(xp.astype(elements, xp.int8)))
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
    others = int(xp.sum(xp.astype(elements, xp.int64))) - 1
    place = _unravel(index, tuple(v.shape[:-1]))
    where = f"batch element {place}" if place else "x"
    where += f" (and {others} more)" if others else ""
    message = f"{name}: the derivative is undefined for {where}, and NaN there: {what}. {remedy}."
    if ties == "raise":
        return DerivativeUndefinedError(message)
    return DerivativeUndefinedWarning(message)


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


def insists(*, ties: str = "nan", **options: object) -> bool:
    """Whether an error is wanted, and not only a warning."""
    return ties == "raise"
