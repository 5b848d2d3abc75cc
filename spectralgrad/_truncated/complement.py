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
is nearly 1/(1 - e_j^2/s_i^2), so M^-1 = I + E diag(r^2/((1 - r)(1 + r))) E^H with r = e_j/s_i. With
all of the discarded triplets, in `adjoint="full"`, the same formula is the inverse itself.

Where a cut splits a tie and the pair's part is dropped, as `svd` drops what is over s_i - e_j, the
E_j tied to s_i are left out of a_i, b_i and the system.

The solution depends on A and on the kept triplets too: N dz = -dN z, by the library's own autodiff
of the product N z. So the solve is a Primitive, its own adjoint, to every order.

Sources: Sternheimer's equation of perturbation theory; Francuz, Schuch and Vanhecke (2025), Stable
and efficient differentiation of tensor network algorithms, for the truncated SVD; the projected
system in both vectors and its preconditioner are our own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._bindings.array import (
    Array,
    Arrays,
    adjoint,
    array_namespace,
    columnwise_dot,
    nan_where,
    real,
)
from .._bindings.lookup import adjoint_times, native, project_out
from .._bindings.loops import loop_columns
from .._engine.primitive import Primitive
from .._engine.products import Product, Products
from .._spectrum.ties import guarded
from .options import Options

TRACED = 100  # iterations where none may be read


def _system(A: Products, U: Array, V: Array) -> tuple[Product, Product]:
    """B X and B^H Y."""
    return (
        lambda X: project_out(U, A.matmat(project_out(V, X))),
        lambda Y: project_out(V, A.rmatmat(project_out(U, Y))),
    )


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


def _conjugate_gradients(
    A: Products,
    a: Array,
    b: Array,
    vectors: tuple[Array, Array],
    S: Array,
    surplus: tuple[Array, Array],
    tied: Array | None,
    options: Options,
) -> Arrays:
    """x, y of a tall A, without components where tied.

    A batch element is NaN where the residual did not come below tol, or where a direction p has a
    Rayleigh quotient <p, (I - B^H B/s^2) p>/<p, p> = (1 - r)(1 + r) of a tie.
    """
    (U, V), (e, E_V) = vectors, surplus
    xp, inverse = array_namespace(a), _divisors(S)
    r = e[..., :, None] * inverse
    boost = r * e[..., :, None] * _inverse_gap(e, S, tied) / (1 + r)  # r^2/((1 - r)(1 + r))
    outside = project_out(V, b)
    rhs = outside + project_out(V, A.rmatmat(project_out(U, a) * inverse))
    if tied is not None:
        rhs = rhs - E_V @ xp.where(tied, adjoint_times(E_V, rhs), 0.0)
    size = xp.max(xp.abs(rhs), axis=-2, keepdims=True)
    held = (inverse, boost) if tied is None else (inverse, boost, tied)
    y, unsolved, least = _iterated(A, (V, E_V), rhs / guarded(size, 0.0), held, options)
    tie = least <= 2 * options.tolerance(S)[..., None] * inverse
    bad = xp.any((unsolved | tie)[..., 0, :], axis=-1)
    y = y * (size * inverse) + nan_where(bad, S)[..., None, None]
    return (a + project_out(U, A.matmat(y))) * inverse, y + (b - outside) * inverse


def _dot(x: Array, y: Array) -> Array:
    return real(columnwise_dot(x, y))[..., None, :]


def _iterated(
    A: Products, vectors: tuple[Array, Array], rhs: Array, held: Arrays, options: Options
) -> Arrays:
    """(I - B^H B/s^2)^-1 rhs, where that is not solved, and the least of the Rayleigh quotients.

    All that is about a column i is in the state, since columns that are done leave it.
    """
    (V, E_V), xp = vectors, array_namespace(rhs)

    def unsolved(state: Arrays) -> Array:
        r, norm = state[1], state[5]
        return xp.sqrt(_dot(r, r)) > options.adjoint_tol * norm

    def preconditioned(r: Array, boost: Array) -> Array:
        return r + E_V @ (boost * adjoint_times(E_V, r))

    def body(state: Arrays) -> Arrays:
        y, r, p, rz, least, norm, inverse, boost, *tied = state
        active = unsolved(state)
        q = p - project_out(V, A.rmatmat(A.matmat(p * inverse) * inverse))
        if tied:
            q = q - E_V @ xp.where(tied[0], adjoint_times(E_V, q), 0.0)
        pp, pq = _dot(p, p), _dot(p, q)
        quotient = xp.where(active, pq / xp.where(pp == 0, 1.0, pp), float("inf"))
        step = xp.where(active & (pq > 0), rz / xp.where(pq > 0, pq, 1.0), 0.0)
        y, r = y + step * p, r - step * q
        z = preconditioned(r, boost)
        rz_new = _dot(r, z)
        turn = xp.where(active, rz_new / xp.where(rz == 0, 1.0, rz), 0.0)
        p, rz, least = z + turn * p, xp.where(active, rz_new, rz), xp.minimum(least, quotient)
        return y, r, p, rz, least, norm, inverse, boost, *tied

    norm = xp.sqrt(_dot(rhs, rhs))
    z = preconditioned(rhs, held[1])
    least = xp.full_like(norm, float("inf"))  # and it stays so where nothing is to be solved
    state = xp.zeros_like(rhs), rhs, z, _dot(rhs, z), least, norm, *held
    state = loop_columns(unsolved, body, state, options.most, traced=TRACED)
    return state[0], unsolved(state), state[4]


