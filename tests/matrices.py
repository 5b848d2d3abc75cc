"""Matrices with the spectra that break derivatives."""

from __future__ import annotations

import numpy as np

SPECTRA = {
    "spread": (3.0, 2.0, 1.2, 0.5),
    "pair": (2.0, 2.0, 1.0, 0.5),
    "triple": (2.0, 2.0, 2.0, 0.5),
    "all_equal": (1.5, 1.5, 1.5, 1.5),
    "gap1e-8": (2.0, 2.0 - 1e-8, 1.0, 0.5),
    "rank_deficient": (2.0, 1.0, 0.0, 0.0),
    "zero": (0.0, 0.0, 0.0, 0.0),
}
SHAPES = ((4, 4), (5, 3), (3, 5), (2, 4, 3))


def random(shape, *, seed=0, is_complex=False):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if is_complex else x


def orthonormal(rows, columns, *, seed, is_complex):
    return np.linalg.qr(random((rows, rows), seed=seed, is_complex=is_complex))[0][:, :columns]


def with_spectrum(m, n, values, *, seed=0, is_complex=False):
    """U diag(values) V^H with random U and V; `values` are cut to min(m, n)."""
    k = min(m, n)
    values = np.asarray(values, dtype=float)[:k]
    U = orthonormal(m, k, seed=seed, is_complex=is_complex)
    V = orthonormal(n, k, seed=seed + 1, is_complex=is_complex)
    return (U * values) @ V.conj().T


def hermitian(values, *, seed=0, is_complex=False):
    Q = orthonormal(len(values), len(values), seed=seed, is_complex=is_complex)
    x = (Q * np.asarray(values)) @ Q.conj().T
    return (x + x.conj().T) / 2


def sample(operation, shape, *, seed=0, is_complex=False):
    """A random matrix that the operation is defined for."""
    x = random(shape, seed=seed, is_complex=is_complex and not operation.real)
    if not operation.definite:
        return x
    return x @ np.conj(np.swapaxes(x, -1, -2)) + np.eye(shape[-1])
