"""Systems in single precision first, with their residuals in double.

Products of a sparse matrix with few columns wait for memory: in single precision they take a third
to a half of the time (SciPy 1.17). Conjugate gradients there bring the residual down by as much as
the condition allows, and the residual in double precision is the next right-hand side, so that y
has the accuracy of double precision in the end, at the cost of a product in it for each turn.

It pays where the condition is bad: a few iterations are over before those residuals have paid off.
Columns whose residual does not fall, since single precision does not tell their system from a
singular one, are left to conjugate gradients in double precision, which decide what is solved.

Source: Langou and others (2006), Exploiting the performance of 32 bit floating point arithmetic in
obtaining 64 bit accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .._bindings.array import Array, Arrays, array_namespace, is_complex
from .._bindings.loops import loop_columns
from .._spectrum.ties import guarded
from .blocks import norms
from .conjugate_gradients import Solved, System, conjugate_gradients

TURNS = 6
GOAL = 1e-5  # of a turn; rounding allows 1e-6 where the condition is good
STEPS = 64  # of a turn
HARD = 5.0  # a condition; below it the iterations of one turn are about all


class Rough(NamedTuple):
    """The system in single precision, made where it is called for, and its columns, (..., 1, k)."""

    system: Callable[[], System]
    hard: Array


def refined(exact: System, rough: Rough, rhs: Array, held: Arrays, tol: float, most: int) -> Solved:
    """As conjugate_gradients(exact, ...), with the same system in single precision."""
    xp, whole = array_namespace(rhs), norms(rhs)[..., None, :]

    def going(state: Arrays) -> Array:
        _, r, whole, fell, *_ = state
        return fell & (norms(r)[..., None, :] > tol * whole)

    def turn(state: Arrays) -> Arrays:
        y, r, whole, _, *held = state
        size = norms(r)[..., None, :]
        scale = guarded(size, 0.0)
        found = conjugate_gradients(rough.system(), single(r / scale), tuple(held), GOAL, STEPS)
        step = xp.astype(found.solution, r.dtype) * scale
        rest = r - exact.times(step, *held)
        fell = norms(rest)[..., None, :] < size / 8
        return xp.where(fell, y + step, y), xp.where(fell, rest, r), whole, fell, *held

    state = xp.zeros_like(rhs), rhs, whole, rough.hard, *held
    y, r, *_ = loop_columns(going, turn, state, TURNS, traced=0)
    found = conjugate_gradients(exact, r, held, tol, most, whole)
    return found._replace(solution=y + found.solution)


def are_hard(inverse: Array) -> Array:
    """Which systems, (..., 1, k), have a bad condition beyond the vectors of a preconditioner.

    `inverse`, (..., vectors, k), is what it takes for N^-1 along each of them.
    """
    return array_namespace(inverse).all(inverse > HARD, axis=-2, keepdims=True)


def single(x: Array) -> Array:
    xp = array_namespace(x)
    return xp.astype(x, xp.complex64 if is_complex(x) else xp.float32)
