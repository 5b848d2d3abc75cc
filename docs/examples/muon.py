r"""
Muon's step
===========

The optimizer Muon (Jordan, Jin, Boza, You, Cesista, Newhouse and Bernstein, 2024) moves a weight
matrix along the polar factor of its momentum: all directions of the step have one length,

.. math:: B \leftarrow \mu B + \nabla L(W), \qquad W \leftarrow W - \eta\, \mathrm{polar}(B),

where :math:`\mathrm{polar}(U S V^T) = U V^T`. It is computed by products of matrices alone, and
here it has a derivative too: the length of the step is learned by the gradient through the
training. As in Muon, only the hidden layers are moved so. The gradient of the last one is singular
(its rows add up to zero), and at a singular matrix the polar factor jumps.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.func import functional_call

import spectralgrad as sg

torch.manual_seed(0)
torch.set_num_threads(1)
digits = load_digits()
leading = np.linalg.svd(digits.data - digits.data.mean(axis=0), full_matrices=False)
images = torch.tensor(leading.U[:, :32], dtype=torch.float32)  # 32 principal components
images /= images.std(dim=0)
labels = torch.tensor(digits.target)
train, test = slice(0, 1200), slice(1200, None)

# %%
# Training a network
# ------------------
# `orthogonalize(x, method="newton-schulz")` takes products of matrices only, which is what
# accelerators are made for. It is accurate to the precision of the numbers, where Muon's own five
# steps leave singular values between 0.7 and 1.2.


def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(32, 48, bias=False),
        torch.nn.Tanh(),
        torch.nn.Linear(48, 48, bias=False),
        torch.nn.Tanh(),
        torch.nn.Linear(48, 10, bias=False),
    )


def polar(B):
    return B if B.shape[0] == 10 else sg.orthogonalize(B, method="newton-schulz")


def train_by(step, rate, epochs=6):
    net, losses = network(), []
    momenta = [torch.zeros_like(W) for W in net.parameters()]
    for epoch in range(epochs):
        for batch in torch.randperm(1200, generator=torch.manual_seed(epoch)).split(100):
            net.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(images[batch]), labels[batch])
            loss.backward()
            with torch.no_grad():
                for W, B in zip(net.parameters(), momenta, strict=True):
                    B.mul_(0.9).add_(W.grad)
                    W -= rate * step(B)
            losses.append(loss.item())
    accuracy = (net(images[test]).argmax(dim=1) == labels[test]).float().mean().item()
    return losses, accuracy


found = {
    "gradient with momentum": train_by(lambda B: B, 0.1),
    "Muon": train_by(polar, 0.05),
}
for name, (losses, accuracy) in found.items():
    print(f"{name}: loss {np.mean(losses[-12:]):.3f}, {accuracy:.1%} of the test set right")
assert np.mean(found["Muon"][0][-12:]) < 0.5 * np.mean(found["gradient with momentum"][0][-12:])

# %%
# Singular values of a step
# -------------------------
# The gradient of a batch has a few large values and many small ones. After `orthogonalize` all are
# equal, to rounding.

net = network()
torch.nn.functional.cross_entropy(net(images[:100]), labels[:100]).backward()
G = net[0].weight.grad
values, moved = torch.linalg.svdvals(G), torch.linalg.svdvals(polar(G))
assert (moved - 1).abs().max() < 1e-4

# %%
# Learning the length of the steps
# --------------------------------
# The loss after ten steps is a function of the rates :math:`\eta_1, \dots, \eta_{10}`, and its
# gradient goes through the polar factors, since a step changes the gradients of the steps after it.


def after_steps(rates, weights):
    momenta = dict.fromkeys(weights, 0.0)

    def loss_of(weights, i):
        batch = slice(120 * i, 120 * (i + 1))
        out = functional_call(net, weights, images[batch])
        return torch.nn.functional.cross_entropy(out, labels[batch])

    for i, rate in enumerate(rates):
        loss = loss_of(weights, i % 10)
        gradients = torch.autograd.grad(loss, tuple(weights.values()), create_graph=True)
        momenta = {
            name: 0.9 * momenta[name] + g for name, g in zip(weights, gradients, strict=True)
        }
        weights = {name: W - rate * polar(momenta[name]) for name, W in weights.items()}
    return torch.stack([loss_of(weights, i) for i in range(10)]).mean()


images = images.double()
start = {name: W.detach().double() for name, W in network().named_parameters()}
start = {name: W.requires_grad_() for name, W in start.items()}
rates = torch.full((10,), 0.05, dtype=torch.float64, requires_grad=True)
optimizer, history = torch.optim.Adam([rates], lr=0.03), []
for _ in range(20):
    optimizer.zero_grad()
    loss = after_steps(rates, start)
    loss.backward()
    optimizer.step()
    history.append(loss.item())
print(f"loss after ten steps: {history[0]:.3f} at first, {history[-1]:.3f} with learned rates")
print("learned rates:", ", ".join(f"{rate:.3f}" for rate in rates.tolist()))
assert history[-1] < 0.8 * history[0]

# %%
# The gradient by the first rate, compared with a difference of two losses.

(gradient,) = torch.autograd.grad(after_steps(rates, start), rates)
ahead, behind = (after_steps(rates + h * torch.eye(10)[0], start).item() for h in (1e-5, -1e-5))
print(f"by the gradient {gradient[0]:.8f}, by differences {(ahead - behind) / 2e-5:.8f}")
assert abs(gradient[0] - (ahead - behind) / 2e-5) < 1e-5 * gradient.abs().max()

# %%
# Losses, the singular values of a gradient and of the step, and the learned rates.

figure, axes = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
for name, (losses, accuracy) in found.items():
    axes[0].semilogy(losses, label=f"{name}: {accuracy:.1%} right")
axes[0].set(xlabel="step", ylabel="loss", title="Training")
axes[1].semilogy(values, label="gradient")
axes[1].semilogy(moved, label="step of Muon")
axes[1].set(xlabel="index", ylabel="singular value", title="First layer, one batch")
axes[2].plot(np.arange(1, 11), rates.detach(), "o-", label="learned")
axes[2].axhline(0.05, color="0.5", ls="--", label="at first")
axes[2].set(xlabel="step", ylabel="rate", title="Learned by the gradient", ylim=(0, None))
for panel in axes:
    panel.legend()
    panel.grid(color="0.9")
plt.show()
