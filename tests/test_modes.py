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
FEW_JAX = {  # each of which JAX compiles
    "orthogonalize": "^(vmap$|grad of jvp|custom_root|scan$|while|cond|checkpoint$|custom_vjp|debug"
    "|export|checkify|single|complex|strict|rank)",
    "svd_function:params": "^vmap$",
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


def selected(table, few):
    """Every pair of a mode and a name, slow unless `few` says that it belongs to the few."""
    if table is None:
        return [pytest.param("", "", marks=pytest.mark.skip("the library is not installed"))]
    found = []
    for mode in table.MODES:
        for name in table.FUNCTIONS:
            quick = name in few and re.search(few[name], mode) and not re.search(PATIENT, mode)
            marks = () if quick else pytest.mark.slow
            found.append(pytest.param(mode, name, marks=marks, id=f"{mode}-{name}"))
    return found


def check(table, mode, name, x, numbers, tolerance=None):
    words = refusal(table.REFUSED, mode, name)
    try:
        pairs = table.MODES[mode](table.FUNCTIONS[name], x)
    except Exception as problem:
        if not words or not re.search(words, f"{type(problem).__name__}: {problem}"):
            raise
        return
    assert pairs
    if "NaN" in words:
        for found, wanted in pairs:
            found, wanted = numbers(found), numbers(wanted)
            known = ~np.isnan(found)
            assert not known.all()
            np.testing.assert_allclose(found[known], wanted[known], rtol=0, atol=1e-9)
        return
    for found, wanted in pairs:
        found, wanted = numbers(found), numbers(wanted)
        single = found.dtype.kind in "fc" and np.finfo(found.dtype).eps > 1e-10
        scale = 1 + np.max(np.abs(np.nan_to_num(wanted)), initial=0.0)
        allowed = tolerance or (1e-5 if single else 1e-9)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=allowed * scale)


try:
    import modes_torch as of_torch
    import torch
except ImportError:
    of_torch = None
try:
    import modes_jax as of_jax
except ImportError:
    of_jax = None
TORCH_WARNINGS = (
    "ignore:<class 'torch.autograd.function.Function'> should not be:DeprecationWarning",
    "ignore:`torch.jit:DeprecationWarning",
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
    "ignore:Attempted to insert a get_attr Node:UserWarning",
    *(["ignore::torch.jit.TracerWarning"] if of_torch else []),  # which pytest imports
    "ignore:Anomaly Detection has been enabled:UserWarning",
    # after a break of the graph, of a function of ours that runs without it
    "ignore:Dynamo does not know how to trace the builtin .torch._C._functorch:UserWarning",
)


@pytest.mark.filterwarnings(*TORCH_WARNINGS)
@pytest.mark.parametrize(("mode", "name"), selected(of_torch, FEW))
def test_pytorch(mode, name):
    x = torch.asarray(hermitian((3.0, 2.0, 1.2, 0.5)))
    check(of_torch, mode, name, x, lambda y: y.detach().resolve_conj().numpy())


@pytest.mark.parametrize(("mode", "name"), selected(of_jax, FEW_JAX))
def test_jax(mode, name):
    x = of_jax.FUNCTIONS[name].matrix
    check(of_jax, mode, name, x, np.asarray, of_jax.TOLERANCE.get(mode, 1e-8))
