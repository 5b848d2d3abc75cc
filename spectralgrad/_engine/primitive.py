"""A function with its derivative rules, and its calls, which every library can differentiate.

A `Primitive` is three pure functions of arrays: forward, jvp and vjp, all of one signature,

    forward(*inputs, **static)                      -> outputs
    jvp(inputs, outputs, tangents, **static)        -> tangents of the outputs
    vjp(inputs, outputs, cotangents, **static)      -> cotangents of the inputs

where inputs, outputs, tangents and cotangents are tuples and None stands for zero; forward and jvp
of a Primitive with one output return it bare. A vjp may return a callable in place of an expensive
cotangent: it is called if that cotangent is wanted. PyTorch and JAX differentiate a call by their
own autodiff (`_bindings`); elsewhere it is recorded (`tape`) and differentiated by `transforms`.

Convention: dL = Re sum(conj(x_bar) * dx).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._bindings.array import Array, Arrays, array_namespace, device
from .._bindings.lookup import library_of, truth
from .operators import LowRank
from .tape import current_tape, recording


@dataclass(frozen=True, eq=False)
class Primitive:
    """Forward, jvp and vjp of one function.

    `carried` names the inputs whose derivative another input carries, such as the factors U, S, Vh
    of an x that they are handed over with. `undefined(inputs, outputs, directions, result,
    **static)` returns the warning or the error that says why a result is NaN, or None; it is called
    only once a NaN came out. `insists(**static)` says whether that is worth a copy to the host.
    """

    name: str
    forward: Callable[..., Any]
    jvp: Callable[..., Any]
    vjp: Callable[..., Arrays]
    outputs: int = 1
    carried: tuple[int, ...] = ()
    undefined: Callable[..., Exception | None] | None = None
    insists: Callable[..., bool] = lambda **static: False

    def __call__(self, *arrays: Any, **static: Hashable) -> Any:
        call = Call(self, tuple(static.items()))
        tape = current_tape(arrays[0])
        with nullcontext() if tape is None else recording(None):  # nothing of what rules call
            outputs = library_of(arrays[0]).apply(call, arrays)
        if tape is not None:
            # NumPy's 0-d results are numbers (2.4), which would pass for constants
            outputs = tuple(np.asarray(y) if isinstance(y, np.generic) else y for y in outputs)
            tape.record(call, arrays, outputs)
        return outputs if self.outputs > 1 else outputs[0]


def answered(result: Arrays, wanted: Collection[int]) -> Arrays:
    """The cotangents that are wanted, expensive ones computed, and None in place of the others."""
    return tuple(
        [b if not callable(b) else b() if i in wanted else None for i, b in enumerate(result)]
    )


@dataclass(frozen=True)
class Call:
    """A Primitive with its static arguments: one hashable object, which every library carries.

    Here outputs, tangents and cotangents are tuples, also of one.
    """

    primitive: Primitive
    static: tuple[tuple[str, Hashable], ...]

    def _tuple(self, outputs: Any) -> Arrays:
        return outputs if self.primitive.outputs > 1 else (outputs,)

    def forward(self, *inputs: Any) -> Arrays:
        return self._tuple(self.primitive.forward(*inputs, **dict(self.static)))

    def jvp(self, inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
        carried = self.primitive.carried
        tangents = tuple(None if i in carried else t for i, t in enumerate(tangents))
        if all(t is None for t in tangents):
            return (None,) * len(outputs)
        result = self._tuple(self.primitive.jvp(inputs, outputs, tangents, **dict(self.static)))
        self._explain_nan(result, inputs, outputs, tangents)
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
        shown = tuple(bar.left if isinstance(bar, LowRank) else bar for bar in result)
        self._explain_nan(shown, inputs, outputs, cotangents)
        return result

    def active(self, inputs: Sequence[Any]) -> list[int]:
        return [i for i in range(len(inputs)) if i not in self.primitive.carried]

    def _explain_nan(
        self, result: Arrays, inputs: Arrays, outputs: Arrays, directions: Arrays
    ) -> None:
        """Warn or raise where a rule returned NaN and can say why."""
        primitive, static = self.primitive, dict(self.static)
        if primitive.undefined is None or not _any_nan(result, primitive.insists(**static)):
            return
        known = [tuple(map(_values, arrays)) for arrays in (inputs, outputs, directions, result)]
        problem = primitive.undefined(*known, **static)
        if isinstance(problem, Warning):
            warnings.warn(problem, stacklevel=4)
        elif problem is not None:
            raise problem


def _values(x: Any) -> Any:
    return None if x is None else library_of(x).values(x)


def read(x: Array, *, insist: bool = True) -> Array | None:
    """x outside of every derivative; None where it has no values yet, or only on a device.

    What is on a device is read where a caller insists.
    """
    known = library_of(x).values(x)
    return known if known is None or insist or "cpu" in str(device(x)).lower() else None


def _any_nan(result: Arrays, insist: bool) -> bool:
    """Whether one row of a result, that can be read, holds a NaN."""
    for array in result:
        known = None if array is None or 0 in array.shape else read(array, insist=insist)
        if known is not None:
            xp = array_namespace(known)
            row = known[..., :1, :] if known.ndim > 1 else known
            if truth(xp.any(xp.isnan(row))):
                return True
    return False
