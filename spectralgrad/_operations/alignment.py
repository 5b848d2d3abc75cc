r"""Alignment of point sets: the rotation, scale and translation of least squares.

With normalized weights w_n, centred points p_n, q_n and the covariance H = sum w_n q_n p_n^T,

    sum w_n |q_n - c R p_n|^2 = sum w_n |q_n|^2 - 2 c <R, H> + c^2 sum w_n |p_n|^2,

least at the polar factor R of H, signed for a rotation (`polar`), and c = <R, H>/sum w_n |p_n|^2.
All is made of Primitives, whose rules of any order compose: R where it is determined, at perfect
alignment, and for coplanar points. H carries the rounding errors of its n points and of centring
them; what its second sum s_(d-1) + d s_d cannot be told from zero by makes R undetermined.

Points are taken in units of the largest, so that nothing overflows or underflows in H.

Sources: Kabsch (1976), A solution for the best rotation to relate two sets of vectors; Umeyama
(1991), Least-squares estimation of transformation parameters between two point patterns;
Schoenemann (1966), A generalized solution of the orthogonal Procrustes problem.
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple

from .._bindings.array import Array, Arrays, ArrayT, array_namespace, eps
from .._engine.arguments import enter
from .._engine.checks import check_pair, check_weights
from .._engine.elementary import filled, inverse, largest_entry, measured, root
from .._engine.linear import (
    broadcast,
    cast,
    dtype_name,
    inner,
    matmul,
    multiply,
    nan_derivative_if,
    nan_unless_finite,
    row,
    subtract,
    unrow,
)
from .declaration import operation
from .norms import nuclear
from .point_rounding import kink_floor, noise_of, undetermined
from .polar import polar_factor
from .svd import svd_factors


class KabschResult(NamedTuple, Generic[ArrayT]):
    """q_n is near scale * rotation @ p_n + translation, at the root mean square distance rmsd."""

    rotation: ArrayT
    translation: ArrayT
    scale: ArrayT
    rmsd: ArrayT


class ProcrustesResult(NamedTuple, Generic[ArrayT]):
    """A @ rotation is near B; `scale` is the nuclear norm of A^H B."""

    rotation: ArrayT
    scale: ArrayT


def _as_pair(A: Array, B: Array, function: str, names: tuple[str, str], *, alike: str) -> Arrays:
    """Two arrays of one batch and dtype, and what narrows results."""
    (A, narrow), (B, narrow_b) = enter(A, function, names[0]), enter(B, function, names[1])
    batch, dtype = check_pair(A, B, function, names, alike=alike)
    wanted = dtype_name(array_namespace(A).empty((0,), dtype=dtype))
    narrow = narrow if dtype_name(A) == wanted else narrow_b
    pair = (nan_unless_finite(cast(x, wanted)) for x in (A, B))
    return *(broadcast(x, (*batch, *x.shape[-2:])) for x in pair), narrow


def _normalized(weights: Array, P: Array, batch: tuple[int, ...]) -> Array:
    """Weights that add up to one, (..., points)."""
    if weights is None:
        return filled(P, value=1 / P.shape[-2], axes=1, ones=0)
    check_weights(weights, P)
    w = broadcast(cast(weights, dtype_name(P)), tuple(P.shape[:-1]))
    ones = filled(w, value=1.0, axes=0, ones=0)
    return multiply(inverse(inner(ones, w, axes=1)), w, axes=1)


def _centred(w: Array, P: Array) -> Arrays:
    """The centroid as a row, and the points about it."""
    centroid = matmul(row(w), P)
    ones = filled(P, value=1.0, axes=1, ones=1)
    return centroid, subtract(P, matmul(ones, centroid))


def _rotation(
    w: Array, p: Array, q: Array, noise: Array, *, scale: Any, reflection: bool
) -> Arrays:
    """R, and c if wanted; the points are taken in units of their own."""
    size_p, size_q = largest_entry(p), largest_entry(q)
    unit_p = measured(p, size_p, axes=2, inverse=False)
    unit_q = measured(q, size_q, axes=2, inverse=False)
    H = matmul(multiply(w, unit_q, axes=1), unit_p, left=True)
    U, S, Vh = svd_factors(H)
    H = nan_derivative_if(H, undetermined(S, U, Vh, noise, reflection=reflection))
    R = polar_factor(H, U, S, Vh, signed=not reflection)
    if not scale:
        return R, None
    spread = inner(multiply(w, unit_p, axes=1), unit_p, axes=2)
    ratio = multiply(inverse(spread), inner(R, H, axes=2), axes=0)
    ratio = measured(ratio, size_q, axes=0, inverse=True)
    return R, measured(ratio, size_p, axes=0, inverse=False)


def _deviation(w: Array, q: Array, moved: Array, noise: Array) -> Array:
    """sqrt(sum w |q - moved|^2), with a kink at zero to rounding."""
    left = subtract(q, moved)
    size = largest_entry(left)
    unit = measured(left, size, axes=2, inverse=False)
    whole = largest_entry(q)
    squares = inner(multiply(w, unit, axes=1), unit, axes=2)
    floor = kink_floor(size, whole, noise)
    return measured(root(squares, floor), size, axes=0, inverse=True)


@operation("alignment", arrays=2, real=True, at_zeros=False)
def kabsch(
    P: ArrayT,
    Q: ArrayT,
    weights: ArrayT | None = None,
    *,
    scale: bool = False,
    reflection: bool = False,
) -> KabschResult[ArrayT]:
    r"""Rotation, translation and scale that bring the points P nearest to Q.

    Parameters
    ----------
    P, Q : array (..., points, d)
        Real; rows are points, one set each or stacks that broadcast.
    weights : array (..., points), optional
        Not negative; equal if left out. They need not add up to one.
    scale : bool
        Whether a scale is fitted too; 1 otherwise.
    reflection : bool
        Whether the rotation may be any orthogonal matrix, with determinant -1 too.

    Returns
    -------
    KabschResult
        rotation R (..., d, d), translation t (..., d), scale c (...) and rmsd (...), the root of
        the weighted mean of |q_n - (c R p_n + t)|^2, which they make least.

    Raises
    ------
    TypeError, ValueError
        For arrays that are no real floating point sets of one shape and library, or weights that do
        not go with them.

    Notes
    -----
    The rotation is that of ``scipy.spatial.transform.Rotation.align_vectors(Q, P)`` for centred
    points. Everything is differentiable in P, Q and weights, to second order, where the rotation is
    determined: for coplanar points and at perfect alignment too. Where it is not (collinear points
    in three dimensions, coplanar ones with `reflection`, a reflection as good as a rotation), to
    the rounding error of the covariance, derivatives are NaN, without a warning. rmsd has a kink at
    zero: the gradient there is 0, the second derivative NaN. The cost is that of a few passes over
    the points and a decomposition of a d x d matrix. Kabsch (1976); Umeyama (1991).

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> P = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> quarter_turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    >>> found = sg.kabsch(P, P @ quarter_turn.T + np.array([5.0, 0.0]))
    >>> np.allclose(found.rotation, quarter_turn), np.allclose(found.translation, [5.0, 0.0])
    (True, True)
    """
    P, Q, narrow = _as_pair(P, Q, "kabsch", ("P", "Q"), alike="points")
    w = _normalized(weights, P, P.shape[:-2])
    (p_mean, p), (q_mean, q) = _centred(w, P), _centred(w, Q)
    noise = noise_of(P, p, Q, q, points=P.shape[-2])
    R, ratio = _rotation(w, p, q, noise, scale=scale, reflection=reflection)
    moved, moved_mean = matmul(p, R, right=True), matmul(p_mean, R, right=True)
    if scale:
        moved, moved_mean = multiply(ratio, moved, axes=2), multiply(ratio, moved_mean, axes=2)
    else:
        ratio = filled(P, value=1.0, axes=2, ones=0)
    translation = unrow(subtract(q_mean, moved_mean))
    return KabschResult(*map(narrow, (R, translation, ratio, _deviation(w, q, moved, noise))))


@operation("alignment", arrays=2, at_zeros=False)
def procrustes(A: ArrayT, B: ArrayT, /) -> ProcrustesResult[ArrayT]:
    r"""The orthogonal matrix R that brings A R nearest to B.

    Parameters
    ----------
    A, B : array (..., m, n)
        Real or complex.

    Returns
    -------
    ProcrustesResult
        rotation (..., n, n), orthogonal or unitary, of either determinant, and scale (...), the sum
        of the singular values of A^H B.

    Raises
    ------
    TypeError, ValueError
        For arrays that are not floating-point matrices of one shape and library.

    Notes
    -----
    Values as those of `scipy.linalg.orthogonal_procrustes`. R is the polar factor of A^H B: where
    that is singular, to the rounding error of the product, R jumps and its derivative is NaN,
    without a warning; that of the scale is the subgradient of `nuclear_norm`. Second derivatives
    too. Schoenemann (1966).

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> A = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> sg.procrustes(A, A[:, ::-1]).rotation
    array([[0., 1.],
           [1., 0.]])
    """
    A, B, narrow = _as_pair(A, B, "procrustes", ("A", "B"), alike="matrices")
    size_a, size_b = largest_entry(A), largest_entry(B)
    unit_a = measured(A, size_a, axes=2, inverse=False)
    unit_b = measured(B, size_b, axes=2, inverse=False)
    M = matmul(unit_a, unit_b, left=True)
    U, S, Vh = svd_factors(M)
    noise = filled(S, value=max(A.shape[-2:]) * eps(A), axes=1, ones=0)
    bad = undetermined(S, U, Vh, noise, reflection=True)
    R = polar_factor(nan_derivative_if(M, bad), U, S, Vh)
    total = measured(nuclear(M, U, S, Vh), size_a, axes=0, inverse=True)
    total = measured(total, size_b, axes=0, inverse=True)
    return ProcrustesResult(narrow(R), narrow(total))