def _forward(*inputs: Any, operand: Any, options: Options) -> Arrays:
    (a, b, U, S, Vh, E_U, e, E_Vh), leaves = inputs[:8], inputs[8:]
    V, E_V, xp = adjoint(Vh), adjoint(E_Vh), array_namespace(S)
    tied = _tied(e, S, options)
    if tied is not None:
        in_a = xp.where(tied, adjoint_times(E_U, a), 0.0)
        in_b = xp.where(tied, adjoint_times(E_V, b), 0.0)
        a, b = a - E_U @ in_a, b - E_V @ in_b
    A = operand.products(*leaves)
    if options.adjoint == "full":
        x, y = _closed_form(a, b, S, E_U, e, E_V, tied)
    elif A.shape[0] >= A.shape[1]:
        x, y = _conjugate_gradients(A, a, b, (U, V), S, (e, E_V), tied, options)
    else:
        y, x = _conjugate_gradients(A.adjoint(), b, a, (V, U), S, (e, E_U), tied, options)
    if tied is None:
        return x, y
    # of a tie that is dropped, the half-difference remains
    minus = (in_a - in_b) / 2 / guarded(S[..., None, :] + e[..., :, None], 0.0)
    return x + E_U @ minus, y - E_V @ minus


def _dependence(
    inputs: Arrays, solution: Arrays, operand: Any
) -> tuple[Callable[..., Arrays], list[int]]:
    """N (x, y) as a function of what N depends on, and the places of that among the inputs."""
    xp, (x, y) = array_namespace(inputs[0]), solution
    floating = ("real floating", "complex floating")
    leaves = [i for i in range(8, len(inputs)) if xp.isdtype(inputs[i].dtype, floating)]
    places = [2, 3, 4, *leaves]

    def product(*arrays: Array) -> Arrays:
        held = dict(enumerate(inputs)) | dict(zip(places, arrays, strict=True))
        U, S, Vh = (held[i] for i in (2, 3, 4))
        A = operand.products(*(held[i] for i in range(8, len(inputs))))
        B, Bh = _system(A, U, adjoint(Vh))
        return x * S[..., None, :] - B(y), y * S[..., None, :] - Bh(x)

    return product, places


def _solve_jvp(
    inputs: Arrays, outputs: Arrays, tangents: Arrays, *, operand: Any, options: Options
) -> Arrays:
    xp = array_namespace(inputs[0])
    product, places = _dependence(inputs, outputs, operand)
    dots = [xp.zeros_like(x) if t is None else t for x, t in zip(inputs, tangents, strict=True)]
    a, b = dots[:2]
    if any(tangents[i] is not None for i in places):
        primals = tuple(inputs[i] for i in places)
        da, db = native(a).pushforward(product, primals, tuple(dots[i] for i in places))
        a, b = a - da, b - db
    solution: Arrays = solve(a, b, *inputs[2:], operand=operand, options=options)
    return solution


def _solve_vjp(
    inputs: Arrays, outputs: Arrays, bars: Arrays, *, operand: Any, options: Options
) -> Arrays:
    xp = array_namespace(inputs[0])
    bars = tuple(xp.zeros_like(y) if c is None else c for y, c in zip(outputs, bars, strict=True))
    a, b = solve(*bars, *inputs[2:], operand=operand, options=options)
    product, places = _dependence(inputs, outputs, operand)
    pullback = native(a).vjp(product, *(inputs[i] for i in places))[1]
    by_place = dict(zip(places, pullback((-a, -b)), strict=True))
    return a, b, *(by_place.get(i) for i in range(2, len(inputs)))


# inputs: a, b, U, S, Vh, E_U, e, E_Vh, and the operand's leaves
solve = Primitive(
    "complement",
    _forward,
    _solve_jvp,
    _solve_vjp,
    outputs=2,
    carried=(5, 6, 7),
    foreign=True,
)
