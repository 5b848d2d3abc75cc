r"""
Restoring a photograph
======================

A photograph is restored from 35 % of its values, with a nuclear norm and its derivative.

Each channel of the picture y keeps its own random share of values, the mask M. The restored
picture x, an array (3, m, n), minimises ::

    L(x) = 1/2 ||M o (x - y)||^2 + LAMBDA sum_c w_c N((T x)_c)

T is an orthogonal change of colours, to brightness and two colour differences. A picture has far
less to say in the differences than in red, green and blue, so a value kept in one channel helps to
restore the other two; the weights w press on the differences harder. The three channels of T x are
a batch of three matrices. N is the nuclear norm, the sum of the singular values, with its corner at
zero rounded off::

    N(A) = min_Z ||Z||_* + ||A - Z||^2/(2 MU) = sum_i { s_i^2/(2 MU)  for s_i <= MU
                                                       { s_i - MU/2    above
    grad N(A) = U min(S/MU, 1) V^T

A step of length MU along -grad N soft-thresholds the singular values at MU, as softImpute does.
No automatic differentiation is needed: `sg.vjp(sg.svdvals, A)` gives the singular values and their
pullback, hence N and its gradient from one SVD, on arrays of any library.

References: Candes and Recht (2009), Exact matrix completion via convex optimization: the nuclear
norm. Mazumder, Hastie and Tibshirani (2010), Spectral regularization algorithms for learning large
incomplete matrices: softImpute. Lu, Peng and Wei (2019), Low-rank tensor completion with a new
tensor nuclear norm induced by invertible linear transforms: T. Beck and Teboulle (2009), A fast
iterative shrinkage-thresholding algorithm: the momentum. O'Donoghue and Candes (2015), Adaptive
restart for accelerated gradient schemes: its restarts.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from array_api_compat import array_namespace
from rich.progress import Progress, TextColumn
from sklearn.datasets import load_sample_image
from threadpoolctl import threadpool_limits

import spectralgrad as sg

LAMBDA = 0.1
MU = 0.1
WEIGHTS = np.array([1.0, 2.0, 2.0])
COLOURS = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
COLOURS /= np.linalg.norm(COLOURS, axis=1, keepdims=True)


parser = argparse.ArgumentParser(description="Restores a photograph from some of its values.")
parser.add_argument("--library", choices=["numpy", "torch", "jax", "cupy"], default="numpy")
parser.add_argument("--device", help="as the library names it: cuda, gpu, 0 (default: its own)")
parser.add_argument("--iterations", type=int, default=150)
parser.add_argument("--keep", type=float, default=0.35, help="share of each channel's values")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=Path, help="file for the picture, instead of a window")
options = parser.parse_args()


def to_library(array, library, device):
    """The NumPy `array` as an array of `library` on `device`, in double precision."""
    if library == "torch":
        import torch

        return torch.asarray(array, device=device)
    if library == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        return jax.device_put(array, jax.devices(device)[0])
    if library == "cupy":
        import cupy

        cupy.cuda.Device(int(device or 0)).use()
        return cupy.asarray(array)
    return array


def to_numpy(array, library):
    if library == "torch":
        return array.cpu().numpy()
    return array.get() if library == "cupy" else np.asarray(array)


# %%
# The loss and its gradient
# -------------------------


def make_objective(observed, mask, colours, weights):
    """The function that takes x to L(x), a number, and its gradient, an array like x."""
    xp = array_namespace(observed)
    weights = weights[:, None]

    def objective(x):
        residual = mask * (x - observed)
        singular_values, pullback = sg.vjp(sg.svdvals, xp.tensordot(colours, x, axes=1))
        slopes = xp.clip(singular_values / MU, max=1.0)
        norms = slopes * (singular_values - MU / 2 * slopes)
        (planes_bar,) = pullback(LAMBDA * weights * slopes)
        loss = xp.sum(residual**2) / 2 + LAMBDA * xp.sum(weights * norms)
        return float(loss), residual + xp.tensordot(colours.T, planes_bar, axes=1)

    return objective


def check_gradient(objective, x, direction, step=1e-5):
    """Derivatives of L at x along `direction`: by the gradient, and by a central difference."""
    xp = array_namespace(x)
    by_gradient = float(xp.sum(objective(x)[1] * direction))
    ahead, behind = (objective(x + h * direction)[0] for h in (step, -step))
    return by_gradient, (ahead - behind) / (2 * step)


# %%
# Descent with momentum
# ---------------------


def minimise(objective, x, step, iterations):
    """Nesterov's accelerated gradient, its momentum dropped whenever it points uphill."""
    xp = array_namespace(x)
    ahead, momentum, losses = x, 1.0, []
    loss_column = TextColumn("loss {task.fields[loss]:.2f}")
    columns = (*Progress.get_default_columns(), loss_column)
    with Progress(*columns, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("minimising", total=iterations, loss=math.nan)
        for _ in range(iterations):
            loss, gradient = objective(ahead)
            losses.append(loss)
            previous, x = x, ahead - step * gradient
            if float(xp.sum(gradient * (x - previous))) > 0:
                momentum = 1.0
            following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            ahead = x + (momentum - 1) / following * (x - previous)
            momentum = following
            progress.update(task, advance=1, loss=loss)
    return x, losses


def psnr(x, truth):
    """Peak signal-to-noise ratio in dB, of values in [0, 1]."""
    return -10 * math.log10(np.mean((np.clip(x, 0, 1) - truth) ** 2))


# %%
# The photograph
# --------------
# The gradient is compared with a difference of two losses before it is used.

rng = np.random.default_rng(options.seed)
truth = np.moveaxis(load_sample_image("china.jpg"), -1, 0) / 255.0
mask = rng.random(truth.shape) < options.keep
filled = np.where(mask, truth, np.mean(truth[mask]))
arrays = (filled, mask.astype(float), COLOURS, WEIGHTS, rng.standard_normal(truth.shape))
start, *rest, direction = (to_library(a, options.library, options.device) for a in arrays)
objective = make_objective(start, *rest)

# One thread: more gain little on matrices of this size, and lose much on a busy machine.
with threadpool_limits(1):
    by_gradient, by_difference = check_gradient(objective, start, direction)
    print(f"directional derivative: {by_gradient:.9g}, by differences {by_difference:.9g}")
    print(f"relative difference: {abs(by_gradient / by_difference - 1):.1e}")
    assert abs(by_gradient / by_difference - 1) < 1e-6
    # T is orthogonal, and the gradient of N is Lipschitz with 1/MU.
    step = 1 / (1 + LAMBDA * float(WEIGHTS.max()) / MU)
    began = time.perf_counter()
    x, losses = minimise(objective, start, step, options.iterations)
    seconds = time.perf_counter() - began
restored = to_numpy(x, options.library)

print(f"loss: {losses[0]:.6g} at first, {losses[-1]:.6g} after {len(losses)} iterations")
print(f"time: {seconds:.1f} s on {options.library}, {restored.dtype}, {restored.shape}")
before, after = psnr(filled, truth), psnr(restored, truth)
print(f"PSNR: {before:.2f} dB with the gaps at the mean, {after:.2f} dB restored")
assert after > before

# %%
# The original, what was kept of it, and what was restored from that.

images = {
    "original": truth,
    f"{options.keep:.0%} of each channel's values": mask * truth,
    f"restored, {after:.1f} dB": restored,
}
figure, axes = plt.subplots(1, len(images), figsize=(19, 4.7), layout="constrained")
for axis, (title, image) in zip(axes, images.items(), strict=True):
    axis.imshow(np.clip(np.moveaxis(image, 0, -1), 0, 1))
    axis.set_title(title)
    axis.set_axis_off()
if options.output:
    figure.savefig(options.output, dpi=100)
    print(f"picture: {options.output.resolve()}")
else:
    plt.show()
