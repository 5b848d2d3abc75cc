"""Singular values along two paths, sorted and analytic: the picture of docs/analytic-paths.md.

Above, diag(t + 2, 2 t + 2): sorted values have a kink at t = 0, where they change places, at -4/3,
where they do so with opposite signs, and at zeros. Below, with a term that couples the two, the
crossing at 0 is avoided: there the values keep their order, and the vectors are exchanged.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("docs/analytic-paths.png"))
    options = parser.parse_args()

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    t = np.linspace(-2.5, 1.5, 161)
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.2), sharex=True, layout="constrained")
    paths = (("crossing", crossing), ("avoided crossing", avoided))
    for row, (name, path) in zip(axes, paths, strict=True):
        analytic = sg.analytic_svd(path, t)
        S = sg.svdvals(np.stack([path(x) for x in t]))
        curves = {
            f"{name}: sorted S": S,
            f"{name}: analytic S": analytic.S,
            f"{name}: right vectors": turning(analytic.Vh),
        }
        for panel, (title, values) in zip(row, curves.items(), strict=True):
            for i, style in enumerate(("-", "--")):
                panel.plot(t, values[:, i], style, color=f"C{i}", lw=2, label=f"column {i}")
            panel.grid(color="0.9")
            panel.set(title=title, ylabel="angle in degrees" if "vectors" in title else "value")
        steps = (
            np.abs(np.diff(analytic.S, n=2, axis=0)).max(),
            np.abs(np.diff(S, n=2, axis=0)).max(),
        )
        print(f"{name}: largest second difference, analytic {steps[0]:.1e}, sorted {steps[1]:.1e}")
    for panel in axes[-1]:
        panel.set(xlabel="t")
    axes[0, 0].legend()
    figure.savefig(options.output, dpi=110)


if __name__ == "__main__":
    main()
