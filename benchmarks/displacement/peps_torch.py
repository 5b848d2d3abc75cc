"""peps-torch, tensor networks in PyTorch, with `eigh` in place of its own.

    git clone https://github.com/jurajHasik/peps-torch
    python -m benchmarks.displacement.peps_torch peps-torch

The energy of the Heisenberg model in a staggered field, by corner transfer matrices with all
symmetries of the square lattice, as in its example optim_j1j2_c4v.py. The state is its resonating
valence bond state, whose spectrum is made of multiplets, and the same with a little noise. The
gradient goes through all steps, with its own broadened rule and with `eigh`; its derivative along a
direction is compared with energies nearby.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from pathlib import Path
from typing import Any

import torch

import spectralgrad as sg

CHI, STEPS = 12, 20


class Replaced:
    """In place of its SYMEIG: eigenvalues in the order of their modulus, with vectors."""

    def __init__(self, ties: Any) -> None:
        self.ties = ties

    def apply(self, x: torch.Tensor, broadening: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        w, Q = sg.eigh(x, ties=self.ties)
        order = torch.argsort(w.detach().abs(), descending=True)
        return w[order], Q[:, order]


def energy(A: torch.Tensor) -> torch.Tensor:
    import config
    from ctm.one_site_c4v import ctmrg_c4v
    from ctm.one_site_c4v.env_c4v import ENV_C4V, init_env
    from ipeps.ipeps_c4v import IPEPS_C4V, to_ipeps_c4v
    from models import j1j2

    def is_done(state: Any, env: Any, history: Any, ctm_args: Any = None) -> tuple[bool, list[int]]:
        history = [*(history or []), 0]
        return len(history) >= STEPS, history

    config.ctm_args.ctm_max_iter = STEPS
    state = to_ipeps_c4v(IPEPS_C4V(A), normalize=True)
    env = ENV_C4V(CHI, state)
    init_env(state, env)
    with contextlib.redirect_stdout(io.StringIO()):
        env, *_ = ctmrg_c4v.run(state, env, conv_check=is_done)
    return j1j2.J1J2_C4V_BIPARTITE(j1=1.0, j2=0.3, hz_stag=0.3).energy_1x1_lowmem(state, env)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", type=Path)
    checkout = parser.parse_args().checkout.resolve()
    sys.path.insert(0, str(checkout))
    import linalg.custom_eig as theirs
    from groups.pg import make_c4v_symm
    from ipeps.ipeps_c4v import read_ipeps_c4v

    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f"peps-torch, PyTorch {torch.__version__}, spectralgrad {sg.__version__}")
    print(f"{STEPS} steps, {CHI} values kept, J2 = 0.3, staggered field 0.3")
    state = read_ipeps_c4v(str(checkout / "test-input" / "RVB_1x1.in")).site().detach().clone()
    direction, noise = (make_c4v_symm(torch.randn_like(state)) for _ in range(2))
    runs = {
        "its own": theirs.SYMEIG,
        'ours, ties="split"': Replaced("split"),
        'ours, ties="nan"': Replaced("nan"),
    }
    for amount in (0.0, 1e-4, 1e-2):
        A, h = state + amount * noise, 1e-5
        ahead, behind = (energy(A + s * direction).item() for s in (h, -h))
        difference = (ahead - behind) / (2 * h)
        print(f"noise {amount:g}: derivative by differences {difference:.6f}")
        for name, function in runs.items():
            theirs.SYMEIG = function
            leaf, began = A.clone().requires_grad_(), time.perf_counter()
            value = energy(leaf)
            value.backward()
            slope = (leaf.grad * direction).sum().item()
            print(f"  {name:20} energy {value.item():.9f}, derivative {slope:.6f}", end=", ")
            print(f"error {abs(slope / difference - 1):.0e}, {time.perf_counter() - began:.1f} s")
        theirs.SYMEIG = runs["its own"]


if __name__ == "__main__":
    main()
