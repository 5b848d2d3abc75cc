"""Losses of a matrix, each with its factors and as the function of the matrix that it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

import spectralgrad as sg


@dataclass(frozen=True)
class Row:
    """A loss at a matrix: of the factors that `factors` finds, and as we write it."""

    name: str
    x: np.ndarray[Any, Any]
    composed: Callable[[Any, Callable[..., Any]], Any]
    ours: Callable[[Any], Any]
    call: str  # what ours is, for the table
    hermitian: bool = False
    rotation: bool = False  # RoMa has the function
    in_readme: bool = True


def _weights(x: Any, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    C = rng.standard_normal(x.shape[-2:])
    if "complex" in str(x.dtype):
        C = C + 1j * rng.standard_normal(x.shape[-2:])
    xp = array_namespace(x)
    return xp.asarray(C, dtype=x.dtype)


def inner(x: Any, value: Any) -> Any:
    """Re <C, value> for fixed random C, a loss that sees every entry."""
    xp = array_namespace(value)
    product = xp.conj(_weights(value)) * value
    return xp.sum(xp.real(product) if "complex" in str(product.dtype) else product)


def _matrix(values: list[float], m: int, n: int, dtype: type = float) -> np.ndarray[Any, Any]:
    """Random vectors, and these singular values."""
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((side, side)) for side in (m, n)]
    if dtype is complex:
        parts = [part + 1j * rng.standard_normal(part.shape) for part in parts]
    U, V = (np.linalg.qr(part)[0] for part in parts)
    k = len(values)
    return np.asarray((U[:, :k] * np.asarray(values)) @ V[:, :k].conj().T)


def _hermitian(values: list[float], dtype: type = float) -> np.ndarray[Any, Any]:
    n = len(values)
    Q = np.linalg.svd(_matrix([float(i + 1) for i in range(n)], n, n, dtype))[0]
    return np.asarray((Q * np.asarray(values)) @ Q.conj().T)


def _rebuilt(U: Any, values: Any, Vh: Any) -> Any:
    k = values.shape[-1]
    return (U[..., :, :k] * values[..., None, :]) @ Vh[..., :k, :]


def _of_svd(f: Callable[[Any, Any], Any]) -> Callable[[Any, Callable[..., Any]], Any]:
    """The loss <C, U f(S) Vh>."""

    def loss(x: Any, svd: Callable[..., Any]) -> Any:
        U, S, Vh = svd(x)
        return inner(x, _rebuilt(U, f(array_namespace(S), S), Vh))

    return loss


def _of_eigh(f: Callable[[Any, Any], Any]) -> Callable[[Any, Callable[..., Any]], Any]:
    def loss(x: Any, eigh: Callable[..., Any]) -> Any:
        w, Q = eigh(x)
        xp = array_namespace(w)
        return inner(x, (Q * f(xp, w)[None, :]) @ xp.conj(Q.T))

    return loss


def _nearest_rotation(x: Any, svd: Callable[..., Any]) -> Any:
    U, _, Vh = svd(x)
    xp = array_namespace(U)
    sign = xp.linalg.det(U) * xp.linalg.det(Vh)
    last = xp.asarray([0.0, 0.0, 1.0], dtype=U.dtype)
    return inner(x, (U * (1 + (sign - 1) * last)) @ Vh)


def _leading(xp: Any, S: Any) -> Any:
    return S * xp.asarray([1.0, 1.0, 0.0, 0.0], dtype=S.dtype)


def _upper(xp: Any, w: Any) -> Any:
    return xp.asarray([0.0, 0.0, 1.0, 1.0], dtype=w.dtype) + 0 * w


def _ones(xp: Any, S: Any) -> Any:
    return xp.ones_like(S)


def _tanh(xp: Any, S: Any) -> Any:
    return xp.tanh(S)


ROWS = (
    Row(
        "U tanh(S) Vh, distinct values",
        _matrix([4.0, 3.0, 2.0, 1.0], 5, 4),
        _of_svd(_tanh),
        lambda x: inner(x, sg.svd_function(x, sg.functions.tanh)),
        "svd_function",
    ),
    Row(
        "the same, of a complex matrix",
        _matrix([4.0, 3.0, 2.0, 1.0], 5, 4, complex),
        _of_svd(_tanh),
        lambda x: inner(x, sg.svd_function(x, sg.functions.tanh)),
        "svd_function",
        in_readme=False,
    ),
    Row(
        "U tanh(S) Vh, a gap of 1e-12",
        _matrix([4.0, 1.0 + 1e-12, 1.0, 0.5], 5, 4),
        _of_svd(_tanh),
        lambda x: inner(x, sg.svd_function(x, sg.functions.tanh)),
        "svd_function",
    ),
    Row(
        "sum of the singular values, at the identity",
        np.eye(4),
        lambda x, svd: array_namespace(x).sum(svd(x)[1]),
        sg.nuclear_norm,
        "nuclear_norm",
    ),
    Row(
        "polar factor U Vh, at the identity",
        np.eye(4),
        _of_svd(_ones),
        lambda x: inner(x, sg.orthogonalize(x)),
        "orthogonalize",
    ),
    Row(
        "nearest rotation, at a rotation",
        _matrix([1.0, 1.0, 1.0], 3, 3),
        _nearest_rotation,
        lambda x: inner(x, sg.nearest_rotation(x)),
        "nearest_rotation",
        rotation=True,
    ),
    Row(
        "nearest rotation, of a random matrix",
        _matrix([3.0, 2.0, 1.0], 3, 3),
        _nearest_rotation,
        lambda x: inner(x, sg.nearest_rotation(x)),
        "nearest_rotation",
        rotation=True,
        in_readme=False,
    ),
    Row(
        "best approximation of rank 2, of a matrix of rank 2",
        np.eye(5, 4) * np.array([3.0, 2.0, 0.0, 0.0]),
        _of_svd(_leading),
        lambda x: inner(x, sg.low_rank(x, 2)),
        "low_rank",
    ),
    Row(
        "inverse square root, at the identity",
        np.eye(4),
        _of_eigh(lambda xp, w: 1 / xp.sqrt(w)),
        lambda x: inner(x, sg.inv_sqrtm(x)),
        "inv_sqrtm",
        hermitian=True,
    ),
    Row(
        "projector on two degenerate levels, complex",
        _hermitian([0.0, 1.0, 2.0, 2.0], complex),
        _of_eigh(_upper),
        lambda x: inner(x, sg.eigenprojector(x, 2)),
        "eigenprojector",
        hermitian=True,
    ),
    Row(
        "log of the determinant, repeated eigenvalues",
        _hermitian([1.0, 1.0, 2.0, 2.0]),
        lambda x, eigh: array_namespace(x).sum(array_namespace(x).log(eigh(x)[0])),
        lambda x: sg.eigvalsh_sum(x, sg.functions.log),
        "eigvalsh_sum",
        hermitian=True,
        in_readme=False,
    ),
)
