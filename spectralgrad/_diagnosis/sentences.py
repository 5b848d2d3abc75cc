"""What a report says of one matrix, in sentences that are true of that matrix.

Each is about one thing (`about`), and names a `cause` and a `remedy` where something is undefined
or inaccurate. The words for ties and zeros are those of the library's warnings (`undefined`).
"""

from __future__ import annotations

from collections.abc import Iterator

from .._spectrum.naming import name_pair, name_zero
from .._spectrum.undefined import (
    BLIND_INSTEAD,
    KEEP_OUT,
    NOT_DETERMINED,
    OVERFLOW,
    POLICIES_INSTEAD,
)
from .element import Element, Finding


def findings_of(e: Element) -> tuple[Finding, ...]:
    """All that there is to say."""
    if not e.finite:
        return (_not_finite(e),)
    if not e.S:
        return (Finding("entries", "", "The matrix has no singular values"),)
    return (*_scale(e), *_vectors(e), *_zero_values(e), *_polar(e), *_cut(e), *_cotangents(e))


def _not_finite(e: Element) -> Finding:
    if any(value == float("inf") for value in e.S):
        what, remedy = OVERFLOW
        return Finding("entries", "overflow", what[0].upper() + what[1:], remedy)
    what = "The matrix, or a cotangent of it, holds NaN or Inf, and its derivatives are NaN"
    return Finding("entries", "not finite", what, f"Replace these entries. {KEEP_OUT}")


def _scale(e: Element) -> Iterator[Finding]:
    square = e.S[0] * e.S[0]
    if e.S[0] == 0 or e.smallest_normal < square < 1 / e.smallest_normal:
        return
    what = (
        f"The square of S[0] = {e.S[0]:.6g} leaves the range of the dtype, so rules that divide by "
        "S[i]^2 - S[j]^2, as is usual, give Inf, NaN or zeros"
    )
    remedy = (
        "Differentiate by this library, which squares no value, or scale x by a power of two "
        "before other code sees it; second derivatives are of the size 1/S[0]^2 and want it too"
    )
    yield Finding("scale", "range", what, remedy)


def _tie(e: Element, i: int, j: int) -> str:
    if j == i + 1:
        return name_pair("S", e.S, i)
    a, b = e.S[i], e.S[j]
    return (
        f"S[{i}] = {a:.6g} to S[{j}] = {b:.6g} count as equal, each to the next (the largest is "
        f"{e.S[0]:.6g})"
    )


def functions_of(e: Element) -> str:
    """Functions of the matrix that are differentiable at this one."""
    if not e.complete:
        return "Take a cut in a gap, where a loss of U_k U_k^H or U_k f(S_k) V_k^H is one of x"
    names = ["orthogonalize", "polar"] if e.rank == len(e.S) else []
    condition = " with f(0) = 0" if e.rank < len(e.S) else ""
    names.append(f"svd_function(x, f) of a smooth f{condition}")
    cuts = [k for k in range(1, len(e.S)) if e.good_cut(k)]
    if cuts:
        shown = ", ".join(map(str, cuts[:3])) + (", ..." if len(cuts) > 3 else "")
        names.append(f"low_rank and singular_projector with k = {shown}")
    names.append("nuclear_norm and svdvals, a subgradient at kinks")
    names.append("directional_svdvals, one-sided")
    return "Differentiate a function of the matrix instead of its factors: " + "; ".join(names)


def _vectors(e: Element) -> Iterator[Finding]:
    remedy = functions_of(e)
    for i, j in e.ties():
        what = (
            f"{_tie(e, i, j)}, so their vectors are no functions of x, and a gradient that "
            "touches their columns of U or Vh is NaN"
        )
        yield Finding("vectors", "tie", what, remedy + POLICIES_INSTEAD)
    if any(e.undefined):
        return
    where = _nearest(e)
    error = f"{e.vector_error:.1g}"
    if e.vector_error > e.eps**0.5:
        what = (
            f"Gradients through U and Vh have a relative error of about {error}, eps over the "
            f"relative size of {where}"
        )
        yield Finding("vectors", "near tie" if "gap" in where else "small value", what, remedy)
    elif where:
        what = f"Gradients through U, S and Vh exist, with a relative error of about {error}"
        yield Finding("vectors", "", f"{what} (from {where})")
    else:
        yield Finding("vectors", "", "The gradient through U, S and Vh exists")


def _nearest(e: Element) -> str:
    """The least of what gradients of the leading vectors divide by."""
    least, words = float("inf"), ""
    for i in range(min(e.leading, len(e.S) - 1)):
        if e.S[i] - e.S[i + 1] < least:
            least = e.S[i] - e.S[i + 1]
            words = f"the gap S[{i}] - S[{i + 1}] = {least:.3g}"
    last = e.leading - 1
    if not e.is_real_square and e.S[last] < least:
        words = f"the value S[{last}] = {e.S[last]:.3g}"
    return words


def _zero_values(e: Element) -> Iterator[Finding]:
    columns = [i for i in range(e.leading) if e.undefined[i]]
    free = [i for i in columns if e.zero[i] or _is_small(e, i)]
    if e.rank < len(e.S):
        first = e.rank
        count = len(e.S) - first
        others = ("", f", as does S[{first + 1}]", f", as do the {count - 1} values after it")
        what = name_zero("S", e.S, first) + others[min(count, 3) - 1]
        rank = f"{what}: x has the numerical rank {e.rank}"
        if free:
            rank += ", and a gradient that touches vectors which this leaves free is NaN"
        yield Finding("zero values", "zero", rank, _for_low_rank(e))
    elif free:
        what = (
            f"{name_zero('S', e.S, free[0])} beside gaps of eps^(3/4) S[0], so a gradient that "
            "touches its vectors is NaN, though functions of x know it to a few digits"
        )
        yield Finding("zero values", "small value", what, functions_of(e))


