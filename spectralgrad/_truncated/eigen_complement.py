r"""The linear systems of a truncated eigendecomposition, in the complement of the kept vectors.

Let Q, w be k eigenpairs of a Hermitian H and P = I - Q Q^H. The part x_i of dq_i outside of the
kept space solves

    N_i x_i = b_i,    N_i = w_i - P H P,    b_i = P dH q_i,

and the adjoint's likewise. N_i is self-adjoint; on the kept space, where no b_i is, it shall be any
number, so that it can be inverted. The eigenvalues that were left out lie on one side of w_i: below
the largest, above the smallest, and below in modulus, so that sigma_i N_i is positive definite
there, with sigma_i = 1, -1 or the sign of w_i.
Conjugate gradients solve for all i at once, over c_i = sigma_i w_i + ||H||, which makes its norm
about 1, preconditioned by the surplus pairs (e_j, E_j) of the forward iteration: in their span the
inverse is 1/(sigma_i (w_i - e_j)) nearly, and elsewhere 1/c_i stands for it. With all discarded
pairs, the same formula is the inverse itself.

Where a cut splits a tie and the pair's part is dropped, the E_j tied to w_i are left out.

Sources: Sternheimer's equation of perturbation theory; Kato (1966), Perturbation theory for linear
operators, chapter II.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from .._bindings.array import Array, Arrays, array_namespace, eps, invalidated, nan_where, real
from .._bindings.lookup import adjoint_times, project_out
from .._engine.products import Products
from .blocks import norms
from .conjugate_gradients import System, conjugate_gradients
from .implicit import implicit_solve, significant
from .options import Options
from .refinement import Rough, are_hard, refined, single


def _signs(w: Array, which: str) -> Array:
    """sigma_i."""
    if which == "magnitude":
        return array_namespace(w).where(w < 0, -1.0, 1.0 + 0.0 * w)
    return (1.0 if which == "largest" else -1.0) + 0.0 * w


def _inverse_gap(w: Array, e: Array, tolerance: Array) -> Array:
    """1/(w_i - e_j) as (..., surplus, k); 0 where they count as equal."""
    xp, gap = array_namespace(w), w[..., None, :] - e[..., :, None]
    apart = xp.abs(gap) > tolerance[..., None]
    return xp.where(apart, 1 / xp.where(apart, gap, 1.0), 0.0)


def _norms(w: Array, scale: Array, options: Options) -> tuple[Array, Array]:
    """sigma_i and c_i, (..., 1, k); where that is nothing beside ||H||, which will do, this."""
    sigma, xp = _signs(w, options.which)[..., None, :], array_namespace(w)
    scale = scale[..., None, None]
    norm = sigma * w[..., None, :] + scale
    norm = xp.where(norm > eps(w) ** 0.5 * scale, norm, scale)
    return sigma, xp.where(norm > 0, norm, 1.0)


def _forward(
    b: Array, w: Array, Q: Array, scale: Array, e: Array, E: Array, *leaves: Any,
    operand: Any, options: Options,
) -> Array:  # fmt: skip
    # twice, so that of what lies outside nothing but its own rounding is within
    outside = significant(project_out(Q, project_out(Q, b)), norms(b))
    sigma, norm = _norms(w, scale, options)
    inverse = _inverse_gap(w, e, options.tolerance(scale[..., None]))
    if options.adjoint == "full":
        found = E @ (inverse * adjoint_times(E, outside))
    else:
        A = operand.products(*leaves)
        found = _by_iteration(A, outside, (w, Q, scale), (inverse, E), options)
    return found + (b - outside) * (sigma / norm)


def _untied(y: Array, E: Array, tied: Array) -> Array:
    return y - E @ array_namespace(y).where(tied, adjoint_times(E, y), 0.0)


def _system(A: Products, Q: Array, E: Array, unit: Any = 1.0) -> System:
    """sigma N/c for H over a unit, in the precision of Q, and its preconditioner.

    `held` are the factor sigma/c of H, the shift sigma w/c, c over sigma (w - e), and ties.
    """
    xp = array_namespace(Q)

    def narrow(x: Array) -> Array:
        return xp.astype(x, real(Q).dtype, copy=False)

    def times(p: Array, factor: Array, shift: Array, inverse: Array, *tied: Array) -> Array:
        moved = narrow(shift) * p - A.matmat(p * narrow(factor * unit))
        q = project_out(Q, moved)  # N_i may be indefinite within Q
        return _untied(q, E, *tied) if tied else q

    def preconditioned(r: Array, factor: Array, shift: Array, inverse: Array, *_: Array) -> Array:
        inverse = narrow(inverse)
        return r + E @ xp.where(inverse > 0, (inverse - 1) * adjoint_times(E, r), 0.0)

    return System(times, preconditioned)


def _by_iteration(
    A: Products, rhs: Array, pairs: Arrays, surplus: tuple[Array, Array], options: Options
) -> Array:
    """x outside of the kept space, without components where tied.

    A batch element is NaN where the residual did not come below tol, or where a direction p has a
    Rayleigh quotient <p, sigma_i N_i p>/<p, p> of a tie.
    """
    (w, Q, scale), (inverse, E), xp = pairs, surplus, array_namespace(rhs)
    sigma, norm = _norms(w, scale, options)
    held: Arrays = sigma / norm, sigma * w[..., None, :] / norm, sigma * norm * inverse

    if options.ties == "drop":
        tied = inverse == 0
        held, rhs = (*held, tied), significant(_untied(rhs, E, tied), norms(rhs))
    system, bounds = _system(A, Q, E), (cast("float", options.adjoint_tol), options.most)
    in_single = A.single
    if in_single is None:
        x, unsolved, least = conjugate_gradients(system, rhs, held, *bounds)
    else:
        unit = xp.where(scale == 0, 1.0, scale)
        rough_system = cache(lambda: _system(in_single(unit), single(Q), single(E), unit))
        rough = Rough(rough_system, are_hard(held[2]))
        x, unsolved, least = refined(system, rough, rhs, held, *bounds)
        x = project_out(Q, x)  # what rounding to single precision has left there, N_i does not see
    tie = least <= options.tolerance(scale[..., None])[..., None] / norm
    bad = xp.any((unsolved | tie)[..., 0, :], axis=-1)
    return invalidated(x * (sigma / norm), nan_where(bad, w)[..., None, None])


def _product(A: Products, factors: Arrays, solution: Arrays, options: Options) -> Arrays:
    """N x."""
    (w, Q, scale), (x,) = factors, solution
    sigma, norm = _norms(w, scale, options)
    outside = project_out(Q, x)
    there = outside * w[..., None, :] - project_out(Q, A.matmat(outside))
    return (there + (x - outside) * (sigma * norm),)


# inputs: b, w, Q, scale, e, E, and the operand's leaves
solve_outside = implicit_solve(
    "eigen_complement", _forward, _product, unknowns=1, factors=3, carried=2
)
