"""Stacks of matrices as lists of columns, a column as a list of its numbers.

Each of the numbers is an array, of that number in all batch elements.

Source of the power of two: Rump, Ogita and Oishi (2008), Accurate floating-point summation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

from .._bindings.array import Array, Arrays, array_namespace, eps, is_complex, real

LARGE = 2.0**28  # the size of entries in their unit: the fourth power is in every dtype's range

Numbers = list[Array]
Columns = list[Numbers]


def in_columns(numbers: Sequence[Array], rows: int) -> Columns:
    return [list(numbers[i : i + rows]) for i in range(0, len(numbers), rows)]


def power_of_two(size: Array) -> Arrays:
    """c and u with c/u about the size, powers of two; 1 for a size of zero."""
    xp = array_namespace(size)
    one = xp.ones_like(size)
    # away from the ends of the range: there is no power of two below half of the least number
    u = xp.where(size > 1, one * 2.0**-90, one * 2.0**90)
    near = xp.where(size == 0, u, size * u)
    split = (1 / eps(size) + 1) * near
    return xp.abs(split - (1 - eps(size) / 2) * split), u


def in_units(x: Array) -> tuple[Columns, Arrays]:
    """The columns with entries of about LARGE, and c and u with x = c/u times that."""
    xp, (m, n) = array_namespace(x), x.shape[-2:]
    power, u = power_of_two(xp.max(xp.abs(x), axis=(-2, -1)))
    grow = LARGE / power
    return [[x[..., i, j] * u * grow for i in range(m)] for j in range(n)], (power / LARGE, u)


def identity(A: Columns) -> Columns:
    zero = 0.0 * A[0][0]
    one = zero + 1.0
    return [[one if i == j else zero for i in range(len(A))] for j in range(len(A))]


def matrix_of(columns: Columns) -> Array:
    """The matrices with these columns; in memory the stack's axes come last."""
    xp, m, n = array_namespace(columns[0][0]), len(columns[0]), len(columns)
    rows = [columns[j][i] for i in range(m) for j in range(n)]
    stacked = xp.stack(rows, axis=0)
    batch = stacked.shape[1:]
    grid = xp.reshape(stacked, (m, n, *batch))
    return xp.permute_dims(grid, (*range(2, 2 + len(batch)), 0, 1))


def vector_of(numbers: Numbers) -> Array:
    """The vectors of these numbers, in memory as `matrix_of` has them."""
    xp = array_namespace(numbers[0])
    return xp.moveaxis(xp.stack(numbers), 0, -1)


def conj(x: Array) -> Array:
    """The conjugate of numbers (`array.conj` is that of matrices)."""
    return array_namespace(x).conj(x) if is_complex(x) else x


def times(x: Array, one: Array | None) -> Array:
    """x, which no sum may contract (`exact_one`)."""
    return x if one is None else x * one


def dot(a: Numbers, b: Numbers, one: Array | None) -> Array:
    """a^H b."""
    total = reduce(add, [times(conj(u) * v, one) for u, v in zip(a, b, strict=True)])
    return real(total) if a is b else total


def size2(x: Array) -> Array:
    """|x|^2."""
    return real(x * conj(x))


def tiny(x: Array) -> float:
    """The least normal number."""
    return float(array_namespace(x).finfo(x.dtype).smallest_normal)


def determinant(x: Array) -> Array:
    """That of each square matrix, by Laplace's expansion in rows."""
    n = x.shape[-1]

    def minor(columns: tuple[int, ...]) -> Array:
        if len(columns) == 1:
            return x[..., n - 1, columns[0]]
        row = n - len(columns)
        terms = [
            x[..., row, j] * minor((*columns[:i], *columns[i + 1 :])) * (-1.0) ** i
            for i, j in enumerate(columns)
        ]
        return reduce(add, terms)

    return minor(tuple(range(n)))
