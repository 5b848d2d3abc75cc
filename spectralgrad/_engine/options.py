"""Checks of options at the call: numbers, choices and flags."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_flag(value: object, function: str, name: str) -> bool:
    """True or False, and nothing that only counts as one of them."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{function}: `{name}` is {value!r}; wanted True or False.")
    return bool(value)


def check_count(
    value: Any, function: str, name: str, least: int, most: float = float("inf")
) -> int:
    """A whole Python number in a range."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not (whole and least <= value <= most):
        bounds = f"at least {least}" if most == float("inf") else f"{least} to {most}"
        raise ValueError(f"{function}: `{name}` is {value!r}; wanted a whole number, {bounds}.")
    return int(value)


def check_tol(value: object, function: str, name: str, default: float) -> float:
    """A relative tolerance, the default for None."""
    if value is None:
        return default
    if not (isinstance(value, (int, float, np.floating)) and 0 < value <= 1):
        raise ValueError(
            f"{function}: `{name}` is {value!r}; wanted None or a number above 0, at most 1."
        )
    return float(value)


def check_choice(value: object, choices: tuple[str, ...], function: str, argument: str) -> None:
    if not isinstance(value, str) or value not in choices:
        wanted = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{function}: `{argument}` is {value!r}; wanted one of {wanted}.")


def check_rtol(value: object, function: str, argument: str = "gap_rtol") -> None:
    in_range = isinstance(value, (int, float, np.floating)) and 0 <= value < 1
    if value is not None and not in_range:
        raise ValueError(
            f"{function}: `{argument}` is {value!r}; wanted None or a Python number in [0, 1), "
            "relative to the largest value. It is fixed at the call: float(value) of an array."
        )


def check_threshold(value: object, function: str, name: str, default: float) -> float:
    """A number that is not negative, the default for None."""
    if value is None:
        return default
    if isinstance(value, (int, float, np.floating)) and not isinstance(value, bool):
        number = float(value)
        if 0 <= number < float("inf"):
            return number
    raise ValueError(
        f"{function}: `{name}` is {value!r}; wanted None, a finite number of at least 0, or an "
        "array of them of the library that x is of, one for each matrix."
    )
