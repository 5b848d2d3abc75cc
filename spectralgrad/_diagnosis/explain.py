"""Why a gradient is NaN, one batch element after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import and_
from typing import Any

import numpy as np

from .._bindings.array import Array, array_namespace, is_array, to_numpy
from .._bindings.lookup import is_dense, library_of
from .._engine.each_reason import Collected, Index, collecting
from .._engine.errors import parts_of
from .._engine.operators import LowRank
from .._engine.transforms import vjp
from .._engine.tree import leaves_of
from .._spectrum.undefined import KEEP_OUT

SHOWN = 10  # batch elements that are named in print


@dataclass(frozen=True)
class Reason:
    """Why one batch element has no gradient, and what to use instead."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}." if self.remedy else f"{self.what}."


@dataclass(frozen=True, repr=False, eq=False)
class Explanation:
    """What `explain` returns.

    Attributes
    ----------
    function : str
        The name of the function.
    ok : array (...) of bool
        Whether value and gradient of a batch element are finite, in x's library.
    gradient : array, or tuple of arrays
        What the pullback returned, NaN where a derivative does not exist.
    """

    function: str
    ok: Array
    gradient: Any
    _finite: Any = field(default=None)  # of the input, NumPy's mask
    _collected: Sequence[Collected] = field(default=())

    def why(self, index: int | Index = ()) -> Reason | None:
        """Why the batch element of that index is not `ok`; None if it is."""
        place = (index,) if isinstance(index, int) else tuple(index)
        if len(place) != self.ok.ndim:
            raise ValueError(
                f"Explanation.why: `index` is {index!r} where the stack has shape "
                f"{tuple(self.ok.shape)}; wanted an index of one of its batch elements."
            )
        if bool(to_numpy(self.ok)[place]):
            return None
        if not self._finite[place]:
            return Reason("The input or its cotangent holds NaN or Inf", KEEP_OUT)
        for collected in self._collected:
            problem = collected.problem(place)
            if problem is not None:
                return Reason(*parts_of(problem))
        what = "The value or the gradient is NaN or Inf, as where it is out of the dtype's range"
        return Reason(what, "Scale x, as by a power of two")

    @property
    def reasons(self) -> dict[Index, Reason]:
        """Why, for every batch element that is not `ok`."""
        return {place: reason for place in self._failed() if (reason := self.why(place))}

    def to_dict(self) -> dict[str, Any]:
        """The mask as nested lists, and the reasons as dicts."""
        reasons = [{"index": list(place), **vars(why)} for place, why in self.reasons.items()]
        return {"function": self.function, "ok": to_numpy(self.ok).tolist(), "reasons": reasons}

    def _failed(self) -> list[Index]:
        return [tuple(map(int, place)) for place in np.argwhere(~to_numpy(self.ok))]

    def __repr__(self) -> str:
        failed, ok = self._failed(), to_numpy(self.ok)
        if not ok.ndim:
            return f"{self.function}: " + (str(self.why()) if failed else "the gradient exists.")
        lines = [f"{self.function}: {len(failed)} of {ok.size} batch elements have no gradient."]
        lines += [f"  {place}: {self.why(place)}" for place in failed[:SHOWN]]
        more = len(failed) - SHOWN
        return "\n".join([*lines, f"  and {more} more"] if more > 0 else lines)


def explain(fun: Callable[..., Any], x: Any, cotangents: Any, /, **static: Any) -> Explanation:
    """Why the gradient of `fun` at x is NaN, batch element by batch element, and what helps.

    Parameters
    ----------
    fun : callable
        A function of this library, or one made of calls to them only, as `vjp` takes it.
    x : array, sparse matrix or operator, or a tuple of these
        The argument of `fun`, or several. Their values are read on the host.
    cotangents
        The cotangent of the output, as the pullback of `vjp` takes it.
    **static
        Passed on to `fun`: options, not differentiated.

    Returns
    -------
    Explanation
        `ok`, a boolean array with an entry for each batch element to mask a loss by,
        `where(ok, loss, 0)`; `reasons`, by index, and `why(index)`, in the words of the warnings;
        the `gradient`. It prints itself.

    Raises
    ------
    TypeError, ValueError
        As `vjp` and its pullback do; for arrays that are traced and have no values to read.

    See Also
    --------
    explain_nan, diagnose

    Notes
    -----
    The batch is that of the first array, all its axes but the last two. Reasons are found when they
    are asked for, from the arrays that the derivative was computed from. Nothing is warned of.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg
    >>> x = np.stack([np.diag([3.0, 1.0]), np.diag([3.0, 0.0])])
    >>> explanation = sg.explain(sg.orthogonalize, x, np.ones((2, 2, 2)))
    >>> explanation.ok
    array([ True, False])
    >>> print(explanation.why(1).what)
    the factor jumps where S[1] = 0 counts as zero (the largest is 3)
    """
    several = isinstance(x, (tuple, list))
    primals = tuple(x) if several else (x,)
    for primal in primals:
        if is_array(primal) and is_dense(primal) and library_of(primal).values(primal) is None:
            raise TypeError(
                "explain: `x` is traced, as under jit or vmap, or evaluated on demand, and has no "
                "values to read; wanted an array with values. Call it outside, or put "
                "sg.explain_nan() around the code."
            )
    with collecting() as found:
        out, pullback = vjp(fun, *primals, **static)
        gradient = pullback(cotangents)
    batch = tuple(primals[0].shape[:-2])
    given = [leaf for leaf in leaves_of(cotangents) if leaf is not None]
    finite = _finite([*primals, *given], batch)
    ok = _finite([*leaves_of(out), *gradient], batch)
    if ok is None:
        raise TypeError("explain: the function returned no array; wanted one to differentiate.")
    name = getattr(fun, "__name__", type(fun).__name__).replace("<lambda>", "the function")
    known = np.ones(batch, dtype=bool) if finite is None else to_numpy(finite)
    return Explanation(name, ok, gradient if several else gradient[0], known, found)


def _finite(arrays: Sequence[Any], batch: Index) -> Array | None:
    """Whether the arrays with the axes of the batch in front are finite, for each element."""
    masks = []
    for x in arrays:
        for part in (x.left, x.right) if isinstance(x, LowRank) else (x,):
            if is_dense(part) and tuple(part.shape[: len(batch)]) == batch:
                xp = array_namespace(part)
                axes = tuple(range(len(batch), part.ndim))
                masks.append(xp.all(xp.isfinite(part), axis=axes) if axes else xp.isfinite(part))
    return reduce(and_, masks) if masks else None
