"""Pullbacks and tangents on any array library, without its autodiff.

While a function runs, every call of a Primitive is recorded with its arrays (`tape`). `vjp` goes
through the calls backwards, `jvp` forwards, and `hvp` forwards through those of a pullback too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._bindings.array import Array, Arrays, array_namespace, as_dtype, device, is_array
from .._bindings.lookup import is_dense, library_of
from .checks import check_like, check_primals, check_shape
from .errors import raise_glue, raise_no_second_order
from .linear import add
from .operators import LowRank
from .products import like_of
from .tape import Entry, Tape, needed, recording
from .tree import is_dict, keys_of, leaves_of, rebuild


def _run(
    transform: str, fun: Callable[..., Any], primals: Sequence[Array], static: dict[str, Any]
) -> Arrays:
    check_primals(fun, primals, transform)
    if not library_of(primals[0]).sees_context():
        raise NotImplementedError(
            f"sg.{transform} came inside of torch.compile, which cannot see the record of calls "
            f"that it makes. Use torch.func.vjp, jvp or grad there, or call sg.{transform} outside."
        )
    if any(map(is_array, primals)):
        array_namespace(*filter(is_array, primals))  # of one library
    primals = [np.asarray(x) if isinstance(x, np.generic) else x for x in primals]
    distinct = [
        x if all(x is not y for y in primals[:i]) else _another(x) for i, x in enumerate(primals)
    ]
    tape = Tape(transform, distinct)
    with recording(tape):
        out = fun(*distinct, **static)
    leaves = leaves_of(out)
    if any(id(leaf) not in tape.known for leaf in leaves):
        strange = next(leaf for leaf in leaves if id(leaf) not in tape.known)
        raise_glue(
            f"the function returned a {type(strange).__name__} that no call of the library made",
            transform,
        )
    return distinct, tape.entries, out, leaves


def _no_cotangent(x: Any) -> LowRank:
    like = like_of(x)
    xp = array_namespace(like)
    left, right = (xp.zeros((n, 0), dtype=like.dtype, device=device(like)) for n in x.shape)
    return LowRank(left, right)


def _another(x: Any) -> Any:
    """What equals x and is not x."""
    return array_namespace(x).asarray(x, copy=True) if is_dense(x) else copy.copy(x)


def _match(tree: Any, like: Any, role: str) -> list[Array]:
    """The leaves of `tree`, which must have the structure of `like`; None anywhere is zero."""
    if tree is None:
        return [None] * len(leaves_of(like))
    if isinstance(like, (tuple, list)):
        if not isinstance(tree, (tuple, list)) or len(tree) != len(like):
            got = f"{len(tree)} items" if isinstance(tree, (tuple, list)) else type(tree).__name__
            raise ValueError(
                f"{role} is {got}; wanted a tuple of {len(like)}, one for each array it belongs "
                "to (None stands for zero)."
            )
        return [leaf for t, o in zip(tree, like, strict=True) for leaf in _match(t, o, role)]
    if is_dict(like):
        if not is_dict(tree) or set(tree) != set(like):
            got = f"a dict of {list(tree)}" if is_dict(tree) else type(tree).__name__
            raise ValueError(
                f"{role} is {got}; wanted a dict of {list(like)}, one for each array it belongs to "
                "(None stands for zero)."
            )
        return [leaf for key in keys_of(like) for leaf in _match(tree[key], like[key], role)]
    if isinstance(tree, (int, float)) and like.ndim == 0:
        tree = array_namespace(like).asarray(tree, dtype=like.dtype, device=device(like))
    if not is_dense(like):  # a sparse matrix or an operator, and so may be its tangent
        check_shape(tree, like, role)
        return [tree]
    check_like(tree, like, role)
    return [as_dtype(tree, like.dtype)]


def vjp(
    fun: Callable[..., Any], /, *primals: Array, **static: Any
) -> tuple[Any, Callable[..., Any]]:
    """Value of ``fun(*primals, **static)`` and its pullback, on any array library.

    Parameters
    ----------
    fun : callable
        A function of this library, or one made of calls to them only.
    *primals : array
        Every array that `fun` takes; for `truncated_svd` also sparse matrices and operators, whose
        cotangent is an `operators.LowRank`.
    **static
        Passed on to `fun`: options, not differentiated.

    Returns
    -------
    out : array or tuple of arrays
        What `fun` returned.
    pullback : callable
        Takes a cotangent of the structure and shapes of `out`, with None for zero (a number does
        for a 0-d array), and returns a tuple with one cotangent for each primal. May be called any
        number of times; it keeps the factors that the forward computation made.

    Raises
    ------
    TypeError
        If `fun` does arithmetic of its own that would be lost, or arrays of two libraries meet.
    ValueError
        From the pullback, if the cotangent's structure or a shape differs from that of `out`.

    See Also
    --------
    jvp, hvp, explain, testing.check_vjp

    Notes
    -----
    Arrays are told apart by identity: leave what a call returned as it is, without edits in place,
    until the pullback has been used.

    A cotangent x_bar is defined by ``dL = Re sum(conj(x_bar) * dx)``: the gradient as PyTorch
    has it, and the conjugate of what ``jax.grad`` returns.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> norm, pullback = sg.vjp(sg.nuclear_norm, np.diag([3.0, 2.0]))
    >>> (x_bar,) = pullback(1.0)
    >>> np.allclose(x_bar, np.eye(2))
    True
    """
    primals, entries, out, leaves = _run("vjp", fun, primals, static)
    calls = needed(entries, leaves)

    def pullback(cotangent: Any) -> Arrays:
        given = _match(cotangent, out, "sg.vjp: the cotangent of the output")
        bars = _pull_back(calls, primals, leaves, given)
        return tuple(_or_zeros(bars.get(id(x)), x) for x in primals)

    return out, pullback


def _pull_back(
    calls: list[Entry],
    primals: Sequence[Any],
    leaves: Sequence[Array],
    cotangents: Sequence[Array | None],
    tape: Tape | None = None,
) -> dict[int, Array]:
    """Cotangents by the identity of what they belong to; `tape`, if any, records the rules."""
    bars: dict[int, Array] = {}
    wanted = {id(x) for x in primals}
    for call, inputs, outputs in calls:
        if any(id(inputs[i]) in wanted for i in call.active(inputs)):
            wanted.update(map(id, outputs))

    def accumulate(arrays: Sequence[Array], received: Sequence[Array]) -> None:
        for x, bar in zip(arrays, received, strict=True):
            if bar is not None:
                bars[id(x)] = add(bars[id(x)], bar) if id(x) in bars else bar

    accumulate(leaves, cotangents)
    for call, inputs, outputs in reversed(calls):
        use = [i for i in call.active(inputs) if id(inputs[i]) in wanted]
        received = call.vjp(inputs, outputs, tuple(bars.get(id(y)) for y in outputs), use)
        received = tuple(bar if i in use else None for i, bar in enumerate(received))
        if tape and any(bar is not None and id(bar) not in tape.known for bar in received):
            raise_no_second_order(call.primitive.name)
        accumulate(inputs, received)
    return bars


def _push_forward(calls: list[Entry], dots: dict[int, Any]) -> None:
    """Add to the tangents those of every call's outputs."""
    for call, inputs, outputs in calls:
        along = tuple(dots.get(id(x)) for x in inputs)
        tangents = call.jvp(inputs, outputs, along)
        dots.update((id(y), dy) for y, dy in zip(outputs, tangents, strict=True))


