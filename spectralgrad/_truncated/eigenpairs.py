r"""Eigenpairs at an end of the spectrum of a large Hermitian matrix H, from products H X.

Block Lanczos iteration (`lanczos`) of H in units of about its norm, of -H for the smallest values.
On what is wanted of it, H itself decides: T = Q^H H Q = Y diag(w) Y^H has the eigenpairs w, Q Y to
rounding of the scale of H, which is the largest modulus of an eigenvalue, and the residual
H Q Y - Q Y diag(w) says how good they are. Where that is not good enough, a matrix that is not
large is decomposed.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal, NamedTuple

from .._bindings.array import Array, Arrays, adjoint, array_namespace, beside, eps
from .._bindings.lookup import qr
from .._bindings.loops import as_one, loop, one_by_one
from .._engine.products import Products
from .._spectrum import factorizations
from .._spectrum.entries import power_of_two
from .._spectrum.ties import largest
from .blocks import ROUNDING, largest_norm, noise_for, norms, polar_factors
from .krylov import DENSE_ENTRIES, fits, multiplied_out, plan_for
from .lanczos import Search
from .operands import DENSE
from .options import Options
from .ordering import Key, arranged, by_modulus, by_value, ordered

Which = Literal["largest", "smallest", "magnitude"]


class Eigenpairs(NamedTuple):
    """The wanted pairs, ascending, a surplus, the next first, and what is known of them."""

    w: Array
    Q: Array
    e: Array
    E: Array
    scale: Array  # the largest modulus of all eigenvalues
    residual: Array  # the largest of the wanted ones' over the scale
    turns: Array  # restarts of the iteration


KEYS: dict[str, Key] = {"largest": by_value, "magnitude": by_modulus}


def wanted_first(w: Array, Y: Array, which: str) -> Arrays:
    """Eigenpairs, given in ascending order, with the wanted ones first."""
    return (w, Y) if which == "smallest" else ordered(w, Y, KEYS[which])


def find(operand: Any, leaves: Arrays, options: Options) -> Eigenpairs:
    """At least k eigenpairs."""
    A, k = operand.products(*leaves), options.k
    search = partial(leading_eigenpairs, options=options)
    if options.solver == "full" or (
        not fits(A.shape, options.block) and math.prod(A.shape) <= DENSE_ENTRIES
    ):
        found = _full(operand, leaves, A, options)
    elif operand.of is DENSE:
        found = one_by_one(lambda x: search(operand.products(x)), leaves[0])
    else:
        found = as_one(lambda: search(A), A.like)
    w, Q, *about = found
    kept = arranged(w[..., :k], Q[..., :k], -w[..., :k])
    scale, residual, turns = about
    return Eigenpairs(kept[0], kept[1], w[..., k:], Q[..., k:], scale, residual, turns)


def _full(operand: Any, leaves: Arrays, A: Products, options: Options) -> Arrays:
    """All eigenpairs, of the matrix itself."""
    dense = operand.of is DENSE
    w, Q = factorizations.eigh(leaves[0] if dense else multiplied_out(A))
    scale, turns, k = largest(w)[..., 0], 0.0 * w[..., 0], options.k
    w, Q = wanted_first(w, Q, options.which)
    if dense:  # turns are no array of it too: PyTorch takes none for two results
        return w, Q, scale, 0.0 * scale, turns
    return w, Q, scale, _residual(A.matmat(Q[:, :k]), w[:k], Q[:, :k], scale), turns


def _residual(images: Array, w: Array, Q: Array, scale: Array) -> Array:
    return largest_norm(images - Q * w[..., None, :], scale[..., None])


def leading_eigenpairs(A: Products, options: Options) -> Arrays:
    """The wanted eigenpairs and a surplus, the wanted first; scale, residual and restarts.

    A matrix with a NaN or an Inf has NaN throughout.
    """
    k, block, plan = options.k, options.block, plan_for(options.block)
    xp, noise = array_namespace(A.like), noise_for(A.shape[1], block, A.like, options.seed)
    power, u = power_of_two(xp.max(norms(A.matmat(qr(noise(0, plan.width))[0]))))
    unit = power / u
    sign = -1 if options.which == "smallest" else 1

    def allowed(w: Array, scale: Array) -> Array:
        return max(options.accepted / 4, 2 * ROUNDING * eps(w)) * scale + 0.0 * w

    search = Search(
        lambda X: sign * (A.matmat(X) / unit),
        noise,
        k,
        plan,
        allowed,
        KEYS.get(options.which, by_value),
    )
    pairs = search.run(options.maxiter)
    Q, _ = polar_factors(pairs.Q)
    kept, surplus = Q[:, :k], Q[:, k:]
    images = A.matmat(kept) / unit
    w, Y = factorizations.eigh(adjoint(kept) @ images)  # of more, copies to come would mix in
    kept, images = kept @ Y, images @ Y
    residual = _residual(images, w, kept, pairs.scale)
    w = xp.concat([w, sign * pairs.w[k:]])
    found = w * unit, beside([kept, surplus]), pairs.scale * unit, residual, pairs.turns
    if math.prod(A.shape) > DENSE_ENTRIES:
        return found

    def decomposed(state: Arrays) -> Arrays:
        w, Q = factorizations.eigh(multiplied_out(A))
        w, Q = wanted_first(w, Q, options.which)
        w, Q = w[: state[0].shape[0]], Q[:, : state[0].shape[0]]
        scale = xp.maximum(state[2], xp.max(xp.abs(w)))
        return w, Q, scale, _residual(A.matmat(Q[:, :k]), w[:k], Q[:, :k], scale), state[4]

    better: Arrays = loop(lambda state: state[3] > options.accepted, decomposed, found, 1, traced=1)
    return better
