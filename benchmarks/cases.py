"""What is measured against what.

A family is a generator of cases for one library, which it imports itself; add one by writing the
generator and naming it in `GROUPS`. Cases come one by one, so that each frees its arrays before
the next is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec

import numpy as np

import spectralgrad as sg

from . import stacks
from .beside_arpack import beside_arpack
from .timing import Case, nothing
from .truncated import beside_pytorch

FUNCTIONS = {
    "log1p": sg.functions.log1p,
    "tikhonov(1)": sg.functions.tikhonov(1.0),
    "power(3)": sg.functions.power(3),
}


def square(n: int) -> str:
    return f"{n} x {n}"


def normal(n: int) -> list[np.ndarray]:
    """A matrix, and cotangents of its U, S and Vh, with normal entries in double precision."""
    shapes = ((n, n), (n, n), (n,), (n, n))
    return list(map(np.random.default_rng(n).standard_normal, shapes))


def loss(svd: Callable, weights: Sequence, x):
    """sum(C_U * U) + sum(c * S) + sum(C_V * Vh)."""
    factors = svd(x, full_matrices=False)
    return sum((weight * factor).sum() for weight, factor in zip(weights, factors, strict=True))


def torch_svd(sizes: Sequence[int], device: str) -> Iterator[Case]:
    """`svd` with PyTorch's autograd, against PyTorch's own."""
    import torch

    def gradient(svd, weights, x):
        return torch.autograd.grad(loss(svd, weights, x), x)

    for n in sizes:
        x, *weights = (torch.asarray(a, device=device) for a in normal(n))
        x.requires_grad_()
        yield Case(
            name="svd, forward and backward",
            library="torch" if device == "cpu" else f"torch {device}",
            size=square(n),
            ours=partial(gradient, sg.svd, weights, x),
            theirs=partial(gradient, torch.linalg.svd, weights, x),
            against="torch.linalg.svd",
            target=1.0 if n in (512, 1024) else None,
            synchronize=nothing if device == "cpu" else torch.cuda.synchronize,
        )


def jax_svd(sizes: Sequence[int], _: str) -> Iterator[Case]:
    """`svd` under jit and grad on the host, against JAX's own."""
    import jax

    jax.config.update("jax_enable_x64", True)
    host = jax.devices("cpu")[0]

    for n in sizes:
        x, *weights = (jax.device_put(a, host) for a in normal(n))

        def gradient(svd, weights=weights, x=x):
            compiled = jax.jit(jax.grad(partial(loss, svd, weights)))
            return lambda: jax.block_until_ready(compiled(x))

        yield Case(
            name="svd, forward and backward, jit",
            library="jax",
            size=square(n),
            ours=gradient(sg.svd),
            theirs=gradient(jax.numpy.linalg.svd),
            against="jax.numpy.linalg.svd",
            target=0.9 if n in (512, 1024) else None,
        )


def backward(xp, synchronize: Callable[[], None], sizes: Sequence[int]) -> Iterator[Case]:
    """Pullbacks alone, against the four matrix products that their formulas need."""

    def four_products(a, b):
        for _ in range(4):
            a @ b

    for n in sizes:
        x, *bars = (xp.asarray(a) for a in normal(n))
        pullbacks = {"svd": partial(sg.vjp(sg.svd, x)[1], tuple(bars))}
        for f_name, f in FUNCTIONS.items():
            pullback = sg.vjp(sg.svd_function, x, f=f)[1]
            pullbacks[f"svd_function {f_name}"] = partial(pullback, bars[0])
        for name, pullback in pullbacks.items():
            yield Case(
                name=f"{name}, backward",
                library=xp.__name__,
                size=square(n),
                ours=pullback,
                theirs=partial(four_products, bars[0], bars[2]),
                against="four products",
                target=1.8 if n == 1024 else None,
                synchronize=synchronize,
            )


