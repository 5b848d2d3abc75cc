r"""Jacobi's method for stacks of tiny matrices, by arithmetic on the stack's numbers of one place.

The numbers (i, j) of all matrices of a stack are one array, and each step is taken in all of the
batch elements at once: for a 3 x 3 matrix LAPACK spends its time on calls.

Let a and b be two columns, alpha = a^H a, beta = b^H b, g = a^H b, and

    d = alpha - beta,  e = 2 g,  h = sqrt(d^2 + |e|^2),  f = |d| + h,  r = sqrt(f^2 + |e|^2).

If d >= 0, [[alpha, g], [conj(g), beta]] has the eigenvectors (c, s) and (-conj(s), conj(c)) with
c = f/r and s = conj(e)/r, for the eigenvalues alpha + |e|^2/(2 f) and beta - |e|^2/(2 f). Nothing
cancels. Hence

    a' = c a + s b,    b' = conj(c) b - conj(s) a

are orthogonal, and a' is the longer one. If d < 0 the columns trade places: c = e/r and s = f/r. So
a sweep over all pairs p < q also sorts, as selection by exchanges does.

One-sided (`svd`): the columns of A turn until they are orthogonal. With V, all turns together,
A V = U S. Each value is as accurate as the columns are independent once they have length one: it
does no harm if they are graded. A column so short that eps^2 alpha^2 would leave the dtype's range,
below some 1e-77 of the largest entry (1e-14 in single precision), counts as zero where directions
are concerned: its column of U is another one orthogonal to those before it. Two-sided (`eigh`): a
Hermitian matrix turns on both sides until it is diagonal.

A pair with |g| <= 2 eps sqrt(alpha beta) is left as it is. Turning another one, (a, b), brings back
no more of it than t = |s/c| sqrt(alpha/beta) times what (a, x) and (b, x) had, relative to their
lengths, if a is the longer; and no pair has more than its own t. But where columns trade places,
the one that comes to p has not met those between p and q. So the first sweep with t^2 <= eps/64 for
all pairs, in which none trades places over others, is the last. Convergence is quadratic, also at
ties.

Sources: Hestenes (1958), Inversion of matrices by biorthogonalization and related results; de Rijk
(1989), A one-sided Jacobi algorithm for computing the singular value decomposition on a vector
computer, for the sorting; Demmel and Veselic (1992), Jacobi's method is more accurate than QR.
"""

from __future__ import annotations

from functools import reduce
from itertools import chain, combinations
from operator import add
from typing import Any

from .._bindings.array import Array, Arrays, adjoint, array_namespace, eps, real
from .._bindings.lookup import library_of
from .._bindings.loops import loop_each
from .entries import (
    Columns,
    Numbers,
    conj,
    dot,
    identity,
    in_columns,
    in_units,
    matrix_of,
    size2,
    times,
    tiny,
    vector_of,
)

MOST = 30  # sweeps; a batch element that needs more is NaN
TRACED = {2: 4, 3: 10, 4: 12}  # by the number of columns, where nobody can see how many are needed


def svd(x: Array) -> Arrays:
    """U, S, Vh of each matrix, thin, for few rows or few columns."""
    (m, n), xp = x.shape[-2:], array_namespace(x)
    if m < n:
        U, S, Vh = svd(adjoint(x))
        return adjoint(Vh), S, adjoint(U)
    A, (c, u) = in_units(x)
    worst, A, V = _repeated(_one_sided, A, identity(A))
    lengths = [xp.sqrt(dot(a, a, None)) for a in A]
    zeros = [length * length <= _floor(length) for length in lengths]
    U = [
        [v / xp.where(zero, 1.0, length) for v in a]
        for a, zero, length in zip(A, zeros, lengths, strict=True)
    ]
    U = _completed(U, zeros)
    failed = _nan_where_positive(worst)
    S = [s * c / u + failed for s in _sorted(lengths)]
    return matrix_of(U), vector_of(S), adjoint(matrix_of(V))


