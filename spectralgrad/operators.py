"""Matrices known by their products, and cotangents of low rank.

An operator is what `truncated_svd` takes in place of an array: anything that multiplies blocks of
vectors from the left, `matmat(X)` = A X, and by its adjoint, `rmatmat(Y)` = A^H Y.
"""

from __future__ import annotations

from ._engine.operator_sums import Sum, as_operator
from ._engine.operators import LowRank, Operator, PlusMultiple, from_matmat

__all__ = ["LowRank", "Operator", "PlusMultiple", "Sum", "as_operator", "from_matmat"]


def __dir__() -> list[str]:
    return __all__
