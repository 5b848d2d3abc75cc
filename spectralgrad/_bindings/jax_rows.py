r"""One tall matrix whose rows lie on several devices.

With x in blocks of rows, x_i = Q_i R_i, and the small SVD [R_1; ...; R_p] = [W_1; ...; W_p] S V^H,

    x = [Q_1 W_1; ...; Q_p W_p] S V^H,

an SVD, since both factors of U have orthonormal columns. The triangles R_i are all that devices
exchange: n x n numbers each. Everything else that a rule needs from other devices is a sum over
rows, such as U^H C. Source: Demmel, Grigori, Hoemmen and Langou (2012), Communication-optimal
parallel and sequential QR and LU factorizations, section 5.

Under `jax.jit` nobody can see how an array is distributed, so every tall matrix goes by blocks in a
program for several devices, one block for a device, and XLA's partitioner leaves each block where
it is: QR decompositions of a stack need no communication, and products are summed up. Inside of
`jax.shard_map` the blocks are what devices hold, and `over_rows` says so; along several axes of
devices triangles are gathered and factorized along one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from . import host
from .array import Arrays, adjoint, svd_of_finite
from .rows import Axes, axes_of

GROUP = 16  # triangles that are gathered at once


def is_blocked(x: jax.Array) -> bool:
    return bool(axes_of(x)) or _blocks_of(x) > 1


def _blocks_of(x: jax.Array) -> int:
    """How many blocks of rows, or of columns of what is wide, x is to be factorized by."""
    if x.ndim != 2 or not all(isinstance(n, int) for n in x.shape):  # unknown ones in jax.export
        return 1
    if not x.size:
        return 1
    if jax.typeof(x).manual_axis_type.varying:  # one matrix on each device
        return 1
    rows, columns = max(x.shape), min(x.shape)
    if isinstance(x, jax.core.Tracer):
        pieces = jax.device_count()
    else:
        pieces = x.size // math.prod(x.sharding.shard_shape(x.shape))
    pieces = math.gcd(rows, pieces)
    divisors = (p for p in range(pieces, 1, -1) if pieces % p == 0)
    return next((p for p in divisors if rows // p >= max(columns, 1)), 1)


def blocked_svd(x: jax.Array) -> Arrays:
    """The thin SVD of one matrix in blocks."""
    if axes_of(x):
        return _of_spread(svd_of_finite, x, axes_of(x))
    if x.shape[-2] < x.shape[-1]:
        U, S, Vh = blocked_svd(adjoint(x))
        return adjoint(Vh), S, adjoint(U)
    return _of_blocks(svd_of_finite, x)


def qr(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """As `host.qr`, by blocks too."""
    Q, R = _of_blocks(jnp.linalg.qr, x) if _blocks_of(x) > 1 else host.qr(x)
    return Q, R


def _of_blocks(factorize: Callable[[jax.Array], Arrays], x: jax.Array) -> Arrays:
    """The factors of x, of which the first has its rows, by those of its triangles."""
    pieces, (m, n) = _blocks_of(x), x.shape
    first, *others = _of_stack(factorize, jnp.reshape(x, (pieces, m // pieces, n)))
    return jnp.reshape(first, (m, n)), *others


def _of_stack(factorize: Callable[[jax.Array], Arrays], x: jax.Array) -> Arrays:
    """Of blocks (p, m, n) of rows; of many in groups, whose triangles are blocks again."""
    (p, _, n), (Q, R) = x.shape, jnp.linalg.qr(x)
    if p > GROUP:
        groups = min((q for q in range(1, p + 1) if p % q == 0), key=lambda q: q + p // q)
        W, *others = _of_stack(factorize, jnp.reshape(R, (groups, p // groups * n, n)))
    else:
        W, *others = factorize(jnp.reshape(R, (p * n, n)))
    return Q @ jnp.reshape(W, (p, n, n)), *others


def _of_spread(factorize: Callable[[jax.Array], Arrays], x: jax.Array, axes: Axes) -> Arrays:
    """Of matrices whose rows are spread over axes of devices, the last of them first."""
    if not axes:
        return factorize(x)
    Q, R = jnp.linalg.qr(x)
    axis, n = axes[-1], x.shape[-1]
    stack = jnp.moveaxis(jax.lax.all_gather(R, axis, to="invarying"), 0, -3)
    whole = jnp.reshape(stack, (*x.shape[:-2], -1, n))
    W, *others = _of_spread(factorize, whole, axes[:-1])
    own = jax.lax.dynamic_slice_in_dim(W, n * jax.lax.axis_index(axis), n, axis=-2)
    return Q @ own, *others