def eigh(x: Array) -> Arrays:
    """Eigenvalues, ascending, and eigenvectors of each Hermitian matrix."""
    H, (c, u) = in_units(x)
    worst, H, Q = _repeated(_two_sided, H, identity(H))
    failed = _nan_where_positive(worst)
    w = [real(H[i][i]) for i in range(len(H))]
    w = [value * c / u + failed for value in _sorted(w)]
    return vector_of(w[::-1]), matrix_of(Q[::-1])


def _floor(x: Array) -> float:
    """Squared lengths down to here can be squared again, to a precision of eps^2."""
    return float((tiny(x) / eps(x) ** 2) ** 0.5)


def _nan_where_positive(x: Array) -> Array:
    return array_namespace(x).where(x > 0, float("nan"), 0.0 * x)


def _sorted(values: Numbers) -> Numbers:
    """Descending values in order, after sweeps that sorted them to rounding."""
    values, xp = list(values), array_namespace(values[0])
    for end in range(len(values) - 1, 0, -1):
        for i in range(end):
            a, b = values[i], values[i + 1]
            values[i], values[i + 1] = xp.maximum(a, b), xp.minimum(a, b)
    return values


def _repeated(sweep: Any, A: Columns, V: Columns) -> tuple[Array, Columns, Columns]:
    """A and V after all sweeps, and what is positive in batch elements where they did not do."""
    m, n = len(A[0]), len(A)
    if n == 1:
        return 0.0 * real(A[0][0]), A, V

    def split(state: Arrays) -> tuple[Array, Columns, Columns]:
        return state[0], in_columns(state[1 : 1 + m * n], m), in_columns(state[1 + m * n :], n)

    def body(state: Arrays) -> Arrays:
        one = library_of(state[0]).exact_one(state[0])
        worst, A, V = sweep(*split(state)[1:], one)
        return (worst, *chain(*A, *V))

    start = (1.0 + 0.0 * real(A[0][0]), *chain(*A, *V))
    return split(loop_each(body, start, MOST, traced=TRACED[n]))


def _one_sided(A: Columns, V: Columns, one: Array | None) -> tuple[Array, Columns, Columns]:
    """Turn each pair of columns of A, and those of V with them."""
    A, V, worst = list(A), list(V), []
    xp, floor = array_namespace(A[0][0]), _floor(A[0][0])
    for p, q in combinations(range(len(A)), 2):
        a, b = A[p], A[q]
        alpha, beta = dot(a, a, one), dot(b, b, one)
        high, low = xp.maximum(alpha, beta), xp.minimum(alpha, beta)
        c, s, _, left = _turn(alpha - beta, dot(a, b, one), high, low, floor, one)
        A[p], A[q] = _turned(c, s, a, b, one)
        V[p], V[q] = _turned(c, s, V[p], V[q], one)
        worst.append(_unless_new(p, q, alpha < beta, left))
    return _largest(worst), A, V


def _two_sided(H: Columns, Q: Columns, one: Array | None) -> tuple[Array, Columns, Columns]:
    """Turn each pair of rows and columns of H, and the columns of Q."""
    H, Q, worst = [list(column) for column in H], list(Q), []
    xp = array_namespace(H[0][0])
    for p, q in combinations(range(len(H)), 2):
        alpha, beta = real(H[p][p]), real(H[q][q])
        size, other = xp.abs(alpha), xp.abs(beta)
        sizes = xp.maximum(size, other), xp.minimum(size, other)
        c, s, shift, left = _turn(alpha - beta, H[q][p], *sizes, None, one)
        shift = real(shift) / 2
        high, low = xp.maximum(alpha, beta) + shift, xp.minimum(alpha, beta) - shift
        others = [i for i in range(len(H)) if i not in (p, q)]
        a, b = _turned(c, s, [H[p][i] for i in others], [H[q][i] for i in others], one)
        for i, u, v in zip(others, a, b, strict=True):
            H[p][i], H[q][i], H[i][p], H[i][q] = u, v, conj(u), conj(v)
        zero = xp.zeros_like(c)
        H[p][p], H[q][q] = (xp.astype(value, c.dtype, copy=False) for value in (high, low))
        H[q][p], H[p][q] = zero, zero
        Q[p], Q[q] = _turned(c, s, Q[p], Q[q], one)
        worst.append(_unless_new(p, q, alpha < beta, left))
    return _largest(worst), H, Q


