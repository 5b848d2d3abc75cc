"""PyTorch's modes around a call: meta and fake tensors, hooks, checkpoints, compiled autograd."""

from __future__ import annotations

import copy

import pytest
from marks import slow
from matrices import random

import spectralgrad as sg

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings(
    "ignore:<class 'torch.autograd.function.Function'> should not be:DeprecationWarning",
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
    "ignore:Attempted to insert a get_attr Node:UserWarning",  # linearize, of whatever it is given
)
F = sg.functions
FUNCTIONS = {
    "svd": lambda x: sg.svd(x)[1],
    "orthogonalize": sg.orthogonalize,
    "kabsch": lambda x: sg.kabsch(x, x.flip(0)).rmsd,
    "truncated_svd": lambda x: sg.truncated_svd(x, 2)[1],
    "krylov": lambda x: sg.truncated_svd(x, 2, solver="krylov", adjoint="krylov")[1],
    "truncation_error": lambda x: sg.truncation_error(x, 2),
    "expm": lambda x: sg.expm(x[:4] @ x[:4].mT / 10),
    "bare": lambda x: sg.svd_function(x, lambda s: s**3),
    "svdvals_sum": lambda x: sg.svdvals_sum(x, F.log),
}
from_2_10 = pytest.mark.skipif(torch.__version__ < "2.10", reason="raises inside Dynamo of 2.9")
by_function = pytest.mark.parametrize("name", FUNCTIONS)


def leaf():
    return torch.asarray(random((5, 4))).requires_grad_()


def gradient(fun, x=None):
    x = leaf() if x is None else x
    (x_bar,) = torch.autograd.grad(fun(x).sum(), x)
    return x_bar


@by_function
def test_shapes_without_values(name):
    fun, x = FUNCTIONS[name], leaf()
    meta = x.detach().to("meta").requires_grad_()
    assert fun(meta).shape == fun(x).shape
    assert gradient(fun, meta).shape == x.shape
    mode = torch._subclasses.FakeTensorMode()
    fake = mode.from_tensor(x.detach()).requires_grad_()
    with mode:
        assert gradient(fun, fake).shape == x.shape


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n == "krylov" else n for n in FUNCTIONS],
)
def test_linearize(name):
    fun, x, dx = FUNCTIONS[name], leaf().detach(), torch.asarray(random((5, 4), seed=1))
    value, tangent = torch.func.linearize(fun, x)
    wanted, along = torch.func.jvp(fun, (x,), (dx,))
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(tangent(dx), along)


@by_function
def test_saved_tensors_elsewhere(name):
    fun = FUNCTIONS[name]
    wanted = gradient(fun)
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t)
    for mode in (hooks, torch.autograd.graph.save_on_cpu()):
        x = leaf()
        with mode:
            loss = fun(x).sum()
        loss.backward()
        torch.testing.assert_close(x.grad, wanted)
    x = leaf()
    torch.utils.checkpoint.checkpoint(fun, x, use_reentrant=False).sum().backward()
    torch.testing.assert_close(x.grad, wanted)


@pytest.mark.parametrize("name", ["orthogonalize", "truncated_svd"])
def test_compiled_autograd(name):
    x, fun = leaf(), FUNCTIONS[name]
    loss = fun(x).sum()
    torch._dynamo.reset()
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
        loss.backward()
    torch.testing.assert_close(x.grad, gradient(fun))


def test_export():
    class Module(torch.nn.Module):
        def forward(self, x):
            return sg.orthogonalize(x)

    x = leaf().detach()
    exported = torch.export.export(copy.deepcopy(Module()), (x,))
    torch.testing.assert_close(exported.module()(x), sg.orthogonalize(x))


def test_nodes_carry_the_names_of_functions():
    assert sg.svd(leaf()).S.grad_fn.name() == "SvdBackward"
    assert sg.orthogonalize(leaf()).grad_fn.name() == "OrthogonalizeBackward"
    assert sg.nuclear_norm(leaf()).grad_fn.name() == "NuclearNormBackward"
    assert sg.inv_sqrtm(leaf().mT @ leaf()).grad_fn.name() == "InvSqrtmBackward"


@from_2_10
@pytest.mark.parametrize("name", ["threshold", slow("function")])
def test_compiled_with_a_number_that_changes(name):
    """Of its second value Dynamo makes a variable."""
    fun = {
        "threshold": sg.singular_value_threshold,
        "function": lambda x, tau: sg.svd_function(x, F.soft_threshold(tau)),
    }[name]
    from torch._dynamo.testing import CompileCounter

    torch.compiler.reset()
    traced = CompileCounter()
    compiled = torch.compile(fun, backend=traced, fullgraph=True)
    for tau in (0.25, 0.5, 0.75, 1.0):
        found = gradient(lambda x, tau=tau: compiled(x, tau))
        wanted = gradient(lambda x, tau=tau: fun(x, tau))
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert traced.frame_count == 2


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_backward_has_no_derivative(backend):
    """Also beside something that has a second derivative."""
    torch.compiler.reset()
    compiled = torch.compile(sg.nuclear_norm, backend=backend, fullgraph=True)
    x = leaf()
    (x_bar,) = torch.autograd.grad(compiled(x) + (x**2).sum(), x, create_graph=True)
    torch.testing.assert_close(x_bar, gradient(sg.nuclear_norm) + 2 * x)
    if backend == "eager":
        assert torch.isnan(torch.autograd.grad(x_bar.sum(), x)[0]).all()
    else:
        with pytest.raises(RuntimeError, match="double backward"):
            torch.autograd.grad(x_bar.sum(), x)


@from_2_10
def test_a_compiled_gradient_has_no_derivative():
    torch.compiler.reset()
    x = leaf()
    x_bar = torch.compile(torch.func.grad(sg.nuclear_norm), backend="aot_eager", fullgraph=True)(x)
    torch.testing.assert_close(x_bar, gradient(sg.nuclear_norm))
    assert torch.isnan(torch.autograd.grad(x_bar.sum(), x)[0]).all()


@pytest.mark.parametrize("transform", ["vjp", "jvp", "hvp"])
def test_own_transforms_inside_compile_are_refused(transform):
    arguments = {
        "vjp": lambda x: (x,),
        "jvp": lambda x: ((x,), (x,)),
        "hvp": lambda x: (x, x, x),
    }[transform]
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda x: getattr(sg, transform)(sg.orthogonalize, *arguments(x))[0], backend="eager"
    )
    with pytest.raises(Exception, match=f"sg.{transform} came inside of torch.compile"):
        compiled(leaf().detach())


def test_tensors_without_memory():
    """Zeros that PyTorch keeps no numbers of, where a NaN might have to be explained."""
    x = torch.asarray(random((3, 3)))
    hessian = torch.func.jacrev(torch.func.jacfwd(lambda x: sg.polar(x).P.sum()))(x)
    torch.testing.assert_close(hessian, torch.func.hessian(lambda x: sg.polar(x).P.sum())(x))
