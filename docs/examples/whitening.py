r"""
Whitening in a network
======================

A layer that whitens its batch, with a gradient through the inverse square root of the covariance:

.. math:: y = (x - \bar x)\, C^{-1/2}, \qquad C = \tfrac1N (x - \bar x)^T (x - \bar x).

Huang, Yang, Lang and Deng (2018), Decorrelated batch normalization, put it where batch
normalization is, which scales each feature alone and leaves correlations in. The network here is
trained on features that are strongly correlated.
"""

import warnings

import matplotlib.pyplot as plt
import torch
from torch import nn

import spectralgrad as sg

torch.manual_seed(0)
torch.set_num_threads(1)

# %%
# The layer
# ---------
# `inv_sqrtm` has a derivative at equal eigenvalues, which is where whitening leads: behind such a
# layer, and after an orthogonal initialization, every covariance is near to a multiple of the
# identity. The running mean and whitener, for evaluation, are kept as batch normalization keeps its
# own.


class Whiten(nn.Module):
    def __init__(self, features, momentum=0.1):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("whitener", torch.eye(features))

    def forward(self, x):
        if not self.training:
            return (x - self.mean) @ self.whitener
        mean = x.mean(dim=0)
        covariance = (x - mean).T @ (x - mean) / len(x)
        whitener = sg.inv_sqrtm(covariance + 1e-5 * torch.eye(x.shape[1]))
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.whitener.lerp_(whitener, self.momentum)
        return (x - mean) @ whitener


# %%
# Training
# --------
# Points are in 16 dimensions; the class depends on their sources, which are mixed so that the
# covariance has a condition of 10,000. Three networks differ in the layer before their first
# weights, and are trained by plain gradient descent.

mixing = torch.linalg.qr(torch.randn(16, 16))[0] * torch.logspace(0, -2, 16)
mixing = mixing @ torch.linalg.qr(torch.randn(16, 16))[0]
sources = torch.randn(4000, 16)
labels = (sources[:, -4:].square().sum(dim=1) > sources[:, -8:-4].square().sum(dim=1)).long()
points = sources @ mixing
train, test = slice(0, 3000), slice(3000, None)


def train_with(layer, epochs=30):
    torch.manual_seed(1)
    net = nn.Sequential(layer, nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
    losses = []
    for _ in range(epochs):
        for batch in torch.randperm(3000).split(200):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(points[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    accuracy = (net.eval()(points[test]).argmax(dim=1) == labels[test]).float().mean().item()
    return torch.tensor(losses).reshape(epochs, -1).mean(dim=1), accuracy


layers = {
    "no layer": nn.Identity(),
    "batch normalization": nn.BatchNorm1d(16, affine=False),
    "whitening": Whiten(16),
}
results = {name: train_with(layer) for name, layer in layers.items()}
for name, (losses, accuracy) in results.items():
    print(f"{name}: loss {losses[-1]:.3f}, accuracy on points not seen {accuracy:.1%}")
assert results["whitening"][0][-1] < 0.7 * results["batch normalization"][0][-1]
assert results["whitening"][1] > results["batch normalization"][1]

# %%
# A batch whose covariance is the identity
# ----------------------------------------
# The same layer by PyTorch's own `eigh` has a gradient of NaN there, since it divides by the
# differences of eigenvalues.

corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
weights = torch.arange(8.0).reshape(4, 2).sin()


def by_eigh(x):
    w, Q = torch.linalg.eigh(x.T @ x / len(x))
    return (x @ (Q / w.sqrt()) @ Q.T * weights).sum()


def by_function(x):
    return (x @ sg.inv_sqrtm(x.T @ x / len(x)) * weights).sum()


assert torch.func.grad(by_eigh)(corners).isnan().all()
gradient = torch.func.grad(by_function)(corners)
step = 1e-2 * torch.randn(4, 2)
difference = (by_function(corners + step) - by_function(corners - step)) / 2
assert torch.isclose((gradient * step).sum(), difference, rtol=1e-2)

# %%
# A batch smaller than the number of features
# -------------------------------------------
# Its covariance is singular, and has no inverse root: the value is NaN, and a warning says so. A
# power with a cutoff whitens the directions that there are, and is differentiable as long as no
# eigenvalue lies at the cutoff.

few = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
with warnings.catch_warnings(action="ignore"):
    assert sg.inv_sqrtm(few.T @ few / 4).isnan().all()
white = few @ sg.eigh_function(few.T @ few / 4, sg.functions.power(-0.5, cutoff=1e-6))
assert torch.allclose(white @ white.T / 4, torch.eye(4, dtype=torch.float64))
white.sum().backward()
assert few.grad.isfinite().all()

# %%
# The losses, and the covariance that the layers leave of a batch.

figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained", width_ratios=(1.3, 1, 1))
for colour, (name, (losses, accuracy)) in enumerate(results.items()):
    axes[0].plot(losses, color=f"C{colour}", label=f"{name}: {accuracy:.0%} right")
axes[0].set(xlabel="epoch", ylabel="loss", title="Training", ylim=(0, None))
axes[0].legend()
axes[0].grid(color="0.9")
for panel, name in zip(axes[1:], ("batch normalization", "whitening"), strict=True):
    covariance = torch.cov(layers[name].train()(points[:600]).T)
    image = panel.imshow(covariance.numpy(), cmap="RdBu", vmin=-1, vmax=1)
    panel.set(title=f"Covariance after {name}", xlabel="feature", ylabel="feature")
figure.colorbar(image, ax=axes[1:])
plt.show()
