r"""What a truncated SVD is taken of: its products, and what a rule does with its cotangent.

A rule knows a matrix A only by A X and A^H Y, and answers with the cotangent left right^H. What
becomes of that depends on how A was given. An array has it multiplied out. A sparse matrix has it
at its own entries. A function of parameters theta has it pulled back through its own product,

    <left right^H, dA> = Re sum(conj(left) dA right) = <left, d(A(theta) right)>,

by the library's autodiff. All else is its own cotangent's address: `LowRank`.

An operand is static; its leaves are the arrays, or the one object, that a derivative belongs to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Number
from typing import Any, ClassVar

from .._bindings import dask_products
from .._bindings.array import (
    Array,
    Arrays,
    adjoint,
    array_namespace,
    beside,
    device,
    herm,
    is_jax_array,
)
from .._bindings.lookup import autodiff_of, is_dense, native, sparse_library
from .._bindings.owners import is_torch_array
from .._engine.arguments import enter
from .._engine.checks import check_plain, check_precision
from .._engine.errors import raise_captured
from .._engine.operator_sums import Sum, as_operator
from .._engine.operators import LowRank, Operator
from .._engine.products import (
    Products,
    check_adjoint_product,
    check_products,
    products_of,
    sparse_products,
    streamed_products,
)
from .._engine.tape import is_recorded
from .._engine.tree import leaves_of, paths_of, rebuild

FLOATING = ("real floating", "complex floating")


class _Dense:
    """An array (..., m, n), the only leaf."""

    name = "DENSE"
    foreign: ClassVar[bool] = False  # whether its products take the library's own arrays alone

    def __reduce__(self) -> str:
        return self.name  # one object in every process

    def products(self, x: Array) -> Products:
        return products_of(x)

    def matrix(self, *leaves: Any) -> Any:
        """What the user knows as the matrix."""
        return leaves[0]

    def cotangents(self, leaves: Arrays, left: list[Array], right: list[Array]) -> Arrays:
        """The leaves' cotangents for that of A, the sum of left_i right_i^H."""
        return (beside(left) @ adjoint(beside(right)),)

    def tangents(self, leaves: Arrays, dots: Arrays, U: Array, V: Array) -> tuple[Array, Array]:
        """dA V and dA^H U."""
        dA = products_of(dots[0])
        return dA.matmat(V), dA.rmatmat(U)


class _Whole(_Dense):
    """An object that has products; its cotangent is a `LowRank`."""

    name = "WHOLE"
    foreign = True

    def cotangents(self, leaves: Arrays, left: list[Array], right: list[Array]) -> Arrays:
        return (LowRank(beside(left), beside(right)),)


class _Streamed(_Dense):
    """A Dask array in blocks: thin arrays are in memory, and its cotangent is lazy.

    The cotangent of a matrix of sparse blocks is a `LowRank` of Dask's arrays.
    """

    name = "STREAMED"
    foreign = True

    def products(self, x: Array) -> Products:
        return streamed_products(x)

    def cotangents(self, leaves: Arrays, left: list[Array], right: list[Array]) -> Arrays:
        (x,) = leaves
        sides = zip((left, right), x.chunks, strict=True)
        factors = LowRank(
            *(dask_products.in_blocks(beside(W), (chunks, -1)) for W, chunks in sides)
        )
        return (factors if dask_products.holds_sparse(x) else factors.todense(),)

    def tangents(self, leaves: Arrays, dots: Arrays, U: Array, V: Array) -> tuple[Array, Array]:
        dA = streamed_products(dots[0])
        return dA.matmat(V), dA.rmatmat(U)


