r"""
The Ising model by corner matrices
==================================

The Ising model on the square lattice by corner transfer matrices, differentiated through them.

The partition function Z is a network of one tensor T per site, whose legs are the bonds: up, right,
down, left. With exp(beta s s') the sum over l of w_sl w_s'l, ::

    T_urdl = sum_s (w Y^H)_su (w X^T)_sr (w Y^T)_sd (w X^H)_sl .

X and Y are random unitary matrices, a gauge: X^T of one site meets X^H of the next, so Z stays as
it is while every tensor, corner and singular vector becomes complex.

Four corners C_i and four edges E_i, clockwise, stand for all that surrounds a site. A step (CTMRG)
lets each absorb a site, and keeps k of the 2 k states on each cut::

    Q_i = E_(i-1) C_i E_i T = U S V^H    C_i <- V_(i-1)^H Q_i V_i    E_i <- V_i^H (E_i T) V_i

The halves of a cut are mirror images, so the vectors of the right side of one corner are those of
the left side of the next. Off criticality S falls geometrically, in multiplets, which the cut
loosens a little; below the critical temperature every value comes twice, once for each
magnetisation. `sg.cut` moves k to a gap.

Of the converged environment, with c the contraction of all that it holds, ::

    ln Z/N = ln [c(1 site) c(0 sites)/(c(row) c(column))]    u = -c(dT/dbeta)/c(T)

are Baxter's free energy and the internal energy per site, and Onsager's solution has both. Two
derivatives are taken by beta, backwards through all truncated SVDs of the last steps: that of
ln Z/N is -u, and du/dbeta is minus the specific heat over the square of beta.

The first hardly needs the derivative of the vectors: ln Z/N is stationary in them, up to what the
cut discards. The second does: du/dbeta sees the environment change. How the vectors turn within the
kept space has no effect on either, so what counts is how they turn out of it, towards what was
discarded. The option adjoint="krylov" solves a linear system for that, without the discarded
triplets. A code that leaves it out has the derivative of a network with its projectors held fixed.

References: Onsager (1944), Crystal statistics I: the exact solution. Baxter (1978), Variational
approximations for square lattice models: ln Z/N, and its stationarity. Nishino and Okunishi (1996),
Corner transfer matrix renormalization group method. Peschel, Kaulke and Legeza (1999),
Density-matrix spectra for integrable models: the multiplets. Liao, Liu, Wang and Xiang (2019),
Differentiable programming tensor networks. Francuz, Schuch and Vanhecke (2025), Stable and
efficient differentiation of tensor network algorithms: what the discarded part of a truncated SVD
does to a gradient.
"""

import argparse
import math
import sys
import textwrap
import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.progress import Progress
from scipy.integrate import quad
from scipy.special import ellipe, ellipkm1

import spectralgrad as sg

CRITICAL = math.log(1 + math.sqrt(2)) / 2
RTOL = 1e-6  # values of one multiplet, over the largest: what truncation leaves of a degeneracy
BEYOND = 6  # values past k that sg.cut looks at
TITLES = {'adjoint="krylov"': "krylov", 'adjoint="full"': "full", "projectors held fixed": "fixed"}
SIGNS = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)


parser = argparse.ArgumentParser(description="Derivatives of the Ising model by beta.")
parser.add_argument("--beta", type=float, nargs="+", default=[0.4, 0.43, 0.45, 0.5])
parser.add_argument("--k", type=int, default=16)
parser.add_argument("--growth", type=int, default=400, help="steps without a derivative")
parser.add_argument("--steps", type=int, default=100, help="steps that are differentiated")
parser.add_argument("--seed", type=int, default=0, help="of the gauge")
parser.add_argument("--quick", action="store_true", help="one temperature, few steps")
options = parser.parse_args()
if options.quick:
    options.beta, options.growth, options.steps = [0.5], 40, 20
if 2**options.growth <= options.k:
    parser.error("nothing is cut: --growth is too short for --k")


# %%
# What is known, and the tensors
# ------------------------------


def exact(beta):
    """Onsager's ln Z/N, u and du/dbeta."""
    t, modulus = math.tanh(2 * beta), 2 * math.sinh(2 * beta) / math.cosh(2 * beta) ** 2
    rest = 2 * t**2 - 1  # modulus^2 + rest^2 = 1
    first, second = float(ellipkm1(rest**2)), float(ellipe(modulus**2))

    def integrand(angle):
        return math.log((1 + math.sqrt(1 - (modulus * math.sin(angle)) ** 2)) / 2) / math.pi

    integral, _ = quad(integrand, 0, math.pi / 2, epsabs=1e-14, epsrel=1e-14, limit=200)
    energy = -(1 + 2 / math.pi * rest * first) / t
    curvature = first - second - (1 - t**2) * (math.pi / 2 + rest * first)
    return math.log(2 * math.cosh(2 * beta)) + integral, energy, -4 / math.pi * curvature / t**2


