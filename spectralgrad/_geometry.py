"""Steps of an alignment as Primitives: sizes and tests that are constants, roots and inverses."""

from __future__ import annotations

from functools import partial

from ._array import array_namespace, device, eps, nan_where
from ._linear import multiply
from ._polar_kernel import orientation
from ._primitive import Primitive


def _constant(name, function):
    """A Primitive whose derivative is zero."""
    return Primitive(
        name,
        forward=lambda *inputs, **static: (function(*inputs, **static),),
        jvp=lambda inputs, outputs, tangents, **static: (None,),
        vjp=lambda inputs, outputs, cotangents, **static: (None,) * len(inputs),
    )


def _filled(x, *, value, axes, ones):
    """The value in the shape of x without its last `axes` axes, and with `ones` new ones."""
    shape = (*x.shape[: x.ndim - axes], *(1,) * ones)
    return array_namespace(x).full(shape, value, dtype=x.dtype, device=device(x))


constant = _constant("constant", _filled)
largest_entry = _constant(
    "largest_entry",
    lambda x: array_namespace(x).max(array_namespace(x).abs(x), axis=(-2, -1)),
)


def _over(x, size, *, axes, inverse):
    """x / size, or x * size if inverse; a size of zero counts as 1."""
    xp = array_namespace(x)
    size = xp.where(size == 0, 1.0, size)[(..., *(None,) * axes)]
    return x * size if inverse else x / size


def _over_rule(inputs, outputs, directions, **static):
    return measured(directions[0], inputs[1], **static)


measured = Primitive(
    "measured",
    forward=lambda x, size, **static: (_over(x, size, **static),),
    jvp=_over_rule,
    vjp=lambda inputs, outputs, bars, **static: (
        *_over_rule(inputs, outputs, bars, **static),
        None,
    ),
    carried=(1,),
)


def _undetermined(S, U, Vh, noise, *, reflection):
    """Whether H has several polar factors as far as its own error, relative to S[0], tells."""
    xp, d = array_namespace(S), S.shape[-1]
    if reflection:
        return xp.astype(S[..., -1] <= noise * S[..., 0], S.dtype)
    if d == 1:
        return xp.zeros_like(S[..., 0])
    second = S[..., d - 2] + orientation(U, Vh)[..., 0] * S[..., d - 1]
    return xp.astype(second <= noise * S[..., 0], S.dtype)


undetermined = _constant("undetermined", _undetermined)


def _noise(P, centred_P, Q, centred_Q, *, points):
    """The relative error of a covariance: of its sum, and of the centring of its points."""
    xp, total = array_namespace(P), 1.0
    for x, centred in ((P, centred_P), (Q, centred_Q)):
        size, left = (xp.max(xp.abs(v), axis=(-2, -1)) for v in (x, centred))
        total = total + size / xp.where(left == 0, 1.0, left)
    return points * eps(P) * total


noise_of = _constant("noise", _noise)


def _kink_floor(size, whole, *, points):
    """What a mean square in units of `size` may be and count as zero beside points of that size."""
    xp = array_namespace(size)
    relative = points * eps(size) * (whole / xp.where(size == 0, 1.0, size))
    return xp.where(size == 0, 1.0, relative * relative)


kink_floor = _constant("kink_floor", _kink_floor)


def _guarded(name, forward):
    """A map of x whose derivative is NaN where `bad` is not zero, and the identity elsewhere."""
    return Primitive(
        name,
        forward=lambda x, bad: (forward(x, bad),),
        jvp=lambda inputs, outputs, tangents: guarded_direction(tangents[0], inputs[1]),
        vjp=lambda inputs, outputs, bars: (*guarded_direction(bars[0], inputs[1]), None),
        carried=(1,),
    )


guard = _guarded("guard", lambda x, bad: x + 0.0)
guarded_direction = _guarded(
    "guarded_direction", lambda C, bad: C + nan_where(bad != 0, C)[..., None, None]
)


def _power_of_root(a, floor, *, order):
    """The derivative of sqrt(a) of that order; at a root that counts as zero 0, then NaN."""
    xp = array_namespace(a)
    kink = a <= floor
    if order == 0:
        return xp.sqrt(a)
    safe = xp.where(kink, 1.0, a)
    value = 0.5 / xp.sqrt(safe)
    for i in range(1, order):
        value = value * (0.5 - i) / safe
    return xp.where(kink, 0.0 if order == 1 else float("nan"), value)


def _elementary(name, derivative):
    """A function of numbers; `derivative(a, *carried, order)` is that of each order."""

    def slope(inputs, order):
        return primitive(*inputs, order=order + 1)[0]

    primitive = Primitive(
        name,
        forward=lambda *inputs, order=0: (derivative(*inputs, order=order),),
        jvp=lambda inputs, outputs, tangents, order=0: (
            multiply(tangents[0], slope(inputs, order), axes=0),
        ),
        vjp=lambda inputs, outputs, bars, order=0: (
            partial(multiply, bars[0], slope(inputs, order), axes=0),
            *(None,) * (len(inputs) - 1),
        ),
        carried=(1,),
    )
    return primitive


root = _elementary("root", _power_of_root)


def _power_of_inverse(a, *, order):
    xp = array_namespace(a)
    value = xp.where(a == 0, float("nan"), 1 / xp.where(a == 0, 1.0, a))
    for i in range(order):
        value = -value * (i + 1) / a
    return value


inverse = _elementary("inverse", _power_of_inverse)
