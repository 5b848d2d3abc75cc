"""Inside of torch.autocast: the library's products keep the precision of what they are given."""

from __future__ import annotations

import pytest
from marks import slow
from matrices import random, sample
from operations import OPERATIONS

import spectralgrad as sg

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings(
    "ignore:<class 'torch.autograd.function.Function'> should not be:DeprecationWarning"
)
HALF = ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)]
by_dtype = pytest.mark.parametrize("dtype", HALF)


def single(array):
    return torch.asarray(array).float()


def gradient(fun, x, dtype=None, *, inside=False):
    """Value and gradient of a loss, in float32, whose forward or all of it is in autocast."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        out = fun(x)
        out = out[1] if isinstance(out, tuple) else out
        loss = (out * single(random(tuple(out.shape), seed=3))).sum()
        if inside:
            loss.backward()
    if not inside:
        loss.backward()
    return loss.detach(), x.grad


@by_dtype
@pytest.mark.parametrize("inside", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.name)
def test_autocast_changes_nothing(operation, inside, dtype):
    x = single(sample(operation, (4, 4)))
    found = gradient(operation.call, x, getattr(torch, dtype), inside=inside)
    torch.testing.assert_close(found, gradient(operation.call, x), rtol=1e-5, atol=1e-5)


ALIGNMENT = {
    "kabsch": lambda x: sg.kabsch(x, x.detach().flip(0), x.detach()[..., 0] ** 2).rotation,
    "procrustes": lambda x: sg.procrustes(x, x.detach().flip(0)).rotation,
    "rmsd": lambda x: sg.kabsch(x, x.detach().flip(0), scale=True).rmsd,
    "bare": lambda x: sg.svd_function(x, lambda s: s * s / (1 + s)),
    "double": lambda x: torch.func.grad(lambda y: sg.orthogonalize(y)[..., 0, 1].sum())(x),
}


@by_dtype
@pytest.mark.parametrize("inside", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", ALIGNMENT)
def test_autocast_changes_no_alignment(name, inside, dtype):
    x = single(random((5, 3)))
    found = gradient(ALIGNMENT[name], x, getattr(torch, dtype), inside=inside)
    torch.testing.assert_close(found, gradient(ALIGNMENT[name], x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("inside", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("fun", [sg.orthogonalize, slow(sg.expm)], ids=["orthogonalize", "expm"])
def test_autocast_compiled(fun, inside):
    x = single(random((4, 4)))
    x = (x + x.mT) / 2
    torch.compiler.reset()
    compiled = torch.compile(fun, backend="aot_eager", fullgraph=True)
    found = gradient(compiled, x, torch.bfloat16, inside=inside)
    torch.testing.assert_close(found, gradient(fun, x), rtol=1e-5, atol=1e-5)


class Orthogonal(torch.nn.Module):
    def forward(self, weight):
        return sg.orthogonalize(weight)


def test_training_with_a_scaler_and_a_parametrized_layer():
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 4, bias=False)
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", Orthogonal())
    data = torch.randn(64, 4)
    target = data @ single(torch.linalg.qr(torch.randn(4, 4))[0])
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    scaler, losses = torch.amp.GradScaler("cpu"), []
    for _ in range(200):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = ((layer(data).float() - target) ** 2).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0] or losses[-1] < 1e-2
    weight = layer.weight.detach()
    torch.testing.assert_close(weight @ weight.mT, torch.eye(4), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Please use the new API settings")  # PyTorch 2.9, of the test
def test_products_keep_full_precision():
    """torch.set_float32_matmul_precision lowers the user's products, and none of a rule."""
    found = []

    def cube(s):
        if s.numel() > 2:  # not while it is seen what kind of function this is
            found.append(torch.backends.mkldnn.matmul.fp32_precision)
        return s**3

    x = torch.asarray(random((5, 4)), dtype=torch.float32).requires_grad_()
    torch.set_float32_matmul_precision("medium")
    try:
        sg.svd_function(x, cube).sum().backward()
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert set(found) == {"ieee"}
