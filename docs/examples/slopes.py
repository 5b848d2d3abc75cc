"""Draw sorted singular values through a tie and through zero, with their one-sided tangents.

The values of diag(t + 2, 2 t + 2) are equal at t = 0, and the smaller one of diag(2, t) is zero
there. Sorted, both have a kink, and a slope on each side: that along dx to the right, and minus
that along -dx to the left.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import spectralgrad as sg

PATHS = {
    "diag(t + 2, 2 t + 2)": (np.diag([2.0, 2.0]), np.diag([1.0, 2.0])),
    "diag(2, t)": (np.diag([2.0, 0.0]), np.diag([0.0, 1.0])),
}
COLOURS = ("tab:blue", "tab:orange")


def draw(axes: Axes, title: str, x: np.ndarray, dx: np.ndarray) -> None:
    t = np.linspace(-1, 1, 201)
    values = sg.svdvals(x + t[:, None, None] * dx)
    right, left = sg.directional_svdvals(x, dx), 0 - sg.directional_svdvals(x, -dx)
    print(f"{title}: slopes {left} on the left of t = 0, {right} on the right")
    for i, colour in enumerate(COLOURS):
        axes.plot(t, values[:, i], color=colour, label=f"$s_{i + 1}$, sorted")
        for side, slope in ((t[t <= 0], left[i]), (t[t >= 0], right[i])):
            tangent = values[100, i] + slope * side
            axes.plot(side, tangent, color=colour, linewidth=6, alpha=0.25)
    axes.plot([], [], color="gray", linewidth=6, alpha=0.25, label="tangents on each side")
    axes.set(title=f"Singular values of {title}", xlabel="t", ylabel="singular value")
    axes.set_ylim(-0.2, 4.2)
    axes.legend(loc="upper left")
    axes.grid(alpha=0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("slopes.png"))
    output = parser.parse_args().output
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, (title, path) in zip(figure.subplots(1, 2), PATHS.items(), strict=True):
        draw(axes, title, *path)
    figure.savefig(output, dpi=100)
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
