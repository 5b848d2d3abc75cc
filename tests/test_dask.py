"""No rule asks for a value: on Dask arrays they all build a graph and compute nothing."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import random

import spectralgrad as sg

dask = pytest.importorskip("dask")
pytest.importorskip("dask.array")

PAIR = (np.tanh, lambda s: 1 - np.tanh(s) ** 2)


def lazy(values):
    return dask.array.from_array(values, chunks=-1)


def refuse(*_, **__):
    raise AssertionError("computed early")


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (2, 3, 4)])
def test_rules_are_lazy_and_right(shape, is_complex):
    x = random(shape, is_complex=is_complex)
    factors = tuple(np.linalg.svd(x, full_matrices=False))
    bars = sg.testing.random_cotangent(sg.SVDResult(*factors))
    names = ("svdvals", "svd_function", "orthogonalize", "nuclear_norm")

    def everything(wrap):
        held = tuple(map(wrap, (x, *factors)))
        for ties in ("nan", "drop"):
            yield sg.rules.svd_vjp(held[0], held[1:], tuple(map(wrap, bars)), ties=ties)
            yield from sg.rules.svd_jvp(held[0], held[1:], held[0], ties=ties)
        for name in names:
            bar = {"svdvals": factors[1], "nuclear_norm": factors[1][..., 0]}.get(name, x)
            for options in ({"f": sg.functions.tanh}, {"f": PAIR}) if "function" in name else ({},):
                yield getattr(sg.rules, f"{name}_vjp")(held, held[0], wrap(bar), **options)[0]

    with dask.config.set(scheduler=refuse):
        graphs = list(everything(lazy))
    for graph, wanted in zip(graphs, everything(np.asarray), strict=True):
        np.testing.assert_allclose(graph.compute(), wanted, atol=1e-12)


def test_a_tall_array_is_truncated_lazily():
    x, U_bar = random((40, 8)), random((40, 3), seed=1)
    with dask.config.set(scheduler=refuse):
        out, pullback = sg.vjp(sg.truncated_svd, dask.array.from_array(x, chunks=(10, 8)), k=3)
        (graph,) = pullback((lazy(U_bar), None, None))
    U, S, _ = (part.compute() for part in out)
    (wanted_U, wanted_S, _), pullback = sg.vjp(sg.truncated_svd, x, k=3)
    np.testing.assert_allclose(S, wanted_S)
    (wanted,) = pullback((U_bar * np.sign(np.sum(U * wanted_U, axis=0)), None, None))
    np.testing.assert_allclose(graph.compute(), wanted, atol=1e-12)
