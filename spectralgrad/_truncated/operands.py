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
from typing import Any, ClassVar

from .._bindings import dask_products
from .._bindings.array import Array, Arrays, adjoint, array_namespace, beside, herm
from .._bindings.lookup import native
from .._engine.operators import LowRank
from .._engine.products import Products, products_of, sparse_products, streamed_products

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
class OfParameters:
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
