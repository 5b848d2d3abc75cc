"""What the rounding errors of points leave of an alignment: constants for its derivatives."""

from __future__ import annotations

from .._bindings.array import Array, array_namespace, device, eps
from .._engine.linear import constant
from .polar import orientation


def _undetermined(S: Array, U: Array, Vh: Array, noise: Array, *, reflection: bool) -> Array:
    """Whether H has several polar factors as far as its own error, relative to S[0], shows."""
    xp, d = array_namespace(S), S.shape[-1]
    if d == 0 or (d == 1 and not reflection):
        return xp.zeros(S.shape[:-1], dtype=S.dtype, device=device(S))
    if reflection:
        return xp.astype(S[..., -1] <= noise * S[..., 0], S.dtype)
    second = S[..., d - 2] + orientation(U, Vh)[..., 0] * S[..., d - 1]
    return xp.astype(second <= noise * S[..., 0], S.dtype)


undetermined = constant("undetermined", _undetermined)


def _noise(P: Array, centred_P: Array, Q: Array, centred_Q: Array, *, points: int) -> Array:
    """The relative error of a covariance: of its sum, and of the centring of its points."""
    xp, total = array_namespace(P), 1.0
    for x, centred in ((P, centred_P), (Q, centred_Q)):
        size, left = (xp.max(xp.abs(v), axis=(-2, -1)) for v in (x, centred))
        total = total + size / xp.where(left == 0, 1.0, left)
    return points * eps(P) * total


noise_of = constant("noise", _noise)


def _kink_floor(size: Array, whole: Array, noise: Array) -> Array:
    """What a mean square in units of `size` may be and count as zero beside `whole` points."""
    xp = array_namespace(size)
    relative = noise * (whole / xp.where(size == 0, 1.0, size))
    return xp.where(size == 0, 1.0, relative * relative)


kink_floor = constant("kink_floor", _kink_floor)
