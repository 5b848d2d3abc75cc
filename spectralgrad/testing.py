r"""Checks of derivatives, for this library's functions and for pipelines of your own.

`check_vjp` holds a pullback against central differences and `check_jvp` a tangent against both
differences and the pullback. Cotangents of singular vectors must not see what the SVD leaves free:
`random_cotangent` makes such.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._bindings.array import (
    Array,
    Arrays,
    adjoint,
    array_namespace,
    device,
    eps,
    is_complex,
    to_numpy,
)
from ._bindings.lookup import autodiff_of
from ._engine.transforms import jvp, vjp
from ._engine.tree import leaves_of, rebuild
from ._operations.eigh import EighResult
from ._operations.svd import SVDResult

__all__ = ["check_jvp", "check_vjp", "random_cotangent"]


def __dir__() -> list[str]:
    return __all__


def random_cotangent(out: Any, *, seed: int = 0) -> Any:
    r"""A random cotangent of `out`, of its structure, that is free of gauge.

    Parameters
    ----------
    out : array, SVDResult, EighResult, or tuple of these
        What a function returned.
    seed : int
        Of NumPy's generator, so that all array libraries get the same numbers.

    Returns
    -------
    cotangent
        Random normal for arrays. For an SVD the cotangent of the loss
        Re<C, U diag(c) Vh> + Re<D, U3 U3^H> + Re<E, V3 V3^H> + <e, S> with random C, c, D, E, e,
        where U3 and V3 complete U and V; for an eigendecomposition that of
        Re<C, Q diag(c) Q^H> + <e, w>.
        Both are blind to phases and completions, and see every gap: have no ties.

    See Also
    --------
    check_vjp, check_jvp

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> out, pullback = sg.vjp(sg.svd, np.diag([3.0, 1.0]))
    >>> bool(np.all(np.isfinite(pullback(sg.testing.random_cotangent(out))[0])))
    True
    """
    return _cotangent(out, np.random.default_rng(seed))


def _cotangent(out: Any, rng: np.random.Generator) -> Any:
    if isinstance(out, SVDResult):
        return SVDResult(*_svd_cotangent(*out, rng))
    if isinstance(out, EighResult):
        w, Q = out
        c, C = normal_like(w, rng), normal_like(Q @ adjoint(Q), rng)
        return EighResult(normal_like(w, rng), (C + adjoint(C)) @ Q * c[..., None, :])
    if isinstance(out, tuple):
        return rebuild(out, iter([_cotangent(part, rng) for part in leaves_of(out)]))
    return normal_like(out, rng)


def _svd_cotangent(U: Array, S: Array, Vh: Array, rng: np.random.Generator) -> Arrays:
    xp, k, V = array_namespace(S), S.shape[-1], adjoint(Vh)
    U1, V1 = U[..., :k], V[..., :k]
    C, c = normal_like(U1 @ adjoint(V1), rng), normal_like(S, rng)[..., None, :]
    completed = []
    for W, thin_bar in ((U, C @ V1 * c), (V, adjoint(C) @ U1 * c)):
        D, W3 = normal_like(W @ adjoint(W), rng), W[..., k:]
        completed.append(xp.concat([thin_bar, (D + adjoint(D)) @ W3], axis=-1))
    return completed[0], normal_like(S, rng), adjoint(completed[1])


def normal_like(x: Array, rng: np.random.Generator) -> Array:
    """Random normal numbers of the shape, dtype, library and device of `x`."""
    xp = array_namespace(x)
    values = rng.standard_normal(x.shape)
    if is_complex(x):
        values = values + 1j * rng.standard_normal(x.shape)
    return xp.astype(xp.asarray(values, device=device(x)), x.dtype)


def inner(a: Any, b: Any) -> float:
    """Re sum conj(a) b over the leaves of two structures; None counts as zero."""
    return sum(
        float(np.vdot(to_numpy(x), to_numpy(y)).real)
        for x, y in zip(leaves_of(a), leaves_of(b), strict=True)
        if x is not None and y is not None
    )


def _transforms_of(x: Array) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """vjp and jvp of the library's own autodiff, which sees through any code, or ours."""
    library = autodiff_of(x)
    return (vjp, jvp) if library is None else (library.vjp, library.jvp)


def check_vjp(
    fun: Callable[..., Any],
    /,
    *primals: Array,
    seed: int = 0,
    rtol: float | None = None,
    **static: Any,
) -> None:
    """Hold the pullback of `fun` against central differences.

    Parameters
    ----------
    fun : callable
        For PyTorch and JAX arrays any differentiable function, checked through `torch.func.vjp` or
        `jax.vjp`; for others one made of calls to this library only, through `vjp`.
    *primals : array
    seed : int
        Of the random cotangent and direction.
    rtol : float, optional
        Of the norms of cotangent, tangent and direction; default eps^(3/5), 4e-10 in double.
    **static
        Passed on to `fun`.

    Raises
    ------
    AssertionError
        If <x_bar, dx> and <out_bar, dout> differ.

    See Also
    --------
    check_jvp, random_cotangent, spectralgrad.vjp

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.testing.check_vjp(sg.svd, np.diag([3.0, 2.0, 1.0])[:, :2])
    """
    error = pullback_error(fun, *primals, seed=seed, **static)
    _require(error, _default_rtol(primals, rtol), "pullback and central differences")


