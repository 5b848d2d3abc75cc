"""Draw the pictures of docs/concepts.md: a gap that closes, and what it does to gradients.

    python docs/site/pictures.py [FOLDER, default docs]

gap-closing.png: singular values of a path of matrices, an avoided crossing that comes as close as
it is told to, and how fast the vectors turn there. gradient-error.png: the relative error of three
gradients against the gap, beside the derivative that is known in closed form.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import spectralgrad as sg

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#007A5A"
GAPS = ((0.4, BLUE), (0.1, ORANGE), (0.02, GREEN))


def draw_values(values: Axes, angles: Axes) -> None:
    """Of [[1 + t, gap/2], [gap/2, 1 - t]]: values 1 +- sqrt(t^2 + gap^2/4)."""
    t = np.linspace(-0.5, 0.5, 1001)
    for gap, colour in GAPS:
        x = np.empty((len(t), 2, 2))
        x[:, 0, 0], x[:, 1, 1] = 1 + t, 1 - t
        x[:, 0, 1] = x[:, 1, 0] = gap / 2
        U, S, _ = sg.svd(x)
        for i in range(2):
            values.plot(t, S[:, i], color=colour, label=f"least gap {gap:g}" if i == 0 else None)
        # the direction of the first vector, between 0 and 90 degrees
        angle = np.degrees(np.arctan2(np.abs(U[:, 1, 0]), np.abs(U[:, 0, 0])))
        angles.plot(t, angle, color=colour, label=f"least gap {gap:g}")
    values.set(title="Singular values of A(t)", xlabel="t", ylabel="singular value")
    angles.set(title="Direction of the first vector", xlabel="t", ylabel="angle, degrees")
    for axes in (values, angles):
        axes.legend()
        axes.grid(alpha=0.3)


def errors(gap: float) -> tuple[float, float, float]:
    """Relative errors of gradients of <C, U tanh(S) Vh>: by the factors, in PyTorch and with
    this library's svd, and by `svd_function`. The derivative is that of 4.1 in closed form."""
    import torch

    rng = np.random.default_rng(0)
    P, Q = (np.linalg.qr(rng.standard_normal((4, 4)))[0] for _ in range(2))
    C = rng.standard_normal((4, 4))
    s = np.array([2.0, 1.0 + gap, 1.0, 0.5])
    x = (P * s) @ Q.T
    f, difference = np.tanh(s), s[:, None] - s
    # (tanh a - tanh b)/(a - b) = sinh(a - b)/((a - b) cosh a cosh b)
    nonzero = np.where(difference == 0, 1, difference)
    ratio = np.where(difference == 0, 1, np.sinh(nonzero) / nonzero)
    plus = ratio / (np.cosh(s)[:, None] * np.cosh(s))
    minus = (f[:, None] + f) / (s[:, None] + s)
    M = P.T @ C @ Q
    exact = P @ (plus * (M + M.T) / 2 + minus * (M - M.T) / 2) @ Q.T

    def error(loss) -> float:
        y = torch.asarray(x).requires_grad_()
        loss(y).backward()
        return float(np.linalg.norm(y.grad.numpy() - exact) / np.linalg.norm(exact))

    weights = torch.asarray(C)

    def composed(svd):
        def loss(y):
            U, S, Vh = svd(y)
            return (weights * ((U * S.tanh()) @ Vh)).sum()

        return loss

    return (
        error(composed(torch.linalg.svd)),
        error(composed(lambda y: sg.svd(y, gap_rtol=0.0))),
        error(lambda y: (weights * sg.svd_function(y, sg.functions.tanh)).sum()),
    )


def draw_errors(axes: Axes) -> None:
    gaps = np.logspace(-15, -0.5, 59)
    found = np.array([errors(gap) for gap in gaps])
    labels = ("torch.linalg.svd, U tanh(S) Vh", "sg.svd, U tanh(S) Vh", "sg.svd_function(x, tanh)")
    marks = zip(found.T, labels, (ORANGE, BLUE, GREEN), ("o", "x", "s"), strict=True)
    for errors_of_one, label, colour, mark in marks:
        axes.loglog(gaps, errors_of_one, mark, color=colour, label=label, markersize=4)
    axes.loglog(gaps, np.finfo(float).eps / gaps, color="gray", label="eps/gap")
    axes.set(
        title="Gradient of <C, U tanh(S) Vh>, double precision",
        xlabel="gap of two singular values",
        ylabel="relative error",
        ylim=(1e-17, 10),
    )
    axes.legend()
    axes.grid(alpha=0.3)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1])
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    draw_values(*figure.subplots(1, 2))
    figure.savefig(folder / "gap-closing.png", dpi=140)
    figure = Figure(figsize=(7, 4), layout="constrained")
    draw_errors(figure.subplots())
    figure.savefig(folder / "gradient-error.png", dpi=140)


if __name__ == "__main__":
    main()
