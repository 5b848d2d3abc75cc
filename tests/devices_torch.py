"""Checks in two processes, which exchange tensors by gloo.

    python tests/devices_torch.py RANK STORE stacks NAME ...    stacks, sharded along the batch
    python tests/devices_torch.py RANK STORE rows NAME ...      tall matrices in blocks of rows
    python tests/devices_torch.py RANK STORE around             what is shared, stacks of tall ones
    python tests/devices_torch.py RANK STORE places             however arguments lie
    python tests/devices_torch.py RANK STORE brief              something of each

Names are those of the tables, all by default. It fails by an AssertionError.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import pytest
import torch
import torch.distributed as dist
from matrices import random, sample, with_spectrum
from operations import OPERATIONS
from torch.distributed.tensor import (
    DTensor,
    Partial,
    Replicate,
    Shard,
    distribute_tensor,
    init_device_mesh,
)
from torch.profiler import ProfilerActivity, profile

import spectralgrad as sg

F = sg.functions
DEVICES, M, N = 2, 23, 4
EXCHANGES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "allreduce")
same = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)


def mesh():
    return init_device_mesh("cpu", (DEVICES,))


def put(x, *at):
    return distribute_tensor(torch.as_tensor(x), mesh(), at or (Shard(0),))


def sent(fun):
    """How many numbers are given to each exchange while fun() runs, and what it returns."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as run:
        out = fun()
    counts = [
        int(np.prod(event.input_shapes[0]))
        for event in run.events()
        if event.name.startswith("_c10d_functional::")
        and any(kind in event.name for kind in EXCHANGES)
    ]
    return counts, out


def whole(x):
    return x.full_tensor().resolve_conj().numpy(force=True)


def leaves(out):
    return [out] if isinstance(out, torch.Tensor) else list(out)


def derivatives(call, x, bars, dx, twice):
    """Outputs, the gradient of a loss that is linear in them, and its derivative along dx."""
    x = x.detach().requires_grad_()
    counts = {}
    counts["forward"], out = sent(lambda: leaves(call(x)))
    pairs = list(zip(out, bars, strict=True))
    bars = [put(bar, *y.placements) if hasattr(y, "placements") else bar for y, bar in pairs]
    run = lambda: torch.autograd.grad(out, x, bars, create_graph=twice)
    counts["backward"], (gradient,) = sent(run)
    found = [*out, gradient]
    if twice:
        dx = put(dx, *gradient.placements) if hasattr(gradient, "placements") else dx
        counts["hvp"], (along,) = sent(lambda: torch.autograd.grad(gradient, x, dx))
        found.append(along)
    return counts, found


def compared(call, x, twice, *at):
    """What was exchanged, by mode; asserts that sharded and unsharded are the same."""
    x = torch.as_tensor(x)
    shapes = [y.shape for y in leaves(call(x))]
    kinds = [y.dtype.is_complex for y in leaves(call(x))]
    bars = [
        torch.as_tensor(random(s, seed=i, is_complex=c))
        for i, (s, c) in enumerate(zip(shapes, kinds, strict=True))
    ]
    dx = torch.as_tensor(random(x.shape, seed=9, is_complex=x.dtype.is_complex))
    _, wanted = derivatives(call, x, bars, dx, twice)
    counts, found = derivatives(call, put(x, *at), bars, dx, twice)
    for y, z in zip(found, wanted, strict=True):
        same(whole(y), z.detach().resolve_conj().numpy())
    return counts, found


def check_stack(operation):
    shape = (5, 4, 4) if operation.square else (5, 5, 4)
    x = sample(operation, shape)
    if operation.name in ("logm", "sqrtm", "inv_sqrtm", "powm"):
        x = x @ x.mT + np.eye(4)
    counts, found = compared(operation.call, x, operation.second)
    assert not any(counts.values()), (operation.name, counts)
    assert all(y.placements == (Shard(0),) for y in found), operation.name


def factors(x):
    U, S, Vh = sg.svd(x, full_matrices=False)
    return U.abs() ** 2, S, Vh.abs() ** 2  # what does not depend on signs that LAPACK chose


