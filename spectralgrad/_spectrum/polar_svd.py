r"""The SVD by the polar factor, for stacks that a GPU has no batched SVD for.

With x = W P, W of orthonormal columns and P = V diag(S) V^H, the SVD is (W V) diag(S) V^H:
products, linear solves and one Hermitian eigenproblem, which GPUs have for stacks of every size.

The iteration for W (`halley`) leaves zero values zero, and what is singular has no one polar
factor. So it begins at x + d E, with d E = 2 eps ||x|| in norm, within the error of the result, and
E of orthonormal columns that have nothing to do with those of x: entries of a cosine transform with
arbitrary signs of the rows. Its least value is then some eps/m of the largest. P is the Hermitian
part of W^H x, of x itself, and its eigenvalues are not negative but for rounding.

Errors are those of LAPACK's drivers: a few eps ||x|| in values and residual, and a few eps in
orthonormality (tests/test_drivers.py). Source: Higham and Papadimitriou (1994), A parallel
algorithm for computing the polar decomposition; the perturbation is our own.
"""

from __future__ import annotations

import math
from functools import partial

from .._bindings.array import Array, Arrays, adjoint, array_namespace, device, eps, herm, real
from .._bindings.lookup import adjoint_times, own_eigh
from .halley import bounded, halley


def svd(x: Array) -> Arrays:
    """U, S, Vh of each matrix, thin."""
    if x.shape[-2] < x.shape[-1]:
        U, S, Vh = svd(adjoint(x))
        return adjoint(Vh), S, adjoint(U)
    xp, m = array_namespace(x), x.shape[-2]
    X, bound = bounded(x)
    W = halley(X + 2 * eps(x) * _unrelated(X), eps(x) / (8 * m))
    w, V = own_eigh(herm(adjoint_times(W, X)))
    S, V = xp.flip(w, axis=-1), xp.flip(V, axis=-1)
    return W @ V, xp.where(S > 0, S, 0.0) * bound[..., 0], adjoint(V)


def _unrelated(X: Array) -> Array:
    """Orthonormal columns of that shape."""
    xp, (m, n) = array_namespace(X), X.shape[-2:]
    of = partial(xp.arange, dtype=real(X).dtype, device=device(X))
    rows, columns = of(m)[:, None], of(n)
    waves = xp.cos(math.pi / (4 * m) * (2 * rows + 1) * (2 * columns + 1))
    signs = xp.where(xp.sin(12.9898 * (rows + 1) ** 2) < 0, -1.0, xp.ones_like(rows))
    return xp.astype((2 / m) ** 0.5 * signs * waves, X.dtype)
