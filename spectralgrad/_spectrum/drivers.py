"""Who factorizes a stack: the array library, or Jacobi's method for tiny matrices.

On two cores Jacobi's method takes 0.2 (2 x 2), 0.4 (3 x 3) and 0.6 (4 x 4) of LAPACK's time for
10^4 matrices, NumPy 2.4; from five rows and columns on it loses. Its steps are calls, some hundred
a sweep, which long stacks are worth, and which only NumPy and compiled programs of JAX make cheap:
tensors on the CPU are NumPy's to compute (`numpy_views`), and PyTorch's compiler takes minutes for
a thousand steps (2.13).
"""

from __future__ import annotations

import math
from typing import Literal

from .._bindings.array import FEW, MANY, Array
from .._bindings.lookup import fuses

Driver = Literal["own", "jacobi"]


def driver(x: Array) -> Driver:
    """The driver for a stack of matrices."""
    rows, columns = x.shape[-2:]
    tiny = 0 < min(rows, columns) <= FEW and max(rows, columns) <= 2 * FEW
    return "jacobi" if tiny and math.prod(x.shape[:-2]) >= MANY and fuses(x) else "own"
