"""A function with its derivative rules, and its calls, which every library can differentiate.

A `Primitive` is three pure functions of arrays: forward, jvp and vjp, all of one signature,

    forward(*inputs, **static)                      -> outputs
    jvp(inputs, outputs, tangents, **static)        -> tangents of the outputs
    vjp(inputs, outputs, cotangents, **static)      -> cotangents of the inputs

where inputs, outputs, tangents and cotangents are tuples and None stands for zero; forward and jvp
of a Primitive with one output return it bare. A vjp may return a callable in place of an expensive
cotangent: it is called if that cotangent is wanted. PyTorch and JAX differentiate a call by their
own autodiff (`_bindings`); elsewhere it is recorded (`tape`) and differentiated by `transforms`.

Zero in, zero out: where all directions of a batch element, its tangents or its cotangents, are
exactly zero, so is the result, however undefined the derivative is there. What a rule says of such
an idle element is replaced, and its own derivative with it: that by the arrays is zero, and that by
the directions the derivative itself, which is linear in them, NaN where it is undefined.

Convention: dL = Re sum(conj(x_bar) * dx).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np

from .._bindings.array import Array, Arrays, array_namespace
from .._bindings.library import BlockLibrary, Library
from .._bindings.lookup import common_library, is_dense, truth
from .errors import raise_no_second_order
from .reading import holds_nan, values_of
from .slices import by_slices, flattened
from .tape import Tape, current_tape, recording
from .why_nan import array_of, explain, explain_value
from .zero_directions import (
    Mode,
    Shielded,
    blanked,
    copies,
    has_derivative,
    idle_elements,
    is_followed,
    shielded,
    zeroed,
)


@dataclass(frozen=True, eq=False)
class Primitive:
    """Forward, jvp and vjp of one function.

    `carried` names the inputs whose derivative another input carries, such as the factors U, S, Vh
    of an x that they are handed over with. `core` is how many axes a batch element of the first
    output has, or the static argument that says so; None where zero directions make zeros by
    themselves, whatever the inputs are. `batched` is how many inputs belong to batch elements, if
    not all: the others are shared. `undefined(inputs, outputs, directions, result, **static)`
    returns the warning or the error that says why a result is NaN, or None; it is called only once
    a NaN came out. `insists(**static)` says whether that is worth a copy to the host.
    `no_value(inputs, outputs, **static)` does the same for the outputs. `foreign`
    says that the functions take no arrays but the library's own, such as those that call an
    operator; a static argument of this name may say so too. `decomposes` says that forward calls
    LAPACK, and `iterates` that it makes products of thin arrays, of one batch element at a time.

    What no rule reads, nor `undefined`, but its shape, no library has to keep: the inputs that
    `unread(**static)` returns, and the outputs unless `reads_outputs`. If the Primitive is
    `nominal`, forward too reads no values of the first input, which stands there for what has the
    derivative.
    """

    name: str
    forward: Callable[..., Any]
    jvp: Callable[..., Any]
    vjp: Callable[..., Arrays]
    outputs: int = 1
    carried: tuple[int, ...] = ()
    core: int | str | None = None
    batched: int | None = None
    undefined: Callable[..., Exception | None] | None = None
    insists: Callable[..., bool] = lambda **static: False
    no_value: Callable[..., Exception | None] | None = None
    foreign: bool = False
    decomposes: bool = False
    iterates: bool = False
    unread: Callable[..., tuple[int, ...]] = lambda **static: ()
    reads_outputs: bool = True
    nominal: bool = False

    def __call__(self, *arrays: Any, **static: Hashable) -> Any:
        call = Call(self, tuple(static.items()))
        tape = current_tape(arrays[0])
        with nullcontext() if tape is None else recording(None):  # nothing of what rules call
            outputs = common_library(arrays).apply(call, arrays)
        if tape is not None:
            # NumPy's 0-d results are numbers (2.4), which would pass for constants
            outputs = tuple(np.asarray(y) if isinstance(y, np.generic) else y for y in outputs)
            tape.record(call, arrays, outputs)
        return outputs if self.outputs > 1 else outputs[0]


def constant(name: str, function: Callable[..., Any]) -> Primitive:
    """A Primitive whose derivative is zero: nothing is asked of what leads to it."""
    return Primitive(
        name,
        forward=function,
        jvp=lambda inputs, outputs, tangents, **static: None,
        vjp=lambda inputs, outputs, cotangents, **static: (None,) * len(inputs),
        carried=tuple(range(8)),  # however many it takes
        unread=lambda **static: tuple(range(8)),
        reads_outputs=False,
    )


def once(function: Callable[[], Arrays]) -> Callable[[], Arrays]:
    """The function, which computes its value when it is first called."""
    found: list[Arrays] = []  # Dynamo makes no functools.cache (PyTorch 2.13)

    def value() -> Arrays:
        if not found:
            found.append(function())
        return found[0]

    return value


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

    @property
    def foreign(self) -> bool:
        """Whether code is called that wants the library's own arrays, such as the user's."""
        if self.primitive.foreign:
            return True
        return any(getattr(value, "foreign", False) for _, value in self.static)

    @property
    def shares(self) -> bool:
        """Whether some inputs belong to all batch elements, or the functions know no batch."""
        return self.primitive.foreign or self.primitive.iterates or self._shares_inputs

    @property
    def _shares_inputs(self) -> bool:
        if self.primitive.batched is not None:
            return True
        return any(getattr(value, "shares", False) for _, value in self.static)

    @property
    def core(self) -> int | None:
        """How many axes a batch element of the first output has, where the Primitive says so."""
        core: Any = self.primitive.core
        core = dict(self.static)[core] if isinstance(core, str) else core
        return None if core is None else int(core)

    @property
    def silent(self) -> Call:
        """The same, which says nothing of NaN."""
        return Call(replace(self.primitive, undefined=None, no_value=None), self.static)

    def kept(self, inputs: Arrays, outputs: Arrays) -> Arrays:
        """All of these, and None for each that no rule reads."""
        unread = self.primitive.unread(**dict(self.static))
        own = tuple(None if i in unread else x for i, x in enumerate(inputs))
        return own + (outputs if self.primitive.reads_outputs else (None,) * len(outputs))

    @property
    def name(self) -> str:
        """That of the public function which is at work, if it is known."""
        about: Any = dict(self.static).get("undefined")
        own = self.primitive.name
        return own if about is None else about.function + "'" * own.count("'")

    def _tuple(self, outputs: Any) -> Arrays:
        return outputs if self.primitive.outputs > 1 else (outputs,)

    def forward(self, *inputs: Any) -> Arrays:
        outputs = self._tuple(self.primitive.forward(*inputs, **dict(self.static)))
        if self.primitive.no_value is not None:
            explain_value(self, inputs, outputs)
        return outputs

    def jvp(self, inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
        carried = self.primitive.carried
        tangents = tuple(None if i in carried else t for i, t in enumerate(tangents))
        if all(t is None for t in tangents):
            return (None,) * len(outputs)

        def rule(inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
            return self._tuple(self.primitive.jvp(inputs, outputs, tangents, **dict(self.static)))

        return self._along("jvp", rule, inputs, outputs, tangents)

    def vjp(
        self,
        inputs: Arrays,
        outputs: Arrays,
        cotangents: Arrays,
        wanted: Collection[int] | None = None,
    ) -> Arrays:
        """Cotangents of the inputs that are `wanted`, all by default."""
        if all(c is None for c in cotangents) or not self.active(inputs):
            return (None,) * len(inputs)
        wanted = range(len(inputs)) if wanted is None else wanted

        def rule(
            inputs: Arrays, outputs: Arrays, cotangents: Arrays, places: slice = slice(None)
        ) -> Arrays:
            result = self.primitive.vjp(inputs, outputs, cotangents, **dict(self.static))
            return answered(result, [i for i in range(len(inputs))[places] if i in wanted])

        return self._along("vjp", rule, inputs, outputs, cotangents)

    def vjp_by_calls(
        self, inputs: Arrays, outputs: Arrays, cotangents: Arrays, wanted: Collection[int]
    ) -> Arrays:
        """The same, refused where the rule does arithmetic that no library would follow."""
        given = [x for x in (*inputs, *outputs, *cotangents) if x is not None]
        tape = Tape("hvp", given)
        try:
            with recording(tape):
                bars = self.vjp(inputs, outputs, cotangents, wanted)
        except TypeError as problem:
            if "ufunc" not in str(problem):  # NumPy's, of what stands for an array
                raise
            raise_no_second_order(self.primitive.name)
        if any(bar is not None and id(bar) not in tape.known for bar in bars):
            raise_no_second_order(self.primitive.name)
        return bars

    def _along(
        self,
        mode: Mode,
        rule: Callable[..., Arrays],
        inputs: Arrays,
        outputs: Arrays,
        directions: Arrays,
    ) -> Arrays:
        """What the rule returns, exactly zero in idle batch elements."""
        batch = self._batch(mode, outputs, directions)
        given = [d for d in directions if d is not None]
        library, found = common_library((*inputs, *given)), None
        with library.computing(outputs[0]):
            if batch is None:
                result = rule(inputs, outputs, directions)
            elif is_followed(library, (*inputs, *given)):
                result = self._shielded(mode, rule, inputs, outputs, directions, batch)
            else:
                groups = inputs, outputs, directions
                blocks = self._in_blocks(library, mode, rule, groups, batch)
                if blocks is not None:
                    return blocks
                whole = self.shares or self.foreign
                result = (rule if whole else partial(by_slices, rule, batch))(*groups)
                found = holds_nan(map(array_of, result), batch)
                if found is not False:  # else there is nothing to replace
                    looked_at = library.after(outputs[0], batch, tuple(given))
                    mask = idle_elements(*looked_at, axes=tuple(d.ndim - batch for d in given))
                    own = self._own(mode, result)
                    result = (*(zeroed(mask, r, batch) for r in own), *result[len(own) :])
            if found is not False:
                self.explain(inputs, outputs, directions, result, batch or 0)
        return result

    def _in_blocks(
        self,
        library: Library,
        mode: Mode,
        rule: Callable[..., Arrays],
        groups: tuple[Arrays, Arrays, Arrays],
        batch: int,
    ) -> Arrays | None:
        """The same by blocks of the stack, where the library has arrays in blocks."""
        if not library.blocks or self._shares_inputs:
            return None
        silent = partial(self.silent._along, mode, rule)
        function, arrays = flattened(silent, *groups)
        return cast("BlockLibrary", library).in_blocks(function, batch, arrays)

    def explain(
        self, inputs: Arrays, outputs: Arrays, directions: Arrays, result: Arrays, batch: int
    ) -> None:
        """Say why the result of a derivative is NaN, if it is."""
        if self.primitive.undefined is not None:
            explain(self, (inputs, outputs, directions, result), batch)

    def _own(self, mode: Mode, arrays: Arrays) -> Arrays:
        """Those of a rule's results that belong to batch elements."""
        return arrays if mode == "jvp" else arrays[: self.primitive.batched]

    def _batch(self, mode: Mode, outputs: Arrays, directions: Arrays) -> int | None:
        """The number of axes in front of a batch element's, or None where zeros need no care."""
        core = self.core
        dense = all(d is None or is_dense(d) for d in directions)
        if mode == "jvp" and self.primitive.batched is not None:
            # along what all elements share none is idle
            dense = dense and all(d is None for d in directions[self.primitive.batched :])
        return outputs[0].ndim - core if core is not None and dense else None

    def _shielded(
        self,
        mode: Mode,
        rule: Callable[..., Arrays],
        inputs: Arrays,
        outputs: Arrays,
        directions: Arrays,
        batch: int,
    ) -> Arrays:
        """The same where a derivative of the result may be asked for."""
        given = tuple(i for i, d in enumerate(directions) if d is not None)
        along = tuple(directions[i] for i in given)
        own_axes = tuple(d.ndim - batch for d in along)
        known = tuple(map(values_of, along))
        if all(d is not None for d in known):
            found = idle_elements(*known, axes=own_axes)
            if truth(array_namespace(found).any(found != 0)) is False:
                return rule(inputs, outputs, directions)
        mask = idle(*along, axes=own_axes)
        own = inputs[: self.primitive.batched]
        held = _still_arrays(mask, (*own, *outputs, *directions), batch)
        k, m, n = len(own), len(inputs), len(outputs)
        still_known = (*held[:k], *inputs[k:]), held[k : k + n]
        if mode == "vjp" and k < m:
            # What the elements share has a derivative by each direction, that of an idle one too.
            own_part = rule(*still_known, held[k + n :], slice(k))
            result = (*own_part[:k], *rule(*still_known, directions, slice(k, None))[k:])
        else:
            result = rule(*still_known, held[k + n :])
        results = self._own(mode, result)
        tape, shown = current_tape(mask), tuple(i for i, r in enumerate(results) if is_dense(r))
        if tape is not None and any(id(result[i]) not in tape.known for i in shown):
            return result  # which has no derivative
        if not shown:
            return result
        arrays = (*(result[i] for i in shown), *along)
        axes = tuple(x.ndim - batch for x in arrays)
        of = Shielded(self, mode, shown, given, m)
        out = shield(mask, *arrays, *inputs, *outputs, of=of, axes=axes)
        found = dict(zip(shown, out, strict=True))
        return tuple(found.get(i, r) for i, r in enumerate(result))

    def active(self, inputs: Sequence[Any]) -> list[int]:
        return [i for i in range(len(inputs)) if i not in self.primitive.carried]


