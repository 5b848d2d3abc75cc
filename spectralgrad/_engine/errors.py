"""Errors and warnings, and the words of those that any function may raise."""

from __future__ import annotations

import sys
import warnings
from typing import NoReturn, TypeVar

_Problem = TypeVar("_Problem", bound=Exception)


class DerivativeUndefinedWarning(UserWarning):
    """A derivative does not exist at this input; the batch element's result is NaN."""


class DerivativeUndefinedError(ArithmeticError):
    """A derivative does not exist at this input, and the caller asked for an error."""


class ConvergenceWarning(UserWarning):
    """An iteration ended before it reached its tolerance."""


class ConvergenceError(ArithmeticError):
    """An iteration ended before it reached its tolerance, and the caller asked for an error."""


def reasoned(problem: _Problem, what: str, remedy: str) -> _Problem:
    """The problem, which keeps the parts of its message."""
    vars(problem).update(what=what, remedy=remedy)
    return problem


def parts_of(problem: Exception) -> tuple[str, str]:
    """What is wrong and the remedy, as far as they are apart."""
    facts = vars(problem)
    return facts.get("what", str(problem)), facts.get("remedy", "")


_INSIDE = {"spectralgrad", "torch", "jax", "autograd", "contextlib", "functools"}


def warn(problem: Warning) -> None:
    """Warn at the line of the user's that led here, through a library's autodiff or not."""
    warnings.warn(problem, stacklevel=_depth_of_user())


def _depth_of_user() -> int:
    """The stacklevel, for the caller, of the line of the user's."""
    level, frame = 0, sys._getframe(0)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    return level


def line_of_user() -> tuple[str, int]:
    """The file and the line of the user's that led here."""
    frame = sys._getframe(_depth_of_user() - 1)
    return frame.f_code.co_filename, frame.f_lineno


def warn_at(problem: Exception, line: tuple[str, int]) -> None:
    """Warn at a line that was noted before; of an error too, where nobody could catch it."""
    if not isinstance(problem, Warning):
        problem = DerivativeUndefinedWarning(str(problem))
    warnings.warn_explicit(problem, None, *line)


def public_name(default: str) -> str:
    """The public function of this library that is running, as the user knows it."""
    frame, name = sys._getframe(1), default
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        module = frame.f_globals["__name__"]
        if module.startswith(("spectralgrad._operations.", "spectralgrad._truncated.")):
            name = frame.f_code.co_name
        frame = frame.f_back
    return name


def raise_glue(what: str, transform: str = "vjp") -> NoReturn:
    raise TypeError(
        f"sg.{transform}: {what}. It sees only spectralgrad's own calls, and arithmetic between "
        "or around them would be lost from the derivative. Pass every array that the function "
        "uses as a primal, give constants as Python numbers, do the arithmetic outside by hand, or "
        "use PyTorch or JAX arrays with their own autodiff."
    )


def raise_no_second_order(name: str) -> NoReturn:
    raise TypeError(
        f"sg.hvp: `{name}` has no rule of second order here. Differentiate a function of the "
        "matrix instead of its factors (svd_function, eigh_function, polar, low_rank, norms, ...), "
        "or use PyTorch or JAX arrays with their own autodiff, away from ties."
    )


def raise_captured(function: str, what: str, remedy: str) -> NoReturn:
    raise TypeError(
        f"{function}: {what} closes over a value that is being differentiated or traced, whose "
        f"gradient would be lost silently. {remedy}, or detach the value if it is a constant."
    )
