r"""What cotangents of U, S and V ask of that which x does not determine.

With P = U^H U_bar and R = V_bar^H V a loss that is blind to the rotation within a tie has
skew(P - R) = 0 there, and among zeros skew(P) = skew(R) = 0; one that is blind to phases has
Im(u_i^H u_bar_i + v_i^H v_bar_i) = 0 (`_operations/svd_rules.py` derives them).
"""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple

from .._bindings.array import Array, Arrays, adjoint, array_namespace, device, leading_columns, skew
from .._bindings.lookup import adjoint_times
from .._bindings.matrix_products import product
from .._spectrum import gauge
from .._spectrum.ties import equals_mirror, first, gap_tolerance
from .measures import Spectrum, clusters, undefined_columns


class Gauge(NamedTuple):
    """What cotangents ask of what x does not determine."""

    tie: Array  # largest part that a rotation within a tie changes, over the columns' norms
    phase: Array  # the same of phases
    undetermined: Array  # whether the rule of `svd` or `truncated_svd` is NaN for them


def gauge_of(x: Any, found: Spectrum, factors: Arrays, bars: Arrays, *, cut: bool) -> Gauge:
    """The residuals of cotangents (U_bar, S_bar, Vh_bar) at factors U, S, Vh.

    `cut` says that these are the leading ones, as `truncated_svd` has them.
    """
    (U_all, S, Vh_all), (U_bar, S_bar, Vh_bar) = factors, bars
    xp, k, V_all = array_namespace(S), S.shape[-1], adjoint(Vh_all)
    nothing = xp.zeros(S.shape[:-1], dtype=S.dtype, device=device(S))
    if (U_bar is None and Vh_bar is None) or k == 0:
        return Gauge(nothing, nothing, nothing != 0)
    V_bar = None if Vh_bar is None else adjoint(Vh_bar)
    U, V = leading_columns(U_all, k), leading_columns(V_all, k)
    thin = [W_bar if W_bar is None else leading_columns(W_bar, k) for W_bar in (U_bar, V_bar)]
    P = 0.0 if thin[0] is None else adjoint_times(U, thin[0])
    R = 0.0 if thin[1] is None else product(adjoint(thin[1]), V)
    tolerance = gap_tolerance(first(S))
    if cut:
        undefined = undefined_columns(found, k) & gauge.touched(S_bar, *thin)
        bad = xp.any(undefined, axis=-1)
        if found.is_complex:
            bad = bad | gauge.phase_residual((U, V), thin)
    else:
        given = (U_all, S, V_all), (U_bar, S_bar, V_bar)
        bad = gauge.svd_undetermined(x, *given, tolerance, "nan")
    norms = gauge.column_norms(*thin)
    phase = nothing
    if found.is_complex:
        phases = gauge.phases((U, V), thin)
        phase = xp.max(xp.abs(sum(phases)) / xp.where(norms == 0, 1.0, norms), axis=-1)
    return Gauge(_within_ties(S, P, R, norms), phase, bad)


def _within_ties(S: Array, P: Any, R: Any, norms: Array) -> Array:
    """The largest entry of skew(P - R) over tied pairs, and of skew(P), skew(R) over zeros."""
    xp, cluster = array_namespace(S), clusters(S)
    zero = equals_mirror(S, gap_tolerance(first(S)))
    index = xp.arange(S.shape[-1], device=device(S))
    pairs = (cluster[..., :, None] == cluster[..., None, :]) & (index[:, None] != index[None, :])
    both = pairs & zero[..., :, None] & zero[..., None, :]
    size = norms[..., :, None] + norms[..., None, :]
    size = xp.where(size == 0, 1.0, size)
    parts = [(P - R, pairs), *((part, both) for part in (P, R) if not isinstance(part, float))]
    found = (xp.where(where, xp.abs(skew(part)) / size, 0.0 * size) for part, where in parts)
    return xp.max(reduce(xp.maximum, found), axis=(-2, -1))
