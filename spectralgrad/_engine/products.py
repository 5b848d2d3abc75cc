"""The products of whatever stands for a matrix: an array, a sparse matrix, or an operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .._bindings import dask_products
from .._bindings.array import (
    Array,
    array_namespace,
    beside,
    conj,
    device,
    is_array,
    is_complex,
    real,
)
from .._bindings.library import SparseLibrary
from .._bindings.lookup import is_cupyx, is_linear_operator, sparse_library
from .._bindings.owners import is_dask_array
from .._bindings.thin_products import (
    FEW_COLUMNS,
    adjoint_times,
    by_few,
    few_columns,
    gram_of,
    times,
)

SLICE = 256  # columns of an operator at a time

Product = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Products:
    """A X and A^H Y of an m x n matrix."""

    shape: tuple[int, int]
    matmat: Product
    rmatmat: Product
    like: Any = None  # an array of A's library, dtype and device
    given: bool = False  # by two functions, which could be anything
    costly: bool = False  # so that one with many columns is worth several with few
    narrow: bool = False  # so that several with few columns take less than one with many
    gram: Product | None = None  # A^H A X, if it takes less than both in turn
    single: Callable[[Any], Products] | None = None  # of A/unit, where those take much less

    def normal(self, X: Array) -> Array:
        """A^H A X."""
        if self.narrow and X.shape[-1] > FEW_COLUMNS:
            return beside([self.normal(part) for part in few_columns(X)])
        if self.gram is not None:
            return self.gram(X)
        return self.rmatmat(self.matmat(X))

    def adjoint(self) -> Products:
        turned, single = self.shape[::-1], self.single
        return replace(
            self,
            shape=turned,
            matmat=self.rmatmat,
            rmatmat=self.matmat,
            gram=None,
            single=single and (lambda unit: single(unit).adjoint()),
        )

    def over(self, unit: Array) -> Products:
        """Those of A/unit."""
        gram = self.gram
        return replace(
            self,
            matmat=lambda X: self.matmat(X) / unit,
            rmatmat=lambda Y: self.rmatmat(Y) / unit,
            gram=gram and (lambda X: gram(X / unit) / unit),
            single=None,
        )


def products_of(A: Any) -> Products:
    """The products of anything that stands for a matrix."""
    shape = tuple(A.shape[-2:])
    sparse = sparse_library(A)
    if sparse is not None:
        values, rows, cols = sparse.parts(A)
        return sparse_products(sparse, values, rows, cols, shape)
    if is_array(A):
        return Products(shape, partial(times, A), partial(adjoint_times, A), A, gram=gram_of(A))
    if callable(getattr(A, "matmat", None)) and callable(getattr(A, "rmatmat", None)):
        found = _checked(A.matmat, A.rmatmat, shape, like_of(A))
        return replace(found, given=getattr(A, "given", True), costly=getattr(A, "costly", False))
    check_products(A, "the operator")
    like = like_of(A)
    Ah = A.conj().T if is_complex(like) else A.T  # which shares what A holds
    if hasattr(A, "tocsr") and type(like) is np.ndarray:
        single = partial(_in_single, A) if like.dtype in (np.float64, np.complex128) else None
        own = partial(by_few, A), partial(by_few, Ah)
        return Products(shape, *own, like, narrow=True, single=single)
    return Products(shape, lambda X: A @ X, lambda Y: Ah @ Y, like)


def _in_single(A: Any, unit: Any) -> Products:
    """The products of a sparse matrix over a unit in single precision, with indices of 32 bits."""
    A = A.tocsr()
    values = (A.data / unit).astype(np.complex64 if is_complex(A.data) else np.float32)
    return products_of(type(A)((values, A.indices, A.indptr), shape=A.shape))


def streamed_products(A: Array) -> Products:
    """Those of a Dask array in blocks, computed for thin arrays in memory."""
    return Products(
        tuple(A.shape),
        partial(dask_products.times, A),
        partial(dask_products.adjoint_times, A),
        dask_products.thin_like(A),
        costly=True,
    )


def identity_slices(like: Array, n: int) -> Iterator[Array]:
    """The columns of the identity, SLICE at a time."""
    xp = array_namespace(like)
    for start in range(0, n, SLICE):
        width = min(SLICE, n - start)
        yield xp.eye(n, width, k=-start, dtype=like.dtype, device=device(like))


def sparse_products(
    library: SparseLibrary, values: Array, rows: Array, cols: Array, shape: tuple[int, int]
) -> Products:
    turned = conj(values[None, :])[0, :], cols, rows, shape[::-1]
    matmat = library.sparse_product(values, rows, cols, shape)
    return Products(shape, matmat, library.sparse_product(*turned), values)


def like_of(A: Any) -> Array:
    """An array of the library that a sparse matrix's or an operator's products take.

    An operator may name one as `like`; that of SciPy's and CuPy's is known by their type.
    """
    like = getattr(A, "like", None)
    if is_array(like):
        return like
    if A.dtype is None:
        raise TypeError(
            f"an operator of type {type(A).__name__} came with dtype None; wanted one that tells "
            "its dtype, float64 or complex128. Set it, or use sg.operators.from_matmat."
        )
    if is_cupyx(A):
        import cupy

        return cupy.zeros((0,), dtype=A.dtype)
    return np.zeros((0,), dtype=A.dtype)


def _checked(matmat: Product, rmatmat: Product, shape: tuple[int, int], like: Array) -> Products:
    """The products of a user's operator, whose results must have the right shape."""

    def of(product: Product, name: str, rows: int) -> Product:
        def checked(X: Array) -> Array:
            out = product(X)
            if is_dask_array(out) and not is_dask_array(X):  # of factors in blocks
                (out,) = dask_products.computed(out)
            wanted = (rows, X.shape[-1])
            if not is_array(out) or tuple(out.shape) != wanted:
                got = tuple(out.shape) if is_array(out) else f"a {type(out).__name__}"
                raise ValueError(
                    f"the operator's {name} returned {got} for a block of shape {tuple(X.shape)}; "
                    f"wanted an array of shape {wanted}. Check it against the operator's shape "
                    f"{shape}."
                )
            return out

        return checked

    own = of(matmat, "matmat", shape[0]), of(rmatmat, "rmatmat", shape[1])
    return Products(shape, *own, like, given=True)