@dataclass(frozen=True, eq=False)
class _OfParameters:
    """A function of arrays whose value is one of the above, in PyTorch or JAX."""

    build: Callable[..., Any]
    ndims: tuple[int, ...]
    foreign: ClassVar[bool] = True

    def products(self, *leaves: Array) -> Products:
        if tuple(x.ndim for x in leaves) != self.ndims:
            raise NotImplementedError(
                "truncated_svd: `params` came with an axis in front, as under vmap; an operator "
                "is one matrix. Loop over the parameters, or give a dense stack."
            )
        return products_of(self.build(*leaves))

    def matrix(self, *leaves: Array) -> Any:
        return self.build(*leaves)

    def cotangents(self, leaves: Arrays, left: list[Array], right: list[Array]) -> Arrays:
        block, (places, moving, held) = beside(right), _split(leaves)
        pullback = native(leaves[0]).vjp(
            lambda *arrays: self.products(*held(arrays)).matmat(block), *moving
        )[1]
        found = dict(zip(places, pullback(beside(left)), strict=True))
        return tuple(map(found.get, range(len(leaves))))

    def tangents(self, leaves: Arrays, dots: Arrays, U: Array, V: Array) -> tuple[Array, Array]:
        xp, (places, moving, held) = array_namespace(*leaves), _split(leaves)
        dots = tuple(xp.zeros_like(leaves[i]) if dots[i] is None else dots[i] for i in places)

        def both(*arrays: Array) -> Arrays:
            A = self.products(*held(arrays))
            return A.matmat(V), A.rmatmat(U)

        dA_V, dAh_U = native(leaves[0]).pushforward(both, moving, dots)
        return dA_V, dAh_U


def _split(leaves: Arrays) -> tuple[list[int], Arrays, Callable[[Arrays], Arrays]]:
    """The places of what has a derivative, as integers have none, that, and all with others."""
    xp = array_namespace(*leaves)
    places = [i for i, x in enumerate(leaves) if xp.isdtype(x.dtype, FLOATING)]

    def held(arrays: Arrays) -> Arrays:
        given = dict(zip(places, arrays, strict=True))
        return tuple(given.get(i, x) for i, x in enumerate(leaves))

    return places, tuple(leaves[i] for i in places), held


@dataclass(frozen=True, eq=False)
class Entries:
    """A sparse tensor by its values, rows and columns, in PyTorch or JAX."""

    library: Any
    shape: tuple[int, int]
    foreign: ClassVar[bool] = True

    def products(self, values: Array, rows: Array, cols: Array) -> Products:
        return sparse_products(self.library, values, rows, cols, self.shape)

    def matrix(self, *leaves: Array) -> Any:
        return self.library.sparse_matrix(*leaves, self.shape)

    def cotangents(self, leaves: Arrays, left: list[Array], right: list[Array]) -> Arrays:
        _, rows, cols = leaves
        return LowRank(beside(left), beside(right)).at(rows, cols), None, None

    def tangents(self, leaves: Arrays, dots: Arrays, U: Array, V: Array) -> tuple[Array, Array]:
        dA = self.products(dots[0], *leaves[1:])
        return dA.matmat(V), dA.rmatmat(U)


@dataclass(frozen=True)
class Hermitian:
    """An operand that is Hermitian; of an array, the Hermitian part."""

    of: Any

    @property
    def foreign(self) -> bool:
        return bool(self.of.foreign)

    def products(self, *leaves: Any) -> Products:
        """A X on both sides."""
        if self.of is DENSE:
            return products_of(herm(leaves[0]))
        A = self.of.products(*leaves)
        return Products(A.shape, A.matmat, A.matmat, A.like, given=True, single=A.single)

    def cotangents(self, leaves: Arrays, left: Array, right: Array) -> Arrays:
        """The leaves' cotangents for that of A, herm(left right^H)."""
        found: Arrays = self.of.cotangents(leaves, [left / 2, right], [right, left / 2])
        return found

    def tangent(self, leaves: Arrays, dots: Arrays, Q: Array) -> Array:
        """herm(dA) Q."""
        dA_Q, dAh_Q = self.of.tangents(leaves, dots, Q, Q)
        return (dA_Q + dAh_Q) / 2


DENSE, WHOLE, STREAMED = _Dense(), _Whole(), _Streamed()


def enter_operand(x: Any, params: Any, function: str) -> tuple[Any, Callable[[Any], Any]]:
    """As `enter` for an array; else x itself."""
    check_plain(x, f"{function}: argument `x`")
    if params is not None or not is_dense(x):
        return x, lambda result: result
    return enter(x, function)


def check_operator_dtype(like: Array, function: str) -> None:
    xp = array_namespace(like)
    where = f"{function}: argument `x`"
    if not xp.isdtype(like.dtype, FLOATING):
        raise TypeError(
            f"{where} has dtype {like.dtype}, which has no derivative; wanted a real or complex "
            "floating dtype. Cast it first, for example with x.astype(float)."
        )
    if xp.finfo(like.dtype).bits < 32:
        raise TypeError(f"{where} has dtype {like.dtype}; wanted single or double precision.")
    check_precision(xp, like, where)


