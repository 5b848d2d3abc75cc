"""What the user gave as a matrix: checked, as an operand and its leaves."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Number
from typing import Any

from .._bindings.array import Array, Arrays, array_namespace, device, is_jax_array
from .._bindings.lookup import autodiff_of, is_dense, native, sparse_library
from .._bindings.owners import is_torch_array
from .._engine.arguments import enter
from .._engine.checks import check_plain, check_precision
from .._engine.errors import raise_captured
from .._engine.operator_sums import Sum, as_operator
from .._engine.operators import LowRank, Operator
from .._engine.products import Products, check_adjoint_product, check_products, products_of
from .._engine.tape import is_recorded
from .._engine.tree import leaves_of, paths_of, rebuild
from .operands import DENSE, FLOATING, WHOLE, Entries, OfParameters


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
    return OfParameters(total.rebuilt, tuple(leaf.ndim for leaf in leaves)), leaves


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
    return OfParameters(of, tuple(x.ndim for x in leaves)), leaves


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
