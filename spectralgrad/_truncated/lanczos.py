r"""Eigenpairs at an end of the spectrum of a Hermitian M, by block Lanczos with thick restarts.

A thin block F of orthonormal columns grows an orthonormal basis B by Z = M F,

    C = B^H Z,    F <- orth(Z - B C),    B <- [B, F]

so that the columns C make T = B^H M B, which is Hermitian. They are zero but for the last two
blocks: M times an earlier one lies in what the basis was when F joined it, and F is orthogonal to
that. All of B is met in the first step after a restart, and once a fresh block has come, since M
F_last then lies in no basis. T = Y diag(w) Y^H has the Ritz pairs B Y and w. Z - B C = F R for the
last block, so that their residual M B Y - B Y diag(w) has the norm of R Y_last, which is looked at
every few steps. (After a fresh block it lacks what the pairs set down had left.) When the basis is
full the best pairs, `kept`, start it anew, with F as it stands. B is orthonormal to rounding: what
is linearly dependent (low rank, an invariant subspace) is replaced by noise.

A start meets at most as many copies of a value as it has columns. So once the wanted pairs have
converged, they are set down, and steps from a fresh random block follow, up to a full basis: until
copies that were hidden show up among the values, and the iteration goes on, or what lies beyond the
wanted values w_1, ..., w_k is seen to lie below, w_j + ||M q_j - w_j q_j|| <= w_k for all others.

Sources: Golub and Underwood (1977), The block Lanczos method for computing eigenvalues; Wu and
Simon (2000), Thick-restart Lanczos method for large symmetric eigenvalue problems.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from .._bindings.array import Array, Arrays, adjoint, array_namespace, device, real
from .._bindings.lookup import qr
from .._bindings.loops import loop, rows_at, stepped, used, written
from .._spectrum import factorizations
from .._spectrum.ties import default_gap_rtol
from .blocks import Basis, Noise, disturbed, empty_basis, factorized, norms, orthonormal
from .ordering import Key, by_value, ordered

PATIENCE, SLOW = 27, 0.7  # looks in which the residual has to come down, to so much of what it was
CROWDED = 4  # times as many where more copies come up, of which rounding mixes in part of each
LOOKS = 8  # in a turn at least: a few steps find little, however many columns they have
TRACED = 16  # looks where no value can be read


class Pairs(NamedTuple):
    """Orthonormal columns and their values, the wanted first, and the restarts that were made."""

    Q: Array
    w: Array
    scale: Array  # of M
    turns: Array


class State(NamedTuple):
    """The basis and T = B^H M B, the next block, and F R = M F_last beyond the basis."""

    rows: Array
    T: Array
    filled: Any
    F: Array
    R: Array
    scale: Array  # of M: the largest length of an image, or Ritz value, up to now
    turns: Any
    best: Array  # residual, over what is allowed
    stalls: Array  # looks that brought no better one
    known: Array  # values that had converged before the fresh block, else infinite
    settled: Array  # 1 where that found no others
    mixed: Array  # 1 once a fresh block has been there

    @property
    def basis(self) -> Basis:
        return Basis(self.rows, self.filled)


class Plan(NamedTuple):
    """Columns of a restart and of a block, and the steps between two looks at the residuals."""

    kept: int
    width: int
    few: int

    @property
    def looks(self) -> int:
        """In a turn."""
        return max(LOOKS, -(-self.kept // (self.few * self.width)))

    @property
    def size(self) -> int:
        """Columns of the whole basis."""
        return self.kept + self.looks * self.few * self.width


@dataclass(frozen=True, eq=False)
class Search:
    """For k eigenpairs of a product."""

    product: Callable[[Array], Array]
    noise: Noise
    k: int
    plan: Plan
    allowed: Callable[[Array, Array], Array]  # residuals, for these values and that scale of M
    key: Key = by_value  # the wanted have the largest

    def run(self, most: int) -> Pairs:
        """The pairs after so many restarts at most."""
        plan = self.plan
        start = self._judged(self._grown(self._nothing(), -(-plan.kept // plan.width)))
        found = loop(_unsettled, self._body, start, most * plan.looks, traced=TRACED)
        state = State(*loop(_unsettled, self._restarted, found, 1, traced=1))
        w = real(array_namespace(state.T).linalg.diagonal(state.T))[: plan.kept]
        Q = adjoint(state.rows[: plan.kept, :])
        return Pairs(Q, w, state.scale, state.turns + 0.0 * w[0])

    def _nothing(self) -> State:
        """The state before the first step."""
        xp, (n, size) = array_namespace(self.noise.block), (self.noise.rows, self.plan.size)
        F, _ = qr(self.noise(0, self.plan.width))
        rows, filled = empty_basis(size, n, F)
        T = xp.zeros((size, size), dtype=F.dtype, device=device(F))
        zero = 0.0 * real(F[0, 0])
        known = xp.full((self.k,), float("inf"), dtype=zero.dtype, device=device(F))
        R = T[: self.plan.width, : self.plan.width]  # which the first step replaces unread
        return State(rows, T, filled, F, R, zero, 0, zero + float("inf"), zero, known, zero, zero)

    def _body(self, state: Arrays) -> Arrays:
        """A few steps, a look at the residuals, and a restart if the basis is full."""
        state = State(*state)
        state = State(*loop(self._is_full, self._restarted, state, 1, traced=1))
        return self._judged(self._grown(state, self.plan.few))

    def _is_full(self, state: Arrays) -> Any:
        return State(*state).filled + self.plan.few * self.plan.width > self.plan.size

    def _grown(self, state: State, steps: int) -> State:
        """By so many blocks."""

        def step(
            i: Any, rows: Array, T: Array, filled: Any, F: Array, _: Array, scale: Array
        ) -> Arrays:
            basis, Z = Basis(rows, filled).with_block(F), self.product(F)
            xp = array_namespace(Z)
            scale = xp.maximum(scale, xp.max(norms(Z)))
            Z = disturbed(Z, self.noise, scale, place + (i + 1) / 64)
            Z, T = self._projected(Z, basis, T, state.mixed)
            return basis.rows, T, basis.count, *factorized(Z, basis), scale

        place, names = self._place(state), ("rows", "T", "filled", "F", "R", "scale")
        grown = stepped(step, tuple(getattr(state, name) for name in names), steps)
        return state._replace(**dict(zip(names, grown, strict=True)))

    def _projected(self, Z: Array, basis: Basis, T: Array, mixed: Array) -> Arrays:
        """Z - B C, but for rounding, and T with the columns C.

        C is zero but in the last two blocks, and after a restart. Before there are two, `start` is
        no row, and all of the basis is met.
        """
        width, end = self.plan.width, basis.count
        start = end - 2 * width

        def everywhere(_: Arrays) -> Arrays:
            rest, C = basis.beyond(Z)
            return rest, written(T, C, 0, end - width)

        def needed(_: Arrays) -> Any:
            return (end - width <= self.plan.kept) | (mixed > 0)

        near = rows_at(basis.rows, start, 2 * width)
        C = near @ Z
        state = Z - adjoint(near) @ C, written(T, C, start, end - width)
        projected: Arrays = loop(needed, everywhere, state, 1, traced=1)
        return projected

    def _place(self, state: State) -> Any:
        """Another for each state, for noise."""
        return state.turns + state.filled / (4 * self.plan.size)

    def _ritz(self, state: State) -> Arrays:
        """The eigenpairs of T, the wanted first; what is not filled comes last."""
        xp, filled = array_namespace(state.T), state.filled
        T = adjoint(used(adjoint(used(state.T, filled)), filled))
        T = xp.triu(T) + adjoint(xp.triu(T, k=1))
        below = 2 * norms(norms(T)[:, None])[0] + 1  # than twice any value
        free = xp.arange(T.shape[0], device=device(T)) >= filled
        T = T - diagonal(xp.where(free, below, 0.0 * below), T.dtype)
        w, Y = factorizations.eigh(T)
        return ordered(w, Y, self.key, w < -below / 2)

    def _restarted(self, state: Arrays) -> State:
        """The best of the Ritz vectors for a basis."""
        state = State(*state)
        xp, (w, Y) = array_namespace(state.T), self._ritz(state)
        Q = state.basis.combined(Y[:, : self.plan.kept])
        rows, filled = empty_basis(self.plan.size, Q.shape[0], Q).with_block(Q)
        T = written(xp.zeros_like(state.T), diagonal(w[: self.plan.kept], state.T.dtype), 0)
        return state._replace(rows=rows, T=T, filled=filled, turns=state.turns + 1)

    def _judged(self, state: State) -> State:
        """The state after a look: whether it goes on, and from which block."""
        xp, (w, Y) = array_namespace(state.T), self._ritz(state)
        values, k = w[: self.k], self.k
        last = rows_at(Y, state.filled - self.plan.width, self.plan.width)
        filled = xp.arange(w.shape[0], device=device(w)) < state.filled
        scale = xp.maximum(state.scale, xp.max(xp.where(filled, xp.abs(w), 0.0)))
        residuals, allowed = norms(state.R @ last), self.allowed(values, scale)
        excess = xp.max(residuals[:k] / allowed)
        equal = xp.maximum(default_gap_rtol(w) * scale, xp.max(allowed))  # as in a tie
        slow, invalid = excess > SLOW * state.best, xp.isnan(excess) | (scale == 0)
        stalls = xp.where(slow, state.stalls + 1, 0.0)

        confirming = state.known[0] < float("inf")
        same = xp.max(xp.abs(values - state.known)) <= equal
        beyond = xp.where(filled, self.key(w) + residuals, -float("inf"))[k:]
        below = xp.max(beyond) <= self.key(values)[k - 1] + equal
        crowded = xp.min(xp.abs(values[:, None] - w[None, k:])) <= equal
        patience = xp.where(crowded, CROWDED * PATIENCE, PATIENCE + 0.0 * stalls)
        ready = ((excess <= 1) | (stalls >= patience)) & ~confirming
        still = xp.where(confirming & same, state.known, float("inf"))
        state = state._replace(
            scale=scale,
            best=xp.where(ready, float("inf"), xp.where(slow, state.best, excess)),
            stalls=xp.where(ready, 0.0, stalls),
            known=xp.where(ready, values, still),
            settled=xp.astype(same & (below | self._is_full(state)) | invalid, w.dtype),
        )
        return State(*loop(lambda _: ready, self._anew, state, 1, traced=0))

    def _anew(self, state: Arrays) -> State:
        """The pairs found so far, and a fresh block."""
        state = self._restarted(state)
        place, nothing = self._place(state) + 0.5, 0.0 * state.scale
        start = self.noise(-place, self.plan.width)
        F, *_ = orthonormal(start, state.basis, self.noise, nothing, -0.25 - place)
        return state._replace(F=F, mixed=nothing + 1)


def _unsettled(state: Arrays) -> Array:
    return State(*state).settled == 0


def diagonal(w: Array, dtype: Any) -> Array:
    xp = array_namespace(w)
    return xp.eye(w.shape[-1], dtype=dtype, device=device(w)) * xp.astype(w, dtype)