def _or_zeros(derivative: Any, x: Any) -> Any:
    if derivative is not None:
        return derivative
    return array_namespace(x).zeros_like(x) if is_dense(x) else _no_cotangent(x)


def jvp(
    fun: Callable[..., Any], primals: Sequence[Array], tangents: Sequence[Array], /, **static: Any
) -> tuple[Any, Any]:
    """Value of ``fun(*primals, **static)`` and its derivative along `tangents`.

    Parameters
    ----------
    fun : callable
        A function of this library, or one made of calls to them only.
    primals, tangents : sequences of arrays
        Every array that `fun` takes, and the direction for each; None stands for zero.
    **static
        Passed on to `fun`: options, not differentiated.

    Returns
    -------
    out, tangent
        What `fun` returned, and its derivative, in the same structure.

    Raises
    ------
    TypeError, ValueError
        As `vjp` does, and if a tangent's shape differs from its primal's.

    See Also
    --------
    vjp, hvp, testing.check_jvp

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> x = np.diag([3.0, 2.0])
    >>> values, tangent = sg.jvp(sg.svdvals, (x,), (np.diag([1.0, -1.0]),))
    >>> tangent
    array([ 1., -1.])
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError(
            f"sg.jvp: primals and tangents are {type(primals).__name__} and "
            f"{type(tangents).__name__}; wanted a tuple of arrays for each. For one array write "
            "sg.jvp(fun, (x,), (dx,))."
        )
    given = _match(tuple(tangents), tuple(primals), "sg.jvp: a tangent")
    distinct, entries, out, leaves = _run("jvp", fun, primals, static)
    dots = {id(x): dx for x, dx in zip(distinct, given, strict=True)}
    _push_forward(needed(entries, leaves), dots)
    return out, rebuild(out, (_or_zeros(dots.get(id(y)), y) for y in leaves))


def hvp(fun: Callable[..., Any], x: Any, dx: Any, out_bar: Any, /, **static: Any) -> Any:
    """Derivative along `dx` of ``x_bar = pullback(out_bar)``: a Hessian-vector product.

    Parameters
    ----------
    fun : callable
        A function of this library that has derivatives of second order, or one made of calls to
        such only.
    x, dx : array, or tuples of arrays
        The argument of `fun` and the direction; tuples for a function of several arrays, with None
        for no change.
    out_bar
        The cotangent of the output, held fixed: 1.0 for a norm. As for the pullback of `vjp`.
    **static
        Passed on to `fun`: options, not differentiated.

    Returns
    -------
    array, or tuple of arrays
        Like `x`: for a real-valued function and out_bar = 1 the Hessian times `dx`.

    Raises
    ------
    TypeError, ValueError
        As `vjp` and `jvp` do; for a function without a rule of second order (`svd`, `eigh`); for a
        scalar function of your own without `d2f`.

    See Also
    --------
    vjp, jvp

    Notes
    -----
    Exact at ties, where the function is twice differentiable; a batch element where it is not is
    NaN. PyTorch's double backward and `jax.hessian` go by the same rules.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> cube = sg.functions.power(3)
    >>> sg.hvp(sg.svd_function, np.eye(2), np.eye(2), np.eye(2), f=cube)
    array([[6., 0.],
           [0., 6.]])
    """
    several = isinstance(x, (tuple, list))
    given = _match(dx, x, "sg.hvp: the direction")
    primals, entries, out, leaves = _run("hvp", fun, x if several else (x,), static)
    # copies: a cotangent may be one of the arrays that have a tangent, and has none itself
    cotangents = [
        bar if bar is None else _another(bar)
        for bar in _match(out_bar, out, "sg.hvp: the cotangent of the output")
    ]
    seen = [y for call in entries for arrays in call[1:] for y in arrays]
    tape = Tape("hvp", [*primals, *seen, *(bar for bar in cotangents if bar is not None)])
    with recording(tape):
        bars = _pull_back(needed(entries, leaves), primals, leaves, cotangents, tape)
    dots = {id(p): d for p, d in zip(primals, given, strict=True)}
    found = [bars[id(p)] for p in primals if id(p) in bars]
    _push_forward(needed(entries + tape.entries, found), dots)
    products = [_or_zeros(dots.get(id(bars.get(id(p)))), p) for p in primals]
    return tuple(products) if several else products[0]
