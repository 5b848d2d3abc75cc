r"""Alignment of point sets: the rotation, scale and translation of least squares.

With normalized weights w_n, centred points p_n, q_n and the covariance H = sum w_n q_n p_n^T,

    sum w_n |q_n - c R p_n|^2 = sum w_n |q_n|^2 - 2 c <R, H> + c^2 sum w_n |p_n|^2,

least at the polar factor R of H, signed for a rotation (`polar`), and c = <R, H>/sum w_n |p_n|^2.
The least value and c are differentiated as extrema, wherever R stands (`superposition`); R itself
where it is determined, at perfect alignment and for coplanar points too. H has an error of a few
eps of the points' size, beside which what must not vanish counts as zero.

Points are taken in units of the largest that has a weight, so that nothing overflows or underflows.

Sources: Kabsch (1976), A solution for the best rotation to relate two sets of vectors; Umeyama
(1991), Least-squares estimation of transformation parameters between two point patterns;
Schoenemann (1966), A generalized solution of the orthogonal Procrustes problem; Danskin (1967), The
theory of max-min, for the derivative of a minimum; Clarke (1983), Optimization and nonsmooth
analysis, section 2.8.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Generic, NamedTuple

from .._bindings.array import AnyArray, Array, Arrays, ArrayT, array_namespace, device
from .._bindings.lookup import library_of, truth
from .._engine.arguments import enter
from .._engine.checks import check_mask, check_pair, check_weights
from .._engine.elementary import filled, inverse, inverse_or_zero, largest_entry, measured
from .._engine.errors import warn
from .._engine.linear import (
    broadcast,
    cast,
    dtype_name,
    inner,
    matmul,
    multiply,
    nan_unless_finite,
    unrow,
)
from .._engine.options import check_flag
from .._engine.reading import read
from .._engine.tape import as_constant
from .._spectrum.undefined import KEEP_OUT, Policy, Undefined, check_undefined
from .best_rotation import best_rotation
from .declaration import operation
from .moments import moments
from .point_rounding import kink_floor, point_floor, product_floor
from .point_sums import gram
from .point_weights import equal_weights, idle, in_proportion, masked, without
from .rmsd import root
from .superposition import greatest, identity_like, mean_square, translation_of


class KabschResult(NamedTuple, Generic[ArrayT]):
    """q_n is near scale * rotation @ p_n + translation; msd = rmsd^2 is the mean squared error."""

    rotation: ArrayT
    translation: ArrayT
    scale: ArrayT
    rmsd: ArrayT
    msd: ArrayT


class ProcrustesResult(NamedTuple, Generic[ArrayT]):
    """A @ rotation is near B; `scale` is the nuclear norm of A^H B."""

    rotation: ArrayT
    scale: ArrayT


def _as_pair(A: Array, B: Array, function: str, names: tuple[str, str], *, alike: str) -> Arrays:
    """Two arrays of one batch and dtype, and what narrows results."""
    (A, narrow), (B, narrow_b) = enter(A, function, names[0]), enter(B, function, names[1])
    batch, dtype = check_pair(A, B, function, names, alike=alike)
    wanted = dtype_name(array_namespace(A).empty((0,), dtype=dtype, device=device(A)))
    narrow = narrow if dtype_name(A) == wanted else narrow_b
    pair = (cast(x, wanted) for x in (A, B))
    return *(broadcast(x, (*batch, *x.shape[-2:])) for x in pair), narrow


def _weighed(weights: Array | None, mask: Array | None, P: Array, Q: Array) -> Arrays:
    """Weights that add up to one, in a tuple, and the points, without those out of play.

    No weights stand for equal ones.
    """
    if weights is None and mask is None:
        return (), P, Q
    if weights is None:
        w = equal_weights(P)
    else:
        check_weights(weights, P)
        w = broadcast(cast(weights, dtype_name(P)), tuple(P.shape[:-1]))
    if mask is not None:
        check_mask(mask, P)
        w = without(w, masked(as_constant(mask), P))
    known = read(w, insist=False)
    if known is not None and truth(array_namespace(known).any(known < 0)):
        raise ValueError(
            "kabsch: `weights` has a negative entry; wanted weights of 0 and more, since there may "
            "be no least distance with others. Clip them, or leave points out by a weight of 0."
        )
    for X in (P, Q):
        w = without(w, idle(X, w))
    P, Q = (without(X, idle(X, w)) for X in (P, Q))
    w = in_proportion(w)
    one = filled(w, value=1.0, axes=0, ones=0)
    total = inner(one, w, axes=1)
    share = _inverse_of_total(total, filled(total, value=0.0, axes=0, ones=0))
    return (multiply(share, w, axes=1),), P, Q


def _no_weight(inputs: Arrays, outputs: Arrays) -> Exception | None:
    about, total = Undefined("kabsch"), inputs[0][..., None]
    what = "no point has a weight"
    return about.explain(total, (), outputs[0], lambda values: what, KEEP_OUT, order=0)


_inverse_of_total = replace(inverse, no_value=_no_weight)
# a scale of 1, with a derivative of zero that one may ask for
unfitted = replace(filled, carried=())


def _warn_of_transposed(P: Array) -> None:
    points, d = P.shape[-2:]
    if points in (2, 3) and d > 3 and library_of(P).sees_context():
        warn(
            UserWarning(
                f"kabsch: `P` and `Q` have shape {tuple(P.shape)}, which is {points} points in {d} "
                f"dimensions. If they are {d} points in {points}, put the points in rows: "
                "swap the last two axes."
            )
        )


@operation("alignment", arrays=2, real=True, at_zeros=False)
def kabsch(
    P: ArrayT,
    Q: ArrayT,
    weights: ArrayT | None = None,
    *,
    mask: AnyArray | None = None,
    scale: bool = False,
    reflection: bool = False,
    undefined: Policy = "nan",
) -> KabschResult[ArrayT]:
    r"""Rotation, translation and scale that bring the points P nearest to Q.

    Parameters
    ----------
    P, Q : array (..., points, d)
        Real; rows are points, one set each or stacks that broadcast.
    weights : array (..., points), optional
        Not negative; equal if left out. They need not add up to one. A point without weight may
        hold anything: its weight has a derivative unless the point is not finite, where that is 0.
    mask : boolean array (..., points), optional
        True where a point counts, in a shape that broadcasts to the points'. What is left out, such
        as padding, may hold anything, NaN too, and has a derivative of zero; so has its weight.
    scale : bool
        Whether a scale is fitted too; 1 otherwise.
    reflection : bool
        Whether the rotation may be any orthogonal matrix, with determinant -1 too.
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    KabschResult
        rotation R (..., d, d), translation t (..., d), scale c (...), and the weighted mean msd
        (...) of |q_n - (c R p_n + t)|^2, which they make least, with its root rmsd (...).

    Raises
    ------
    TypeError, ValueError
        For arrays that are no real floating point sets of one shape and library, or weights or a
        mask that do not go with them, or negative weights (NaN in their batch element where they
        cannot be read).
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    Warns
    -----
    UserWarning
        For 2 or 3 points in more than 3 dimensions, which look transposed.

    See Also
    --------
    procrustes, nearest_rotation

    Notes
    -----
    The rotation is that of ``scipy.spatial.transform.Rotation.align_vectors(Q, P)`` for centred
    points. rmsd, msd and scale are differentiated as extrema, at the minimiser held fixed: also
    where several rotations are as good (two points, points on a line, mirror images), with the mean
    of all minimisers, which gives the derivative if there is one and else an element of Clarke's
    subdifferential. rmsd has a kink at zero, to a few eps of the points' size: the gradient is 0
    there, the second derivative NaN; msd has both. rotation and translation are differentiable, to
    second order, where the rotation is determined, at perfect alignment and for coplanar points
    too. Where it is not (collinear points in three dimensions, coplanar ones with `reflection`, a
    reflection as good as a rotation), to the rounding error of the covariance, their derivatives
    are NaN. Of one point msd, rmsd and their gradients are 0. A fitted scale is NaN where the
    points of P coincide, and all is NaN without any point. The cost is that of some passes over the
    points and a decomposition of a d x d matrix. Kabsch (1976); Umeyama (1991); Danskin (1967).

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
    about = check_undefined(undefined, "kabsch")
    _warn_of_transposed(P)
    scale = check_flag(scale, "kabsch", "scale")
    reflection = check_flag(reflection, "kabsch", "reflection")
    w, P, Q = _weighed(weights, mask, P, Q)
    H, p, q, P_mean, Q_mean, size_p, size_q, floor = moments(P, Q, *w, alike=not scale)
    R, mean, several = best_rotation(H, floor, about, reflection=reflection)
    c, ratio, L = unfitted(H, value=1.0, axes=2, ones=0), None, R
    if scale:  # any will do, and 0 does, where P is one point
        square_p, floor_p = inner(identity_like(H), gram(p, p, *w), axes=2), point_floor(size_p)
        most = greatest(H, R, mean)
        c = multiply(inverse_or_zero(square_p, floor_p), most, axes=0)
        ratio = multiply(inverse(square_p, floor_p), most, axes=0)
        ratio = measured(
            measured(ratio, size_q, axes=0, inverse=True), size_p, axes=0, inverse=False
        )
        L = multiply(ratio, R, axes=2)
    translation = unrow(translation_of(L, P_mean, Q_mean, several, undefined=about))
    square, msd = mean_square(p, q, R, mean, several, c, size_q, *w)
    rmsd = measured(
        root(square, kink_floor(c), p, q, *w, undefined=about), size_q, axes=0, inverse=True
    )
    return KabschResult(*map(narrow, (R, translation, c if ratio is None else ratio, rmsd, msd)))


