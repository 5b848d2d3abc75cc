"""Programs of JAX that are compiled once, though they are traced anew.

Outside of `jax.jit` JAX compiles a loop at every call (JAX 0.10.2): it knows loops by their Python
functions, and ours close over what they work with, as do those that users hand over. To compile a
whole rule by `jax.jit` instead, with a user's operator as a static argument, would be quicker but
wrong: what the operator's functions close over could change and the result would not.

So a function is traced at every call, which takes a few percent of what its compilation takes, and
its program is compared with those that were compiled before, equation by equation. What the
function closes over is an argument of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

PROGRAMS = 256  # that are kept


def run(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), by the compiled program of an equal function if there is one."""
    if jax.config.jax_disable_jit or _is_traced(args):
        return function(*args)
    program, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    if _is_traced(program.consts):
        return function(*args)
    compiled = _compiled(_Program(_form(program.jaxpr), program))
    results = compiled(program.consts, jax.tree.leaves(args))
    return jax.tree.unflatten(jax.tree.structure(shapes), results)


def _is_traced(tree: Any) -> bool:
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(tree))


@dataclass(frozen=True)
class _Program:
    """A program that equals all others of its form."""

    form: Hashable
    program: ClosedJaxpr = field(compare=False)  # which keeps alive what `form` has the id of


@lru_cache(PROGRAMS)
def _compiled(known: _Program) -> Callable[..., Any]:
    def program(consts: Any, args: Any) -> Any:
        return jaxpr_as_fun(ClosedJaxpr(known.program.jaxpr, consts))(*args)

    compiled: Callable[..., Any] = jax.jit(program)
    return compiled


def _form(jaxpr: Jaxpr) -> Hashable:
    """All that a program computes, in terms that compare by value."""
    numbers: dict[Any, int] = {}

    def atom(x: Any) -> Hashable:
        if isinstance(x, Literal):
            return x.aval, np.asarray(x.val).tobytes()
        return x.aval, numbers.setdefault(x, len(numbers))

    def atoms(group: Any) -> Hashable:
        return tuple(map(atom, group))

    given = atoms(jaxpr.constvars), atoms(jaxpr.invars)
    steps = tuple(
        (step.primitive, _param(step.ctx), atoms(step.invars), atoms(step.outvars), _params(step))
        for step in jaxpr.eqns
    )
    return given, steps, atoms(jaxpr.outvars)


def _params(step: Any) -> Hashable:
    params = sorted(step.params.items())
    if step.primitive.name in ("custom_jvp_call", "custom_vjp_call"):
        # their rules are functions made anew in every trace; nobody differentiates a program here
        params = [(name, x) for name, x in params if isinstance(x, (ClosedJaxpr, Jaxpr))]
    return tuple((name, _param(x)) for name, x in params)


def _param(x: Any) -> Hashable:
    if isinstance(x, ClosedJaxpr):
        return _form(x.jaxpr), tuple(map(id, x.consts))
    if isinstance(x, Jaxpr):
        return _form(x)
    if isinstance(x, (tuple, list)):
        return type(x), tuple(map(_param, x))
    if isinstance(x, float):
        return repr(x)  # -0.0 is another number than 0.0
    return x if isinstance(x, Hashable) else id(x)