def _is_small(e: Element, i: int) -> bool:
    """Whether a value counts as equal to minus itself."""
    return bool(2 * e.S[i] <= e.eps**0.75 * e.S[0])


def _for_low_rank(e: Element) -> str:
    if e.rank == 0:
        return (
            "svd_function(x, f) of a smooth f with f(0) = 0 is differentiable; nuclear_norm has "
            "the subgradient 0"
        )
    names = []
    apart = len(set(e.cluster[: e.rank])) == e.rank and not _is_small(e, e.rank - 1)
    if e.good_cut(e.rank) and apart:
        what = "triplet" if e.rank == 1 else f"{e.rank} triplets"
        names.append(f"losses of the leading {what} alone")
    if e.complete and e.good_cut(e.rank):
        names.append(f"low_rank(x, {e.rank}) and singular_projector(x, {e.rank})")
    elif e.good_cut(e.rank):
        names.append(f"truncated_svd(x, {e.rank})")
    if e.complete:
        names.append("svd_function(x, f) of a smooth f with f(0) = 0")
        names.append("nuclear_norm, which counts zero values 0")
    if e.is_real_square and e.rank == len(e.S) - 1 and e.rank and _turns(e):
        names.append("nearest_rotation")
    return f"These exist: {'; '.join(names)}" if names else KEEP_OUT


def _turns(e: Element) -> bool:
    """Whether the rotation nearest to x is determined, whatever the sign of det x."""
    return bool(e.S[-2] - e.S[-1] > 2 * e.shape[0] ** 0.5 * e.eps * e.S[0])


def _polar(e: Element) -> Iterator[Finding]:
    if e.polar_condition is None:
        return
    if e.polar_condition == float("inf"):
        what = f"The polar factor jumps where {name_zero('S', e.S)}, so orthogonalize is NaN there"
        remedy = "Differentiate svd_function(x, f) of an f that is smooth at zero, such as tanh"
        yield Finding("polar factor", "zero", what, f"{remedy}, or {_least_norm()}")
        return
    condition = e.polar_condition
    what = (
        "orthogonalize and polar are differentiable: to first order a change dx moves the polar "
        f"factor by at most {condition:.3g} ||dx||/S[0]"
    )
    if condition * e.eps > e.eps**0.5:
        what += f", which is known to a relative error of about {condition * e.eps:.1g}"
        remedy = "An f with a smaller slope at zero amplifies less: svd_function(x, tanh)"
        yield Finding("polar factor", "small value", what, remedy)
    else:
        yield Finding("polar factor", "", what)


def _least_norm() -> str:
    return "choose undefined='least_norm' to leave the undefined part out of the derivative"


def _cut(e: Element) -> Iterator[Finding]:
    k = e.k
    if k is None or e.cut_gap is None or e.nearest_cut is None:
        return
    if k == min(e.shape):
        yield Finding("cut", "", f"k = {k} keeps every value: low_rank(x, {k}) is x")
    elif k == len(e.S):
        yield Finding("cut", "", f"k = {k}: what follows the cut was not computed")
    elif e.cut_tied:
        what = (
            f"The cut after {k} values splits a tie, {name_pair('S', e.S, k - 1)}: low_rank, "
            "singular_projector and truncated_svd have no derivative"
        )
        if e.nearest_cut:
            remedy = f"Cut at k = {e.nearest_cut}, the nearest that splits none"
        else:
            remedy = f"No cut up to {len(e.S) - 1} splits none: take a larger k"
        yield Finding("cut", "tie", what, remedy)
    else:
        error = e.eps / e.cut_gap
        what = (
            f"The cut after {k} values lies in a gap of {e.cut_gap:.3g} S[0]: the space of the "
            f"leading vectors has a derivative, known to about {error:.1g}"
        )
        if error > e.eps**0.5:
            remedy = f"Move k to a wider gap than S[{k - 1}] - S[{k}]"
            yield Finding("cut", "near tie", what, remedy)
        else:
            yield Finding("cut", "", what)


def _cotangents(e: Element) -> Iterator[Finding]:
    if e.tie_residual is None or e.phase_residual is None:
        return
    if e.ok:
        what = "The gradient for these cotangents exists"
        if any(e.undefined) or e.rank < len(e.S):
            what = (
                "svd returns a gradient for these cotangents, which touch no vector that is free; "
                "for S alone it is a subgradient at ties and zeros"
            )
        yield Finding("cotangents", "", what)
        return
    rounding = e.eps**0.5
    if e.phase_residual > rounding:
        what = (
            "The loss depends on what x does not determine, the phase of a complex vector: by "
            f"{e.phase_residual:.2g} of the cotangents' size"
        )
        yield Finding("cotangents", "phase", what, BLIND_INSTEAD)
    elif e.tie_residual > rounding:
        what = (
            "The loss depends on what x does not determine, the choice of vectors in a tie: by "
            f"{e.tie_residual:.2g} of the cotangents' size"
        )
        yield Finding("cotangents", "choice of vectors", what, BLIND_INSTEAD)
    elif e.ties():
        what = (
            "The cotangents touch columns in a tie, without a dependence on the choice of vectors: "
            "the loss may be a function of x, whose gradient they do not hold"
        )
        yield Finding("cotangents", "tie", what, functions_of(e) + POLICIES_INSTEAD)
    else:
        what = (
            f"The loss depends on {NOT_DETERMINED}, or uses S where a zero value leaves its "
            "vectors free"
        )
        yield Finding("cotangents", "zero", what, BLIND_INSTEAD)
