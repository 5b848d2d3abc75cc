"""Truncated decompositions of sparse matrices beside SciPy's `svds` and `eigsh`, of ARPACK."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

import spectralgrad as sg

from .timing import Case

RANKS = (16, 32, 64, 128)
MOST_ROWS = 100_000  # which targets are for
TARGETS = {
    "identifiers": (1.2, 1.2, 1.0, 0.8),
    "flat": (1.2, 1.2, 1.0, 0.8),
    "decaying": (0.5, 0.5, 0.5, 0.5),
}


def beside_arpack(sizes: Sequence[int], _: str) -> Iterator[Case]:
    """Forward against `svds`, and backward against forward; k to an eighth of the largest size."""
    from . import sparse_matrices

    rows = min(100 * max(sizes), MOST_ROWS)
    for kind, targets in TARGETS.items():
        A = getattr(sparse_matrices, kind)(rows, rows // 5)
        for k, target in zip(RANKS, targets, strict=True):
            if k <= max(sizes) / 8:
                yield forward(kind, A, k, target if rows == MOST_ROWS else None)
                yield backward(kind, A, k, 1.0 if rows == MOST_ROWS else None)
    H = graph(sparse_matrices.identifiers(rows * 3 // 10, rows // 5))
    for k, target in zip(RANKS, TARGETS["identifiers"], strict=True):
        if k <= max(sizes) / 8:
            yield hermitian(H, k, target if rows == MOST_ROWS else None)


def forward(kind: str, A: Any, k: int, target: float | None) -> Case:
    """Both with residuals up to our default tolerance, beside the largest value."""
    from scipy.sparse.linalg import svds

    ours = partial(sg.truncated_svd, A, k)
    found = ours()
    # ARPACK's is one of ||A^H A v - s^2 v|| / s^2, which is ||A^H u - s v|| / s
    tol = max(8 * max(A.shape) ** 0.5, 128) * np.finfo(float).eps * found.S[0] / found.S[-1]
    start = np.random.default_rng(0).standard_normal(min(A.shape))
    theirs = partial(svds, A, k, tol=tol, v0=start)
    both = (found, theirs())
    return Case(
        name=f"truncated_svd k={k}, {kind}",
        library="scipy.sparse",
        size=size(A),
        ours=ours,
        theirs=theirs,
        against="svds, ARPACK",
        target=target,
        errors=tuple(residual(A, *triplets) for triplets in both),
        orthogonality=tuple(orthogonality(*triplets) for triplets in both),
    )


def backward(kind: str, A: Any, k: int, target: float | None) -> Case:
    """The gradient on the pattern of A, for cotangents that a random loss of U and S has."""
    (U, S, _), pullback = sg.vjp(sg.truncated_svd, A, k=k)
    bars = (np.random.default_rng(1).standard_normal(U.shape), S, None)
    pattern = A.nonzero()
    return Case(
        name=f"truncated_svd k={k}, {kind}, backward",
        library="scipy.sparse",
        size=size(A),
        ours=lambda: pullback(bars)[0].at(*pattern),
        theirs=partial(sg.truncated_svd, A, k),
        against="its forward",
        target=target,
    )


def graph(A: Any) -> Any:
    """The symmetric matrix of the graph with an edge for each entry of A."""
    from scipy.sparse import block_array, csr_array

    return csr_array(block_array([[None, A], [A.T, None]]))


def hermitian(H: Any, k: int, target: float | None) -> Case:
    """The largest eigenvalues, both with residuals up to our default tolerance."""
    from scipy.sparse.linalg import eigsh

    ours = partial(sg.truncated_eigh, H, k)
    w = ours().eigenvalues
    tol = max(8 * H.shape[0] ** 0.5, 128) * np.finfo(float).eps * w[-1] / w[0]
    start = np.random.default_rng(0).standard_normal(H.shape[0])
    theirs = partial(eigsh, H, k, which="LA", tol=tol, v0=start)

    def error(w: np.ndarray, Q: np.ndarray) -> float:
        return float(np.max(np.linalg.norm(H @ Q - Q * w, axis=0)) / np.max(w))

    return Case(
        name=f"truncated_eigh k={k}, graph of identifiers",
        library="scipy.sparse",
        size=size(H),
        ours=ours,
        theirs=theirs,
        against="eigsh, ARPACK",
        target=target,
        errors=(error(*ours()), error(*theirs())),
    )


def size(A: Any) -> str:
    return "{} x {}".format(*A.shape)


def residual(A: Any, U: np.ndarray, S: np.ndarray, Vh: np.ndarray) -> float:
    """The greatest of ||A v - s u|| and ||A^H u - s v||, over the largest value."""
    V = Vh.T
    sides = (A @ V - U * S, A.T @ U - V * S)
    return float(max(np.max(np.linalg.norm(R, axis=0)) for R in sides) / np.max(S))


def orthogonality(U: np.ndarray, S: np.ndarray, Vh: np.ndarray) -> float:
    """The norm of U^H U - I or of V^H V - I, whichever is greater."""
    return float(max(np.linalg.norm(W.T @ W - np.eye(len(S)), 2) for W in (U, Vh.T)))