ROWS = {
    "svd": factors,
    "svdvals": sg.svdvals,
    "tanh": lambda x: sg.svd_function(x, F.tanh),
    "log1p": lambda x: sg.svd_function(x, F.log1p),
    "threshold": lambda x: sg.singular_value_threshold(x, 0.7),
    "orthogonalize": sg.orthogonalize,
    "polar": sg.polar,
    "pinv": sg.pinv,
    "low_rank": lambda x: sg.low_rank(x, 2),
    "right_projector": lambda x: sg.singular_projector(x, 2, side="right"),
    "nuclear_norm": sg.nuclear_norm,
    "spectral_norm": sg.spectral_norm,
    "ky_fan_norm": lambda x: sg.ky_fan_norm(x, 2),
    "schatten_norm": lambda x: sg.schatten_norm(x, 3),
    "svdvals_sum": lambda x: sg.svdvals_sum(x, F.power(3)),
}
SPREAD = (3.0, 2.0, 1.2, 0.5)
TIES = (2.0, 2.0, 1.0, 1.0)
ZEROS = (2.0, 1.0, 0.0, 0.0)
ONCE = ("svd", "svdvals")
AT_TIES = tuple(n for n in ROWS if n not in (*ONCE, "spectral_norm", "ky_fan_norm"))
AT_ZEROS = ("tanh", "threshold", "svdvals_sum")


def check_rows(name, rows, values, **kind):
    x = with_spectrum(rows, N, values, **kind)
    counts, found = compared(ROWS[name], x, name not in ONCE)
    triangles = DEVICES * N * N  # one of them is what a device gives
    assert max(counts["forward"]) == N * N, (name, counts)
    assert sum(c for c in counts["forward"] if c > N) <= triangles, (name, counts)
    del counts["forward"]
    most = max((c for sent in counts.values() for c in sent), default=0)
    assert most <= N * N, (name, counts)
    if name not in ("polar", "right_projector"):
        assert sum(c for c in counts["backward"] if c > N) <= N * N, (name, counts)
    assert all(y.placements == (Shard(0),) for y in found if y.shape == x.shape), name


def stacks(names):
    for operation in OPERATIONS:
        if not names or operation.name in names:
            check_stack(operation)


def rows(names):
    for name in names or ROWS:
        check_rows(name, M, SPREAD)
        check_rows(name, 7, SPREAD, is_complex=True)  # of which the last block has three rows
        if name in AT_TIES:
            check_rows(name, M, TIES)
        if name in AT_ZEROS:
            check_rows(name, M, ZEROS)


def around(_):
    # an argument that all devices share, of which each has a part of the cotangent
    x, tau = random((5, 4, 3)), torch.tensor(0.5, dtype=torch.float64)
    own = tau.clone().requires_grad_()
    sg.singular_value_threshold(torch.as_tensor(x), own).sum().backward()
    shared = put(tau, Replicate()).requires_grad_()
    sg.singular_value_threshold(put(x), shared).sum().backward()
    same(whole(shared.grad), own.grad.numpy())

    # a NaN of one device is known to all
    bad = random((M, N))
    bad[-1, -1] = np.nan
    bad = put(bad).requires_grad_()
    sg.nuclear_norm(bad).backward()
    assert np.isnan(whole(bad.grad)).all()

    # wide matrices in blocks of columns, and stacks of tall ones in blocks of rows
    compared(sg.orthogonalize, with_spectrum(N, M, SPREAD), True, Shard(1))
    tall = np.stack([with_spectrum(M, N, SPREAD, seed=i) for i in range(3)])
    counts, _ = compared(ROWS["tanh"], tall, True, Shard(1))
    assert max(map(max, counts.values())) <= 3 * N * N, counts
    with pytest.raises(NotImplementedError, match="DTensor"):
        sg.truncated_svd(put(random((640, 300))), 3, solver="krylov")
    nothing, _ = compared(sg.orthogonalize, tall, True, Replicate())
    assert not any(nothing.values()), nothing


