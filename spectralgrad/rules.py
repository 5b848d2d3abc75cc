"""The plain rules, for those who hold factors already.

Every rule has one signature::

    rule_vjp(inputs, outputs, cotangents, **options) -> cotangents of the inputs
    rule_jvp(inputs, outputs, tangents, **options)   -> tangents of the outputs

Where there is one input, output or cotangent, a bare array can stand for a tuple of one, and a bare
`inputs` gets a bare result; None stands for zero. Rules neither warn nor raise where a derivative
is undefined: the result is NaN, but zero where all directions of a batch element are. The
convention is dL = Re sum(conj(x_bar) * dx).

With factors among the inputs, x carries the whole derivative and the factors' cotangents are None.
Where f has an array for a parameter, that is one more input, at the end. `signed=True` is the
nearest rotation. The factors of `truncated_svd` are the k largest triplets, from any solver; x is
an array, a sparse matrix or an operator, the cotangent of the last two an `operators.LowRank`.
Triplets with a residual above eps^(3/4) S[0], or above what `truncated_svd` itself accepts if that
is more, are none of x: NaN, with a `ConvergenceWarning` of the residual.

{table}

Examples
--------
>>> import numpy as np, spectralgrad as sg
>>> x = np.diag([3.0, 2.0])
>>> U, S, Vh = np.linalg.svd(x)
>>> sg.rules.svd_vjp(x, (U, S, Vh), (None, np.ones(2), None))
array([[1., 0.],
       [0., 1.]])
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any, Protocol

from ._bindings.array import Arrays
from ._engine.checks import check_rank
from ._engine.options import check_choice, check_rtol
from ._engine.primitive import Call, Primitive, answered
from ._functions.arguments import as_scalar_function
from ._operations.declaration import OPERATIONS, REQUIRED, Operation
from ._spectrum.ties import POLICIES


class Rule(Protocol):
    """A jvp or a vjp, of the signature that all rules have."""

    __name__: str

    def __call__(self, inputs: Any, outputs: Any, directions: Any, /, **options: Any) -> Any: ...


def _tupled(arrays: Any) -> Arrays:
    return tuple(arrays) if isinstance(arrays, (tuple, list)) else (arrays,)


def _checked(options: dict[str, Any], declared: Operation, x: Any, name: str) -> dict[str, Any]:
    """The options with their defaults."""
    unknown = [option for option in options if option not in declared.options]
    missing = [
        option
        for option, default in declared.options.items()
        if default is REQUIRED and option not in options
    ]
    if unknown or missing:
        came = f"option `{unknown[0]}` is unknown" if unknown else f"`{missing[0]}` is missing"
        wanted = ", ".join(declared.options) or "none"
        raise TypeError(f"sg.rules.{name}: {came}; the options are: {wanted}.")
    options = dict(declared.options) | options
    if "ties" in options:
        check_choice(options["ties"], POLICIES, f"sg.rules.{name}", "ties")
    if "gap_rtol" in options:
        check_rtol(options["gap_rtol"], f"sg.rules.{name}")
    if "k" in options:
        options["k"] = check_rank(options["k"], x, f"sg.rules.{name}")
    return options


def _make(declared: Operation, kind: str) -> Rule:
    """The public rule: bare arrays for tuples of one, options checked, f as users give it."""
    name, of_inputs = f"{declared.name}_{kind}", kind == "vjp"

    def rule(inputs: Any, outputs: Any, directions: Any, /, **options: Any) -> Any:
        args = tuple(map(_tupled, (inputs, outputs, directions)))
        options = _checked(options, declared, args[0][0], name)
        if "f" in options:
            f, parameters = as_scalar_function(options["f"], args[0][0], f"sg.rules.{name}")
            options["f"], args = f, ((*args[0], *parameters), *args[1:])
        count = len(args[0] if of_inputs else args[1])
        if all(direction is None for direction in args[2]):
            result: Arrays = (None,) * count
        elif isinstance(declared.rule, Primitive):  # as a call, which minds zero directions
            silent = replace(declared.rule, undefined=None)
            result = getattr(Call(silent, tuple(options.items())), kind)(*args)
        else:
            result = _tupled(getattr(declared.rule, kind)(*args, **options))
            result = answered(result, range(count))
        bare = not isinstance(inputs if of_inputs else outputs, (tuple, list))
        return result[0] if bare else result

    role, given = ("cotangents", "outputs") if of_inputs else ("tangents", "inputs")
    of_what = "Cotangents of the inputs" if of_inputs else "Tangents of the outputs"
    found = f"{of_what} of `{declared.name}`"
    rule.__name__ = rule.__qualname__ = name
    rule.__module__ = __name__
    rule.__doc__ = _DOCSTRING.format(
        found=found,
        inputs=declared.inputs.replace(" ", ", "),
        outputs=declared.outputs.replace(" ", ", "),
        role=role,
        given=given,
        options=", ".join(declared.options) or "none",
        function=declared.name,
    )
    positional, by_name = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY
    rule.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(part, positional) for part in ("inputs", "outputs", role)]
        + [inspect.Parameter(o, by_name, default=d) for o, d in declared.options.items()]
    )
    return rule


_DOCSTRING = """{found}, given its inputs and outputs.

Parameters
----------
inputs : {inputs}
outputs : {outputs}
{role} : like {given}
    None stands for zero. A bare array can stand for a tuple of one.
**options
    {options}: as for `{function}`.

Returns
-------
{found}; NaN where the derivative is undefined.

Raises
------
TypeError, ValueError
    For an option that is unknown, missing or out of range.
"""


def _table() -> str:
    """The rules of every operation, with inputs, outputs and options."""
    rows = [("rule", "inputs", "outputs", "options")]
    for declared in OPERATIONS.values():
        if declared.rule is not None:
            inputs, outputs = (
                names.replace(" ", ", ") for names in (declared.inputs, declared.outputs)
            )
            rows.append((declared.name, inputs, outputs, ", ".join(declared.options)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ruler = tuple("=" * width for width in widths)
    cells = [ruler, rows[0], ruler, *rows[1:], ruler]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


__doc__ = (__doc__ or "").replace("{table}", _table())
_RULES = {
    f"{declared.name}_{kind}": _make(declared, kind)
    for declared in OPERATIONS.values()
    if declared.rule is not None
    for kind in ("jvp", "vjp")
}
__all__ = sorted(_RULES)


def __getattr__(name: str) -> Rule:
    if name in _RULES:
        return _RULES[name]
    raise AttributeError(f"module {__name__!r} has no rule {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
