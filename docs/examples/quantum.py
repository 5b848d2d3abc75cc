r"""
Entanglement of a quantum state in time
=======================================

A chain of spins begins in a product state and evolves under the Hamiltonian

.. math::

   H = - \sum_i Z_i Z_{i+1} - \sum_i g_i X_i, \qquad
   |\psi(t)\rangle = e^{-iHt} |\psi(0)\rangle.

The entanglement entropy of its halves is that of the squared Schmidt values, the singular values of
:math:`\psi` as a matrix. Both the exponential and the entropy are functions of a spectrum, and the
fields :math:`g_i` are found by the gradient through both. Calabrese and Cardy (2005) describe how
entanglement grows after such a start.
"""

import math

import matplotlib.pyplot as plt
import torch

import spectralgrad as sg

torch.set_num_threads(1)
SPINS = 6
X = torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128)
Z = torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128)

# %%
# The evolution
# -------------
# exp(-iHt) is `eigh_function` of H with a complex-valued function. H has many equal levels: for
# g = 0 its 64 levels take six values. No difference of levels is divided by.


def on_site(matrix, i):
    left, right = torch.eye(2**i), torch.eye(2 ** (SPINS - 1 - i))
    return torch.kron(torch.kron(left.to(matrix), matrix), right.to(matrix))


BONDS = sum(on_site(Z, i) @ on_site(Z, i + 1) for i in range(SPINS - 1))
FIELDS = torch.stack([on_site(X, i) for i in range(SPINS)])
START = torch.zeros(2**SPINS, dtype=torch.complex128)
START[0] = 1.0  # all spins up


def state(g, t):
    H = -BONDS - torch.einsum("i,iab->ab", g.to(FIELDS), FIELDS)
    return sg.eigh_function(H, lambda w: torch.exp(-1j * t * w)) @ START


# %%
# The entropy
# -----------
# Of the Schmidt values s it is the sum of -s^2 log s^2. This f has slope zero at s = 0, so product
# states, all of whose Schmidt values but one are zero, have a gradient.


def f(s):
    return -2 * torch.special.xlogy(s**2, s)


def df(s):
    return -4 * torch.special.xlogy(s, s) - 2 * s


def entropy(psi):
    return sg.svdvals_sum(psi.reshape(2 ** (SPINS // 2), -1), (f, df))


def entropy_of(g, t=3.0):
    return entropy(state(g, t))


# %%
# Levels that are equal
# ---------------------
# At g = 0 nothing evolves and the gradient is zero, by symmetry; a field that is small and uneven
# is compared with differences. Through the levels and vectors of PyTorch's `eigh`, the gradient is
# NaN at g = 0.


def entropy_by_eigh(g, t=3.0):
    w, Q = torch.linalg.eigh(-BONDS - torch.einsum("i,iab->ab", g.to(FIELDS), FIELDS))
    psi = Q @ (torch.exp(-1j * t * w) * (Q.mH @ START))
    return entropy(psi)


none = torch.zeros(SPINS, dtype=torch.float64)
gradient, by_eigh = (torch.func.grad(fun)(none) for fun in (entropy_of, entropy_by_eigh))
assert gradient.abs().max() < 1e-12
assert by_eigh.isnan().any()

g = torch.linspace(0.1, 0.4, SPINS, dtype=torch.float64)
gradient = torch.func.grad(entropy_of)(g)
step = 1e-5 * torch.eye(SPINS, dtype=torch.float64)
difference = torch.stack([entropy_of(g + h) - entropy_of(g - h) for h in step]) / 2e-5
print(f"gradient and differences agree to {(gradient - difference).abs().max():.1e}")
assert (gradient - difference).abs().max() < 1e-8

# %%
# Fields that entangle most
# -------------------------
# The largest entropy of three spins with three others is 3 log 2. Uniform fields do not come near
# to it at t = 3; the gradient finds fields, one at each site, that do better.

uniform = torch.linspace(0.0, 2.0, 41, dtype=torch.float64)
with torch.no_grad():
    by_uniform = torch.stack([entropy_of(value.expand(SPINS)) for value in uniform])
g = torch.linspace(0.8, 1.6, SPINS, dtype=torch.float64)
g.requires_grad_()
optimizer, history = torch.optim.Adam([g], lr=0.05), []
for _ in range(60):
    optimizer.zero_grad()
    loss = -entropy_of(g)
    loss.backward()
    optimizer.step()
    history.append(-loss.item())
print(f"entropy: {by_uniform.max():.3f} in the best uniform field, {history[-1]:.3f} in that found")
assert by_uniform.max() + 0.05 < history[-1] <= SPINS / 2 * math.log(2)

# %%
# The entropy in time, and what the gradient found.

times = torch.linspace(0, 6, 61, dtype=torch.float64)
best = uniform[by_uniform.argmax()].repeat(SPINS)
figure, axes = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
with torch.no_grad():
    for name, field in {"best uniform field": best, "fields found": g}.items():
        axes[0].plot(times, [entropy(state(field, t.item())) for t in times], label=name)
axes[0].axhline(SPINS / 2 * math.log(2), color="0.5", ls="--", label="3 log 2")
axes[0].axvline(3.0, color="0.8")
axes[0].set(xlabel="time", ylabel="entropy", title="Entanglement of the halves")
axes[1].plot(history)
axes[1].axhline(by_uniform.max(), color="0.5", ls="--", label="best uniform field")
axes[1].set(xlabel="step", ylabel="entropy at t = 3", title="Ascent")
axes[2].bar(range(1, SPINS + 1), g.tolist(), label="found")
axes[2].axhline(best[0], color="0.5", ls="--", label="best uniform field")
axes[2].set(xlabel="site", ylabel="field", title="Fields", ylim=(0, 2.6), axisbelow=True)
for panel in axes:
    panel.legend()
    panel.grid(color="0.9")
plt.show()