# 1 for batch elements, of arrays with so many axes, where all directions are zero, else 0
idle = constant("idle", idle_elements)

# x with zeros where the mask is 1, or (keep) where it is 0
blank: Primitive = Primitive(
    "blank",
    blanked,
    jvp=lambda inputs, outputs, dots, **static: blank(dots[0], inputs[1], **static),
    vjp=lambda inputs, outputs, bars, **static: (blank(bars[0], inputs[1], **static), None),
    carried=(1,),
)


def _blank_each(
    mask: Array, arrays: Arrays, axes: tuple[int, ...], *, keep: bool = False
) -> Arrays:
    return tuple(
        None if x is None else blank(x, mask, axes=n, keep=keep)
        for x, n in zip(arrays, axes, strict=True)
    )


# copies of the arrays behind the mask, constant where that is 1
still = Primitive(
    "still",
    copies,
    jvp=lambda inputs, outputs, dots, *, axes: _blank_each(inputs[0], dots[1:], axes),
    vjp=lambda inputs, outputs, bars, *, axes: (None, *_blank_each(inputs[0], bars, axes)),
    outputs=2,  # or however many
    carried=(0,),
)


def _still_arrays(mask: Array, arrays: Arrays, batch: int) -> Arrays:
    """The arrays, constant in idle batch elements, as far as they have a derivative at all."""
    places = [i for i, x in enumerate(arrays) if x is not None and has_derivative(x)]
    if not places:
        return arrays
    chosen = [arrays[i] for i in places]
    held = still(mask, *chosen, axes=tuple(x.ndim - batch for x in chosen))
    found = dict(zip(places, held, strict=True))
    return tuple(found.get(i, x) for i, x in enumerate(arrays))


