"""All of PyTorch's modes, by name, and what is refused on purpose."""

from __future__ import annotations

import re
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
NO_JVP = "Dynamo asks an autograd.Function for its backward alone"
NESTED = "Leave torch.compile out around them, or use one alone"
REFUSED = {
    "jacfwd of jacfwd": "Use reverse mode for one of the two",
    # which rules of theirs read
    ("input written in place", "truncat|msd|params|array"): "modified by an inplace operation",
    "result written in place": "modified by an inplace operation",
    # a kept program has lost the rules
    r"(export|make_fx|jit.trace)(, strict)?, then gradient": "derivative for 'zeta'|grad_fn",
    r"compile .*eager.*: (vmap|jvp|jacfwd|vmap of compiled)$": NO_JVP,
    r"compile inductor: (vmap|jvp|jacfwd)$": NO_JVP,
    r"compile .*: (hessian|jacrev of jacrev|vmap of grad)$": NESTED,
    # PyTorch's own; torch.func.vjp leaves its level before the pullback runs, where Dynamo has
    # written down the level of a transform within a backward: that of a callable without rules
    r"compile .*: vjp$": "construct a tensor with the current level",
    r"compile .*: (grad|vmap) of compiled$": "function from eager mode is not supported",
    r"compile .*: loss.backward inside": "trace_autograd_ops",
    r"compile .*: double backward$": "double backward|does not require grad|NaN",
    r"compile .*: double backward of grad$": "double backward|does not require grad|NaN",
}
# PyTorch's Jacobians and Hessians are of real numbers
OF_COMPLEX = [name for name in MODES if not re.search("jac|hess", name)]
