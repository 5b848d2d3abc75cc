"""A function with its derivative rules, and the calls that differentiate it.

A `Primitive` is three pure functions of arrays: forward, jvp and vjp, all of one signature,

    forward(*inputs, **static)                      -> outputs
    jvp(inputs, outputs, tangents, **static)        -> tangents of the outputs
    vjp(inputs, outputs, cotangents, **static)      -> cotangents of the inputs

where inputs, outputs, tangents and cotangents are tuples and None stands for zero. A vjp may
answer with a thunk for a cotangent that is dear: it is called if that one is wanted. With PyTorch
and JAX arrays a call is handed to the library's own autodiff (`_bind`); with all others it runs
as it is, and `_transforms` notes each call as it passes.

Convention: dL = Re sum(conj(x_bar) * dx).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._array import Array, array_namespace, device, is_dask_array, is_jax_array, is_torch_array
from ._errors import (
    ConvergenceWarning,
    DerivativeUndefinedError,
    DerivativeUndefinedWarning,
    complain,
    raise_glue,
)

Arrays = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Primitive:
    """Forward, jvp and vjp of one function.

    `carried` names the inputs whose derivative another input carries: the factors U, S, Vh of x,
    handed over beside x, are such. `undefined(inputs, outputs, directions, result, **static)`
    tells in words why a result is NaN, or returns None; it is asked only once a NaN came out.
    """

    name: str
    forward: Callable[..., Arrays]
    jvp: Callable[..., Arrays]
    vjp: Callable[..., Arrays]
    carried: tuple[int, ...] = ()
    undefined: Callable[..., str | Warning | None] | None = None

    def __call__(self, *arrays: Array, **static: Hashable) -> Arrays:
        call = Call(self, tuple(static.items()))
        library = library_of(arrays[0])
        notes = _current_notes(library)
        with noting(None) if notes is not None else nullcontext():  # of what rules call, nothing
            outputs = call.forward(*arrays) if library is None else library.apply(call, arrays)
        if notes is not None:
            # NumPy's 0-d results are numbers (2.4), which would pass for constants
            outputs = tuple(np.asarray(y) if isinstance(y, np.generic) else y for y in outputs)
            notes.add(call, arrays, outputs)
        return outputs


def answered(result: Arrays, wanted: Collection[int]) -> Arrays:
    """A rule's answer with its thunks called, where wanted, and None in place of the others."""
    return tuple(
        bar if not callable(bar) else bar() if i in wanted else None for i, bar in enumerate(result)
    )


