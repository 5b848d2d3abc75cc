"""What a PyTorch graph keeps: what rules read, and nothing else."""

from __future__ import annotations

import pytest
from matrices import random
from operations import OPERATIONS

import spectralgrad as sg

torch = pytest.importorskip("torch")
READ = ("truncated_svd", "truncated_eigh", "truncation_error")  # their rules multiply by x
BLIND = [operation for operation in OPERATIONS if operation.name not in READ]


def matrix(operation):
    x = torch.asarray(random((5, 5)))
    square = operation.square or operation.definite
    return x @ x.mT + torch.eye(5, dtype=x.dtype) if square else x[:, :4]


def loss(result):
    """Of singular and eigenvectors what does not depend on their signs."""
    parts = result if isinstance(result, tuple) else (result,)
    return sum(
        (part**2).sum() if part.ndim < 2 else ((part @ part.mT) ** 2).sum() * part.shape[0]
        for part in parts
    )


def gradients(operation, overwrite):
    leaf = matrix(operation).requires_grad_()
    x = 1.0 * leaf
    value = loss(operation.call(x))
    if overwrite:
        with torch.no_grad():
            x.zero_()
    second = operation.second and operation.at_ties
    (x_bar,) = torch.autograd.grad(value, leaf, create_graph=second)
    if not second:
        return (x_bar,)
    return x_bar, *torch.autograd.grad((x_bar**2).sum(), leaf)


@pytest.mark.numpy_views
@pytest.mark.parametrize("operation", BLIND, ids=lambda o: o.name)
def test_the_input_may_be_overwritten(operation):
    torch.testing.assert_close(gradients(operation, True), gradients(operation, False))


@pytest.mark.parametrize("operation", BLIND[::6], ids=lambda o: o.name)
def test_the_input_may_be_overwritten_of_large_tensors_too(operation):
    torch.testing.assert_close(gradients(operation, True), gradients(operation, False))


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.name in READ], ids=READ)
def test_an_input_that_rules_read_is_watched(operation):
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradients(operation, True)


@pytest.mark.parametrize(
    "name", ["orthogonalize", "nuclear_norm", "svdvals", "expm", "sqrtm", "nearest_rotation"]
)
def test_a_graph_keeps_the_factors_alone(name):
    """U, S and Vh, or w and Q: neither x nor the result."""
    sizes = {}

    def note(x):
        storage = x.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return x

    base = torch.asarray(random((16, 16)))
    x = (base @ base.mT + torch.eye(16, dtype=base.dtype)).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        result = getattr(sg, name)(x)
    factors = 1 if name in ("expm", "sqrtm") else 2
    assert sum(sizes.values()) <= 8 * (factors * 256 + 4 * 16)
    result.sum().backward()
    assert x.grad.isfinite().all()
