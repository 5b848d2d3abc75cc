r"""Weighted sums over points: the points about their mean, and sums of products over two sets.

With weights w that add up to one, or 1/points each if there are none,

    mean = sum_m w_m P_m,    p_n = (P_n - mean)/size.

The adjoint takes a cotangent z_n of each p_n and m of the mean to

    P_bar_n = (z_n + w_n s)/size,    s = size m - sum_n z_n.

It is linear in z and m, so that both are each other's derivatives. The mean makes the derivative by
a weight s^T p_n, up to what is the same for all points and does not count, as the sum is one.

Sums of products are the form sum_n w_n x_n^T A y_n, linear in each of its arguments: `gram` is its
derivative by A, `moved` that by x, and `paired` that by w, and they are one another's derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .._bindings.array import Array, Arrays, adjoint, array_namespace, device
from .._bindings.host import columns
from .._bindings.matrix_products import product, transposed_copy
from .._engine.elementary import filled, measured
from .._engine.linear import adjoint_of, matmul, negative, row, subtract, unrow
from .._engine.primitive import Primitive, constant
from .point_rounding import mean_of, sum_of_products, total_of


def sum_of(terms: list[Array]) -> Array:
    return sum(terms[1:], start=terms[0])


def _multilinear(
    name: str, core: int, function: Callable[..., Array], cotangents: Callable[..., Arrays]
) -> Primitive:
    """A function that is linear in each argument; `cotangents` gives thunks for theirs."""

    def jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Array:
        moving = [(i, dx) for i, dx in enumerate(tangents) if dx is not None]
        return sum_of([primitive(*inputs[:i], dx, *inputs[i + 1 :]) for i, dx in moving])

    def vjp(inputs: Arrays, outputs: Arrays, bars: Arrays) -> Arrays:
        return cotangents(bars[0], *inputs)

    primitive = Primitive(name, function, jvp, vjp, core=core, reads_outputs=False)
    return primitive


def sum_of_outer(x: Array, y: Array, *w: Array) -> Array:
    """The sum of w_n x_n y_n^T."""
    if w:
        return sum_of_products(w[0][..., None, :] * x, y)
    return sum_of_products(x, y) / x.shape[-1]


def _moved(A: Array, x: Array, *w: Array) -> Array:
    """The points w_n A x_n."""
    return w[0][..., None, :] * product(A, x) if w else product(A / x.shape[-1], x)


def _paired(A: Array, x: Array, y: Array) -> Array:
    """The numbers x_n^T A y_n."""
    return array_namespace(x).sum(x * product(A, y), axis=-2)


gram: Primitive = _multilinear(
    "gram",
    2,
    sum_of_outer,
    lambda bar, x, y, *w: (
        partial(moved, bar, y, *w),
        lambda: moved(adjoint_of(bar), x, *w),
        *(partial(paired, bar, x, y) for _ in w),
    ),
)
moved: Primitive = _multilinear(
    "moved",
    2,
    _moved,
    lambda bar, A, x, *w: (
        partial(gram, bar, x, *w),
        lambda: moved(adjoint_of(A), bar, *w),
        *(partial(paired, A, bar, x) for _ in w),
    ),
)
paired: Primitive = _multilinear(
    "paired",
    1,
    _paired,
    lambda bar, A, x, y: (
        partial(gram, x, y, bar),
        partial(moved, A, y, bar),
        lambda: moved(adjoint_of(A), x, bar),
    ),
)


def zeros_for(bars: Arrays, like: Arrays) -> Arrays:
    """The directions, with zeros for None."""
    return tuple(
        filled(x, value=0.0, axes=0, ones=0) if bar is None else bar
        for bar, x in zip(bars, like, strict=True)
    )


def about_mean(x: Array, size: Array, *w: Array) -> Arrays:
    """The points, in columns, about their mean and in units of the size, and the mean as a row."""
    points = x * (1 / size)[..., None, None]
    mean = mean_of(points, *w)
    return points - mean, adjoint(mean) * size[..., None, None]


def by_mean(bars: Arrays, size: Array, points: Array) -> Array:
    """The cotangent of weights that the mean brings along."""
    return unrow(matmul(_residue(bars, size), points))


def centred_jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
    (_, size, *w), (dX, _, *dw) = inputs, tangents
    found = [] if dX is None else [centred(dX, size, *w)]
    if any(d is not None for d in dw):  # they add up to zero, so that the centred points serve
        shift = matmul(row(dw[0]), outputs[0], right=True)
        points = matmul(negative(shift), ones(outputs[0]), left=True)
        found.append((points, measured(shift, size, axes=2, inverse=True)))
    return tuple(map(sum_of, map(list, zip(*found, strict=True)))) or (None, None)


def _ones(x: Array) -> Array:
    """A row of ones, one for each point."""
    shape = (*x.shape[:-2], 1, x.shape[-1])
    return array_namespace(x).ones(shape, dtype=x.dtype, device=device(x))


ones = constant("ones", _ones)


def _residue(bars: Arrays, size: Array) -> Array:
    """s, as a row."""
    z, m = bars
    total = matmul(ones(z), z, right=True)
    return subtract(measured(m, size, axes=2, inverse=True), total)


def _centred_vjp(inputs: Arrays, outputs: Arrays, bars: Arrays) -> Arrays:
    _, size, *w = inputs
    z, m = zeros_for(bars, outputs)

    def of_weights() -> Array:
        return by_mean((z, m), size, outputs[0])

    return partial(uncentred, z, m, size, *w), None, *(of_weights for _ in w)


# the points about their mean, in columns and in units of `size`, and the mean as a row
centred: Primitive = Primitive(
    "centred",
    lambda X, size, *w: about_mean(columns(X), size, *w),
    centred_jvp,
    _centred_vjp,
    outputs=2,
    carried=(1,),
    core=2,
    unread=lambda: (0,),
)


def _uncentred(z: Array, m: Array, size: Array, *w: Array) -> Array:
    s = adjoint(m * size[..., None, None]) - total_of(z)
    points = z + (w[0][..., None, :] * s if w else s / z.shape[-1])
    return transposed_copy(points) * (1 / size)[..., None, None]


def _uncentred_jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Array:
    (z, m, size, *w), (dz, dm, _, *dw) = inputs, tangents
    terms = []
    if dz is not None or dm is not None:
        terms.append(uncentred(*zeros_for((dz, dm), (z, m)), size, *w))
    if any(d is not None for d in dw):
        shift = matmul(row(dw[0]), _residue((z, m), size), left=True)
        terms.append(measured(shift, size, axes=2, inverse=False))
    return sum_of(terms)


def _uncentred_vjp(inputs: Arrays, outputs: Arrays, bars: Arrays) -> Arrays:
    z, m, size, *w = inputs
    points, mean = centred(bars[0], size, *w)

    def of_weights() -> Array:
        return by_mean((z, m), size, points)

    return points, mean, None, *(of_weights for _ in w)


# the adjoint of `centred`
uncentred: Primitive = Primitive(
    "uncentred", _uncentred, _uncentred_jvp, _uncentred_vjp, carried=(2,), core=2
)
