"""Sums of multiples of matrices that are known by their products, or sparse, or of low rank.

A sum keeps its terms apart, so that a derivative goes to the arrays of each: `leaves` has them,
and `rebuilt` makes the same sum of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from numbers import Number
from typing import Any

from .._bindings.array import Array, Arrays, array_namespace, is_array
from .._bindings.dask_products import is_streamed
from .._bindings.library import SparseLibrary
from .._bindings.lookup import sparse_library
from .checks import check_one_device
from .products import Products, check_products, products_of, sparse_products, streamed_products


class Addable:
    """What can be a term of a sum, with +, - and multiplication by a number."""

    __array_ufunc__ = None  # NumPy's arrays leave + to us

    def __add__(self, other: Any) -> Any:
        return added(self, other)

    def __radd__(self, other: Any) -> Any:
        return added(other, self)

    def __sub__(self, other: Any) -> Any:
        return added(self, other, sign=-1)

    def __rsub__(self, other: Any) -> Any:
        return added(other, self, sign=-1)

    def __neg__(self) -> Any:
        return -1 * self

    def __mul__(self, factor: Any) -> Any:
        if not isinstance(factor, Number):
            return NotImplemented
        return scaled(self, factor)

    __rmul__ = __mul__


@dataclass(frozen=True, eq=False)
class Entries(Addable):
    """A sparse tensor of PyTorch or JAX, by its values, rows and columns."""

    library: SparseLibrary
    shape: tuple[int, int]
    leaves: Arrays

    def rebuilt(self, *leaves: Array) -> Entries:
        return Entries(self.library, self.shape, leaves)

    def products(self) -> Products:
        values, rows, cols = self.leaves
        return sparse_products(self.library, values, rows, cols, self.shape)


@dataclass(frozen=True, eq=False)
class Dense(Addable):
    """An array (m, n)."""

    leaves: Arrays

    def rebuilt(self, *leaves: Array) -> Dense:
        return Dense(leaves)

    def products(self) -> Products:
        A = self.leaves[0]
        return streamed_products(A) if is_streamed(A) else products_of(A)


@dataclass(frozen=True, eq=False)
class Sum(Addable):
    """A sum of multiples of matrices; made by `as_operator`, and by + of what that makes."""

    terms: tuple[tuple[Any, Any], ...]  # a factor and a matrix

    @cached_property
    def _products(self) -> list[tuple[Any, Products]]:
        return [
            (factor, A.products() if isinstance(A, (Entries, Dense)) else products_of(A))
            for factor, A in self.terms
        ]

    @property
    def shape(self) -> tuple[int, int]:
        return self._products[0][1].shape

    @property
    def like(self) -> Array:
        """An array of the library, dtype and device of the matrix."""
        return self._products[0][1].like

    @property
    def dtype(self) -> Any:
        return self.like.dtype

    @property
    def given(self) -> bool:
        """Whether the products are a user's, at least in part."""
        return any(A.given for _, A in self._products)

    @property
    def costly(self) -> bool:
        """Whether products pass over blocks that are not in memory."""
        return any(A.costly for _, A in self._products)

    def matmat(self, X: Array) -> Array:
        """A X."""
        return sum(factor * A.matmat(X) for factor, A in self._products)

    def rmatmat(self, Y: Array) -> Array:
        """A^H Y."""
        return sum(factor.conjugate() * A.rmatmat(Y) for factor, A in self._products)

    @property
    def leaves(self) -> Arrays:
        """The arrays of all terms."""
        return tuple(leaf for _, A in self.terms for leaf in getattr(A, "leaves", ()))

    def rebuilt(self, *leaves: Array) -> Sum:
        """The sum of the same terms with other arrays."""
        rest: Iterator[Array] = iter(leaves)
        terms = []
        for factor, A in self.terms:
            own = [next(rest) for _ in getattr(A, "leaves", ())]
            terms.append((factor, A.rebuilt(*own) if own else A))
        return Sum(tuple(terms))


