r"""
A learned threshold that denoises
=================================

Patches of a photograph that look alike, one a row, make a matrix of nearly low rank, and noise
fills its other singular values. Soft thresholding takes the noise out,

.. math:: Y \mapsto U \max(S - \tau, 0) V^T,

as far as :math:`\tau` is right. Here :math:`\tau`, and then a whole shrinkage curve, is learned
from one photograph by the gradient, and used on another. The grouping of patches is that of Dabov,
Foi, Katkovnik and Egiazarian (2007); Gavish and Donoho (2017), Optimal shrinkage of singular
values, say which curve is the best one for a matrix of random vectors.
"""

from functools import partial

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_sample_image

import spectralgrad as sg

torch.manual_seed(0)
torch.set_num_threads(1)
NOISE, SIDE, ALIKE, WINDOW = 0.1, 8, 32, 10

# %%
# Stacks of similar patches
# -------------------------
# Of the patches within a window around each reference patch the nearest ones are taken. Distances
# are those of the noisy patches: the clean photograph enters the loss alone.


def photograph(name, top, left):
    grey = load_sample_image(name).mean(axis=2) / 255
    return torch.tensor(grey[top : top + 128, left : left + 128], dtype=torch.float32)


def patches_of(picture):
    return picture.unfold(0, SIDE, 1).unfold(1, SIDE, 1).flatten(2)


def groups_of(noisy, stride=6):
    """Rows and columns of the upper left corners of ALIKE patches, for each reference patch."""
    patches = patches_of(noisy)
    last = len(patches) - 1
    rows, columns = [], []
    corners = [*range(0, last, stride), last]
    for i in corners:
        for j in corners:
            top, left = max(i - WINDOW, 0), max(j - WINDOW, 0)
            near = patches[top : i + WINDOW + 1, left : j + WINDOW + 1]
            distances = (near - patches[i, j]).square().sum(dim=-1)
            nearest = distances.flatten().topk(ALIKE, largest=False).indices
            rows.append(top + nearest // near.shape[1])
            columns.append(left + nearest % near.shape[1])
    return torch.stack(rows), torch.stack(columns)


def put_back(groups, places, shape):
    """The picture in which every pixel is the mean of its copies in the groups."""
    offsets = torch.arange(SIDE)
    rows = places[0][..., None, None] + offsets[:, None]
    columns = places[1][..., None, None] + offsets
    at = (rows * shape[1] + columns).flatten()
    sums = torch.zeros(shape[0] * shape[1]).index_add(0, at, groups.flatten())
    counts = torch.zeros(shape[0] * shape[1]).index_add(0, at, torch.ones(len(at)))
    return (sums / counts).reshape(shape)


def problem(clean):
    noisy = clean + NOISE * torch.randn_like(clean)
    places = groups_of(noisy)
    return clean, noisy, patches_of(noisy)[places], places


def restored(groups, places, shape, function):
    """The picture with all groups shrunk; the mean patch of a group is left as it is."""
    mean = groups.mean(dim=1, keepdim=True)
    return put_back(mean + function(groups - mean), places, shape)


def psnr(x, clean):
    return -10 * (x - clean).square().mean().log10()


flower = problem(photograph("flower.jpg", 150, 250))
temple = problem(photograph("china.jpg", 110, 90))
print(f"{len(flower[2])} matrices of {ALIKE} x {SIDE**2}, noisy: {psnr(*flower[1::-1]):.2f} dB")

# %%
# Learning the threshold
# ----------------------
# In `singular_value_threshold` the threshold is an array, and has a gradient.


def train(parameters, shrink, steps, rate):
    clean, _, groups, places = flower
    optimizer, history = torch.optim.Adam(parameters, lr=rate), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (restored(groups, places, clean.shape, shrink) - clean).square().mean()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    return history


tau = torch.tensor(0.5, requires_grad=True)


def threshold(x):
    return sg.singular_value_threshold(x, tau)


train([tau], threshold, steps=40, rate=0.05)
print(f"learned threshold {tau.item():.3f}")

taus = torch.linspace(0.1, 1.2, 23)
curves = {}
with torch.no_grad():
    for name, (clean, _, groups, places) in {"flower": flower, "temple": temple}.items():
        cut = [partial(sg.singular_value_threshold, tau=float(t)) for t in taus]
        curves[name] = [psnr(restored(groups, places, clean.shape, f), clean) for f in cut]
    by_threshold = {
        name: restored(groups, places, clean.shape, threshold)
        for name, (clean, _, groups, places) in {"flower": flower, "temple": temple}.items()
    }
best = max(curves["flower"])
reached = psnr(by_threshold["flower"], flower[0])
print(f"flower: {reached:.2f} dB with it, {best:.2f} dB the best of a grid")
assert reached > best - 0.01

# %%
# Learning the curve
# ------------------
# Soft thresholding shrinks the large values, which are the picture, as much as the small ones. A
# curve with a few parameters need not: it may be any function that the library can differentiate.

params = {"at": tau.detach().clone(), "width": torch.tensor(0.2)}
for value in params.values():
    value.requires_grad_()


def smooth_cut(s, params):
    return s * torch.sigmoid((s - params["at"]) / params["width"])


def shrink(x):
    return sg.svd_function(x, smooth_cut, params=params)


train(params.values(), shrink, steps=40, rate=0.02)
with torch.no_grad():
    by_curve = {
        name: restored(groups, places, clean.shape, shrink)
        for name, (clean, _, groups, places) in {"flower": flower, "temple": temple}.items()
    }
for name, (clean, noisy, *_) in {"flower": flower, "temple": temple}.items():
    found = [psnr(picture, clean) for picture in (noisy, by_threshold[name], by_curve[name])]
    print(f"{name}: {found[0]:.2f} dB noisy, {found[1]:.2f} by threshold, {found[2]:.2f} by curve")
assert psnr(by_curve["flower"], flower[0]) > reached
assert psnr(by_curve["temple"], temple[0]) > psnr(*temple[1::-1]) + 4

# %%
# The photograph that was not learned from, and the thresholds of a grid.

figure, axes = plt.subplots(1, 4, figsize=(14, 3.7), layout="constrained")
clean, noisy = temple[:2]
pictures = {"noisy": noisy, "learned threshold": by_threshold["temple"]}
pictures["learned curve"] = by_curve["temple"]
for panel, (name, picture) in zip(axes, pictures.items(), strict=False):
    panel.imshow(picture.clip(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
    panel.set_title(f"{name}, {psnr(picture, clean):.1f} dB")
    panel.set_axis_off()
for name, curve in curves.items():
    axes[3].plot(taus, curve, label=f"{name}, of a grid")
axes[3].axvline(tau.item(), color="0.4", ls="--", label="learned from the flower")
axes[3].set(xlabel="threshold", ylabel="PSNR in dB", title="Thresholds")
axes[3].legend()
axes[3].grid(color="0.9")
plt.show()
