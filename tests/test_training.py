"""Networks that are trained through what has no derivative everywhere, in single precision."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import random

import spectralgrad as sg

torch = pytest.importorskip("torch")


def molecules():
    """A batch of point sets: full, linear, planar, padded, two atoms, one, and a perfect match."""
    P = random((7, 6, 3), seed=1).astype(np.float32)
    mask = np.ones((7, 6), dtype=bool)
    P[1] = P[1, :, :1] * np.array([1.0, 2.0, -0.5])
    P[2, :, 2] = 0.0
    mask[3, 4:] = mask[4, 2:] = mask[5, 1:] = False
    P[~mask] = np.nan
    return torch.asarray(P), torch.asarray(mask)


def train(net, loss_of, fraction):
    """150 steps of Adam with finite gradients throughout, to that fraction of the first loss."""
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        for parameter in net.parameters():
            assert torch.isfinite(parameter.grad).all()
        optimizer.step()
        losses.append(loss.item())
    assert np.all(np.isfinite(losses))
    assert min(losses[-10:]) < fraction * losses[0]


class Displacement(torch.nn.Module):
    """Moves every atom by a small network of its place; padding comes in as zeros."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3)
        )

    def forward(self, points, mask):
        points = torch.where(mask[..., None], points, 0.0)
        return points + self.net(points)


@pytest.mark.parametrize("scale", [False, True], ids=["plain", "scale"])
@pytest.mark.parametrize("loss_of", ["msd", "rmsd"])
def test_alignment(loss_of, scale):
    torch.manual_seed(0)
    points, mask = molecules()
    net = Displacement()
    target = torch.where(mask[..., None], points, 0.0) * 1.3 + 0.5
    target[6] = net(points, mask)[6].detach()  # a perfect match to begin with
    target = torch.where(mask[..., None], target, float("nan"))

    def loss():
        found = sg.kabsch(net(points, mask), target, mask=mask, scale=scale)
        return getattr(found, loss_of).mean()

    train(net, loss, 0.5)


def test_alignment_by_the_rotation():
    """A loss of the rotations themselves, which lines and single atoms leave free."""
    torch.manual_seed(0)
    points, mask = molecules()
    net = Displacement()
    turn = torch.asarray(np.linalg.qr(random((3, 3), seed=4))[0], dtype=torch.float32)
    turn = turn * torch.sign(torch.linalg.det(turn))
    target = torch.where(mask[..., None], points @ turn.mT, float("nan"))
    # what lines and single atoms leave free is decided by rounding, and would drown the rest
    weights = torch.tensor([1, 1e-3, 1, 1, 1e-3, 1e-3, 1])

    def loss():
        found = sg.kabsch(net(points, mask), target, mask=mask, undefined="least_norm")
        apart = (found.rotation - turn).square().sum((-2, -1))
        return (weights * apart).mean() + found.msd.mean()

    train(net, loss, 0.7)


@pytest.mark.parametrize("samples", [1, 3, 8])
def test_whitening_of_few_samples(samples):
    """Features of rank `samples` in a layer of 8, whitened above a cutoff."""
    torch.manual_seed(0)
    net = torch.nn.Linear(5, 8)
    x = torch.randn(16, samples, 5)
    target = torch.randn(16, samples, 8)

    def loss():
        features = net(x)
        covariance = features.mT @ features / samples
        # an eigenvalue may come to lie at the cutoff on the way
        inverse_root = sg.functions.power(-0.5, cutoff=1e-3)
        root = sg.eigh_function(covariance, inverse_root, undefined="least_norm")
        return (features @ root - target).square().mean()

    train(net, loss, 0.98)


def test_a_polar_layer_of_low_rank_batches():
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 9)
    x = torch.randn(12, 4)
    x[::3] = 0.0  # with the bias alone, and at first without
    torch.nn.init.zeros_(net.bias)
    target = torch.linalg.qr(torch.randn(12, 3, 3))[0]

    def loss():
        found = sg.orthogonalize(net(x).reshape(12, 3, 3), undefined="least_norm")
        return (found - target).square().mean()

    train(net, loss, 0.7)