def whole(x: Any) -> Any:
    """The operand of which x itself is the only leaf."""
    return DENSE if is_dense(x) else WHOLE


def as_operand(x: Any, params: Any, function: str, *, adjoint: bool = True) -> tuple[Any, Arrays]:
    """What the user gave as a static operand and its leaves; products with its adjoint if asked."""
    if params is not None:
        return _of_parameters(x, params, function)
    if is_dense(x):
        return DENSE, (x,)
    if not (hasattr(x, "shape") and hasattr(x, "dtype")) or len(x.shape) != 2:
        raise TypeError(
            f"{function}: argument `x` is a {type(x).__name__}; wanted an array (..., m, n), a "
            "sparse matrix, or an operator with `matmat`, `rmatmat`, `shape` and `dtype`. Convert "
            "it, for example with numpy.asarray, or make one with sg.operators.from_matmat."
        )
    sparse, where = sparse_library(x), f"{function}: argument `x`"
    if sparse is None:
        check_products(x, where)
        if adjoint:
            check_adjoint_product(x, where)
    if sparse is not None and not is_recorded(x):
        values, rows, cols = sparse.parts(x)
        return Entries(sparse, tuple(x.shape)), (values, rows, cols)
    if isinstance(x, (LowRank, Sum)):
        return _of_terms(x, function)
    if isinstance(x, Operator):
        _refuse_captured(x, function)
    return WHOLE, (x,)


def _of_terms(x: Any, function: str) -> tuple[Any, Arrays]:
    """A sum as a function of the arrays that it is made of, where a library differentiates it."""
    total = as_operator(x)
    for _, term in total.terms:
        if isinstance(term, Operator):
            _refuse_captured(term, function)
    leaves = total.leaves
    if is_recorded(x) or not any(map(_is_leaf, leaves)):
        return WHOLE, (x,)
    return _OfParameters(total.rebuilt, tuple(leaf.ndim for leaf in leaves)), leaves


def _of_parameters(build: Any, params: Any, function: str) -> tuple[Any, Arrays]:
    given = leaves_of(params)
    leaves = tuple(filter(_is_leaf, given))
    strange = [i for i, x in enumerate(given) if not (_is_leaf(x) or isinstance(x, Number))]
    if strange or not leaves:
        path = paths_of(params)[strange[0]] if strange else ""
        came = f"a {type(given[strange[0]]).__name__}" if strange else "no array"
        raise TypeError(
            f"{function}: `params{path}` holds {came}; wanted arrays of PyTorch or JAX, whose "
            "autodiff contracts the cotangent, and numbers, in nested tuples, lists and dicts. "
            "Constants of other kinds belong into `x`. Elsewhere take the operator without "
            "`params`: its cotangent is an sg.operators.LowRank."
        )
    if not callable(build) or hasattr(build, "shape"):
        raise TypeError(
            f"{function}: `x` is a {type(build).__name__} and `params` were given; wanted a "
            "function of `params` that returns an array, a sparse matrix or an operator."
        )

    def of(*arrays: Array) -> Any:
        rest = iter(arrays)
        return build(rebuild(params, iter([next(rest) if _is_leaf(x) else x for x in given])))

    def column(*arrays: Array) -> Array:
        return _column(products_of(of(*arrays)))

    library = native(leaves[0])
    if library.sees_context() and library.captures_derivative(column, *leaves):
        raise_captured(function, "`x`", "Give everything that it depends on by `params`")
    return _OfParameters(of, tuple(x.ndim for x in leaves)), leaves


def _column(A: Products) -> Array:
    xp = array_namespace(A.like)
    return A.matmat(xp.zeros((A.shape[1], 1), dtype=A.like.dtype, device=device(A.like)))


def _is_leaf(x: Any) -> bool:
    return is_jax_array(x) or is_torch_array(x)


def _refuse_captured(operator: Operator, function: str) -> None:
    library = autodiff_of(operator.like)
    if library is None or not library.sees_context():
        return
    xp = array_namespace(operator.like)
    probe = xp.zeros((operator.shape[1], 1), dtype=operator.dtype, device=device(operator.like))
    if library.captures_derivative(operator.matmat, probe):
        raise_captured(function, "`matmat`", "Give it by `params`, as a function of them")