@dataclass(frozen=True)
class Call:
    """A Primitive with its static arguments: one hashable object for every library to carry."""

    primitive: Primitive
    static: tuple[tuple[str, Hashable], ...]

    def forward(self, *inputs: Array) -> Arrays:
        return self.primitive.forward(*inputs, **dict(self.static))

    def jvp(self, inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
        carried = self.primitive.carried
        tangents = tuple(None if i in carried else t for i, t in enumerate(tangents))
        if all(t is None for t in tangents):
            return (None,) * len(outputs)
        result = self.primitive.jvp(inputs, outputs, tangents, **dict(self.static))
        self._report(result, inputs, outputs, tangents)
        return result

    def vjp(
        self,
        inputs: Arrays,
        outputs: Arrays,
        cotangents: Arrays,
        wanted: Collection[int] | None = None,
    ) -> Arrays:
        """Cotangents of the inputs that are `wanted`, all by default."""
        if all(c is None for c in cotangents):
            return (None,) * len(inputs)
        result = self.primitive.vjp(inputs, outputs, cotangents, **dict(self.static))
        result = answered(result, range(len(inputs)) if wanted is None else wanted)
        shown = tuple(getattr(bar, "left", bar) for bar in result)  # of a LowRank
        self._report(shown, inputs, outputs, cotangents)
        return result

    def active(self, inputs: Sequence[Array]) -> list[int]:
        return [i for i in range(len(inputs)) if i not in self.primitive.carried]

    def _report(self, result: Arrays, inputs: Arrays, outputs: Arrays, directions: Arrays) -> None:
        """Warn or raise where a rule answered NaN and can say why.

        One row of each result is read, on the host alone unless an error was asked for.
        """
        primitive, static = self.primitive, dict(self.static)
        insist = static.get("ties") == "raise"
        if primitive.undefined is None or not _any_nan(result, insist):
            return
        library = library_of(inputs[0])
        read = (lambda x: x) if library is None else library.values
        told = [tuple(map(read, arrays)) for arrays in (inputs, outputs, directions, result)]
        message = primitive.undefined(*told, **static)
        if isinstance(message, ConvergenceWarning):
            complain(message, str(static["unconverged"]))
        elif message is not None and insist:
            raise DerivativeUndefinedError(message)
        elif message is not None:
            warnings.warn(message, DerivativeUndefinedWarning, stacklevel=4)


def library_of(x: Array) -> Any:
    """The binding of the library that owns `x`, or None where there is no autodiff to bind to."""
    if is_torch_array(x):
        from ._bind import torch

        return None if torch.is_sparse(x) else torch  # no Function takes sparse tensors
    if is_jax_array(x):
        from ._bind import jax

        return jax
    return None


def _any_nan(result: Arrays, insist: bool) -> bool:
    for array in result:
        if array is None or 0 in array.shape or not is_readable(array, insist):
            continue
        xp = array_namespace(array)
        row = array[..., :1, :] if array.ndim > 1 else array
        try:
            if bool(xp.any(xp.isnan(row))):
                return True
        except RuntimeError:  # torch.func.vmap and FakeTensor refuse to tell (PyTorch 2.13)
            return False
    return False


def is_readable(x: Array, insist: bool) -> bool:
    library = library_of(x)
    if is_dask_array(x) or (library is not None and not library.is_concrete(x)):
        return False
    return insist or "cpu" in str(device(x)).lower()


def read(x: Array, *, insist: bool = True) -> Array | None:
    """x outside of every derivative, or None where it has no values yet."""
    if not is_readable(x, insist):
        return None
    library = library_of(x)
    return x if library is None else library.values(x)


class Notes:
    """The calls made while a function ran, with their arrays, told apart by identity."""

    def __init__(self, transform: str, primals: Sequence[Array]) -> None:
        self.transform = transform
        self.calls: list[tuple[Call, Arrays, Arrays]] = []
        self.known = {id(x): x for x in primals}

    def add(self, call: Call, inputs: Arrays, outputs: Arrays) -> None:
        if any(id(x) not in self.known for x in inputs):
            raise_glue(
                f"`{call.primitive.name}` was given an array that is neither a primal nor the "
                "result of another call",
                self.transform,
            )
        self.calls.append((call, inputs, outputs))
        self.known.update((id(x), x) for x in outputs)

    def needed(self, leaves: Sequence[Array]) -> list[tuple[Call, Arrays, Arrays]]:
        """The calls that the leaves depend on, in order."""
        wanted = {id(x) for x in leaves}
        kept = []
        for call, inputs, outputs in reversed(self.calls):
            if any(id(x) in wanted for x in outputs):
                wanted.update(id(inputs[i]) for i in call.active(inputs))
                kept.append((call, inputs, outputs))
        return kept[::-1]


_NOTES: ContextVar[Notes | None] = ContextVar("spectralgrad_notes", default=None)


def _current_notes(library: Any) -> Notes | None:
    # Dynamo cannot read a ContextVar (PyTorch 2.13); nothing is noted while it traces.
    return None if library is not None and library.is_tracing() else _NOTES.get()


@contextmanager
def noting(notes: Notes | None) -> Iterator[None]:
    token = _NOTES.set(notes)
    try:
        yield
    finally:
        _NOTES.reset(token)


def is_noting() -> bool:
    return _NOTES.get() is not None


def is_noted(x: Any) -> bool:
    """Whether `x` is one of the arrays that a derivative is being noted for."""
    notes = _NOTES.get()
    return notes is not None and id(x) in notes.known


def is_differentiated(x: Array) -> bool:
    """Whether a derivative of what is computed from `x` may be asked for: when in doubt, yes."""
    library = library_of(x)
    if _current_notes(library) is not None:
        return True
    return library is not None and library.is_differentiated(x)