def make_gauge(seed):
    """The matrices on the four legs of a site; neighbours meet as g^T and conj(g)."""
    noise = torch.randn(2, 2, 2, dtype=torch.complex128, generator=torch.manual_seed(seed))
    X, Y = torch.linalg.qr(noise)[0]
    return torch.stack([Y.conj(), X, Y, X.conj()])


def site(beta, gauge):
    """T and dT/dbeta, each as a stack of four: T_i has its legs from the i-th on, clockwise."""
    c, s = torch.cosh(beta), torch.sinh(beta)
    w = SIGNS * torch.stack([c.sqrt(), s.sqrt()])
    dw = SIGNS * torch.stack([s / c.sqrt(), c / s.sqrt()]) / 2
    legs, dlegs = (x.to(gauge) @ gauge.mT for x in (w, dw))
    T = torch.einsum("su,sr,sd,sl->urdl", *legs)
    dT = sum(
        torch.einsum("su,sr,sd,sl->urdl", *legs[:i], dlegs[i], *legs[i + 1 :]) for i in range(4)
    )
    turns = [[(i + j) % 4 for j in range(4)] for i in range(4)]
    return tuple(torch.stack([x.permute(turn) for turn in turns]) for x in (T, dT))


# %%
# A step, and the environment
# ---------------------------


def enlarge(C, E, T):
    """The corners as matrices and the edges, each with one more site."""
    Q = torch.einsum("iefa,iab,ibgh,igrdf->iedhr", E.roll(1, 0), C, E, T)
    edges = torch.einsum("ibgh,igrdl->ibldhr", E, T)
    side = Q.shape[1] * Q.shape[2]
    return Q.reshape(4, side, side), edges.reshape(4, side, 2, side)


def normalised(x):
    return x / torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)), keepdim=True)


def renormalise(Q, edges, V=None):
    if V is not None:
        Q = V.roll(1, 0).mH @ Q @ V
        edges = torch.einsum("ixp,ixdy,iyq->ipdq", V.conj(), edges, V)
    return normalised(Q), normalised(edges)


def grow(beta, gauge, k, steps):
    """The environment after `steps` from free boundaries, and the last S and where it was cut."""
    T, _ = site(torch.tensor(beta, dtype=torch.float64), gauge)
    C, E = torch.ones(4, 1, 1, dtype=T.dtype), gauge.conj()[:, :, 0].reshape(4, 1, 2, 1)
    for _ in range(steps):
        Q, edges = enlarge(C, E, T)
        V = None
        if Q.shape[-1] > k:
            _, S, Vh = sg.truncated_svd(Q, min(k + BEYOND, Q.shape[-1]))
            kept = sg.cut(S, k, rtol=RTOL)
            V = Vh[:, :kept].mH
        C, E = renormalise(Q, edges, V)
    return (C, E), S[0] / S[0, 0], kept


def projectors(Q, k, method):
    """Isometries onto the k leading right singular vectors of each corner."""
    if method == "fixed":
        return sg.truncated_svd(Q.detach(), k)[2].mH
    # Only the span of V_i matters. All that is undefined of tied vectors is their turn into one
    # another, which cancels: "drop" leaves it out and is exact, where the default would give NaN.
    return sg.truncated_svd(Q, k, ties="drop", gap_rtol=RTOL, solver=method, adjoint=method)[2].mH


def observables(beta, start, gauge, *, k, steps, method):
    """ln Z/N, complex, and u, after `steps` more from the environment `start`."""
    (C, E), (T, dT) = start, site(beta, gauge)
    for _ in range(steps):
        Q, edges = enlarge(C, E, T)
        C, E = renormalise(Q, edges, projectors(Q, k, method))
    sides = torch.einsum("iab,ibdc,ice->iade", C, E, C.roll(-1, 0))
    without = torch.trace(C[0] @ C[1] @ C[2] @ C[3])
    row, column = torch.einsum("iade,ieda->i", sides[:2], sides[2:])
    hole = torch.einsum("aue,erf,fdg,gla->urdl", sides[0], E[1], sides[2], E[3])
    inside = torch.sum(hole * T[0])
    return torch.log(inside * without / (row * column)), -(torch.sum(hole * dT[0]) / inside).real


# %%
# Derivatives by beta
# -------------------