def check_products(A: Any, where: str) -> None:
    """Refuse what cannot be multiplied from both sides."""
    missing = [name for name in ("matmat", "rmatmat") if not callable(getattr(A, name, None))]
    if not missing or (hasattr(A, "__matmul__") and hasattr(A, "T")):
        return
    raise TypeError(
        f"{where} is a {type(A).__name__} without {' and '.join(f'`{name}`' for name in missing)}; "
        "wanted the products from both sides, matmat(X) = A X and rmatmat(Y) = A^H Y, of blocks of "
        "vectors. Add what is missing, or make one with sg.operators.from_matmat."
    )


def check_adjoint_product(A: Any, where: str) -> None:
    """Refuse a LinearOperator of SciPy or CuPyX that was made without its adjoint.

    It has an `rmatmat` that fails, in several ways (SciPy 1.17).
    """
    if not is_linear_operator(A):
        return
    like = like_of(A)
    xp = array_namespace(like)
    try:
        A.rmatmat(xp.zeros((A.shape[0], 1), dtype=like.dtype))
    except (NotImplementedError, TypeError) as problem:
        raise TypeError(
            f"{where} is a {type(A).__name__} whose products with A^H fail, with "
            f"{type(problem).__name__}: {problem}; wanted the adjoint too. Give `rmatvec` or "
            "`rmatmat` when it is made."
        ) from problem


def adjoint_mismatch(A: Products) -> Array:
    """How far <y, A x> and <A^H y, x> are apart for some x and y, over |y| |A x| + |A^H y| |x|.

    As generic as random vectors, but made without a draw. The rounding of both is far below the
    bound on residuals, which has |A| where this has a sqrt(max(m, n)) times as large divisor.
    """
    xp, dtype = array_namespace(A.like), real(A.like).dtype
    x = _generic(xp, A.shape[1], 0.7, dtype, A.like)
    y = _generic(xp, A.shape[0], 1.3, dtype, A.like)  # another one, or a false sign is not seen
    images = A.matmat(xp.astype(x, A.like.dtype)), A.rmatmat(xp.astype(y, A.like.dtype))
    top = xp.maximum(*(xp.max(xp.abs(image)) for image in images))
    Ax, Ahy = (image / xp.where(top == 0, 1.0, top) for image in images)
    apart = xp.abs(xp.sum(y * Ax) - xp.sum(conj(Ahy) * x))
    scale = xp.sum(xp.abs(Ax) ** 2) * xp.sum(y * y), xp.sum(xp.abs(Ahy) ** 2) * xp.sum(x * x)
    scale = xp.sqrt(scale[0]) + xp.sqrt(scale[1])
    return apart / xp.where(scale == 0, 1.0, scale)


def _generic(xp: Any, n: int, shift: float, dtype: Any, like: Array) -> Array:
    """A column of irregular entries."""
    i = xp.arange(n, dtype=dtype, device=device(like))
    return xp.cos(1.0 + i * (i + shift))[:, None]
