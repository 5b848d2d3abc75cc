"""The SVD of a DTensor in blocks of rows, as in `jax_rows`: devices gather n x n triangles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .array import Arrays, adjoint, svd_of_finite
from .torch_places import placed, placements_of, whole_of


def blocked_svd(x: Any) -> Arrays:
    """The thin SVD of a matrix, or a stack of such, in blocks of rows, or of columns if wide."""
    if x.shape[-2] < x.shape[-1]:
        U, S, Vh = blocked_svd(adjoint(x))
        return adjoint(Vh), S, adjoint(U)
    from torch.distributed.tensor import Replicate

    rows, columns = x.ndim - 2, x.ndim - 1
    own = placements_of(x)
    at = tuple(p if p.is_shard() and p.dim < columns else Replicate() for p in own)
    x = placed(x, at)
    places = [i for i, p in enumerate(at) if p.is_shard(rows)]
    shared = tuple(Replicate() if i in places else p for i, p in enumerate(at))
    batch, k = tuple(x.shape[:-2]), x.shape[-1]
    U, S, Vh = _spread_svd(x.to_local(), x.device_mesh, places)
    lies = ((U, at, (x.shape[-2], k)), (S, shared, (k,)), (Vh, shared, (k, k)))
    return tuple(whole_of(y, x.device_mesh, p, (*batch, *shape)) for y, p, shape in lies)


def _spread_svd(x: torch.Tensor, mesh: Any, places: Sequence[int]) -> Arrays:
    """Of matrices whose rows are spread over these axes of the mesh, the last of them first."""
    if not places:
        return svd_of_finite(x)
    from torch.distributed import _functional_collectives as collectives

    # that of before 2.13
    gather = getattr(collectives, "all_gather_single", None) or collectives.all_gather_tensor
    *others, place = places
    n = x.shape[-1]
    short = max(0, n - x.shape[-2])  # a block may have fewer rows than columns
    padded = torch.nn.functional.pad(x, (0, 0, 0, short)) if short else x
    Q, R = torch.linalg.qr(padded)
    stack = gather(R.contiguous()[None], 0, (mesh, place))
    whole = stack.movedim(0, -3).reshape(*x.shape[:-2], stack.shape[0] * n, n)
    W, S, Vh = _spread_svd(whole, mesh, others)
    start = n * mesh.get_local_rank(place)
    U = Q @ W[..., start : start + n, :]
    return U[..., : x.shape[-2], :], S, Vh
