"""The libraries' modes x operations: each right, or refused in words.

The modes and the functions are in modes_*.py. Most of the table takes --slow.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from matrices import hermitian

FEW = {
    "svd": "",
    "kabsch": "^(vmap of grad|hessian|double backward|checkpoint|deepcopy|export$)",
    "svd_function:bare": "^(vmap of grad|hessian|saved|linearize|save)",
}
PATIENT = "^compile|compiled autograd|strict|symbolic|make_fx of grad"  # seconds each


def refusal(table, mode, name):
    """What the message says if this is refused on purpose."""
    found = [
        text
        for key, text in table.items()
        for of_mode, of_name in [key if isinstance(key, tuple) else (key, "")]
        if re.search(of_mode, mode) and re.search(of_name, name)
    ]
    return "|".join(found)


def selected(modes, names, few):
    """Every pair of a mode and a name, slow unless `few` says that it belongs to the few."""
    found = []
    for mode in modes:
        for name in names:
            quick = name in few and re.search(few[name], mode) and not re.search(PATIENT, mode)
            marks = () if quick else pytest.mark.slow
            found.append(pytest.param(mode, name, marks=marks, id=f"{mode}-{name}"))
    return found


def check(modes, refused, functions, mode, name, x, numbers):
    words = refusal(refused, mode, name)
    try:
        pairs = modes[mode](functions[name], x)
    except Exception as problem:
        if not words:
            raise
        assert re.search(words, f"{type(problem).__name__}: {problem}"), problem
        return
    assert pairs
    for found, wanted in pairs:
        found, wanted = numbers(found), numbers(wanted)
        single = np.finfo(found.dtype).eps > 1e-10 if found.dtype.kind in "fc" else False
        scale = 1 + np.max(np.abs(np.nan_to_num(wanted)), initial=0.0)
        tolerance = (1e-5 if single else 1e-9) * scale
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)


torch = pytest.importorskip("torch")
import modes_torch as of_torch  # noqa: E402

TORCH_WARNINGS = (
    "ignore:<class 'torch.autograd.function.Function'> should not be:DeprecationWarning",
    "ignore:`torch.jit:DeprecationWarning",
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
    "ignore:Attempted to insert a get_attr Node:UserWarning",
    "ignore::torch.jit.TracerWarning",
    "ignore:Anomaly Detection has been enabled:UserWarning",
)


@pytest.mark.filterwarnings(*TORCH_WARNINGS)
@pytest.mark.parametrize(("mode", "name"), selected(of_torch.MODES, of_torch.FUNCTIONS, FEW))
def test_pytorch(mode, name):
    x = torch.asarray(hermitian((3.0, 2.0, 1.2, 0.5)))
    numbers = lambda y: y.detach().resolve_conj().numpy()
    check(of_torch.MODES, of_torch.REFUSED, of_torch.FUNCTIONS, mode, name, x, numbers)
