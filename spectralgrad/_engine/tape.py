"""The calls made while a function runs, for the libraries without autodiff.

Arrays are told apart by identity. What happens between calls is not seen, so an array that neither
was given nor came from a recorded call is an error, never a lost term.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .._bindings.array import Array, Arrays
from .._bindings.lookup import library_of
from .errors import public_name, raise_glue

Entry = tuple[Any, Arrays, Arrays]  # a call of a Primitive, its inputs and its outputs


class Tape:
    """Calls in order, and the arrays that they may take: the primals, and what calls returned."""

    def __init__(self, transform: str, primals: Sequence[Any]) -> None:
        self.transform = transform
        self.entries: list[Entry] = []
        self.known = {id(x): x for x in primals}

    def record(self, call: Any, inputs: Arrays, outputs: Arrays) -> None:
        if any(id(x) not in self.known for x in inputs):
            raise_glue(
                f"`{public_name(call.primitive.name)}` was given an array that is neither a primal "
                "nor the result of another call",
                self.transform,
            )
        self.entries.append((call, inputs, outputs))
        self.known.update((id(x), x) for x in outputs)


def needed(entries: list[Entry], leaves: Sequence[Any]) -> list[Entry]:
    """The entries that the leaves depend on, in order."""
    wanted = {id(x) for x in leaves}
    kept = []
    for call, inputs, outputs in reversed(entries):
        if any(id(x) in wanted for x in outputs):
            wanted.update(id(inputs[i]) for i in call.active(inputs))
            kept.append((call, inputs, outputs))
    return kept[::-1]


_TAPE: ContextVar[Tape | None] = ContextVar("spectralgrad_tape", default=None)


@contextmanager
def recording(tape: Tape | None) -> Iterator[None]:
    token = _TAPE.set(tape)
    try:
        yield
    finally:
        _TAPE.reset(token)


def current_tape(x: Any) -> Tape | None:
    """The tape that a call on x goes to; none while its library cannot see one."""
    return _TAPE.get() if library_of(x).sees_context() else None


def as_constant(x: Array) -> Array:
    """x, which calls may take from now on though it is no primal: it has no derivative."""
    tape = _TAPE.get()
    if tape is not None:
        tape.known.setdefault(id(x), x)
    return x


def is_recording() -> bool:
    return _TAPE.get() is not None


def is_recorded(x: Any) -> bool:
    """Whether x is one of the arrays whose derivative is being recorded."""
    tape = _TAPE.get()
    return tape is not None and id(x) in tape.known


def is_differentiated(x: Array) -> bool:
    """Whether a derivative of what is computed from x may be asked for: when in doubt, yes."""
    return current_tape(x) is not None or library_of(x).is_differentiated(x)
