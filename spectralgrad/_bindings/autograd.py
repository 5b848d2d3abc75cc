"""HIPS autograd: NumPy's arrays in boxes, and each call one of its primitives.

Rules that are made of calls are differentiated again by autograd itself; those of single factors,
which do arithmetic of their own, are not. Tried with autograd 1.9.

autograd's cotangent is the conjugate of ours, as JAX's is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from autograd import make_jvp, make_vjp
from autograd.builtins import tuple as boxed_tuple
from autograd.extend import defjvp_argnums, defvjp_argnums, primitive
from autograd.numpy import conj

from .array import Array, Arrays
from .host import adjoint_times as adjoint_times
from .host import after as after
from .host import as_one as as_one
from .host import call_later as call_later
from .host import can_loop as can_loop
from .host import computing as computing
from .host import each as each
from .host import exact_one as exact_one
from .host import is_blocked as is_blocked
from .host import is_compiled as is_compiled
from .host import is_on_host as is_on_host
from .host import loop as loop
from .host import one_by_one as one_by_one
from .host import qr as qr
from .host import quiet
from .host import rows_at as rows_at
from .host import sees_context as sees_context
from .host import stepped as stepped
from .host import sum_over_rows as sum_over_rows
from .host import unmapped as unmapped
from .host import used as used
from .host import written as written
from .owners import is_box, unboxed

autodiff = True
blocks = False
hermitian: dict[str, bool] = {}


@primitive  # type: ignore[untyped-decorator]
def _outputs(call: Any, *arrays: Array) -> Arrays:
    with quiet():
        return tuple(np.asarray(y) for y in call.forward(*arrays))


def apply(call: Any, arrays: Arrays) -> Arrays:
    # the derivative of what is carried is that of the input that carries it
    active = set(call.active(arrays))
    arrays = tuple(x if i in active else unboxed(x) for i, x in enumerate(arrays))
    out = _outputs(call, *arrays)
    return tuple(out[i] for i in range(len(out)))


def _conj(x: Any) -> Any:
    if x is None or not np.iscomplexobj(unboxed(x)):
        return x
    return conj(x)


def _none_for_zeros(bar: Any) -> Any:
    """autograd fills in zeros for what a loss does not use."""
    return bar if is_box(bar) or np.any(bar) else None


def _vjp_maker(argnums: Any, ans: Any, args: Any, kwargs: Any) -> Callable[..., Any]:
    call, *inputs = args
    outputs = tuple(ans[i] for i in range(len(ans)))

    def pullback(cotangent: Any) -> Arrays:
        given = tuple(_none_for_zeros(_conj(cotangent[i])) for i in range(len(outputs)))
        wanted = [i - 1 for i in argnums]
        again = any(map(is_box, (*inputs, *outputs, *given)))
        with quiet():
            rule = call.vjp_by_calls if again else call.vjp
            bars = rule(tuple(inputs), outputs, given, wanted)
        return tuple(
            np.zeros_like(unboxed(inputs[i])) if bars[i] is None else _conj(bars[i]) for i in wanted
        )

    return pullback


def _jvp_maker(argnums: Any, gs: Any, ans: Any, args: Any, kwargs: Any) -> Any:
    call, *inputs = args
    outputs = tuple(ans[i] for i in range(len(ans)))
    if any(map(is_box, (*inputs, *outputs, *gs))):
        raise NotImplementedError(
            "forward mode of autograd inside of another of its transformations came; a rule that "
            "does arithmetic of its own would lose a part there. Use reverse mode inside, as "
            "hessian_vector_product and make_jvp(grad(f)) do."
        )
    given = dict(zip((i - 1 for i in argnums), gs, strict=True))
    tangents = tuple(given.get(i) for i in range(len(inputs)))
    with quiet():
        moved = call.jvp(tuple(inputs), outputs, tangents)
    return boxed_tuple(
        tuple(
            np.zeros_like(unboxed(y)) if t is None else t
            for t, y in zip(moved, outputs, strict=True)
        )
    )


defvjp_argnums(_outputs, _vjp_maker)
defjvp_argnums(_outputs, _jvp_maker)


def values(x: Any) -> Any:
    return unboxed(x)


def truth(flag: Array) -> bool:
    return bool(unboxed(flag))


def fuses(x: Any) -> bool:
    return False


def is_differentiated(x: Array) -> bool:
    return is_box(x)


def vjp(fun: Callable[..., Any], *primals: Array) -> tuple[Any, Callable[..., Any]]:
    pullback, out = make_vjp(lambda args: fun(*args))(primals)
    return out, lambda bar: tuple(map(_conj, pullback(_conj(bar))))


def jvp(fun: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    out, tangent = make_jvp(lambda args: fun(*args))(tuple(primals))(tuple(tangents))
    return out, tangent


def pushforward(f: Callable[..., Any], primals: Arrays, tangents: Arrays) -> Any:
    return jvp(f, primals, tangents)[1]


def derivative(f: Callable[..., Any], s: Array) -> Array:
    """That of an elementwise f, from its pullback of ones."""
    ones = np.ones_like(unboxed(s))
    return make_vjp(f)(s)[0](ones)


def captures_derivative(f: Callable[..., Any], *probes: Array) -> bool:
    return is_box(f(*map(unboxed, probes)))


def flatten(tree: Any) -> None:
    return None  # f(s, params) is PyTorch's and JAX's
