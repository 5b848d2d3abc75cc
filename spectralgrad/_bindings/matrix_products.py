"""Products of stacks of matrices, and the orders of memory in which they are fast."""

from __future__ import annotations

import math
from functools import reduce
from operator import add

import numpy as np

from .array import Array, adjoint, array_namespace, conj, is_jax_array
from .owners import is_torch_array
from .rows import product_across, sum_across

FEW = 4  # rows or columns of a tiny matrix
MANY = 100  # of them make a stack that is worth a way of its own


def stack_size(x: Array) -> int:
    """How many matrices there are; 0 in a program for any number of them (jax.export)."""
    count = math.prod(x.shape[:-2])
    return count if isinstance(count, int) else 0


def product(*factors: Array) -> Array:
    """The matrix product, from the left.

    Of stacks of tiny matrices it is a sum of outer products: XLA fuses that with its surroundings.
    In NumPy it is an arithmetic of long rows if the stack's axis comes last in memory, as
    `batch_last` puts it, and as `host.columns` does with stacks of point sets.
    """
    return reduce(_times, factors)


def _times(a: Array, b: Array) -> Array:
    if type(a) is np.ndarray and (is_batch_last(a) or is_batch_last(b)):
        sides = sorted((a.shape[-2], a.shape[-1], b.shape[-1]))
        # of complex numbers it takes up to twice as long as the sum (NumPy 2.4)
        if 0 < sides[0] and sides[1] <= FEW and a.dtype.kind == b.dtype.kind == "f":
            # A sixth of the time of both orders of memory in one sum (NumPy 2.4). A transpose of
            # one with the stack last is as good as that.
            a, b = (x if x.ndim != 3 or is_batch_last(x) else batch_last(x) for x in (a, b))
            return np.einsum("...ij,...jk->...ik", a, b)
    if not _is_tiny_stack(a, b):
        return product_across(a, b, a @ b)
    terms = [a[..., :, i, None] * b[..., i, None, :] for i in range(a.shape[-1])]
    return product_across(a, b, reduce(add, terms))


def _is_tiny_stack(a: Array, b: Array) -> bool:
    if min(a.ndim, b.ndim) < 3 or not 0 < a.shape[-1] <= FEW:
        return False
    if max(a.shape[-2], b.shape[-1]) > 2 * FEW:
        return False
    if type(a) is np.ndarray:
        return is_batch_last(a) or is_batch_last(b)
    if is_torch_array(a) or not is_jax_array(a):
        return False
    return stack_size(a) >= MANY


def is_batch_last(x: Array) -> bool:
    """Whether neighbours in memory are of different batch elements, for one axis of those."""
    return bool(x.ndim > 1 and 0 < x.strides[0] == x.itemsize and x.shape[0] >= MANY)


def batch_last(x: Array) -> Array:
    """x, an array of NumPy's, with its first axis last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)


def transposed_copy(x: Array) -> Array:
    """The transpose of real matrices, its rows in one piece where that matters.

    NumPy and PyTorch keep the order of memory, and take the shorter of its axes for the inner loop.
    """
    if type(x) is not np.ndarray and not is_torch_array(x):
        return adjoint(x)
    if type(x) is np.ndarray and is_batch_last(x):
        return np.ascontiguousarray(x.mT)
    xp, (m, n) = array_namespace(x), x.shape[-2:]
    if min(m, n) > FEW:
        return np.ascontiguousarray(x.mT) if type(x) is np.ndarray else x.mT.contiguous()
    if m > n:
        return xp.stack([x[..., i] for i in range(n)], axis=-2)
    return xp.stack([x[..., i, :] for i in range(m)], axis=-1)


LONG = 1024  # rows in a sum: one after the other, of 10^6 alike, may lose 10^6 eps


def _dots(a: Array, b: Array) -> Array:
    """a_i^T b_i for each column i of NumPy's arrays, along memory."""
    count = a.shape[-2] // LONG
    if count < 2:
        return np.einsum("...ij,...ij->...j", a, b)
    split = count * LONG
    pieces = (x[..., :split, :].reshape(*x.shape[:-2], count, LONG, x.shape[-1]) for x in (a, b))
    total = np.sum(_dots(*pieces), axis=-2)
    return total + _dots(a[..., split:, :], b[..., split:, :])


FEW_ROWS = 64  # up to which vecdot's steps from row to row cost less than an array more


def columnwise_dot(a: Array, b: Array) -> Array:
    """a_i^H b_i for each column i: the diagonal of a^H b without the rest."""
    if type(a) is np.ndarray:
        if a.dtype.kind == "f":
            return _dots(a, b)
        if a.shape[-2] <= FEW_ROWS and not is_batch_last(a):
            return np.vecdot(a.mT, b.mT)
    # vecdot has no rule for PyTorch's batched gradients (2.13)
    return sum_across(array_namespace(a, b).sum(conj(a) * b, axis=-2))
