"""The functions that JAX's modes are tried on, and what NumPy's arrays say of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse
from matrices import SPECTRA, hermitian, random, with_spectrum
from operations import OPERATIONS

import spectralgrad as sg

F = sg.functions
DX = random((4, 4), seed=1)


@dataclass(frozen=True)
class Function:
    """A function of one matrix; `plain` is the same in the library's own calls alone."""

    fun: Callable
    plain: Callable
    definite: bool = False  # wants a symmetric positive definite matrix
    second: bool = True  # sg.hvp knows `plain`

    def __call__(self, x):
        return self.fun(x)

    @property
    def matrix(self):
        values = SPECTRA["spread"]
        return hermitian(values) if self.definite else with_spectrum(4, 4, values)


def largest_two(found):
    U, S, Vh = found
    return (U * S[..., None, :])[..., :2] @ Vh[..., :2, :]


def projector_of(Q):
    return Q @ jnp.conj(Q).mT


def of_entries(x):
    places = jnp.stack(jnp.meshgrid(jnp.arange(4), jnp.arange(4), indexing="ij"), -1)
    A = sparse.BCOO((x.reshape(-1), places.reshape(-1, 2)), shape=(4, 4))
    return largest_two(sg.truncated_svd(A, 2, solver="krylov", adjoint="krylov"))


def bounded(s, alpha):
    return s / (s * s + alpha)


low_rank, projector = partial(sg.low_rank, k=2), partial(sg.eigenprojector, k=2)
tikhonov = lambda x: sg.svd_function(x, F.tikhonov(sg.spectral_norm(x)))
OWN = {  # for JAX and for NumPy, where factors are free to choose or calls have two forms
    "svd": (lambda x: largest_two(sg.svd(x, full_matrices=False)), low_rank),
    "svd_full": (lambda x: largest_two(sg.svd(x)), low_rank),
    "svd:S": (lambda x: sg.svd(x).S, sg.svdvals),
    "eigh": (lambda x: projector_of(sg.eigh(x).eigenvectors[..., 2:]), projector),
    "polar_left": (lambda x: sg.polar(x, side="left").P,) * 2,
    "truncated_svd": (
        lambda x: largest_two(sg.truncated_svd(x, 2, solver="krylov", adjoint="krylov")),
        low_rank,
    ),
    "truncated_eigh": (
        lambda x: projector_of(sg.truncated_eigh(x, 2, solver="krylov").eigenvectors),
        projector,
    ),
    "truncated_svd:BCOO": (of_entries, low_rank),
    "kabsch": (lambda x: sg.kabsch(x, sg.pinv(x)).rotation,) * 2,
    "kabsch:msd": (lambda x: sg.kabsch(x, sg.pinv(x), scale=True).msd,) * 2,
    "procrustes": (lambda x: sg.procrustes(x, sg.pinv(x)).rotation,) * 2,
    "svd_function:bare": (
        lambda x: sg.svd_function(x, lambda s: bounded(s, 0.3)),
        lambda x: sg.svd_function(x, F.tikhonov(0.3)),
    ),
    "svd_function:params": (
        lambda x: sg.svd_function(x, bounded, params=sg.spectral_norm(x)),
        tikhonov,
    ),
    "svd_function:alpha": (tikhonov,) * 2,
}
FUNCTIONS = {op.name: Function(op.call, op.call, op.square, op.second) for op in OPERATIONS} | {
    name: Function(*pair, "eigh" in name, name != "svd:S") for name, pair in OWN.items()
}


def weights(y):
    """A cotangent that weighs every entry differently."""
    return np.cos(np.arange(1.0, 1 + math.prod(y.shape))).reshape(y.shape).astype(y.dtype)


def loss_of(fun):
    def loss(x):
        y = fun(x)
        return jnp.real(jnp.sum(weights(y) * y))

    return loss


def value(fun, x):
    return fun.plain(x)


def gradient(fun, x):
    y, pullback = sg.vjp(fun.plain, x)
    return pullback(weights(y))[0]


def tangent(fun, x, dx=DX):
    return sg.jvp(fun.plain, (x,), (dx.astype(x.dtype),))[1]


def slope(function, x, dx):
    """The derivative along dx of a function of x, by differences."""
    at, h = lambda step: function(x + step * dx), 1e-3
    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / 12 / h


def product(fun, x, dx=DX):
    """The Hessian of the loss times dx."""
    if not fun.second:
        return slope(partial(gradient, fun), x, dx)
    return sg.hvp(fun.plain, x, dx, weights(np.asarray(fun.plain(x))))


def along_units(derivative, fun, x):
    """Along each entry of x, which are the last axes of the result."""
    columns = [derivative(fun, x, unit) for unit in np.eye(16).reshape(16, 4, 4)]
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, 4, 4)


jacobian, hessian = partial(along_units, tangent), partial(along_units, product)
