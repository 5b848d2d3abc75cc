"""Conjugate gradients for several systems at once, each with one right-hand side.

Column i of all arrays belongs to system i: columns that are solved leave the iteration, and what
is about a column is `held` in the state, to leave with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .._bindings.array import Array, Arrays, array_namespace, real
from .._bindings.loops import loop_columns
from .._bindings.matrix_products import columnwise_dot
from .._spectrum.ties import guarded

TRACED = 100  # iterations where none may be read


class System(NamedTuple):
    """`times(p, *held)` is N p and `preconditioned(r, *held)` an approximation of N^-1 r."""

    times: Callable[..., Array]
    preconditioned: Callable[..., Array]


class Solved(NamedTuple):
    """The solution, and of each column, (..., 1, k), whether it is none, and a Rayleigh quotient.

    That is the least <p, N p>/<p, p> of the directions p that were taken, inf of none.
    """

    solution: Array
    unsolved: Array
    least: Array


def _dot(x: Array, y: Array) -> Array:
    return real(columnwise_dot(x, y))[..., None, :]


def conjugate_gradients(
    system: System, rhs: Array, held: Arrays, tol: float, most: int, whole: Array | None = None
) -> Solved:
    """Solve N y = rhs to a residual over the norm of rhs, or of the `whole` that it is left of.

    N is positive definite with a norm of about 1.
    """
    (times, preconditioned), xp = system, array_namespace(rhs)

    def unsolved(state: Arrays) -> Array:
        r, norm = state[1], state[5]
        return xp.sqrt(_dot(r, r)) > tol * norm

    def body(state: Arrays) -> Arrays:
        y, r, p, rz, least, norm, *held = state
        active, q = unsolved(state), times(p, *held)
        pp, pq = _dot(p, p), _dot(p, q)
        quotient = xp.where(active, pq / xp.where(pp == 0, 1.0, pp), float("inf"))
        step = xp.where(active & (pq > 0), rz / xp.where(pq > 0, pq, 1.0), 0.0)
        y, r = y + step * p, r - step * q
        z = preconditioned(r, *held)
        rz_new = _dot(r, z)
        turn = xp.where(active, rz_new / xp.where(rz == 0, 1.0, rz), 0.0)
        p, rz, least = z + turn * p, xp.where(active, rz_new, rz), xp.minimum(least, quotient)
        return y, r, p, rz, least, norm, *held

    size = xp.max(xp.abs(rhs), axis=-2, keepdims=True)
    rhs = rhs / guarded(size, 0.0)
    norm = xp.sqrt(_dot(rhs, rhs)) if whole is None else whole / guarded(size, 0.0)
    z = preconditioned(rhs, *held)
    least = xp.full_like(norm, float("inf"))
    state = xp.zeros_like(rhs), rhs, z, _dot(rhs, z), least, norm, *held
    state = loop_columns(unsolved, body, state, most, traced=TRACED)
    return Solved(state[0] * size, unsolved(state), state[4])
