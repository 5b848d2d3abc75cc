r"""Norms of the singular values and their gradients, as Primitives.

A norm's gradient is a matrix U g V^H, and the Hessian applied to a direction that matrix's
derivative; both are symmetric maps (`_symmetric`). Where the norm has a kink the gradient is the
subgradient of least Frobenius norm, the jvp its inner product with the direction, and the second
derivative NaN.

    nuclear     g = 1 over the values that do not count as zero: the polar factor there
    Ky Fan k    g = 1 over the k largest, a tie across the cut sharing its weight evenly: the
                partial isometry U_k V_k^H where there is none; spectral norm: k = 1
    Schatten p  g = (s/N)^(p-1), whose derivative along C is, with t = s/N and f(t) = t^(p-1),
                (D[U f(t) V^H][C] - (p - 1) <U g V^H, C> U g V^H)/N

Sources: Watson (1992), Characterization of the subdifferential of some matrix norms; Lewis (1995),
The convex analysis of unitarily invariant matrix functions.
"""

from __future__ import annotations

from ._array import array_namespace
from ._linear import inner, multiply
from ._polar_kernel import polar_differential, polar_second
from ._primitive import Primitive
from ._scalar import FREE
from ._schatten import gradient_differential, gradient_value, norm_value
from ._subspaces import cut_rules
from ._symmetric import symmetric
from ._thresholds import step
from ._ties import default_gap_rtol, first, zero_tolerance


def _norm(name, value, gradient):
    """The norm with that gradient; inputs are A, U, S, Vh and the exponent, if that is free."""

    def by_exponent(inputs, static):
        return primitive(*inputs, **static | {"f": static["f"].by_parameter()})[0]

    def jvp(inputs, outputs, tangents, **static):
        terms = []
        if tangents[0] is not None:
            terms.append(inner(gradient(*inputs, **static)[0], tangents[0], axes=2))
        if tangents[4:] and tangents[4] is not None:
            terms.append(multiply(tangents[4], by_exponent(inputs, static), axes=0))
        return (sum(terms[1:], start=terms[0]),)

    def vjp(inputs, outputs, cotangents, **static):
        (bar,) = cotangents
        bars = (lambda: multiply(bar, gradient(*inputs, **static)[0], axes=2), None, None, None)
        if len(inputs) == 4:
            return bars
        return *bars, lambda: multiply(bar, by_exponent(inputs, static), axes=0)

    def forward(x, *held, **static):
        return (value(held[:3], held[3:], **static),)

    primitive = Primitive(name, forward, jvp, vjp, carried=(1, 2, 3))
    return primitive


def _sum_of_values(factors, parameters, *, k=None):
    return array_namespace(factors[1]).sum(factors[1][..., :k], axis=-1)


def _nonzero(factors):
    U, S, Vh = factors
    return zero_tolerance(max(U.shape[-2], Vh.shape[-1]), S) < S


def _nuclear_gradient(factors, directions, parameters):
    U, S, Vh = factors
    kept = array_namespace(S).astype(_nonzero(factors), S.dtype)
    return (U * kept[..., None, :]) @ Vh


def _ky_fan_gradient(factors, directions, parameters, *, k):
    U, S, Vh = factors
    xp, at_cut = array_namespace(S), S[..., k - 1 : k]
    tolerance = default_gap_rtol(S) * first(S)
    above, tied = (
        xp.astype(mask, S.dtype)
        for mask in (at_cut + tolerance < S, xp.abs(S - at_cut) <= tolerance)
    )
    count = xp.sum(tied, axis=-1, keepdims=True)
    share = (k - xp.sum(above, axis=-1, keepdims=True)) / xp.where(count == 0, 1.0, count)
    weights = xp.where(_nonzero(factors), above + tied * share, 0.0)
    return (U * weights[..., None, :]) @ Vh


nuclear = _norm(
    "nuclear_norm",
    _sum_of_values,
    symmetric("nuclear_norm'", 3, _nuclear_gradient, polar_differential, polar_second),
)
ky_fan = _norm(
    "ky_fan_norm",
    _sum_of_values,
    symmetric("ky_fan_norm'", 3, _ky_fan_gradient, *cut_rules(step(FREE))),
)
schatten = _norm(
    "schatten_norm",
    norm_value,
    symmetric("schatten_norm'", 3, gradient_value, gradient_differential),
)
