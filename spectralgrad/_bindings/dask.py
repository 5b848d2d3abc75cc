"""Dask: as the host, but that no value can be read before the user computes.

Dask has no decompositions of stacks and no `eigh` (2026.8): they are made block by block, of NumPy
arrays or whatever the blocks are, along the batch. A tall matrix in blocks of rows has Dask's own
SVD, by a QR decomposition of the blocks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .array import Array, Arrays, adjoint, array_namespace, real
from .host import adjoint_times as adjoint_times
from .host import apply as apply
from .host import as_one as as_one
from .host import autodiff as autodiff
from .host import call_later as call_later
from .host import computing as computing
from .host import exact_one as exact_one
from .host import is_compiled as is_compiled
from .host import is_differentiated as is_differentiated
from .host import is_on_host as is_on_host
from .host import one_by_one as one_by_one
from .host import repeat
from .host import rows_at as rows_at
from .host import sees_context as sees_context
from .host import stepped as stepped
from .host import sum_over_rows as sum_over_rows
from .host import unmapped as unmapped
from .host import used as used
from .host import written as written


def values(x: Any) -> Any:
    return None


def truth(flag: Array) -> None:
    return None


def fuses(x: Any) -> bool:
    return False  # blocks are asked


def can_loop(x: Array) -> bool:
    return False


loop = partial(repeat, truth)


def each(
    function: Callable[..., Arrays], cores: tuple[tuple[int, ...], ...], *arrays: Array
) -> Arrays:
    """By blocks along the batch; what depends on a batch element's size is known before."""
    import dask.array as da

    whole = [x.rechunk({x.ndim - 2: -1, x.ndim - 1: -1}) for x in arrays]
    names = [f"(m{i},n{i})" for i in range(len(arrays))]
    sizes = {f"k{i}_{j}": n for i, core in enumerate(cores) for j, n in enumerate(core)}
    results = [",".join(f"k{i}_{j}" for j in range(len(core))) for i, core in enumerate(cores)]
    signature = f"{','.join(names)}->{','.join(f'({axes})' for axes in results)}"
    # matrices have the dtype of what is decomposed, values that of its real part
    like = arrays[0]._meta
    meta = tuple(like if len(core) == 2 else real(like) for core in cores)
    out = da.apply_gufunc(
        partial(_tupled, function, len(cores)),
        signature,
        *whole,
        meta=meta if len(cores) > 1 else meta[0],
        output_sizes=sizes,
    )
    return tuple(out) if len(cores) > 1 else (out,)


def _tupled(function: Callable[..., Arrays], count: int, *blocks: Array) -> Any:
    results = function(*blocks)
    return tuple(results) if count > 1 else results[0]


def is_blocked(x: Array) -> bool:
    return bool(x.ndim == 2 and x.npartitions > 1)


def blocked_svd(x: Array) -> Arrays:
    if x.shape[0] < x.shape[1]:
        U, S, Vh = blocked_svd(adjoint(x))
        return adjoint(Vh), S, adjoint(U)
    with warnings.catch_warnings():  # of an empty array that it casts, for complex x (2026.8)
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        U, S, Vh = array_namespace(x).linalg.svd(x.rechunk({1: -1}), full_matrices=False)
    return U, S, Vh
