r"""
Aligning molecules
==================

The shape of a helix is fitted to pieces of a protein, wherever these lie in space: the loss is the
distance that is left after the best rotation and translation, and the gradient goes through both.

A piece of an alpha helix is given by three numbers: the radius r, the turn w from one residue to
the next, and the rise h along the axis. Residue n has its carbon atom C-alpha at

.. math:: q_n = (r \cos w n,\ r \sin w n,\ h n).

The atoms are those of crambin, entry 1CRN of the Protein Data Bank (Teeter, 1984), whose helices
are residues 7 to 19 and 23 to 30. Pauling, Corey and Branson (1951) derived the shape from the
lengths of bonds: 1.5 angstroms and 100 degrees a residue.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import spectralgrad as sg

FIRST = [
    [8.912, 2.083, 13.258], [5.145, 2.209, 12.453], [5.598, 5.767, 11.082], [8.496, 4.609, 8.837],
    [6.500, 1.584, 7.565], [3.545, 3.935, 6.751], [5.929, 6.358, 5.055], [7.331, 3.607, 2.791],
    [3.782, 2.599, 1.742], [2.890, 6.285, 1.126], [5.895, 6.489, -1.213], [4.933, 3.431, -3.326],
    [2.792, 5.376, -5.797],
]  # fmt: skip
SECOND = [
    [8.114, 13.103, 0.500], [6.614, 16.317, 1.913], [3.074, 14.894, 1.756], [4.180, 11.549, 3.187],
    [5.879, 13.502, 6.026], [2.691, 15.221, 7.194], [0.715, 12.045, 6.657], [2.986, 9.994, 8.950],
]  # fmt: skip

# %%
# Padding and masks
# -----------------
# The pieces have 13 and 8 atoms. They go in one stack, and a mask says which rows are atoms. The
# others may hold anything, NaN too: they enter neither the loss nor the gradient.

pieces = torch.full((2, 13, 3), torch.nan, dtype=torch.float64)
pieces[0], pieces[1, :8] = torch.tensor(FIRST), torch.tensor(SECOND)
mask = ~pieces.isnan().any(dim=-1)


def helix(shape, n):
    radius, turn, rise = shape
    return torch.stack([radius * torch.cos(turn * n), radius * torch.sin(turn * n), rise * n], -1)


residues = torch.arange(13, dtype=torch.float64)


def loss_of(shape):
    """The mean squared distance of an atom, of each piece."""
    return sg.kabsch(helix(shape, residues), pieces, mask=mask).msd


# %%
# Fitting
# -------
# The helix in the middle of a turn of three residues, a little flat, is the beginning. Nothing
# says where the pieces are, nor which way they point.

shape = torch.tensor([2.0, 2 * np.pi / 3, 1.0], dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.LBFGS([shape], tolerance_change=1e-13, line_search_fn="strong_wolfe")
history = []


def closure():
    optimizer.zero_grad()
    losses = loss_of(shape)
    losses.mean().backward()
    history.append(losses.detach().sqrt())
    return losses.mean()


for _ in range(5):
    optimizer.step(closure)

radius, turn, rise = shape.tolist()
print(f"radius {radius:.2f}, rise {rise:.2f} angstroms, turn {np.degrees(turn):.1f} degrees")
assert abs(np.degrees(turn) - 100) < 2
assert abs(rise - 1.5) < 0.1

# %%
# The gradient at the result is zero, and the second derivatives, which go through the alignment
# too, say how well each number is known.

hessian = torch.autograd.functional.hessian(lambda shape: loss_of(shape).mean(), shape.detach())
assert (torch.linalg.eigvalsh(hessian) > 0).all()
assert torch.func.grad(lambda shape: loss_of(shape).mean())(shape.detach()).abs().max() < 1e-4

# %%
# The pieces, moved onto the fitted helix by the rotation and translation that `kabsch` returns,
# seen from the side.

fitted = shape.detach()
found = sg.kabsch(pieces, helix(fitted, residues), mask=mask)
moved = torch.where(mask[..., None], pieces, 0.0) @ found.rotation.mT + found.translation[:, None]
curve = helix(fitted, torch.linspace(0, 12, 400, dtype=torch.float64))
figure, axes = plt.subplot_mosaic(
    "ac;bc", figsize=(11, 4.6), layout="constrained", width_ratios=(1.7, 1)
)
for i, name in enumerate(("residues 7 to 19", "residues 23 to 30")):
    side, kept = axes["ab"[i]], curve[:, 2] <= moved[i, mask[i], 2].max() + 0.5
    side.plot(curve[kept, 2], curve[kept, 1], color="0.6", label="fitted helix")
    side.plot(moved[i, mask[i], 2], moved[i, mask[i], 1], "o", color=f"C{i}", label="C-alpha")
    side.set(title=f"{name}, rmsd {found.rmsd[i]:.2f} angstroms", xlim=(-1, 21), ylim=(-3, 5))
    side.set(xlabel="along the axis, angstroms", ylabel="across", aspect="equal")
    side.legend(loc="upper right", ncols=2)
    axes["c"].semilogy([rmsd[i] for rmsd in history], color=f"C{i}", label=name)
axes["c"].set(xlabel="evaluation", ylabel="rmsd, angstroms", title="Distance after alignment")
axes["c"].legend()
axes["c"].grid(color="0.9", which="both")
plt.show()
