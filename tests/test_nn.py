"""The parametrizations of spectralgrad.nn, in PyTorch's own machinery."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from marks import slow
from matrices import random

import spectralgrad as sg

torch = pytest.importorskip("torch")
nn = sg.nn
register = torch.nn.utils.parametrize.register_parametrization
MODULES = [
    pytest.param(nn.LowRank(2), id="low-rank"),
    pytest.param(nn.BoundedSingularValues(0.0, 1.5), id="below"),
    pytest.param(nn.BoundedSingularValues(0.25, 4.0), id="between"),
    pytest.param(nn.PositiveDefinite(), id="definite"),
]
DTYPES = [torch.float64, torch.complex128]


def free(module, dtype=torch.float64, shape=(2, 4, 3)):
    if isinstance(module, nn.PositiveDefinite):
        shape = (*shape[:-1], shape[-2])
    return torch.asarray(random(shape, seed=3, is_complex=dtype.is_complex)).to(dtype)


def layer_of(module, dtype=torch.float64):
    """A layer with a weight that the module has made, parametrized by it."""
    layer = torch.nn.Module()
    layer.weight = torch.nn.Parameter(module(free(module, dtype)))
    return register(layer, "weight", module)


def holds(module, weight):
    if isinstance(module, nn.LowRank):
        return bool((torch.linalg.svdvals(weight)[..., module.rank :] < 1e-12).all())
    if isinstance(module, nn.PositiveDefinite):
        return torch.equal(weight, weight.mH) and bool((torch.linalg.eigvalsh(weight) > 0).all())
    S = torch.linalg.svdvals(weight)
    return bool(((module.low < S) & (S < module.high)).all())


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (2, 3, 3), (0, 3, 3)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["real", "complex"])
@pytest.mark.parametrize("module", MODULES)
def test_weights_are_what_is_promised(module, dtype, shape):
    for scale in (1e-3, 1.0, 5.0):
        weight = module(scale * free(module, dtype, shape))
        assert weight.dtype == dtype
        assert holds(module, weight)


@pytest.mark.parametrize("dtype", DTYPES, ids=["real", "complex"])
@pytest.mark.parametrize("module", MODULES)
def test_right_inverse_is_one(module, dtype):
    weight = module(free(module, dtype))
    again = module(module.right_inverse(weight))
    torch.testing.assert_close(again, weight, rtol=1e-11, atol=1e-11)


def test_right_inverse_brings_what_is_not_allowed_near():
    x = torch.asarray(random((5, 4), seed=1))
    U, S, Vh = torch.linalg.svd(x, full_matrices=False)
    for low, high in ((0.0, 1.0), (0.5, 2.0), (1e-200, 1e200)):
        bounded = nn.BoundedSingularValues(low, high)
        for A in (x, 100 * x, torch.zeros_like(x), torch.eye(5, 4, dtype=x.dtype)):
            margin = (high - low) / 100
            clipped = torch.linalg.svdvals(A).clamp(low + margin if low else 0.0, high - margin)
            torch.testing.assert_close(
                torch.linalg.svdvals(bounded(bounded.right_inverse(A))), clipped, rtol=1e-9, atol=0
            )
    best = (U[:, :2] * S[:2]) @ Vh[:2]
    torch.testing.assert_close(nn.LowRank(2)(nn.LowRank(2).right_inverse(x)), best)


@pytest.mark.parametrize("dtype", DTYPES, ids=["real", "complex"])
@pytest.mark.parametrize("module", MODULES)
def test_first_and_second_derivatives(module, dtype):
    x = free(module, dtype, (3, 3)).requires_grad_()
    assert torch.autograd.gradcheck(module, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(module, x, fast_mode=True)


@pytest.mark.parametrize("module", MODULES)
def test_derivatives_at_ties(module):
    size = 4 if isinstance(module, nn.PositiveDefinite) else 3
    Q = torch.linalg.qr(free(module, shape=(4, 3)))[0]
    x = (Q * torch.tensor([2.0, 2.0, 0.5, 0.5][:size], dtype=Q.dtype)).requires_grad_()
    assert torch.autograd.gradcheck(module, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(module, x, fast_mode=True)


def test_zero_is_a_matrix_like_any_other_below_a_bound():
    x = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(nn.BoundedSingularValues(0.0, 1.5), x)


@pytest.mark.parametrize("module", MODULES)
def test_a_layer_is_trained(module):
    layer, target = layer_of(module), module(free(module).flip(0))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = (layer.weight - target).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert holds(module, layer.weight)


@pytest.mark.parametrize("module", MODULES)
def test_state_goes_to_a_copy_and_another_layer(module):
    layer, other = layer_of(module), layer_of(module)
    copied = copy.deepcopy(layer)
    with torch.no_grad():
        layer.parametrizations.weight.original *= 1.1
    assert not torch.equal(copied.weight, layer.weight)
    state = layer.state_dict()
    assert list(state) == ["parametrizations.weight.original"]
    other.load_state_dict(state)
    assert torch.equal(other.weight, layer.weight)
    other.weight = copied.weight
    torch.testing.assert_close(other.weight, copied.weight, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("module", MODULES)
def test_low_precision_is_rounded_once(module, dtype):
    layer = layer_of(module, dtype)
    weight = layer.weight
    weight.sum().backward()
    original = layer.parametrizations.weight.original
    wide = original.detach().double().requires_grad_()
    module(wide).sum().backward()
    for found, exact in ((weight, module(wide)), (original.grad, wide.grad)):
        assert found.dtype == dtype
        error = (found - exact).abs().max() / exact.abs().max()
        assert error < 4 * torch.finfo(dtype).eps * (1 + torch.linalg.norm(wide).item())


def test_bounds_that_are_refused():
    bounds = ((-0.1, 1.0), (1.0, 1.0), (2, 1), (0.0, np.inf), (np.nan, 1.0), (0.0, np.nan))
    for low, high in (
        *bounds,
        (0, 10**400),
        ("0", 1.0),
        (None, 1.0),
        (1j, 2.0),
        (0.0, torch.ones(())),
    ):
        with pytest.raises(ValueError, match=r"BoundedSingularValues: `low`, `high`"):
            nn.BoundedSingularValues(low, high)


@pytest.mark.parametrize(
    ("dtype", "refused", "taken"),
    [
        (
            torch.float16,
            [(1e-30, 2e-30), (0, 1e5), (1, 1.0001), (0, 1e-8)],
            [(0, 0.001), (1, 1.002)],
        ),
        (torch.bfloat16, [(0, 1e38), (1, 1.001)], [(1e-30, 2e-30), (0, 1e5), (1, 1.1)]),
        (torch.float32, [(0, 1e300), (0, 1e-46), (1, 1 + 1e-6)], [(0, 2e37), (1, 1.0001)]),
        (torch.float64, [(0, 1e308), (1, 1 + 1e-15)], [(1e-200, 1e200), (1, 1 + 1e-13)]),
        (torch.complex64, [(0, 1e300)], [(0, 1)]),
    ],
    ids=str,
)
def test_bounds_that_a_dtype_cannot_hold_are_refused(dtype, refused, taken):
    x = torch.asarray(random((4, 3), seed=1)).to(dtype)
    for low, high in refused:
        for function in (nn.BoundedSingularValues.forward, nn.BoundedSingularValues.right_inverse):
            with pytest.raises(ValueError, match=r"BoundedSingularValues: a weight of dtype torch"):
                function(nn.BoundedSingularValues(low, high), x)
    for low, high in taken:
        module = nn.BoundedSingularValues(low, high)
        for scale in (0.0, 1.0, high):
            layer = torch.nn.Module()
            layer.weight = torch.nn.Parameter(scale * x)
            weight = register(layer, "weight", module).weight
            S = torch.linalg.svdvals(weight.to(torch.promote_types(dtype, torch.float64)))
            error = 4 * torch.finfo(dtype).eps * high
            assert low - error <= S.min()
            assert S.max() <= high + error
            assert layer.parametrizations.weight.original.isfinite().all()


def test_weights_that_are_refused():
    layer = torch.nn.Linear(3, 3)
    for bad in (-torch.eye(3), torch.ones(3, 3), torch.eye(3) + torch.eye(3).roll(1, 0)):
        with torch.no_grad():
            layer.weight.copy_(bad)
        with pytest.raises(ValueError, match="PositiveDefinite: a weight came that is not"):
            register(layer, "weight", nn.PositiveDefinite())
    for rank in (0, -1, 2.5, True, None, "2"):
        with pytest.raises(ValueError, match=r"LowRank: `rank` is .*; wanted a whole number"):
            nn.LowRank(rank)
    for shape in ((5, 1), (1, 5), (4, 4, 1, 1), (0, 3), (3, 0)):
        layer.weight = torch.nn.Parameter(torch.ones(shape))
        with pytest.raises(ValueError, match=r"LowRank: .* has shape .*at least `rank` = 2 rows"):
            register(layer, "weight", nn.LowRank(2))
    layer.weight = torch.nn.Parameter(torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"PositiveDefinite: .*`weight` has shape \(3, 2\)"):
        register(layer, "weight", nn.PositiveDefinite())


@pytest.mark.parametrize("module", MODULES)
def test_parameters_that_are_no_matrices_are_refused(module):
    layer = torch.nn.Module()
    for bad, kind in (
        (torch.ones(3), ValueError),
        (torch.ones(3, 3, dtype=torch.int64), TypeError),
    ):
        layer.weight = torch.nn.Parameter(bad, requires_grad=False)
        with pytest.raises(kind, match=rf"{type(module).__name__}: argument `weight` has"):
            register(layer, "weight", module)


@pytest.mark.filterwarnings(
    "ignore:<class 'torch.autograd.function.Function'> should not be:DeprecationWarning"
)
@pytest.mark.parametrize(
    "module", [MODULES[0], slow(nn.BoundedSingularValues(0.25, 4.0), id="between")]
)
def test_compiled_cached_and_removed(module):
    torch.compiler.reset()
    layer = layer_of(module)
    original = layer.parametrizations.weight.original
    compiled = torch.compile(
        lambda: layer.weight.square().sum(), backend="aot_eager", fullgraph=True
    )
    gradients = []
    for call in (compiled, lambda: layer.weight.square().sum()):
        with torch.nn.utils.parametrize.cached():
            gradients += torch.autograd.grad(call(), original)
            assert layer.weight is layer.weight
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
    weight = layer.weight.detach().clone()
    torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")
    torch.testing.assert_close(layer.weight.detach(), weight, rtol=1e-14, atol=1e-14)
    assert isinstance(layer.weight, torch.nn.Parameter)


def test_what_is_printed():
    assert repr(nn.LowRank(2)) == "LowRank(rank=2)"
    assert repr(nn.BoundedSingularValues(0, 1)) == "BoundedSingularValues(low=0.0, high=1.0)"