def derivatives(function, beta):
    """ln Z/N and u, and of both the derivative by beta."""
    beta = torch.tensor(beta, dtype=torch.float64, requires_grad=True)
    log_z, energy = function(beta)
    slopes = [torch.autograd.grad(y, beta, retain_graph=True)[0] for y in (log_z.real, energy)]
    return log_z.detach(), energy.detach(), *slopes


def differences(function, beta, h=4e-5):
    """The same derivatives by central differences, of fourth order."""
    with torch.no_grad():
        near = [function(torch.tensor(beta + i * h, dtype=torch.float64)) for i in (-2, -1, 1, 2)]
    return [(8 * (c - b) - (d - a)).real / (12 * h) for a, b, c, d in zip(*near, strict=True)]


def multiplets(S):
    """The values of S, each with how often it comes."""
    ends = [i + 1 for i in range(len(S)) if i + 1 == len(S) or S[i] - S[i + 1] > RTOL]
    starts = [0, *ends[:-1]]
    counted = zip(starts, ends, strict=True)
    return "  ".join(f"{S[a]:.3g}" + f"×{b - a}" * (b - a > 1) for a, b in counted)


def measure(beta, gauge, options, advance):
    """The report on one temperature, as lines, and du/dbeta by each method."""
    start, S, k = grow(beta, gauge, options.k, options.growth)
    advance()
    function = partial(observables, start=start, gauge=gauge, k=k, steps=options.steps)
    found = {}
    for method in TITLES.values():
        found[method] = derivatives(partial(function, method=method), beta)
        advance()
    slopes = differences(partial(function, method="full"), beta)
    advance()

    lines = [f"\nbeta = {beta:g} = {beta / CRITICAL:.3f} beta_c, {k} kept. S, cut at the bar:"]
    lines += textwrap.wrap(f"{multiplets(S[:k])}  |  {multiplets(S[k:])}", 96)
    lines += [f"{'':43}{'computed':>17}{'exact':>17}{'error':>9}{'off difference':>16}"]
    log_z, truth = found["krylov"][0], exact(beta)
    lines += [f"{'ln Z/N':43}{log_z.real:17.12f}{truth[0]:17.12f}{log_z.real - truth[0]:9.0e}"]
    signed = {"-d(ln Z/N)/dbeta": (2, -1, truth[1]), "du/dbeta": (3, 1, truth[2])}
    for name, (at, sign, right) in signed.items():
        for title, method in TITLES.items():
            value, off = sign * found[method][at], sign * (found[method][at] - slopes[at - 2])
            numbers = f"{value:17.12f}{right:17.12f}{value - right:9.0e}{off:16.0e}"
            lines.append(f"{name}, {title}".ljust(43) + numbers)
    return lines, {method: found[method][3].item() for method in found}


# %%
# Four temperatures
# -----------------
# Two above and two below the critical one, which is at beta = 0.4407.

# One thread: more gain nothing on matrices of side 32.
torch.set_num_threads(1)
gauge, began, lines, found = make_gauge(options.seed), time.perf_counter(), [], []
with Progress(disable=not sys.stdout.isatty()) as progress:
    task = progress.add_task("temperatures", total=5 * len(options.beta))
    for beta in options.beta:
        more, curvatures = measure(beta, gauge, options, partial(progress.advance, task))
        lines += more
        found.append(curvatures)
print(*lines, sep="\n")
print(f"\ntime: {time.perf_counter() - began:.1f} s, k = {options.k}, complex128, PyTorch")

# %%
# The derivative of the energy and its error, by each way to differentiate.

errors = {
    title: [
        abs(curvatures[method] - exact(beta)[2])
        for beta, curvatures in zip(options.beta, found, strict=True)
    ]
    for title, method in TITLES.items()
}
for krylov, fixed in zip(errors['adjoint="krylov"'], errors["projectors held fixed"], strict=True):
    assert options.quick or krylov < fixed / 10  # quick: not converged

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
around = np.linspace(0.36, 0.54, 361)
axes[0].plot(around, [exact(beta)[2] for beta in around], color="0.6", label="Onsager")
axes[0].plot(options.beta, [c["krylov"] for c in found], "o", label="by the gradient")
axes[0].set(xlabel="beta", ylabel="du/dbeta", title="Slope of the energy")
places = np.arange(len(options.beta))
for i, (title, values) in enumerate(errors.items()):
    axes[1].bar(places + 0.27 * (i - 1), values, width=0.25, label=title)
axes[1].set(
    xlabel="beta", ylabel="error", title="Error of du/dbeta", yscale="log", ylim=(1e-10, 10)
)
axes[1].set_xticks(places, [f"{beta:g}" for beta in options.beta])
for panel in axes:
    panel.legend()
    panel.grid(color="0.9")
    panel.set_axisbelow(True)
plt.show()
