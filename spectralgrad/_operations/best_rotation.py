r"""The rotation nearest to a covariance, and the mean of all that are as good to its rounding.

For H = U diag(s) V^T the rotation that makes <R, H> greatest is U V^T, with a reflection allowed.
If a rotation has to turn an axis over, det(U V^T) < 0, it is the last one: the sign of the last row
of V^T is changed, and that of s_n with it. Then R is the polar factor of a matrix with those signed
values, and the rules of `polar` apply. What is within the rounding error of H counts as zero or as
tied, and is made so: R is not determined where the least sum of two values, s_(n-1) + s_n, is zero,
or s_n if reflections are allowed.

The mean of all minimisers is U diag(mu) V^T: mu is 1 where R is determined, and 0 at two zeros or
more, or at one if reflections are allowed. If an axis is turned over that is tied with m - 1
others, any of them may be, and mu is 1 - 2/m for each.
"""

from __future__ import annotations

from typing import NamedTuple

from .._bindings.array import Array, Arrays, array_namespace, device, nan_where, skew
from .._bindings.host import in_slices
from .._bindings.matrix_products import product
from .._engine.linear import add
from .._engine.primitive import Primitive
from .._engine.symmetric import symmetric
from .._spectrum.ties import unit_of
from .._spectrum.undefined import Undefined, because
from .polar_differentials import curvature, orientation, pair_sums
from .svd_differentials import parts_of, sandwich
from .svd_rules import factors_forward

SEVERAL = "several rotations are as good, to the rounding of the points"


class Minimiser(NamedTuple):
    """R, the mean M of all that are as good, and 1 where there are several, else 0."""

    rotation: Array
    mean: Array
    several: Array


def best_rotation(H: Array, floor: Array, about: Undefined, *, reflection: bool) -> Minimiser:
    """The minimiser for H, whose values count as zero up to `floor`."""
    U, s, Vh, several, departure = _factors(H, floor, reflection=reflection)
    R = _rotation(H, U, s, Vh, reflection=reflection, undefined=about)
    return Minimiser(R, add(R, departure), several)


def _factors_forward(H: Array, floor: Array, *, reflection: bool) -> Arrays:
    """U, s and Vh, where R is not determined, and the mean minimiser less R.

    That is exactly zero where R is the only one.
    """

    def of_stack(H: Array, floor: Array) -> Arrays:
        U, S, Vh = factors_forward(H)
        xp, floor = array_namespace(S), floor[..., None]
        turn = xp.ones_like(floor) if reflection else orientation(U, Vh)
        last = xp.arange(S.shape[-1], device=device(S)) == S.shape[-1] - 1
        signs = xp.where(last, turn, xp.ones_like(S))
        s, Vh = signs * _settled(S, floor, last & (turn < 0)), Vh * signs[..., None]
        mu, several = _mean_signs(S, floor, turn < 0, reflection)
        shares = xp.where(several[..., None], signs * mu - 1, xp.zeros_like(S))
        departure = product(U * shares[..., None, :], Vh)
        return U, s, Vh, xp.astype(several, S.dtype) + 0.0 * S[..., 0], departure  # NaN of NaN

    found: Arrays = in_slices(of_stack, tuple(H.shape[:-2]), H, floor)
    return found


_factors = Primitive(
    "svd",
    _factors_forward,
    jvp=lambda inputs, outputs, tangents, **static: (None,) * 5,
    vjp=lambda inputs, outputs, bars, **static: (None, None),
    outputs=5,
    carried=(0, 1),
    decomposes=True,
    unread=lambda **static: (0, 1),
    reads_outputs=False,
)


def _settled(S: Array, floor: Array, turned: Array) -> Array:
    """S, zeros for what counts as zero, and the last value equal to the next where that is so."""
    xp, n = array_namespace(S), S.shape[-1]
    settled = xp.where(floor >= S, xp.zeros_like(S), S)
    if n == 1:
        return settled
    next_to_last = settled[..., n - 2 : n - 1]
    return xp.where(turned & (next_to_last - S <= floor), next_to_last, settled)


def _mean_signs(S: Array, floor: Array, turned: Array, reflection: bool) -> Arrays:
    """mu, with the unsigned U and Vh, and whether R is undetermined."""
    xp, d = array_namespace(S), S.shape[-1]
    one, zero = xp.ones_like(S), floor >= S
    if reflection:
        return xp.where(zero, 0.0, one), zero[..., -1]
    if d == 1:
        return one, S[..., 0] < 0
    tied = ~(S - S[..., d - 1 :] > floor)  # of NaN all
    share = 1 - 2 / xp.sum(xp.astype(tied, S.dtype), axis=-1, keepdims=True)
    mu = xp.where(turned & tied, share, one)
    free = zero[..., d - 2]
    mu = xp.where(free[..., None] & zero, 0.0, xp.where(free[..., None], one, mu))
    return mu, free | (turned[..., 0] & tied[..., d - 2])


def _value(factors: Arrays, directions: Arrays, parameters: Arrays, *, reflection: bool) -> Array:
    U, _, Vh = factors
    return product(U, Vh)


def _nan_if_several(s: Array, reflection: bool) -> Array:
    """s, NaN where R is not determined."""
    n = s.shape[-1]
    if n == 1 and not reflection:
        return s
    least = s[..., n - 1] if reflection else s[..., n - 2] + s[..., n - 1]
    return s + nan_where(least <= 0, s)[..., None]


def _differential(
    factors: Arrays,
    directions: Arrays,
    parameters: Arrays,
    *,
    reflection: bool,
    lenient: bool = False,
) -> Array:
    U, s, Vh = factors
    total = pair_sums(s if lenient else _nan_if_several(s, reflection))
    return sandwich(U, Vh, directions[0], lambda M: skew(2 * M) / total, s)


def _second(factors: Arrays, directions: Arrays, parameters: Arrays, *, reflection: bool) -> Array:
    U, s, Vh = factors
    scale = unit_of(s)[..., None]
    total = pair_sums(_nan_if_several(s, reflection) / scale[..., 0])
    h_parts, k_parts = (parts_of(factors, C / scale) for C in directions)
    return product(U, curvature(h_parts, k_parts, total), Vh)


_rotation = symmetric(
    "rotation",
    3,
    _value,
    _differential,
    _second,
    explained=because(2, lambda s, **static: SEVERAL),
)