def composed(_: Sequence[int], __: str) -> Iterator[Case]:
    """Functions of the spectrum on NumPy arrays, against PyTorch's made of `linalg.svd`."""
    import torch

    functions = {
        "orthogonalize": (sg.orthogonalize, lambda U, S, Vh: U @ Vh),
        "svd_function log1p": (
            partial(sg.svd_function, f=sg.functions.log1p),
            lambda U, S, Vh: (U * torch.log1p(S)[..., None, :]) @ Vh,
        ),
        "low_rank": (
            partial(sg.low_rank, k=8),
            lambda U, S, Vh: (U[..., :8] * S[..., None, :8]) @ Vh[..., :8, :],
        ),
        "nuclear_norm": (sg.nuclear_norm, lambda U, S, Vh: S.sum(-1)),
    }
    for size, shape in (("500 x 32 x 32", (500, 32, 32)), ("512 x 512", (512, 512))):
        x = np.random.default_rng(0).standard_normal(shape)
        for name, (fun, of_factors) in functions.items():
            weights = np.random.default_rng(1).standard_normal(np.shape(fun(x)))
            leaf, torch_weights = torch.asarray(x).requires_grad_(), torch.asarray(weights)

            def ours(fun=fun, x=x, weights=weights):
                return sg.vjp(fun, x)[1](weights)

            def theirs(of_factors=of_factors, leaf=leaf, weights=torch_weights):
                factors = torch.linalg.svd(leaf, full_matrices=False)
                return torch.autograd.grad((weights * of_factors(*factors)).sum(), leaf)

            yield Case(
                name=f"{name}, forward and backward",
                library="numpy",
                size=size,
                ours=ours,
                theirs=theirs,
                against="torch.linalg.svd, composed",
                target=0.8,
            )


def second_order(_: Sequence[int], device: str) -> Iterator[Case]:
    """The Hessian of <C, tanh(A)> times a direction, against PyTorch's double backward of its SVD.

    Ours for the spectra that PyTorch's has to be right for, and for half of the values equal, where
    PyTorch's is NaN.
    """
    import torch

    def double_backward(of, x, dx, C):
        (x_bar,) = torch.autograd.grad((of(x) * C).sum(), x, create_graph=True)
        return torch.autograd.grad((x_bar * dx).sum(), x)

    def composed_tanh(x):
        U, S, Vh = torch.linalg.svd(x)
        return (U * torch.tanh(S)) @ Vh

    tanh = sg.functions.tanh
    for n in (64, 256):
        x, U, Vh = normal(n)[0], *np.linalg.svd(normal(n)[1])[::2]
        half = np.r_[np.ones(n // 2), np.linspace(0.9, 0.1, n - n // 2)]
        for spectrum, a, target in (
            ("Gaussian", x, 2.0),
            ("1/j", (U / np.arange(1, n + 1)) @ Vh, 5.0),
            ("half equal", (U * half) @ Vh, 5.0),
        ):
            dx, C = normal(n)[1], normal(n)[3]
            leaf, *others = (torch.asarray(v, device=device) for v in (a, dx, C))
            leaf.requires_grad_()
            theirs = partial(double_backward, composed_tanh, leaf, *others)
            native = partial(double_backward, partial(sg.svd_function, f=tanh), leaf, *others)
            found = [("torch", native)]
            if device == "cpu":
                found.append(("numpy", partial(sg.hvp, sg.svd_function, a, dx, C, f=tanh)))
            for library, ours in found:
                yield Case(
                    name=f"svd_function tanh, hvp, {spectrum}",
                    library=library,
                    size=square(n),
                    ours=ours,
                    theirs=theirs,
                    against="double backward of torch.linalg.svd",
                    target=target,
                )


def cupy_backward(sizes: Sequence[int], _: str) -> Iterator[Case]:
    import cupy

    return backward(cupy, cupy.cuda.Device().synchronize, sizes)


def overhead(_: Sequence[int], __: str) -> Iterator[Case]:
    """What a call costs where the matrix costs nothing."""
    x, ones = normal(3)[0], np.ones(3)
    yield Case(
        name="svdvals, vjp and pullback",
        library="numpy",
        size=square(3),
        ours=lambda: sg.vjp(sg.svdvals, x)[1](ones),
        theirs=lambda: np.linalg.svd(x),
        against="numpy.linalg.svd",
        target=40.0,
    )


EVERYDAY = (
    ("torch", torch_svd),
    ("jax", jax_svd),
    ("numpy", lambda sizes, _: backward(np, nothing, sizes)),
    ("numpy", overhead),
    ("torch", composed),
    ("torch", second_order),
    *stacks.FAMILIES,
)
TRUNCATED = (("torch", beside_pytorch), ("scipy", beside_arpack))
GROUPS = {"everyday": EVERYDAY, "truncated": TRUNCATED}
ON_CUDA = (("cupy", cupy_backward),)


def families(group: str, device: str) -> tuple[list[Callable], list[str]]:
    """The generators whose library is installed, and the names of libraries that are not."""
    table = GROUPS[group]
    if group == "everyday" and device == "cuda":
        table += ON_CUDA
    found = [family for library, family in table if find_spec(library)]
    return found, sorted({library for library, _ in table if not find_spec(library)})
