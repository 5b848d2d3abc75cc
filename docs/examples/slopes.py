r"""
Slopes at a tie and at zero
===========================

Sorted singular values have kinks where two of them are equal and where one is zero, and a slope on
each side. `directional_svdvals` has these slopes: along dx to the right of the kink, and minus the
one along -dx to the left. The values of diag(t + 2, 2 t + 2) are equal at t = 0, and the smaller
one of diag(2, t) is zero there.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import spectralgrad as sg

PATHS = {
    "diag(t + 2, 2 t + 2)": (np.diag([2.0, 2.0]), np.diag([1.0, 2.0])),
    "diag(2, t)": (np.diag([2.0, 0.0]), np.diag([0.0, 1.0])),
}
t = np.linspace(-1, 1, 201)

# %%
# Slopes on both sides
# --------------------
# They are those of differences of the sorted values.

slopes = {}
for title, (x, dx) in PATHS.items():
    right, left = sg.directional_svdvals(x, dx), 0 - sg.directional_svdvals(x, -dx)
    print(f"{title}: slopes {left} on the left of t = 0, {right} on the right")
    for slope, step in ((right, 1e-6), (left, -1e-6)):
        assert np.allclose((sg.svdvals(x + step * dx) - sg.svdvals(x)) / step, slope)
    slopes[title] = left, right

# %%
# The values, and the tangents with these slopes.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for panel, (title, (x, dx)) in zip(axes, PATHS.items(), strict=True):
    values = sg.svdvals(x + t[:, None, None] * dx)
    left, right = slopes[title]
    for i, colour in enumerate(("tab:blue", "tab:orange")):
        panel.plot(t, values[:, i], color=colour, label=f"$s_{i + 1}$, sorted")
        for side, slope in ((t[t <= 0], left[i]), (t[t >= 0], right[i])):
            panel.plot(side, values[100, i] + slope * side, color=colour, linewidth=6, alpha=0.25)
    panel.plot([], [], color="gray", linewidth=6, alpha=0.25, label="tangents on each side")
    panel.set(title=f"Singular values of {title}", xlabel="t", ylabel="singular value")
    panel.set_ylim(-0.2, 4.2)
    panel.legend(loc="upper left")
    panel.grid(alpha=0.3)

parser = argparse.ArgumentParser(description="Draws singular values at a tie and at zero.")
parser.add_argument("--output", type=Path, help="file for the picture, instead of a window")
if output := parser.parse_args().output:
    figure.savefig(output, dpi=100)
else:
    plt.show()
