"""Words for values of a spectrum, and for those that a derivative is undefined at."""

from __future__ import annotations

from .._bindings.array import Array, array_namespace, eps


def of_order(order: int, values: list[float]) -> str:
    if order > 2:
        return "derivatives of this order are not known"
    what = (
        "the first derivative has a kink or jumps at one of the values, or at a tie"
        if order
        else "the function, with its parameters, does not exist or is out of range at one of the "
        "values"
    )
    return f"{what}: {shown(values)}"


def shown(values: list[float]) -> str:
    """Words for some numbers, of which there may be many."""
    words = [f"{v:.6g}" for v in values]
    return ", ".join(words if len(words) < 8 else [*words[:3], "...", *words[-3:]])


def name_zero(symbol: str, values: list[float], i: int = -1) -> str:
    """Words for a value that counts as zero."""
    i, largest = range(len(values))[i], max(map(abs, values))
    return f"{symbol}[{i}] = {values[i]:.6g} counts as zero (the largest is {largest:.6g})"


def name_pair(symbol: str, values: list[float], i: int) -> str:
    """Words for two neighbours that count as equal."""
    a, b, largest = values[i], values[i + 1], max(map(abs, values))
    return (
        f"{symbol}[{i}] = {a:.6g} and {symbol}[{i + 1}] = {b:.6g} count as equal (a gap of "
        f"{abs(a - b):.3g} where the largest is {largest:.6g})"
    )


def name_columns(symbol: str, values: Array, columns: Array) -> str:
    """The first column to blame, with the nearest other if it is no lone zero."""
    xp = array_namespace(values)
    i = int(xp.argmax(xp.astype(columns, xp.int8)))
    v = [float(values[j]) for j in range(values.shape[0])]
    largest = max(map(abs, v))
    others, equal = (j for j in range(len(v)) if j != i), 16 * eps(values) * largest
    j = min(others, key=lambda j: (max(abs(v[j] - v[i]), equal), abs(j - i)), default=i)
    if i != j and abs(v[i]) > abs(v[i] - v[j]):
        i, j = min(i, j), max(i, j)
        return (
            f"{symbol}[{i}] = {v[i]:.6g} and {symbol}[{j}] = {v[j]:.6g} count as equal (a gap of "
            f"{abs(v[i] - v[j]):.3g} where the largest is {largest:.6g}; see gap_rtol)"
        )
    return f"{symbol}[{i}] = {v[i]:.6g} counts as zero (the largest is {largest:.6g}; see gap_rtol)"
