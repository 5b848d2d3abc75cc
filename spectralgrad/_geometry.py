"""Steps of an alignment as Primitives: sizes and tests that are constants, roots and inverses."""

from __future__ import annotations

from functools import partial

from ._array import array_namespace, device, eps, real
from ._linear import constant, multiply
from ._polar_kernel import orientation
from ._primitive import Primitive


def _filled(x, *, value, axes, ones):
    """The value in the shape of x without its last `axes` axes, and with `ones` new ones."""
    shape = (*x.shape[: x.ndim - axes], *(1,) * ones)
    return array_namespace(x).full(shape, value, dtype=x.dtype, device=device(x))


filled = constant("filled", _filled)


def _largest_entry(x):
    xp = array_namespace(x)
    if 0 in x.shape[-2:]:
        return xp.zeros(x.shape[:-2], dtype=real(x).dtype, device=device(x))
    return xp.max(xp.abs(x), axis=(-2, -1))


largest_entry = constant("largest_entry", _largest_entry)


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
    if d == 0 or (d == 1 and not reflection):
        return xp.zeros(S.shape[:-1], dtype=S.dtype, device=device(S))
    if reflection:
        return xp.astype(S[..., -1] <= noise * S[..., 0], S.dtype)
    second = S[..., d - 2] + orientation(U, Vh)[..., 0] * S[..., d - 1]
    return xp.astype(second <= noise * S[..., 0], S.dtype)


undetermined = constant("undetermined", _undetermined)


def _noise(P, centred_P, Q, centred_Q, *, points):
    """The relative error of a covariance: of its sum, and of the centring of its points."""
    xp, total = array_namespace(P), 1.0
    for x, centred in ((P, centred_P), (Q, centred_Q)):
        size, left = (xp.max(xp.abs(v), axis=(-2, -1)) for v in (x, centred))
        total = total + size / xp.where(left == 0, 1.0, left)
    return points * eps(P) * total


noise_of = constant("noise", _noise)


def _kink_floor(size, whole, noise):
    """What a mean square in units of `size` may be and count as zero beside `whole` points."""
    xp = array_namespace(size)
    relative = noise * (whole / xp.where(size == 0, 1.0, size))
    return xp.where(size == 0, 1.0, relative * relative)


kink_floor = constant("kink_floor", _kink_floor)


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