@operation("alignment", arrays=2, at_zeros=False)
def procrustes(A: ArrayT, B: ArrayT, /, *, undefined: Policy = "nan") -> ProcrustesResult[ArrayT]:
    r"""The orthogonal matrix R that brings A R nearest to B.

    Parameters
    ----------
    A, B : array (..., m, n)
        Real or complex.
    undefined : {"nan", "raise", "least_norm"}
        As for `orthogonalize`.

    Returns
    -------
    ProcrustesResult
        rotation (..., n, n), orthogonal or unitary, of either determinant, and scale (...), the sum
        of the singular values of A^H B.

    Raises
    ------
    TypeError, ValueError
        For arrays that are not floating-point matrices of one shape and library.
    DerivativeUndefinedError
        From the derivative, with undefined="raise".

    See Also
    --------
    kabsch, orthogonalize

    Notes
    -----
    Values as those of `scipy.linalg.orthogonal_procrustes`. R is the polar factor of A^H B: where
    that is singular, to the rounding error of the product, R jumps and its derivative is NaN; that
    of the scale is the subgradient of `nuclear_norm`. Second derivatives too. Schoenemann (1966).

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> A = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> sg.procrustes(A, A[:, ::-1]).rotation
    array([[0., 1.],
           [1., 0.]])
    """
    A, B, narrow = _as_pair(A, B, "procrustes", ("A", "B"), alike="matrices")
    A, B = nan_unless_finite(A), nan_unless_finite(B)
    size_a, size_b = largest_entry(A), largest_entry(B)
    unit_a = measured(A, size_a, axes=2, inverse=False)
    unit_b = measured(B, size_b, axes=2, inverse=False)
    M = matmul(unit_a, unit_b, left=True)
    about = check_undefined(undefined, "procrustes")
    R, mean, _ = best_rotation(M, product_floor(unit_a, unit_b), about, reflection=True)
    total = measured(greatest(M, R, mean), size_a, axes=0, inverse=True)
    total = measured(total, size_b, axes=0, inverse=True)
    return ProcrustesResult(narrow(R), narrow(total))
