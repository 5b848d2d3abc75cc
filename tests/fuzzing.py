"""Matrices that are hard on derivatives, and references for them in 60 digits.

A reference knows no derivative formula: it evaluates Re <C, F(x + h d)> for h = +-1e-20 in mpmath,
F by mpmath's own decompositions. What rounding of the input would do is measured the same way, at
an input eps/4 away, and a result may err by 100 times that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
from hypothesis import strategies as st

mp.mp.dps = 60
STEP = mp.mpf(10) ** -20
THRESHOLD = 0.7


# ---------------------------------------------------------------------- inputs


@st.composite
def spectra(draw, k, eps):
    """k values, descending, the largest about 1."""
    kind = draw(
        st.sampled_from(["spread", "tie", "near tie", "zeros", "tiny", "graded", "cluster"])
    )
    values = sorted(draw(st.lists(st.floats(0.2, 2), min_size=k, max_size=k)), reverse=True)
    top = values[0]
    if kind == "tie":
        values = [top] * (k - 1) + values[k - 1 :]
    elif kind == "near tie" and k > 1:
        values[1] = top * (1 - 10.0 ** -draw(st.floats(1, 16)))
    elif kind == "zeros" and k > 1:
        values[draw(st.integers(1, k - 1)) :] = [0.0] * (k - draw(st.integers(1, k - 1)))
    elif kind == "tiny" and k > 1:
        values[-1] = top * eps * 10.0 ** draw(st.floats(-1, 8))
    elif kind == "graded":
        values = list(10.0 ** -np.linspace(0, draw(st.floats(1, 12)), k))
    elif kind == "cluster":
        values = [1 - 10.0 ** -draw(st.floats(3, 15)) * i for i in range(k)]
    return np.sort(values[:k])[::-1]


@dataclass(frozen=True)
class Sample:
    """A small matrix, direction and cotangent source, and how it is dressed up."""

    x: np.ndarray
    seed: int
    rows: int  # zero rows put in, which no singular value sees
    scale: int  # a power of two

    def dressed(self, a: np.ndarray) -> np.ndarray:
        """The matrix with its zero rows and its scale."""
        out = np.zeros((len(a) + self.rows, a.shape[1]), a.dtype)
        at = np.random.default_rng(self.seed).permutation(len(out))[: len(a)]
        out[np.sort(at)] = np.ldexp(a, self.scale)
        return out

    def undressed(self, a: np.ndarray, rows: int) -> np.ndarray:
        at = np.random.default_rng(self.seed).permutation(rows + self.rows)[:rows]
        return a[np.sort(at)]


@st.composite
def samples(draw, dtype, *, hermitian=False, sizes=(1, 4), rows=(0,), scales=(0,)):
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    m, n = (draw(st.integers(*sizes)) for _ in range(2))
    n = m if hermitian else n
    values = draw(spectra(min(m, n), float(np.finfo(dtype).eps)))
    D = np.zeros((m, n))
    np.fill_diagonal(D, values)
    rotated = draw(st.booleans())
    U, V = (np.linalg.qr(rng.standard_normal((k, k)))[0] if rotated else np.eye(k) for k in (m, n))
    x = U @ D @ (U.T if hermitian else V.T)
    if hermitian:
        x = (x + x.T) / 2
    more = draw(st.sampled_from(rows)) if m >= n else 0  # others would add zero values
    return Sample(x.astype(dtype), seed, more, draw(st.sampled_from(scales)))


# ---------------------------------------------------------------------- references


def to_mp(a: np.ndarray) -> mp.matrix:
    out = mp.matrix(*a.shape)
    for index in np.ndindex(*a.shape):
        out[index] = mp.mpf(float(a[index]))
    return out


def of_values(A: mp.matrix, f: Any) -> mp.matrix:
    """U f(S) V^T."""
    if A.rows < A.cols:
        return of_values(A.T, f).T
    U, S, V = mp.svd_r(A)
    return U * mp.diag([f(s, i) for i, s in enumerate(S)]) * V


def of_eigenvalues(A: mp.matrix, f: Any) -> mp.matrix:
    w, Q = mp.eigsy((A + A.T) / 2)
    return Q * mp.diag([f(v) for v in w]) * Q.T


def sum_of(A: mp.matrix, f: Any) -> mp.matrix:
    S = mp.svd_r(A if A.rows >= A.cols else A.T, compute_uv=False)
    return mp.matrix([[f(S)]])


def pairing(C: np.ndarray, Y: mp.matrix) -> Any:
    C = np.reshape(C, (Y.rows, Y.cols))
    return mp.fsum(mp.mpf(float(C[i])) * Y[i] for i in np.ndindex(*C.shape))


def derivative(F: Any, C: np.ndarray, x: mp.matrix, *directions: mp.matrix) -> Any:
    """That of <C, F> along one or two directions, by central differences."""
    *rest, d = directions
    along = lambda z: derivative(F, C, z, *rest) if rest else pairing(C, F(z))
    step = STEP ** mp.mpf(1 if not rest else "0.75")
    return (along(x + d * step) - along(x - d * step)) / (2 * step)


def expected(F: Any, C: np.ndarray, x: np.ndarray, *directions: np.ndarray) -> tuple[Any, Any]:
    """The derivative, and by how much rounding the input and the directions changes it."""
    rng, eps = np.random.default_rng(0), float(np.finfo(x.dtype).eps)
    exact = [to_mp(a) for a in (x, *directions)]
    wanted = derivative(F, C, *exact)
    change = mp.mpf(0)
    for _ in range(2):
        moved = []
        for a, A in zip((x, *directions), exact, strict=True):
            unit = eps / 4 * max(float(np.max(np.abs(a))), 1e-300)
            moved.append(A + to_mp(rng.standard_normal(a.shape)) * unit)
        change = max(change, abs(derivative(F, C, *moved) - wanted))
    return wanted, change