def _unless_new(p: int, q: int, traded: Array, left: Array) -> Array:
    """What is left, positive where a column came to p that those between have not met."""
    return array_namespace(left).where(traded, 1.0, left) if q > p + 1 else left


def _largest(numbers: Numbers) -> Array:
    return reduce(array_namespace(numbers[0]).maximum, numbers)


def _turn(
    d: Array, g: Array, high: Array, low: Array, floor: float | None, one: Array | None
) -> Arrays:
    """c, s, e^2/f, and what is positive where another sweep is needed.

    `high` and `low` are the larger and the smaller of |alpha| and |beta|; nothing turns where low
    is not above `floor`, if there is one.
    """
    xp, e = array_namespace(d), g + g
    e2 = size2(e)
    turns = e2 > (4 * eps(d)) ** 2 * (high * low)
    if floor is not None:
        turns = turns & (low > floor)
    # a product takes a quarter of the time of where (NumPy 2.4)
    mask = xp.astype(turns, d.dtype)
    tangent = mask * e / (xp.abs(d) + xp.sqrt(times(d * d, one) + times(e2, one)) + tiny(d))
    tangent2 = size2(tangent)
    u = 1 / xp.sqrt(1.0 + times(tangent2, one))
    v = u * tangent
    swapped = d < 0
    c, s = xp.where(swapped, v, u), xp.where(swapped, u, conj(v))
    return c, s, tangent * conj(e), times(tangent2 * high, one) - eps(d) / 64 * low


def _turned(
    c: Array, s: Array, a: Numbers, b: Numbers, one: Array | None
) -> tuple[Numbers, Numbers]:
    """a' and b'."""
    pairs, c_conj, s_conj = list(zip(a, b, strict=True)), conj(c), conj(s)
    first = [times(c * u, one) + times(s * v, one) for u, v in pairs]
    return first, [times(c_conj * v, one) - times(s_conj * u, one) for u, v in pairs]


def _completed(U: Columns, zeros: Numbers) -> Columns:
    """U with an orthonormal column in place of each that is zero; those come last."""
    xp, k, m = array_namespace(zeros[0]), len(U), len(U[0])

    def body(state: Arrays) -> Arrays:
        done: Columns = []
        for u, flag in zip(in_columns(state[1 + k :], m), state[1 : 1 + k], strict=True):
            new = _orthonormal(done, u)
            done.append([xp.where(flag > 0, a, b) for a, b in zip(new, u, strict=True)])
        return (*state[: 1 + k], *chain(*done))

    flags = [xp.astype(zero, real(U[0][0]).dtype) for zero in zeros]
    start = (_largest(flags), *flags, *chain(*U))
    return in_columns(loop_each(body, start, 1, traced=1)[1 + k :], m)


def _orthonormal(columns: Columns, like: Numbers) -> Numbers:
    """The unit vector furthest from the span of orthonormal columns, made orthogonal to them."""
    xp, nothing = array_namespace(like[0]), 0.0 * like[0]
    weight = [reduce(add, [size2(u[i]) for u in columns], real(nothing)) for i in range(len(like))]
    nearest = xp.argmin(xp.stack(weight), axis=0)
    vector = [nothing + xp.astype(nearest == i, like[0].dtype) for i in range(len(like))]
    for _ in range(2):
        for u in columns:
            part = dot(u, vector, None)
            vector = [v - part * w for v, w in zip(vector, u, strict=True)]
    length = xp.sqrt(dot(vector, vector, None))
    return [v / length for v in vector]
