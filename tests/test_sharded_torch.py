"""PyTorch's sharded tensors and exported programs."""

from __future__ import annotations

import pytest
from matrices import random

import spectralgrad as sg

torch = pytest.importorskip("torch")
dist = pytest.importorskip("torch.distributed")


@pytest.fixture
def mesh():
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("PyTorch without gloo")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield dist.init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def test_shards_of_a_stack(mesh):
    from torch.distributed.tensor import Shard, distribute_tensor
    from torch.distributed.tensor.experimental import local_map

    x = torch.asarray(random((4, 3, 3)))
    shards = distribute_tensor(x, mesh, [Shard(0)]).requires_grad_()
    orthogonalize = local_map(
        sg.orthogonalize,
        out_placements=[Shard(0)],
        in_placements=([Shard(0)],),
        device_mesh=mesh,
    )
    out = orthogonalize(shards)
    assert out.placements == (Shard(0),)
    (out.to_local() ** 3).sum().backward()
    gradient = torch.func.grad(lambda x: (sg.orthogonalize(x) ** 3).sum())(x)
    torch.testing.assert_close(shards.grad.to_local(), gradient)


@pytest.mark.parametrize(
    "name",
    [
        "orthogonalize",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("svdvals", "expm")),
    ],
)
def test_exported_programs_have_operators_of_pytorch_alone(name):
    class Module(torch.nn.Module):
        def forward(self, x):
            return getattr(sg, name)(x)

    x = torch.asarray(random((200, 3, 3)))  # so many that Jacobi's method takes them otherwise
    x = x + x.mT
    program = torch.export.export(Module(), (x,))
    operators = [node.target for node in program.graph.nodes if node.op == "call_function"]
    names = {op.namespace for op in operators if hasattr(op, "namespace")}
    assert names == {"aten"}
    torch.testing.assert_close(program.module()(x), getattr(sg, name)(x))
