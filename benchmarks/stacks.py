"""Stacks of matrices and of point sets, forward and backward, beside what users would pick instead.

PyTorch's `linalg.svd` and `linalg.eigh`, with functions composed of them; `jax.numpy.linalg.svd`
under jit; RoMa for rotations and alignment, where it is installed. A case on NumPy arrays has the
same numbers as PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

import spectralgrad as sg

from .timing import Case, nothing

# the shape, and the targets on NumPy, PyTorch and JAX
SVD = (
    ((3, 3), None, 2.0, None),
    ((10_000, 2, 2), 0.4, 0.6, 0.25),
    ((10_000, 3, 3), 0.5, 0.7, 0.5),
    ((100_000, 3, 3), 0.5, 0.7, 0.5),
    ((10_000, 4, 4), 0.8, 0.9, 0.7),
    ((2000, 8, 8), 0.7, 1.0, 1.0),
    ((500, 32, 32), 0.7, 1.0, 1.0),
    ((100, 64, 64), 0.7, 1.0, 1.0),
    ((20_000, 50), None, 1.0, None),
)
INVERSE_ROOTS = (
    ((100_000, 3, 3), 0.5),
    ((5000, 8, 8), 1.0),
    ((500, 32, 32), 1.0),
    ((512, 512), 1.0),
)


def _name(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _matrix_and_bars(shape: tuple[int, ...]) -> list[np.ndarray]:
    """x, and cotangents of U, S and Vh."""
    *batch, m, n = shape
    k = min(m, n)
    shapes = (shape, (*batch, m, k), (*batch, k), (*batch, k, n))
    return [_normal(*s, seed=i) for i, s in enumerate(shapes)]


def _normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def _synchronize(device: str) -> Callable[[], None]:
    import torch

    return nothing if device == "cpu" else torch.cuda.synchronize


def svd_stacks(_: Sequence[int], device: str) -> Iterator[Case]:
    """`svd` of stacks with cotangents of all factors, on NumPy and PyTorch arrays."""
    import torch

    for shape, on_numpy, on_torch, _ in SVD:
        x, *bars = _matrix_and_bars(shape)
        leaf = torch.asarray(x, device=device).requires_grad_()
        torch_bars = tuple(torch.asarray(bar, device=device) for bar in bars)

        def gradient(svd: Callable[..., Any], leaf=leaf, torch_bars=torch_bars):
            return torch.autograd.grad(tuple(svd(leaf, full_matrices=False)), leaf, torch_bars)

        shared = {
            "name": "svd, forward and backward",
            "size": _name(shape),
            "theirs": partial(gradient, torch.linalg.svd),
            "against": "torch.linalg.svd",
        }
        yield Case(
            library="torch",
            ours=partial(gradient, sg.svd),
            target=on_torch,
            synchronize=_synchronize(device),
            **shared,
        )
        if device == "cpu" and on_numpy is not None:

            def ours(x=x, bars=bars):
                return sg.vjp(sg.svd, x, full_matrices=False)[1](tuple(bars))

            yield Case(library="numpy", ours=ours, target=on_numpy, **shared)


def svd_stacks_jitted(_: Sequence[int], __: str) -> Iterator[Case]:
    import jax

    jax.config.update("jax_enable_x64", True)
    for shape, _, _, target in SVD:
        if target is None:
            continue
        x, *bars = map(jax.numpy.asarray, _matrix_and_bars(shape))

        def gradient(svd: Callable[..., Any], x=x, bars=bars):
            def pulled(x, bars):
                factors, pullback = jax.vjp(lambda x: tuple(svd(x, full_matrices=False)), x)
                return factors, pullback(tuple(bars))

            compiled = jax.jit(pulled)
            return lambda: jax.block_until_ready(compiled(x, bars))

        yield Case(
            name="svd, forward and backward, jit",
            library="jax",
            size=_name(shape),
            ours=gradient(sg.svd),
            theirs=gradient(jax.numpy.linalg.svd),
            against="jax.numpy.linalg.svd",
            target=target,
        )


def inverse_roots(_: Sequence[int], device: str) -> Iterator[Case]:
    """`inv_sqrtm`, forward and backward, against PyTorch's made of `linalg.eigh`."""
    import torch

    def composed(x):
        w, Q = torch.linalg.eigh(x)
        return (Q * w[..., None, :] ** -0.5) @ Q.mT

    for shape, target in INVERSE_ROOTS:
        half = _normal(*shape)
        leaf = torch.asarray(half @ half.swapaxes(-1, -2) + np.eye(shape[-1]), device=device)
        leaf, bar = leaf.requires_grad_(), torch.asarray(_normal(*shape, seed=1), device=device)

        def gradient(root, leaf=leaf, bar=bar):
            return torch.autograd.grad(root(leaf), leaf, bar)

        yield Case(
            name="inv_sqrtm, forward and backward",
            library="torch",
            size=_name(shape),
            ours=partial(gradient, sg.inv_sqrtm),
            theirs=partial(gradient, composed),
            against="torch.linalg.eigh, composed",
            target=target,
            synchronize=_synchronize(device),
        )


def alignment(_: Sequence[int], device: str) -> Iterator[Case]:
    """`nearest_rotation` and `kabsch`, forward and backward, against RoMa."""
    import roma
    import torch

    def tensor(*shape: int, seed: int = 0):
        return torch.asarray(_normal(*shape, seed=seed), device=device)

    x, bar = tensor(100_000, 3, 3).requires_grad_(), tensor(100_000, 3, 3, seed=1)
    yield Case(
        name="nearest_rotation, forward and backward",
        library="torch",
        size=_name(x.shape),
        ours=lambda: torch.autograd.grad(sg.nearest_rotation(x), x, bar),
        theirs=lambda: torch.autograd.grad(roma.special_procrustes(x), x, bar),
        against="roma.special_procrustes",
        target=0.6,
        synchronize=_synchronize(device),
    )
    for shape, target in (((1000, 100, 3), 0.8), ((10_000, 10, 3), 0.7)):
        P, Q = tensor(*shape).requires_grad_(), tensor(*shape, seed=1)

        def ours(P=P, Q=Q):
            found = sg.kabsch(P, Q)
            return torch.autograd.grad(found.rotation.sum() + found.translation.sum(), P)

        def theirs(P=P, Q=Q):
            rotation, translation = roma.rigid_points_registration(P, Q)
            return torch.autograd.grad(rotation.sum() + translation.sum(), P)

        yield Case(
            name="kabsch, forward and backward",
            library="torch",
            size=_name(shape),
            ours=ours,
            theirs=theirs,
            against="roma.rigid_points_registration",
            target=target,
            synchronize=_synchronize(device),
        )


FAMILIES = [("torch", svd_stacks), ("jax", svd_stacks_jitted), ("torch", inverse_roots)]
if find_spec("roma"):
    FAMILIES.append(("torch", alignment))
