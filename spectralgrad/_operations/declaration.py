"""The declaration of an operation, from which its rules, checks, tests and documentation follow.

    @operation("polar factors", rule=polar_factor, inputs="x U S Vh", at_zeros=False)
    def orthogonalize(x, /): ...

puts `orthogonalize` in the table below. `sg.rules` takes its rules from there, and
`python -m spectralgrad` its checks and the table of the documentation; the tests take the facts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Operation:
    """A public function, with what the rest of the package has to know of it."""

    function: Callable[..., Any]
    group: str  # a heading of the documentation's table

    # What it takes beside its arrays, where it is checked.
    example: Mapping[str, Any] = field(default_factory=dict)

    # Its rules: a Primitive, or anything with a `jvp` and a `vjp` of that signature.
    rule: Any = None
    inputs: str = "x"
    outputs: str = "out"
    options: Mapping[str, Any] = field(default_factory=dict)  # with their defaults, or REQUIRED

    # What it is a function of: matrices of any shape, unless
    arrays: int = 1
    square: bool = False
    hermitian: bool = False  # it reads the Hermitian part
    definite: bool = False  # its argument has to be positive definite
    real: bool = False

    # What it needs of its options where rows are spread over devices; None: it needs all rows.
    over_rows: Mapping[str, Any] | None = None

    # Where it is differentiable.
    at_ties: bool = True  # other than at the cut, if it cuts the spectrum
    at_zeros: bool = True
    second: bool = True  # twice

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n\n")[0].replace("\n", " ")


OPERATIONS: dict[str, Operation] = {}
_Function = TypeVar("_Function", bound=Callable[..., Any])


def operation(group: str, **facts: Any) -> Callable[[_Function], _Function]:
    """Declare the function below as an operation; it stays what it is."""

    def declare(function: _Function) -> _Function:
        OPERATIONS[function.__name__] = Operation(function, group, **facts)
        return function

    return declare


def table() -> str:
    """The operations in Markdown, by group."""
    head = "| operation | value | at ties | at zero values | second derivatives |"
    rows = [head, "|" + "---|" * 5]
    for group in dict.fromkeys(entry.group for entry in OPERATIONS.values()):
        rows.append(f"| **{group}** | | | | |")
        for entry in OPERATIONS.values():
            if entry.group == group:
                facts = (entry.at_ties, entry.at_zeros, entry.second)
                marks = " | ".join("yes" if fact else "no" for fact in facts)
                rows.append(f"| `{entry.name}` | {entry.summary} | {marks} |")
    return "\n".join(rows)
