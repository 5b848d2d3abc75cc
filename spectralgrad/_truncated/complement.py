r"""The linear systems of a truncated SVD, in the complement of the kept vectors.

Let U, S, V be k triplets of A, P_U = I - U U^H, P_V = I - V V^H and B = P_U A P_V. For each i the
parts of du_i and dv_i outside of the kept spaces, and the adjoint's likewise, solve

    N_i (x_i, y_i) = (a_i, b_i),    N_i = [[s_i, -B], [-B^H, s_i]],

which is self-adjoint, and positive definite as long as s_i > ||B|| = s_(k+1). On the kept spaces
N_i is s_i alone, so it is invertible on all vectors. Without x_i it reads

    (I - B^H B/s_i^2) y_i = (b_i + B^H a_i/s_i)/s_i,    x_i = (a_i + B y_i)/s_i    (m >= n)

and conjugate gradients solve it for all i at once, on the shorter side, with A/s_i throughout. The
iterates are in the complement and U^H A p = S V^H p = 0 there, so one projection does for B^H B p =
P_V A^H A p: residuals of the triplets count by their square.
Surplus triplets (E_U, e, E_V) of the forward iteration precondition it: in their span the inverse
is nearly 1/(1 - e_j^2/s_i^2), so M^-1 = I + E diag(r^2/((1 - r)(1 + r))) E^H with r = e_j/s_i. Ritz
vectors of the shorter side that have not converged serve too. With all of the discarded triplets,
in `adjoint="full"`, the same formula is the inverse itself.

Where a cut splits a tie and the pair's part is dropped, as `svd` drops what is over s_i - e_j, the
E_j tied to s_i are left out of a_i, b_i and the system.

The solution depends on A and on the kept triplets too (`implicit`).

Sources: Sternheimer's equation of perturbation theory; Francuz, Schuch and Vanhecke (2025), Stable
and efficient differentiation of tensor network algorithms, for the truncated SVD; the projected
system in both vectors and its preconditioner are our own.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from .._bindings.array import Array, Arrays, adjoint, array_namespace, invalidated, nan_where, real
from .._bindings.lookup import adjoint_times, project_out
from .._engine.products import Products
from .._spectrum.ties import guarded, unit_of
from .blocks import norms
from .conjugate_gradients import System, conjugate_gradients
from .implicit import implicit_solve, outside, significant, spans_all
from .options import Options
from .refinement import Rough, are_hard, refined, single
from .split import paired


def _divisors(S: Array) -> Array:
    """1/s_i as (..., 1, k); 0 where s_i is."""
    return 1 / guarded(S, 0.0)[..., None, :]


def _tied(e: Array, S: Array, options: Options) -> Array | None:
    """Pairs (j, i) of a surplus and a kept value that count as equal, where these are dropped."""
    if options.ties != "drop":
        return None
    return S[..., None, :] - e[..., :, None] <= options.tolerance(S)[..., None]


def _inverse_gap(e: Array, S: Array, tied: Array | None) -> Array:
    """1/(s_i - e_j) as (..., surplus, k); 0 where tied, or where e_j is not below s_i."""
    xp, gap = array_namespace(S), S[..., None, :] - e[..., :, None]
    apart = gap > 0 if tied is None else (gap > 0) & ~tied
    return xp.where(apart, 1 / xp.where(apart, gap, 1.0), 0.0)


def _closed_form(
    a: Array, b: Array, S: Array, E_U: Array, e: Array, E_V: Array, tied: Array | None
) -> Arrays:
    """With all of the discarded triplets.

    In the pair (E_j, F_j) of these N_i is [[s, -e], [-e, s]], whose inverse is 1/(s - e) on the
    half-sum of the components and 1/(s + e) on their half-difference.
    """
    s = S[..., None, :]
    inverse = _divisors(S)
    in_a, in_b = adjoint_times(E_U, a), adjoint_times(E_V, b)
    plus = (in_a + in_b) / 2 * _inverse_gap(e, S, tied)
    minus = (in_a - in_b) / 2 / guarded(s + e[..., :, None], 0.0)
    x = a + E_U @ (s * (plus + minus) - in_a)
    y = b + E_V @ (s * (plus - minus) - in_b)
    return x * inverse, y * inverse


def _untied(y: Array, E_V: Array, tied: Array) -> Array:
    return y - E_V @ array_namespace(y).where(tied, adjoint_times(E_V, y), 0.0)


def _system(A: Products, V: Array, E_V: Array, unit: Any = 1.0) -> System:
    """I - B^H B/s^2 for A over a unit, in the precision of V; `held` are 1/s, boost, and ties."""

    def narrow(x: Array) -> Array:
        return array_namespace(x).astype(x, real(V).dtype, copy=False)

    def times(p: Array, inverse: Array, boost: Array, *tied: Array) -> Array:
        inverse = narrow(inverse * unit)
        q = p - project_out(V, A.normal(p * inverse) * inverse)
        return _untied(q, E_V, *tied) if tied else q

    def preconditioned(r: Array, inverse: Array, boost: Array, *tied: Array) -> Array:
        return r + E_V @ (narrow(boost) * adjoint_times(E_V, r))

    return System(times, preconditioned)


def _by_iteration(
    A: Products,
    a: Array,
    b: Array,
    vectors: tuple[Array, Array],
    S: Array,
    surplus: tuple[Array, Array],
    tied: tuple[Array, Array] | None,
    options: Options,
) -> Arrays:
    """x, y of a tall A, without components where tied.

    `tied` are the pairs, and the norms of a and b together with their parts there. A batch element
    is NaN where the residual did not come below tol, or where a direction p has a
    Rayleigh quotient <p, (I - B^H B/s^2) p>/<p, p> = (1 - r)(1 + r) of a tie.
    """
    (U, V), (e, E_V) = vectors, surplus
    xp, inverse = array_namespace(a), _divisors(S)
    if spans_all(V, options):
        return a * inverse, b * inverse
    ratio = e[..., :, None] * inverse
    apart = _inverse_gap(e, S, tied and tied[0])
    boost = ratio * e[..., :, None] * apart / (1 + ratio)  # r^2/((1 - r)(1 + r))
    b_outside = outside(V, b, options)
    rhs = b_outside + outside(V, A.rmatmat(project_out(U, a) * inverse), options)

    held: Arrays = (inverse, boost)
    if tied is not None:
        pairs, whole = tied
        held, rhs = (*held, pairs), significant(_untied(rhs, E_V, pairs), whole)
    system, bounds = _system(A, V, E_V), (cast("float", options.adjoint_tol), options.most)
    in_single = A.single
    if in_single is None:
        y, unsolved, least = conjugate_gradients(system, rhs, held, *bounds)
    else:
        unit = unit_of(S)[0]
        rough_system = cache(lambda: _system(in_single(unit), single(V), single(E_V), unit))
        rough = Rough(rough_system, are_hard(1 + boost))
        y, unsolved, least = refined(system, rough, rhs, held, *bounds)
    tie = least <= 2 * options.tolerance(S)[..., None] * inverse
    bad = xp.any((unsolved | tie)[..., 0, :], axis=-1)
    y = invalidated(y * inverse, nan_where(bad, S)[..., None, None])
    return (a + project_out(U, A.matmat(y))) * inverse, y + (b - b_outside) * inverse


def _forward(*inputs: Any, operand: Any, options: Options) -> Arrays:
    (a, b, U, S, Vh, *surplus), leaves = inputs[:8], inputs[8:]
    E_U, e, E_Vh = paired(*surplus) if options.ties == "drop" else surplus
    V, E_V, xp = adjoint(Vh), adjoint(E_Vh), array_namespace(S)
    tied, around = _tied(e, S, options), None
    if tied is not None:
        around = tied, norms(a) + norms(b)
        in_a = xp.where(tied, adjoint_times(E_U, a), 0.0)
        in_b = xp.where(tied, adjoint_times(E_V, b), 0.0)
        a, b = a - E_U @ in_a, b - E_V @ in_b
    A = operand.products(*leaves)
    if options.adjoint == "full":
        x, y = _closed_form(a, b, S, E_U, e, E_V, tied)
    elif A.shape[0] >= A.shape[1]:
        x, y = _by_iteration(A, a, b, (U, V), S, (e, E_V), around, options)
    else:
        y, x = _by_iteration(A.adjoint(), b, a, (V, U), S, (e, E_U), around, options)
    if tied is None:
        return x, y
    # of a tie that is dropped, the half-difference remains
    minus = (in_a - in_b) / 2 / guarded(S[..., None, :] + e[..., :, None], 0.0)
    return x + E_U @ minus, y - E_V @ minus


def _product(A: Products, factors: Arrays, solution: Arrays, options: Options) -> Arrays:
    """N (x, y)."""
    (U, S, Vh), (x, y) = factors, solution
    V = adjoint(Vh)
    x_left = project_out(U, A.matmat(project_out(V, y)))
    y_left = project_out(V, A.rmatmat(project_out(U, x)))
    return x * S[..., None, :] - x_left, y * S[..., None, :] - y_left


# inputs: a, b, U, S, Vh, E_U, e, E_Vh, and the operand's leaves
solve = implicit_solve("complement", _forward, _product, unknowns=2, factors=3, carried=3)