def _shield_jvp(
    arrays: Arrays, results: Arrays, dots: Arrays, *, of: Shielded, axes: tuple[int, ...]
) -> Arrays:
    mask = arrays[0]
    _, _, inputs, outputs = of.split(arrays[1:])
    d_results, d_directions, _, _ = of.split(dots[1:])
    shown = len(of.shown)
    moved = _blank_each(mask, d_results, axes[:shown])
    if all(d is None for d in d_directions):
        return moved
    # zero in the other elements, where what they do alone may be undefined
    kept = of.straight(inputs, outputs, _blank_each(mask, d_directions, axes[shown:], keep=True))
    return tuple(
        b if a is None else a if b is None else a + b for a, b in zip(moved, kept, strict=True)
    )


def _shield_vjp(
    arrays: Arrays, results: Arrays, bars: Arrays, *, of: Shielded, axes: tuple[int, ...]
) -> Arrays:
    mask = arrays[0]
    _, directions, inputs, outputs = of.split(arrays[1:])
    axes = axes[: len(results)]
    turned = once(lambda: of.turned(inputs, outputs, _blank_each(mask, bars, axes, keep=True)))

    def of_direction(i: int) -> Array | None:
        return turned()[i]

    return (
        None,
        *_blank_each(mask, bars, axes),
        *(partial(of_direction, i) for i in range(len(directions))),
        *(None,) * len(inputs + outputs),
    )


# The results of a call along directions, zero where the mask is 1: there their derivative by the
# directions is the call's own. Behind the mask come results, directions, inputs and outputs.
shield = Primitive("shield", shielded, _shield_jvp, _shield_vjp, outputs=2, carried=(0,))