def agrees(function, *given):
    """Outputs, gradients and second derivatives of a loss of function(*x), x as (array, place)."""

    def found(spread):
        x = [put(a, at) if spread and at is not None else torch.tensor(a) for a, at in given]
        x = [a.requires_grad_() for a in x]
        out = leaves(function(*x))
        # sums over the stack or the rows, whose cotangents lie otherwise than what they belong to
        loss = sum((y * y.sum()).sum() for y in out)
        bars = torch.autograd.grad(loss, x, create_graph=True)
        second = torch.autograd.grad([(bar * bar.sum()).sum() for bar in bars], x)
        for bar, a in zip((*bars, *second), (*x, *x), strict=True):
            assert type(bar) is type(a), (type(bar), type(a))
        return [*out, *bars, *second]

    for y, z in zip(found(True), found(False), strict=True):
        y = y.full_tensor() if isinstance(y, DTensor) else y
        same(y.numpy(force=True), z.numpy(force=True))


def places(_):
    tall, wide, stack = random((M, N)), random((N, M)), random((5, 6, N))
    for x, at in [(tall, Shard(0)), (tall, Shard(1)), (wide, Shard(0)), (random((1, 1)), Shard(0))]:
        agrees(ROWS["tanh"], (x, at))
    for at in (Shard(0), Shard(1), Shard(2)):
        agrees(ROWS["tanh"], (stack, at))
    full = lambda x: (sg.svd(x).U[..., :N] ** 2, sg.svd(x).S)
    for at in (Shard(0), Shard(1)):
        compared(full, tall, False, at)
    square = random((N, N)) + np.eye(N)
    for call in (sg.eigvalsh, lambda x: sg.eigh(x).eigenvectors ** 2, sg.nearest_rotation):
        compared(call, square, False, Shard(0))

    P, Q = random((M, 3)), random((M, 3), seed=1)
    aligned = lambda P, Q: sg.kabsch(P, Q)[:5]
    for one, other in [(Shard(0), Shard(0)), (Shard(0), None), (Replicate(), Shard(0))]:
        agrees(aligned, (P, one), (Q, other))
    agrees(sg.procrustes, (P, Replicate()), (Q, Shard(0)))
    points, weights = random((5, 7, 3)), abs(random((5, 7), seed=1))
    weighted = lambda P, w: sg.kabsch(P, P**2, w).msd
    agrees(weighted, (points, Shard(0)), (weights, Shard(1)))
    tau = abs(random((5,), seed=1))
    agrees(sg.singular_value_threshold, (stack, None), (tau, Shard(0)))

    x = put(tall)
    dx, bar = put(random((M, N), seed=1)), put(random((M, N), seed=2))
    wanted = sg.hvp(sg.orthogonalize, tall, whole(dx), whole(bar))
    counts, found = sent(lambda: sg.hvp(sg.orthogonalize, x, dx, bar))
    assert max(counts) <= N * N, counts
    same(whole(found), wanted)

    with pytest.raises(NotImplementedError, match="DTensor came inside"):
        torch.func.grad(sg.nuclear_norm)(x)
    params = put(random((2,)), Replicate())
    with pytest.raises(TypeError, match="full_tensor"):
        sg.svd_function(x, lambda s, p: p[0] * s, params=params)
    parts = DTensor.from_local(torch.tensor(tall) / DEVICES, mesh(), (Partial(),))
    same(whole(sg.orthogonalize(parts)), sg.orthogonalize(tall))


def brief(_):
    check_stack(next(operation for operation in OPERATIONS if operation.name == "orthogonalize"))
    check_rows("polar", M, SPREAD)
    agrees(ROWS["tanh"], (random((5, 6, N)), Shard(0)))
    agrees(ROWS["tanh"], (random((M, N)), Shard(1)))
    agrees(sg.nuclear_norm, (random((1, 1)), Shard(0)))
    compared(sg.eigvalsh, random((N, N)), False, Shard(0))
    agrees(sg.procrustes, (random((M, 3)), Replicate()), (random((M, 3), seed=1), Shard(0)))


if __name__ == "__main__":
    rank, store, what, *names = sys.argv[1:]
    torch.set_num_threads(1)
    together = dist.FileStore(store, DEVICES)
    dist.init_process_group("gloo", store=together, rank=int(rank), world_size=DEVICES)
    {f.__name__: f for f in (stacks, rows, around, places, brief)}[what](names)
    dist.destroy_process_group()
