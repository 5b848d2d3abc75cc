"""Singular values and eigenvalues without vectors: no gap enters.

ds_i = Re u_i^H dA v_i and dw_i = q_i^H dH q_i, H being the Hermitian part; the adjoints are
U diag(s_bar) V^H and Q diag(w_bar) Q^H. At a tie these are the derivatives of the values along the
vectors that the factorization chose: right for every symmetric function of the tied values, and a
Clarke subgradient of each. Sources: Magnus (1985); Lewis and Sendov (2005), Nonsmooth analysis of
singular values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from .._bindings.array import Array, Arrays, ArrayT, adjoint, array_namespace, herm, real
from .._bindings.matrix_products import columnwise_dot, product
from .._engine.arguments import enter
from .._engine.elementary import once_differentiable
from .._engine.options import check_choice
from .._engine.primitive import Primitive
from .._engine.tape import is_differentiated
from .._spectrum import factorizations
from .._spectrum.naming import shown
from .._spectrum.ties import (
    gap_tolerance,
    in_tie,
    largest,
    split_eigen,
    split_singular,
    zero_tolerance,
    zero_values,
)
from .._spectrum.undefined import Undefined
from .declaration import operation
from .eigh import eigh_factors
from .svd_rules import svd_factors


def svdvals_forward(x: Array, U: Array, S: Array, Vh: Array) -> Array:
    return S + 0.0


def svdvals_jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Array:
    _, U, S, Vh = inputs
    tangent = real(columnwise_dot(U, product(tangents[0], adjoint(Vh))))
    return tangent + once_differentiable(S, partial(zero_values, U, S, Vh))


def svdvals_vjp(inputs: Arrays, outputs: Arrays, cotangents: Arrays) -> Arrays:
    _, U, S, Vh = inputs
    # a zero value is a kink: |s| of a smooth signed s
    S_bar = cotangents[0] + once_differentiable(S, partial(zero_values, U, S, Vh))
    return product(U * S_bar[..., None, :], Vh), None, None, None


of_svd = Primitive(
    "svdvals",
    svdvals_forward,
    svdvals_jvp,
    svdvals_vjp,
    carried=(1, 2, 3),
    core=1,
    reads_outputs=False,
    nominal=True,
)


def eigvalsh_forward(x: Array, w: Array, Q: Array) -> Array:
    return w + 0.0


def eigvalsh_jvp(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Array:
    _, _, Q = inputs
    return real(columnwise_dot(Q, product(herm(tangents[0]), Q)))


def eigvalsh_vjp(inputs: Arrays, outputs: Arrays, cotangents: Arrays) -> Arrays:
    _, _, Q = inputs
    return herm(product(Q * cotangents[0][..., None, :], adjoint(Q))), None, None


of_eigh = Primitive(
    "eigvalsh",
    eigvalsh_forward,
    eigvalsh_jvp,
    eigvalsh_vjp,
    carried=(1, 2),
    core=1,
    reads_outputs=False,
    nominal=True,
)


def why_no_second(
    function: str,
    remedy: str,
    inputs: Arrays,
    outputs: Arrays,
    directions: Arrays,
    result: Arrays,
    **static: Any,
) -> Exception | None:
    """Why the derivative of the vectors, which a second one of the values takes, is NaN."""
    singular = len(outputs) == 3
    values = outputs[1 if singular else 0]
    xp, top = array_namespace(values), largest(values)
    tolerance = gap_tolerance(top, None, "nan")
    fragile, what = in_tie(values, tolerance), "two of the values are equal"
    if singular:
        fragile = fragile | (values <= zero_tolerance(max(inputs[0].shape[-2:]), values))
        what += ", or one is zero"
    return Undefined(function).explain_elements(
        xp.any(fragile, axis=-1),
        values,
        (),
        lambda values: f"{what}: {shown(values)}",
        remedy,
        order=2,
    )


def _reason(function: str) -> Callable[..., Exception | None]:
    return partial(
        why_no_second,
        function,
        f"Use {function}_sum for a sum over functions of the values, or ties='split' for other "
        "losses that are symmetric in them",
    )


# whose derivative is a second one
_svd_of_values = replace(svd_factors, undefined=_reason("svdvals"))
_eigh_of_values = replace(eigh_factors, undefined=_reason("eigvalsh"))


@operation(
    "factors and values",
    rule=of_svd,
    inputs="x U S Vh",
    outputs="S",
    at_ties=False,
    at_zeros=False,
    second=False,
    over_rows={},
)
def svdvals(x: ArrayT, /, *, ties: Literal["nan", "split"] = "nan") -> ArrayT:
    """Singular values, descending, with a gradient that needs no gap.

    Parameters
    ----------
    x : array (..., m, n)
    ties : {"nan", "split"}
        What becomes of second derivatives at values that count as equal, within eps^(3/4) of the
        largest: NaN, or ("split") the values come back with their ties opened by about sqrt(eps),
        and second derivatives of losses that are symmetric in them, as PyTorch and JAX take them,
        are right to about 1e-7 in double precision. `svdvals_sum` has those of a sum to rounding.

    Returns
    -------
    array (..., k), real

    Raises
    ------
    TypeError, ValueError
        For an x that is not a floating-point matrix.

    See Also
    --------
    svdvals_sum, nuclear_norm, directional_svdvals, singular_value_jacobian

    Notes
    -----
    ds_i = Re u_i^H dx v_i: Magnus (1985), theorem 1, for the Hermitian matrix [[0, x], [x^H, 0]].
    At a tie the sorted values have no derivative one by one: cotangent and tangent are those along
    the vectors that the factorization chose, a Clarke subgradient, and exact for symmetric
    functions of the tied values. A zero value is a kink of |s|, and U, V choose the sign: use
    `nuclear_norm` for its subgradient of least norm. Second derivatives are those of PyTorch and
    JAX, `sg.hvp` has none, and NaN where values are zero. One product of x's size a backward; the
    factors are computed only where a derivative may be asked for.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> values, pullback = sg.vjp(sg.svdvals, np.diag([3.0, 1.0]))
    >>> values
    array([3., 1.])
    >>> pullback(np.array([1.0, 10.0]))[0]
    array([[ 1.,  0.],
           [ 0., 10.]])
    """
    x, narrow = enter(x, "svdvals")
    check_choice(ties, ("nan", "split"), "svdvals", "ties")
    if not is_differentiated(x):
        S = factorizations.svdvals(x)
        return narrow(split_singular(S) if ties == "split" else S)
    return narrow(of_svd(x, *_svd_of_values(x, ties=ties)))


@operation(
    "factors and values",
    rule=of_eigh,
    inputs="x w Q",
    outputs="w",
    hermitian=True,
    at_ties=False,
    second=False,
)
def eigvalsh(x: ArrayT, /, *, ties: Literal["nan", "split"] = "nan") -> ArrayT:
    """Eigenvalues of the Hermitian part, ascending, with a gradient that needs no gap.

    Parameters
    ----------
    x : array (..., n, n)
        Its Hermitian part (x + x^H)/2 is read.
    ties : {"nan", "split"}
        As for `svdvals`; `eigvalsh_sum` has the second derivatives of a sum to rounding.

    Returns
    -------
    array (..., n), real

    Raises
    ------
    TypeError, ValueError
        For an x that is no stack of square floating matrices.

    See Also
    --------
    eigvalsh_sum, sum_largest_eigvalsh, directional_eigvalsh

    Notes
    -----
    dw_i = q_i^H dx q_i: Magnus (1985), theorem 1. At a tie cotangent and tangent are those along
    the vectors that the factorization chose, a Clarke subgradient, and exact for symmetric
    functions of the tied values. One product of x's size a backward; the vectors are computed only
    where a derivative may be asked for.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> w, tangent = sg.jvp(sg.eigvalsh, (np.diag([1.0, 3.0]),), (np.diag([0.5, 0.0]),))
    >>> tangent
    array([0.5, 0. ])
    """
    x, narrow = enter(x, "eigvalsh", square=True)
    check_choice(ties, ("nan", "split"), "eigvalsh", "ties")
    if not is_differentiated(x):
        w = factorizations.eigvalsh(x)
        return narrow(split_eigen(w) if ties == "split" else w)
    return narrow(of_eigh(x, *_eigh_of_values(x, ties=ties)))
