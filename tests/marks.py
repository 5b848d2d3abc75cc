"""What is left out of an ordinary run."""

from __future__ import annotations

from functools import partial

import pytest

slow = partial(pytest.param, marks=pytest.mark.slow)  # parameters that take --slow
