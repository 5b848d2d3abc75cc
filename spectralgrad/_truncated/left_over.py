r"""What k triplets leave of a matrix: R = P_U (A - U S V^H) P_V, and its norm.

P_U = I - U U^H and P_V = I - V V^H: the difference alone has a rounding error of eps s_1 along the
kept vectors too, which is large beside a small R. The norm as sqrt(||A||^2 - sum s^2) would lose
all digits at 1e-8 ||A||. So R is multiplied out, in slices of columns where A is an operator. Only
a sparse matrix, too large for that, takes the difference, as (||A|| - ||S||)(||A|| + ||S||).
"""

from __future__ import annotations

from typing import Any

from .._bindings.array import Array, Arrays, adjoint, array_namespace, conj, real
from .._bindings.lookup import project_out, sparse_library
from .._engine.products import Products, identity_slices
from .operands import DENSE, WHOLE, Entries


def is_sparse(operand: Any, leaves: Arrays) -> bool:
    """Whether the operand is a sparse matrix."""
    if isinstance(operand, Entries):
        return True
    return operand is WHOLE and (
        sparse_library(leaves[0]) is not None or hasattr(leaves[0], "tocsr")
    )


def entries_of(operand: Any, leaves: Arrays) -> Array | None:
    """The entries of a sparse matrix, no two at one place; None for all else."""
    if isinstance(operand, Entries):
        return leaves[0]
    if not is_sparse(operand, leaves):
        return None
    A, sparse = leaves[0], sparse_library(leaves[0])
    if sparse is not None:
        return sparse.parts(A)[0]
    A = A.tocsr()
    if not A.has_canonical_format:
        A = A.copy()
        A.sum_duplicates()
    return A.data


def left_over(A: Products, U: Array, S: Array, Vh: Array, block: Array) -> Array:
    """R times a block."""
    block = project_out(adjoint(Vh), block)
    return project_out(U, A.matmat(block) - (U * S[..., None, :]) @ (Vh @ block))


def left_over_of(x: Array, U: Array, S: Array, Vh: Array) -> Array:
    """R of an array."""
    rest = project_out(U, x - (U * S[..., None, :]) @ Vh)
    return rest - (rest @ adjoint(Vh)) @ Vh


def squared_norm(
    operand: Any, leaves: Arrays, triplets: Arrays, unit: Array
) -> tuple[Array, Array]:
    """||R||^2, and what it is computed to eps of, both over unit^2."""
    (U, S, Vh), entries = triplets, entries_of(operand, leaves)
    if operand is DENSE:
        R = left_over_of(leaves[0], U, S, Vh)
        square = _sum_of_squares(R / unit[..., None, None], (-2, -1))
        return square, square
    if entries is None:
        A = operand.products(*leaves)
        slices = (
            left_over(A, U, S, Vh, block) / unit for block in identity_slices(A.like, A.shape[1])
        )
        square = sum(_sum_of_squares(R, (-2, -1)) for R in slices)
        return square, square
    xp = array_namespace(S)
    whole, kept = (xp.sqrt(_sum_of_squares(v / unit, None)) for v in (entries, S))
    return (whole - kept) * (whole + kept), whole * whole


def _sum_of_squares(x: Array, axes: tuple[int, ...] | None) -> Array:
    return array_namespace(x).sum(real(conj(x[None, ...])[0, ...] * x), axis=axes)
