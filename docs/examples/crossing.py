r"""
Singular values that cross
==========================

Sorted singular values of a smooth path of matrices have kinks where two of them cross and where one
reaches zero. `analytic_svd` follows them through: values keep their slope and change sign, vectors
turn smoothly.

The path diag(t + 2, 2 t + 2) has a crossing at t = 0, another one of opposite signs at t = -4/3,
and zeros. A term beside the diagonal couples the two, and the crossing at 0 is avoided: there the
values keep their order, and the vectors are exchanged. Bunse-Gerstner, Byers, Mehrmann and Nichols
(1991) defined these factors.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import spectralgrad as sg

COUPLING = 0.15


def crossing(t):
    return np.diag([t + 2, 2 * t + 2])


def avoided(t):
    return crossing(t) + COUPLING * np.array([[0, 1], [1, 0]])


def turning(Vh):
    """The angle of each right vector from the first axis, in degrees; its sign is free."""
    angle = np.degrees(np.unwrap(np.arctan2(Vh[..., 1], Vh[..., 0]), axis=0))
    return angle - 180 * np.ceil(angle[0] / 180 - 0.75)


# %%
# Both paths, sorted and analytic
# -------------------------------
# A kink shows as a second difference that does not get smaller with the step.

t = np.linspace(-2.5, 1.5, 161)
paths = {"crossing": crossing, "avoided crossing": avoided}
analytic = {name: sg.analytic_svd(path, t) for name, path in paths.items()}
ordered = {name: sg.svdvals(np.stack([path(x) for x in t])) for name, path in paths.items()}
for name in paths:
    bends = [np.abs(np.diff(S, n=2, axis=0)).max() for S in (analytic[name].S, ordered[name])]
    print(f"{name}: largest second difference, analytic {bends[0]:.1e}, sorted {bends[1]:.1e}")
assert np.abs(np.diff(analytic["crossing"].S, n=2, axis=0)).max() < 1e-12
assert np.abs(np.diff(ordered["crossing"], n=2, axis=0)).max() > 0.01

# %%
# The values and the angles of the right vectors.

figure, axes = plt.subplots(2, 3, figsize=(11, 6.2), sharex=True, layout="constrained")
for row, name in zip(axes, paths, strict=True):
    curves = {
        f"{name}: sorted S": ordered[name],
        f"{name}: analytic S": analytic[name].S,
        f"{name}: right vectors": turning(analytic[name].Vh),
    }
    for panel, (title, values) in zip(row, curves.items(), strict=True):
        for i, style in enumerate(("-", "--")):
            panel.plot(t, values[:, i], style, color=f"C{i}", lw=2, label=f"column {i}")
        panel.grid(color="0.9")
        panel.set(title=title, ylabel="angle in degrees" if "vectors" in title else "value")
for panel in axes[-1]:
    panel.set(xlabel="t")
axes[0, 0].legend()

parser = argparse.ArgumentParser(description="Draws singular values along two paths.")
parser.add_argument("--output", type=Path, help="file for the picture, instead of a window")
if output := parser.parse_args().output:
    figure.savefig(output, dpi=110)
else:
    plt.show()
