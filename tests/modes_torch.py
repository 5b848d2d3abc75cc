"""All of PyTorch's modes, by name, and what is refused on purpose."""

from __future__ import annotations

from functools import partial

from modes_torch_backward import BACKWARD
from modes_torch_compile import COMPILED, OPTIONS, TRACED
from modes_torch_functions import FUNCTIONS as FUNCTIONS
from modes_torch_transforms import TRANSFORMS

MODES = TRANSFORMS | BACKWARD | TRACED
MODES |= {
    f"compile {backend}: {name}": partial(mode, **options)
    for backend, options in OPTIONS.items()
    for name, mode in COMPILED.items()
}
REFUSED = {}
