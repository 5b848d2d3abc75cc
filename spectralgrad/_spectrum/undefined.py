"""Why a derivative is NaN, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, reduce
from math import isinf
from operator import or_
from typing import Any, Literal, cast, get_args

import numpy as np

from .._bindings.array import Array, Arrays, adjoint, array_namespace
from .._engine.errors import DerivativeUndefinedError, DerivativeUndefinedWarning, reasoned
from .._engine.options import check_choice
from .naming import name_columns, of_order
from .ties import SKEW

FUNCTIONS_INSTEAD = (
    "Differentiate the function of the matrix instead of its factors (svd_function, "
    "eigh_function, orthogonalize, nuclear_norm, ... exist at ties; svdvals and eigvalsh for the "
    "values alone)"
)
POLICIES_INSTEAD = (
    ", or choose ties='split' for losses that are blind to the choice of vectors, or ties='drop' "
    "to leave the undefined part out"
)
NOT_DETERMINED = (
    "what x does not determine, such as the phase of a complex vector, the choice of completing "
    "columns, or that of vectors in a tie that was split"
)
BLIND_INSTEAD = (
    "Use products that are blind to it (U f(S) Vh, U U^H), full_matrices=False where the "
    "completing columns are not needed, or a function of the matrix such as svd_function"
)

ROUNDING = 1e-3  # of the largest: beyond, a value is not called zero in words
Policy = Literal["nan", "raise", "least_norm"]
KEEP_OUT = "Keep it out of the loss, as by where(ok, loss, 0)"
OVERFLOW = "a value of the spectrum overflows", "Scale x, as by a power of two"
MOVE_SPECTRUM = (
    "Move the spectrum first, as by x + c I for a Hermitian x, or take a function that exists there"
)
LEFT_OUT_INSTEAD = (
    f"{KEEP_OUT}, or choose undefined='least_norm' to leave "
    "the undefined part out of the derivative"
)


def explain(
    name: str,
    values: tuple[str, Array],
    undefined: Array,
    directions: Arrays,
    result: Arrays,
    ties: str,
    policies: str = POLICIES_INSTEAD,
) -> Exception | None:
    """Name the first batch element that came out NaN and the columns to blame, on readable arrays.

    None where the input or a direction held the NaN already.
    """
    symbol, v = values
    xp = array_namespace(v)
    elements = xp.any(xp.isnan(result[0][..., 0, :]), axis=-1) & ~xp.any(xp.isnan(v), axis=-1)
    index, where = _first(elements)
    if index is None:
        return None
    columns = xp.reshape(undefined, (-1, v.shape[-1]))[index, :]
    if bool(xp.any(xp.isinf(xp.reshape(v, (-1, v.shape[-1]))[index, :]))):
        what, remedy = OVERFLOW
    elif bool(xp.any(columns)):
        what = name_columns(symbol, xp.reshape(v, (-1, v.shape[-1]))[index, :], columns)
        remedy = FUNCTIONS_INSTEAD + (policies if ties != "split" else "")
    elif _are_finite(directions):
        moved = ", or on a gap that opening the tie has moved too far" if ties == "split" else ""
        what, remedy = f"the loss depends on {NOT_DETERMINED}{moved}", BLIND_INSTEAD
    else:
        return None
    return _problem(name, where, what, remedy, ties)


def _first(elements: Array) -> tuple[int | None, str]:
    """The flat index of the first batch element of a mask, and words for where that is."""
    xp, shape = array_namespace(elements), tuple(elements.shape)
    flat = xp.reshape(elements, (-1,))
    if not bool(xp.any(flat)):
        return None, ""
    index = int(xp.argmax(xp.astype(flat, xp.int8)))
    others = int(xp.sum(xp.astype(flat, xp.int32))) - 1
    place = tuple(map(int, np.unravel_index(index, shape)))
    where = f"batch element {place}" if place else "x"
    return index, where + (f" (and {others} more)" if others else "")


def _are_finite(directions: Arrays) -> bool:
    return all(
        bool(array_namespace(d).all(array_namespace(d).isfinite(d)))
        for d in directions
        if d is not None
    )


def _problem(
    name: str, where: str, what: str, remedy: str, policy: str, order: int = 1
) -> Exception:
    if order == 0:
        said = f"{name}: the value is NaN for {where}: {what}. {remedy}."
        return reasoned(UserWarning(said), what, remedy)
    nth = {1: "", 2: "second "}.get(order, "third ")
    message = (
        f"{name}: the {nth}derivative is undefined for {where}, and NaN there: {what}. {remedy}."
    )
    kind = DerivativeUndefinedError if policy == "raise" else DerivativeUndefinedWarning
    return reasoned(kind(message), what, remedy)


@dataclass(frozen=True)
class Undefined:
    """What a public function does about a derivative that does not exist."""

    function: str
    policy: Policy = "nan"

    @property
    def lenient(self) -> bool:
        """Whether the undefined quotients are left out."""
        return self.policy == "least_norm"

    @property
    def insists(self) -> bool:
        """Whether an error is wanted, and not only a warning."""
        return self.policy == "raise"

    def explain(
        self,
        values: Array,
        directions: Arrays,
        result: Array,
        why: Callable[[list[float]], str],
        remedy: str,
        order: int,
    ) -> Exception | None:
        """Name the first batch element whose result is NaN though its spectrum is not."""
        xp = array_namespace(values)
        own = result.ndim - values.ndim + 1  # axes of a batch element's result
        if own < 2:
            edges = [result if own else result[..., None]]
        else:
            edges = [result[..., 0, :], result[..., :, 0]]
        missing = reduce(or_, (xp.any(xp.isnan(edge), axis=-1) for edge in edges))
        return self.explain_elements(missing, values, directions, why, remedy, order)

    def explain_elements(
        self,
        elements: Array,
        values: Array,
        directions: Arrays,
        why: Callable[[list[float]], str],
        remedy: str,
        order: int = 1,
    ) -> Exception | None:
        """Name the first of these batch elements whose spectrum is not NaN, as that of a bad x."""
        xp = array_namespace(values)
        index, where = _first(elements & ~xp.any(xp.isnan(values), axis=-1))
        if index is None or not _are_finite(directions):
            return None
        row = xp.reshape(values, (-1, values.shape[-1]))[index, :]
        v = [float(row[i]) for i in range(row.shape[0])]
        if any(map(isinf, v)):
            what, remedy = OVERFLOW
        else:
            what = why(v)
        return _problem(self.function, where, what, remedy, self.policy, order)

    def explain_skew(self, x: Array, w: Array) -> Exception | None:
        """Name the first finite matrix that has no eigenvalues, since it is not Hermitian."""
        xp = array_namespace(w)
        size, twice_skew = (xp.max(xp.abs(y), axis=(-2, -1)) for y in (x, x - adjoint(x)))
        # by half of the bound: max|x| is at most max|w| and the skew part together
        is_skew = xp.isfinite(size) & (twice_skew > SKEW * size)
        index, where = _first(xp.any(xp.isnan(w), axis=-1) & is_skew)
        if index is None:
            return None
        return UserWarning(
            f"{self.function}: the value is NaN for {where}, which is not Hermitian: its "
            "skew-Hermitian part is above 1e-2 of its size, and SciPy's function of that name is "
            "another one there. For the function of the Hermitian part, pass (x + x^H)/2 or use "
            "eigh_function."
        )


@dataclass(frozen=True)
class Because:
    """Says why a derivative of some order is NaN, for `Primitive.undefined`.

    Input `place` is the spectrum, what has that `spectrum`, or a number (axes=0) that has to do
    with it; `why(values, **static)` says what is wrong with that of one batch element. `function`
    is the public one where no option `undefined` comes with its name.
    """

    place: int
    why: Callable[..., str]
    axes: int = 1
    spectrum: Callable[[Array], Array] = lambda values: values
    function: str = ""
    remedy: str = LEFT_OUT_INSTEAD
    order: int = 1

    def __call__(
        self,
        inputs: Arrays,
        outputs: Arrays,
        directions: Arrays,
        result: Arrays,
        *,
        undefined: Undefined | None = None,
        **static: Any,
    ) -> Exception | None:
        about = undefined or Undefined(self.function)
        if not about.function or result[0] is None:
            return None
        values = self.spectrum(inputs[self.place] if self.axes else inputs[self.place][..., None])
        why = partial(self.why, **static) if self.order == 1 else partial(of_order, self.order)
        remedy = (MOVE_SPECTRUM, self.remedy if undefined else KEEP_OUT, KEEP_OUT)[
            min(self.order, 2)
        ]
        return about.explain(values, directions, result[0], why, remedy, self.order)

    def of_value(self, inputs: Arrays, outputs: Arrays, **static: Any) -> Exception | None:
        """The same of the value, for `Primitive.no_value`."""
        return replace(self, order=0)(inputs, outputs, (), outputs, **static)

    def at_next_order(self) -> Because:
        """The same of a Primitive with one direction more, in front of the factors."""
        return replace(self, place=self.place + 1, order=self.order + 1)


def because(
    place: int, why: Callable[..., str], *, value: bool = False, **facts: Any
) -> dict[str, Any]:
    """What a Primitive has to know to explain a NaN (`Because`), of its value too if it may be."""

    def insists(*, undefined: Undefined | None = None, **static: Any) -> bool:
        return undefined is not None and undefined.insists

    reason = Because(place, why, **facts)
    return {
        "undefined": reason,
        "insists": insists,
        "no_value": reason.of_value if value else None,
    }


def at_kinks(place: int, function: str) -> dict[str, Any]:
    """The same of the gradient of a scalar function of x, whose derivative is a second one."""
    return because(place, lambda values: "", function=function, order=2)


def check_undefined(policy: object, function: str) -> Undefined:
    check_choice(policy, get_args(Policy), function, "undefined")
    return Undefined(function, cast("Policy", policy))


def insists(*, ties: str = "nan", **options: object) -> bool:
    """Whether an error is wanted, and not only a warning."""
    return ties == "raise"