def as_operator(A: Any) -> Sum:
    """A matrix as an operator, to which others can be added.

    Parameters
    ----------
    A : sparse matrix, operator, or array (m, n)
        A sparse array of SciPy or CuPyX, a sparse tensor of PyTorch, a BCOO of JAX; a
        LinearOperator, what `from_matmat` makes, a `LowRank`.

    Returns
    -------
    Sum
        It has ``matmat``, ``rmatmat``, ``shape`` and ``dtype``, and takes ``+`` and ``-`` with all
        that can be A, and ``*`` with a number.

    Raises
    ------
    TypeError, ValueError
        If A has no products or no floating dtype, or the terms of a sum differ in shape, dtype or
        library.

    See Also
    --------
    from_matmat, spectralgrad.truncated_svd

    Notes
    -----
    Nothing is multiplied out: a product with the sum takes one with each term. In PyTorch and JAX
    `truncated_svd` and `truncation_error` differentiate by the arrays of all terms, the values of
    sparse ones and both factors of a `LowRank`; what an operator of `from_matmat` closes over has
    no derivative. `sg.vjp` by a sum answers with the cotangent of the whole.

    Examples
    --------
    The principal components of a sparse matrix whose columns are centred, which makes them dense:

    >>> import numpy as np, scipy.sparse, spectralgrad as sg
    >>> A = scipy.sparse.csr_array(np.diag([3.0, 2.0, 1.0]))
    >>> mean = A.mean(axis=0)
    >>> centred = sg.operators.as_operator(A) - sg.operators.LowRank(np.ones((3, 1)), mean[:, None])
    >>> bool(np.allclose(sg.truncated_svd(centred, 2).S, sg.svdvals(A.toarray() - mean)[:2]))
    True
    """
    found = A if isinstance(A, Sum) else Sum(((1, _term(A)),))
    like = found.like
    if not array_namespace(like).isdtype(like.dtype, ("real floating", "complex floating")):
        raise TypeError(
            f"as_operator: argument `A` has dtype {like.dtype}, which has no derivative; wanted a "
            "real or complex floating dtype. Cast it first, for example with A.astype(float)."
        )
    return found


def _term(A: Any) -> Any:
    """A, or what stands for it in a sum."""
    where = "as_operator: argument `A`"
    if not isinstance(A, (Entries, Dense)):
        if not (hasattr(A, "shape") and hasattr(A, "dtype")) or len(A.shape) != 2:
            raise TypeError(
                f"{where} is a {type(A).__name__} of shape {tuple(getattr(A, 'shape', ()))}; "
                "wanted one matrix (m, n): sparse, an array, or an operator with `matmat`, "
                "`rmatmat`, `shape` and `dtype`."
            )
        sparse = sparse_library(A)
        if sparse is not None:
            return Entries(sparse, tuple(A.shape), sparse.parts(A))
        if is_array(A):
            return Dense((A,))
        check_products(A, where)
    return A


def added(A: Any, B: Any, *, sign: int = 1) -> Any:
    """A + sign B, of which one is no operator yet, maybe."""
    if isinstance(A, Number) or isinstance(B, Number):
        return NotImplemented
    a, b = as_operator(A), as_operator(B)
    _check_terms(a, b)
    return Sum((*a.terms, *((sign * factor, term) for factor, term in b.terms)))


def scaled(A: Any, factor: Any) -> Sum:
    """A times a number."""
    found = as_operator(A)
    real = array_namespace(found.like).isdtype(found.like.dtype, "real floating")
    if real and isinstance(factor, complex):
        raise TypeError(
            f"an operator of dtype {found.dtype} was multiplied by {factor!r}; wanted a real "
            "number. Make its terms complex first."
        )
    return Sum(tuple((factor * own, term) for own, term in found.terms))


def _check_terms(a: Sum, b: Sum) -> None:
    if a.shape != b.shape:
        raise ValueError(
            f"a sum of operators has terms of shapes {a.shape} and {b.shape}; wanted one shape. "
            "Nothing is broadcast: A - 1 mean^T is A - LowRank(ones((m, 1)), mean[:, None])."
        )
    try:
        array_namespace(a.like, b.like)
        same = a.dtype == b.dtype
    except TypeError:
        same = False
    if not same:
        came = [f"{type(x.like).__name__} of {x.dtype}" for x in (a, b)]
        raise TypeError(
            f"a sum of operators has terms for arrays {came[0]} and {came[1]}; wanted one library "
            "and dtype. Convert one of them."
        )
    check_one_device(b.like, a.like, "a sum of operators: its last term", "the first")