def check_jvp(
    fun: Callable[..., Any],
    /,
    *primals: Array,
    seed: int = 0,
    rtol: float | None = None,
    **static: Any,
) -> None:
    """Hold the tangent of `fun` against central differences and against its pullback.

    Parameters
    ----------
    fun, *primals, seed, rtol, **static
        As for `check_vjp`.

    Raises
    ------
    AssertionError
        If <out_bar, dout> differs from that of central differences by `rtol`, or from <x_bar, dx>
        by 1000 eps.

    See Also
    --------
    check_vjp, random_cotangent, spectralgrad.jvp

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> sg.testing.check_jvp(sg.nuclear_norm, np.diag([3.0, 2.0]))
    """
    error, adjoint_error = tangent_errors(fun, *primals, seed=seed, **static)
    _require(error, _default_rtol(primals, rtol), "tangent and central differences")
    _require(adjoint_error, 1000 * eps(primals[0]), "tangent and pullback (adjoint identity)")


def pullback_error(
    fun: Callable[..., Any], /, *primals: Array, seed: int = 0, **static: Any
) -> float:
    """Relative difference of <x_bar, dx> from central differences."""
    dx, out_bar, wanted, size = _reference(fun, primals, static, seed)
    _, pullback = _transforms_of(primals[0])[0](lambda *x: fun(*x, **static), *primals)
    return float(abs(inner(pullback(out_bar), dx) - wanted) / size)


def tangent_errors(
    fun: Callable[..., Any], /, *primals: Array, seed: int = 0, **static: Any
) -> tuple[float, float]:
    """Relative differences of <out_bar, dout> from central differences and from <x_bar, dx>."""
    dx, out_bar, wanted, size = _reference(fun, primals, static, seed)
    own_vjp, own_jvp = _transforms_of(primals[0])
    _, dout = own_jvp(lambda *x: fun(*x, **static), primals, dx)
    _, pullback = own_vjp(lambda *x: fun(*x, **static), *primals)
    along, back = inner(out_bar, dout), inner(pullback(out_bar), dx)
    return abs(along - wanted) / size, abs(along - back) / size


def _reference(
    fun: Callable[..., Any], primals: Arrays, static: dict[str, Any], seed: int
) -> Arrays:
    """Direction, cotangent, <out_bar, dout> by central differences, and the size to compare by.

    Fourth order, (8 (f(h) - f(-h)) - (f(2h) - f(-2h)))/(12 h) with h ~ eps^(1/5) of the primals.
    """
    rng = np.random.default_rng(seed)
    dx = tuple(normal_like(x, rng) for x in primals)
    base = fun(*primals, **static)
    out_bar = _cotangent(base, rng)
    relative_step = eps(primals[0]) ** 0.2
    # an eighth of it, so that 2h stays well inside the radius of a spectrum with moderate gaps
    h = relative_step / 8 * (max(map(_size, primals)) or 1.0) / (max(map(_size, dx)) or 1.0)

    def along(step: float) -> float:
        moved = fun(*(x + step * t for x, t in zip(primals, dx, strict=True)), **static)
        return inner(out_bar, _aligned(moved, base))

    wanted = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    return dx, out_bar, wanted, abs(wanted) + abs(along(0.0)) / h * relative_step


def _size(x: Array) -> float:
    return float(np.max(np.abs(to_numpy(x)), initial=0.0))


def _aligned(out: Any, base: Any) -> Any:
    """`out` on the host, its vectors in the gauge nearest to that of `base`.

    A library may return any phase, and any completion, of the vectors at the next matrix.
    """
    if isinstance(out, SVDResult):
        (U, S, Vh), (U0, _, Vh0) = (tuple(map(to_numpy, factors)) for factors in (out, base))
        V, V0, k = _dagger(Vh), _dagger(Vh0), S.shape[-1]
        phase = _phase(U[..., :k], U0[..., :k], V[..., :k], V0[..., :k])
        return SVDResult(_regauge(U, U0, phase), S, _dagger(_regauge(V, V0, phase)))
    if isinstance(out, EighResult):
        w, Q = map(to_numpy, out)
        return EighResult(w, Q * _phase(Q, to_numpy(base[1])))
    if isinstance(out, tuple):
        return tuple(_aligned(o, b) for o, b in zip(out, base, strict=True))
    return to_numpy(out)


def _dagger(x: Array) -> Array:
    return np.conj(np.swapaxes(x, -1, -2))


def _phase(*pairs: Array) -> Array:
    """Unit numbers that turn the first of each pair's columns nearest to the second's."""
    dots = sum(
        np.sum(np.conj(W) * W0, axis=-2, keepdims=True)
        for W, W0 in zip(pairs[::2], pairs[1::2], strict=True)
    )
    return dots / np.abs(dots)


def _regauge(W: Array, W0: Array, phase: Array) -> Array:
    k = phase.shape[-1]
    A, _, Bh = np.linalg.svd(_dagger(W[..., k:]) @ W0[..., k:], full_matrices=False)
    return np.concatenate([W[..., :k] * phase, W[..., k:] @ (A @ Bh)], axis=-1)


def _default_rtol(primals: Arrays, rtol: float | None) -> float:
    return eps(primals[0]) ** 0.6 if rtol is None else rtol


def _require(error: float, rtol: float, what: str) -> None:
    if not error <= rtol:
        raise AssertionError(
            f"{what} differ by {error:.3g}, wanted at most {rtol:.3g}. Either the rule is wrong, "
            "or the function has no derivative here (a tie, a kink), or the cotangent sees what "
            "the function leaves free: see random_cotangent."
        )
