"""Paths with known analytic factors of minimal variation.

A(t) = Q(t) diag(d(t)) P(t)^H with Q(t) the leading columns of exp(t K) and P(t) those of exp(t L),
K and L skew-Hermitian. Over a multiplet b, Q^H Q' + P^H P' is the constant matrix K_bb + L_bb, so
Q_b exp(-t (K_bb + L_bb)/2), and P_b alike, have minimal variation. Over zeros, whose null spaces
are spanned by the columns z of exp(t K), exp(t K)_z exp(-t K_zz) has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray
STEP = 1e-20  # along the imaginary axis, for derivatives to rounding


class Turning:
    """exp(t K) of a random skew-Hermitian K of norm `rate`."""

    def __init__(self, n: int, rng: np.random.Generator, complex_: bool, rate: float) -> None:
        K = rng.standard_normal((n, n)) + (1j * rng.standard_normal((n, n)) if complex_ else 0)
        K = K - K.conj().T
        self.K = rate * K / np.linalg.norm(K, 2)
        self.w, self.W = np.linalg.eigh(1j * self.K)

    def __call__(self, t: float) -> Array:
        Q = (self.W * np.exp(-1j * self.w * t)) @ self.W.conj().T
        return Q if np.iscomplexobj(self.K) else Q.real


def exponential(K: Array) -> Array:
    w, W = np.linalg.eigh(1j * K)
    E = (W * np.exp(-1j * w)) @ W.conj().T
    return E if np.iscomplexobj(K) else E.real


class Known:
    """A path, its derivative, and its factors."""

    def __init__(
        self,
        m: int,
        n: int,
        d: Callable[[complex], Array],
        *,
        multiplets: Sequence[list[int]] = (),
        zeros: Sequence[int] = (),
        complex_: bool = False,
        rates: tuple[float, float] = (1.0, 1.3),
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.k, self.d = min(m, n), d
        self.left, self.right = (
            Turning(side, rng, complex_, rate) for side, rate in zip((m, n), rates, strict=True)
        )
        self.zeros = list(zeros)
        tied = [i for block in (*multiplets, self.zeros) for i in block]
        single = [[i] for i in range(self.k) if i not in tied]
        self.blocks = [*map(list, multiplets), *single]

    def __call__(self, t: float) -> Array:
        Q, P = self.left(t)[:, : self.k], self.right(t)[:, : self.k]
        return (Q * self.d(t)) @ P.conj().T

    def slopes(self, t: float) -> Array:
        """The derivatives of the values."""
        return self.d(t + STEP * 1j).imag / STEP

    def derivative(self, t: float) -> Array:
        Q, P, A = self.left(t)[:, : self.k], self.right(t)[:, : self.k], self(t)
        return self.left.K @ A - A @ self.right.K + (Q * self.slopes(t)) @ P.conj().T

    def block(self, block: list[int], t: float) -> tuple[Array, Array, Array, Array]:
        """Left and right vectors of a block and their derivatives."""
        K, L = self.left.K, self.right.K
        C = (K[np.ix_(block, block)] + L[np.ix_(block, block)]) / 2
        W = exponential(-t * C)
        Q, P = self.left(t)[:, block] @ W, self.right(t)[:, block] @ W
        return Q, P, K @ Q - Q @ C, L @ P - P @ C

    def null_space(self, turning: Turning, t: float) -> tuple[Array, Array]:
        """All null vectors of one side, and their derivatives."""
        z = [*self.zeros, *range(self.k, len(turning.K))]
        C = turning.K[np.ix_(z, z)]
        N = turning(t)[:, z] @ exponential(-t * C)
        return N, turning.K @ N - N @ C


def deviations(known: Known, t: Array, found) -> dict[str, float]:
    """How far factors and derivatives are from the known ones, up to what is constant and free."""
    U, S, V = found.U, found.S, np.conj(np.swapaxes(found.Vh, 1, 2))
    slopes = found.derivative
    worst = dict.fromkeys(("U", "S", "V", "dU", "dS", "dV"), 0.0)

    def compare(name, wanted, got):
        worst[name] = max(worst[name], float(np.max(np.abs(wanted - got))))

    free = list(range(known.k))
    at = np.argsort(np.abs(t))[-2]  # where no value ties
    for block in known.blocks:
        Q, P, dQ, dP = map(np.stack, zip(*(known.block(block, x) for x in t), strict=True))
        shares = [np.sum(np.abs(Q[at].conj().T @ U[at][:, [i]]) ** 2) for i in free]
        columns = sorted(free[i] for i in np.argsort(shares)[-len(block) :])
        free = [i for i in free if i not in columns]
        R, T = Q[at].conj().T @ U[at][:, columns], P[at].conj().T @ V[at][:, columns]
        sign = np.sign(np.vdot(R, T).real)
        compare("U", Q @ R, U[..., columns])
        compare("V", P @ R * sign, V[..., columns])
        compare("S", sign * np.stack([known.d(x)[block] for x in t]), S[:, columns])
        if slopes is not None:
            compare("dU", dQ @ R, slopes.U[..., columns])
            compare("dV", dP @ R * sign, np.conj(np.swapaxes(slopes.Vh, 1, 2))[..., columns])
            compare(
                "dS", sign * np.stack([known.slopes(x)[block] for x in t]), slopes.S[:, columns]
            )
    for name, turning, W in (("U", known.left, U), ("V", known.right, V)):
        if free:
            N, dN = map(np.stack, zip(*(known.null_space(turning, x) for x in t), strict=True))
            R = N[at].conj().T @ W[at][:, free]
            compare(name, N @ R, W[..., free])
            if slopes is not None:
                dW = slopes.U if name == "U" else np.conj(np.swapaxes(slopes.Vh, 1, 2))
                compare("d" + name, dN @ R, dW[..., free])
    return worst
