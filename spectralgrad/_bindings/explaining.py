"""Whether a NaN shall be explained wherever that takes a copy to the host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_EXPLAINING = ContextVar(
    "spectralgrad_explain", default=os.environ.get("SPECTRALGRAD_EXPLAIN", "0") == "1"
)


def is_explaining() -> bool:
    return _EXPLAINING.get()


@contextmanager
def explain_nan() -> Iterator[None]:
    """Explain each undefined derivative, also under `jit`, `torch.compile` and on a GPU.

    Outside of this context nothing is copied to the host for the sake of a warning: where values
    cannot be read, or only by waiting for a device, a derivative that does not exist is NaN without
    a word. Inside of it a `DerivativeUndefinedWarning` says why, and the environment variable
    SPECTRALGRAD_EXPLAIN=1 does the same for a whole program.

    Warns
    -----
    DerivativeUndefinedWarning
        For a derivative that does not exist: function, batch element, values and remedy.

    See Also
    --------
    explain, diagnose

    Notes
    -----
    What counts is the tracing. What was traced outside has no call to the host, and the context
    does nothing for it: trace anew, with a new `jax.jit` or after `torch.compiler.reset()`. What
    was traced inside keeps its calls outside. JAX calls the host by `jax.debug.callback`, where
    nobody could catch an error: undefined="raise" and ties="raise" warn there. `torch.compile`
    leaves the function out of its graph, which `fullgraph=True` refuses. On a GPU each derivative
    waits for its result.

    Examples
    --------
    >>> import numpy as np, spectralgrad as sg, warnings
    >>> with sg.explain_nan(), warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     out, pullback = sg.vjp(sg.orthogonalize, np.diag([1.0, 0.0]))
    ...     x_bar = pullback(np.ones((2, 2)))
    >>> str(caught[0].message)[:60]
    'orthogonalize: the derivative is undefined for x, and NaN th'
    """
    token = _EXPLAINING.set(True)
    try:
        yield
    finally:
        _EXPLAINING.reset(token)
