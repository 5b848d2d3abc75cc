"""Matrices known by their products, and cotangents of low rank.

An operator is what `truncated_svd` takes in place of an array: anything that multiplies blocks of
vectors from the left, `matmat(X)` = A X, and by its adjoint, `rmatmat(Y)` = A^H Y.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._bindings import dask_products
from .._bindings.array import (
    Array,
    adjoint,
    array_namespace,
    beside,
    conj,
    device,
    real,
)
from .._bindings.lookup import torch_dtype
from .._bindings.owners import is_dask_array
from .operator_sums import Addable, added
from .products import identity_slices, products_of


@dataclass(frozen=True, eq=False)
class Operator(Addable):
    """A matrix known by its products; made by `from_matmat`."""

    matmat: Callable[[Array], Array]
    rmatmat: Callable[[Array], Array]
    shape: tuple[int, int]
    like: Array  # an empty array of the operator's library, dtype and device

    @property
    def dtype(self) -> Any:
        return self.like.dtype


def from_matmat(
    matmat: Callable[[Array], Array],
    rmatmat: Callable[[Array], Array],
    shape: tuple[int, int],
    dtype: Any,
    *,
    like: Array | None = None,
) -> Operator:
    """A matrix A of which only products are known.

    Parameters
    ----------
    matmat, rmatmat : callable
        ``matmat(X)`` is A X for X (n, c), and ``rmatmat(Y)`` is A^H Y for Y (m, c). They must be
        linear, and each other's adjoint. They are called with arrays only.
    shape : (int, int)
        m and n.
    dtype : dtype
        Of A: real or complex, single or double precision. PyTorch's dtypes mean PyTorch arrays,
        all others NumPy's.
    like : array, optional
        Any array of the library and on the device that the products work with, where that is
        neither NumPy nor PyTorch on the host. JAX and CuPy need it.

    Returns
    -------
    Operator

    Raises
    ------
    TypeError, ValueError
        If a product is not callable, the shape is none, or the dtype is none that has derivatives.

    See Also
    --------
    as_operator, spectralgrad.truncated_svd

    Notes
    -----
    A cotangent of an operator is a `LowRank`. On PyTorch and JAX, what the products close over has
    no derivative: give it as `params` of `truncated_svd`.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> d = np.arange(9.0, 0.0, -1.0)[:, None]
    >>> A = sg.operators.from_matmat(lambda X: d * X, lambda Y: d * Y, (9, 9), np.float64)
    >>> sg.truncated_svd(A, 2).S
    array([9., 8.])
    """
    for name, product in (("matmat", matmat), ("rmatmat", rmatmat)):
        if not callable(product):
            raise TypeError(
                f"from_matmat: `{name}` is a {type(product).__name__}; wanted a callable that "
                "multiplies a block of vectors, such as lambda X: A @ X."
            )
    try:
        m, n = map(operator.index, shape)
    except (TypeError, ValueError):
        m = n = -1
    if min(m, n) < 0:
        raise ValueError(f"from_matmat: `shape` is {shape!r}; wanted two whole numbers, (m, n).")
    return Operator(matmat, rmatmat, (m, n), _empty(dtype, like))


def _empty(dtype: Any, like: Array | None) -> Array:
    if like is not None:
        xp = array_namespace(like)
        dtype = dtype if torch_dtype(dtype) else getattr(xp, np.dtype(dtype).name)
        return xp.zeros((0,), dtype=dtype, device=device(like))
    torch = torch_dtype(dtype)
    if torch is not None:
        return torch.zeros((0,), dtype=dtype)
    try:
        found = np.dtype("" if dtype is None else dtype)  # NumPy's None is float64
    except TypeError:
        raise TypeError(
            f"from_matmat: `dtype` is {dtype!r}; wanted a dtype of NumPy or PyTorch, or `like=` an "
            "array of the library that the products work with."
        ) from None
    return np.zeros((0,), dtype=found)


SLICE = 2**16  # numbers of a factor that `LowRank.at` takes at a time


@dataclass(frozen=True, eq=False)
class LowRank(Addable):
    """The matrix left @ right^H, never formed unless asked for.

    Parameters
    ----------
    left : array (m, r)
    right : array (n, r)

    Notes
    -----
    The cotangent of a sparse matrix or an operator comes as one of these, with r = 2 k. It can be
    added to another, and multiplies like an operator. The sum with any other matrix is one of
    `as_operator`'s.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> C = sg.operators.LowRank(np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]]))
    >>> C.todense()
    array([[3., 4.],
           [6., 8.]])
    >>> C.at(np.array([1]), np.array([0]))
    array([6.])
    """

    left: Array
    right: Array

    given = False  # its products are our own

    @property
    def leaves(self) -> tuple[Array, Array]:
        """Both factors."""
        return (self.left, self.right)

    def rebuilt(self, left: Array, right: Array) -> LowRank:
        """A matrix of the same kind."""
        return LowRank(left, right)

    @property
    def shape(self) -> tuple[int, int]:
        return (self.left.shape[-2], self.right.shape[-2])

    @property
    def dtype(self) -> Any:
        return array_namespace(self.left).result_type(self.left, self.right)

    @property
    def like(self) -> Array:
        """An array of the library, dtype and device that products take."""
        return dask_products.thin_like(self.left)

    def todense(self) -> Array:
        """The matrix itself, (m, n)."""
        return self.left @ adjoint(self.right)

    def matmat(self, X: Array) -> Array:
        """left (right^H X)."""
        return self.left @ (adjoint(self.right) @ X)

    def rmatmat(self, Y: Array) -> Array:
        """right (left^H Y)."""
        return self.right @ (adjoint(self.left) @ Y)

    def vdot(self, dA: Any) -> Array:
        """Re sum(conj(self) * dA): the change of the loss along dA, an array or operator."""
        product = products_of(dA).matmat(self.right)
        return array_namespace(product).sum(real(conj(self.left) * product))

    def at(self, rows: Array, cols: Array) -> Array:
        """The entries at (rows[i], cols[i]), as on the pattern of a sparse matrix.

        Nothing larger than the pattern is needed, in NumPy little beside the entries themselves.
        Of places in blocks of Dask the entries are found block by block, once they are asked for.
        """
        if is_dask_array(rows):
            return dask_products.at_places(_entries_at, rows, cols, self.left, self.right)
        if type(self.left) is np.ndarray:
            return self._in_slices(rows, cols)
        xp, right = array_namespace(self.left, self.right), conj(self.right)
        entries = xp.zeros(rows.shape, dtype=self.dtype, device=device(self.left))
        for i in range(self.left.shape[-1]):
            entries = entries + xp.take(self.left[:, i], rows) * xp.take(right[:, i], cols)
        return entries

    def _in_slices(self, rows: Array, cols: Array) -> Array:
        """By rows of both factors, as many as a cache holds: their columns lie apart in memory."""
        left, right = np.ascontiguousarray(self.left), np.ascontiguousarray(self.right)
        entries, step = np.zeros(rows.shape, self.dtype), max(1, SLICE // max(1, left.shape[1]))
        for start in range(0, rows.shape[0], step):
            part = slice(start, start + step)
            # which takes half the time of left[rows[part]] (NumPy 2.4)
            pairs = right.take(cols[part], axis=0), left.take(rows[part], axis=0)
            entries[part] = np.vecdot(*pairs)
        return entries

    def __add__(self, other: Any) -> Any:
        if isinstance(other, PlusMultiple):
            return other + self
        if not isinstance(other, LowRank):
            return added(self, other)
        return LowRank(beside([self.left, other.left]), beside([self.right, other.right]))


def _entries_at(rows: Array, cols: Array, left: Array, right: Array) -> Array:
    return LowRank(left, right).at(rows, cols)


@dataclass(frozen=True, eq=False)
class PlusMultiple(LowRank):
    """factor * matrix + left @ right^H: the cotangent of an operator from `truncation_error`."""

    factor: Array
    matrix: Any

    def todense(self) -> Array:
        xp = array_namespace(self.left)
        return self.matmat(xp.eye(self.shape[1], dtype=self.dtype, device=device(self.left)))

    def matmat(self, X: Array) -> Array:
        return self.factor * products_of(self.matrix).matmat(X) + super().matmat(X)

    def rmatmat(self, Y: Array) -> Array:
        return self.factor * products_of(self.matrix).rmatmat(Y) + super().rmatmat(Y)

    def vdot(self, dA: Any) -> Array:
        """Re sum(conj(self) * dA), by the products of both with all columns of the identity."""
        xp, product = array_namespace(self.left), products_of(dA).matmat
        blocks = identity_slices(self.left, self.shape[1])
        return sum(xp.sum(real(conj(self.matmat(X)) * product(X))) for X in blocks)

    def at(self, rows: Array, cols: Array) -> Array:
        """The entries at (rows[i], cols[i]), of a matrix whose entries can be indexed."""
        if not hasattr(self.matrix, "tocsr"):
            raise TypeError(
                f"at: the matrix is a {type(self.matrix).__name__}, whose entries are not known; "
                "use matmat, vdot or todense."
            )
        entries = array_namespace(self.left).asarray(self.matrix.tocsr()[rows, cols])
        return self.factor * entries.reshape(-1) + super().at(rows, cols)

    @property
    def leaves(self) -> Any:
        """None that it could be rebuilt from."""
        return ()

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, LowRank):
            return added(self, other)
        factor = self.factor
        if isinstance(other, PlusMultiple):
            factor = factor + other.factor  # of the one operator that both are cotangents of
        left, right = (beside([getattr(C, s) for C in (self, other)]) for s in ("left", "right"))
        return PlusMultiple(left, right, factor, self.matrix)
