"""The plain rules, given factors from anywhere."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from matrices import random, with_spectrum

import spectralgrad as sg

TANH = sg.functions.tanh
RULES = {
    "svd": (sg.svd, ("x",), ("U", "S", "Vh"), {}),
    "svdvals": (sg.svdvals, ("x", "U", "S", "Vh"), ("S",), {}),
    "svd_function": (sg.svd_function, ("x", "U", "S", "Vh"), ("out",), {"f": TANH}),
    "orthogonalize": (sg.orthogonalize, ("x", "U", "S", "Vh"), ("out",), {}),
    "low_rank": (sg.low_rank, ("x", "U", "S", "Vh"), ("out",), {"k": 2}),
    "nuclear_norm": (sg.nuclear_norm, ("x", "U", "S", "Vh"), ("out",), {}),
    "ky_fan_norm": (sg.ky_fan_norm, ("x", "U", "S", "Vh"), ("out",), {"k": 2}),
    "eigh": (sg.eigh, ("x",), ("w", "Q"), {}),
    "eigvalsh": (sg.eigvalsh, ("x", "w", "Q"), ("w",), {}),
    "eigh_function": (sg.eigh_function, ("x", "w", "Q"), ("out",), {"f": TANH}),
    "svdvals_sum": (sg.svdvals_sum, ("x", "U", "S", "Vh"), ("out",), {"f": TANH}),
    "eigvalsh_sum": (sg.eigvalsh_sum, ("x", "w", "Q"), ("out",), {"f": TANH}),
    "sum_largest_eigvalsh": (sg.sum_largest_eigvalsh, ("x", "w", "Q"), ("out",), {"k": 2}),
    "eigenprojector": (sg.eigenprojector, ("x", "w", "Q"), ("out",), {"k": 2}),
}


def test_every_rule_is_public():
    names = (*RULES, "truncated_svd")  # the last has tests of its own
    assert set(sg.rules.__all__) == {f"{name}_{kind}" for name in names for kind in ("jvp", "vjp")}


@pytest.mark.parametrize("name", RULES)
def test_rules_are_what_the_transforms_use(library, name):
    fun, inputs, outputs, options = RULES[name]
    x = library.array(random((3, 3), seed=21))
    made = {
        "x": x,
        **dict(zip("wQ" if "eig" in name else ("U", "S", "Vh"), _factors(x, name), strict=True)),
    }
    value, pullback = sg.vjp(lambda x: fun(x, *options.values()), x)
    made["out"] = value
    bars = sg.testing.random_cotangent(value)
    vjp, jvp = (getattr(sg.rules, f"{name}_{kind}") for kind in ("vjp", "jvp"))
    given = tuple(made[i] for i in inputs)
    made_outputs = tuple(made[o] for o in outputs)
    bars = tuple(bars) if isinstance(bars, tuple) else (bars,)
    wanted = pullback(bars if len(bars) > 1 else bars[0])[0]
    got = vjp(given, made_outputs, bars, **options)
    assert len(got) == len(given)
    assert all(extra is None for extra in got[1:])
    np.testing.assert_allclose(library.numpy(got[0]), library.numpy(wanted), atol=1e-12)
    _, tangent = sg.jvp(lambda x: fun(x, *options.values()), (x,), (x,))
    tangent = tuple(tangent) if isinstance(tangent, tuple) else (tangent,)
    along = jvp(given, made_outputs, (x,) + (None,) * (len(given) - 1), **options)
    for a, b in zip(along, tangent, strict=True):
        np.testing.assert_allclose(library.numpy(a), library.numpy(b), atol=1e-12)


def _factors(x, name):
    return sg.eigh(x) if "eig" in name else sg.svd(x)


def test_bare_arrays_do_for_tuples_of_one():
    x = random((4, 3))
    factors = np.linalg.svd(x, full_matrices=False)
    bare = sg.rules.svd_vjp(x, factors, (None, np.ones(3), None))
    (tupled,) = sg.rules.svd_vjp((x,), tuple(factors), (None, np.ones(3), None))
    np.testing.assert_array_equal(bare, tupled)
    out = (factors[0] * np.tanh(factors[1])) @ factors[2]
    tangent = sg.rules.svd_function_jvp(
        (x, *factors), out, x, f=(np.tanh, lambda s: np.cosh(s) ** -2)
    )
    np.testing.assert_allclose(tangent, sg.rules.svd_function_jvp((x, *factors), out, x, f=TANH))


def test_rules_have_names_signatures_and_docstrings():
    for name in sg.rules.__all__:
        rule = getattr(sg.rules, name)
        assert rule.__name__ == name
        assert name.rpartition("_")[0] in inspect.getdoc(rule)
        role = "cotangents" if name.endswith("_vjp") else "tangents"
        assert list(inspect.signature(rule).parameters)[:3] == ["inputs", "outputs", role]
    assert "ties='nan'" in str(inspect.signature(sg.rules.svd_vjp))
    assert "low_rank              x, U, S, Vh  out       k" in sg.rules.__doc__


def test_options_are_checked():
    x = random((3, 3))
    factors, bars = np.linalg.svd(x), (None, np.ones(3), None)
    with pytest.raises(ValueError, match=r"sg\.rules\.svd_vjp: `ties` is 'dorp'; wanted one of"):
        sg.rules.svd_vjp(x, factors, bars, ties="dorp")
    with pytest.raises(ValueError, match=r"sg\.rules\.svd_jvp: `gap_rtol` is -1"):
        sg.rules.svd_jvp(x, factors, x, gap_rtol=-1)
    with pytest.raises(TypeError, match=r"option `tie` is unknown; the options are: ties, gap"):
        sg.rules.svd_vjp(x, factors, bars, tie="nan")
    with pytest.raises(TypeError, match=r"sg\.rules\.low_rank_vjp: `k` is missing"):
        sg.rules.low_rank_vjp((x, *factors), x, x)
    with pytest.raises(ValueError, match=r"low_rank_vjp: `k` is 9"):
        sg.rules.low_rank_vjp((x, *factors), x, x, k=9)
    with pytest.raises(AttributeError, match="no rule 'svd_pjv'"):
        _ = sg.rules.svd_pjv


def test_a_truncated_svd_of_no_triplets():
    x = random((5, 4))
    U, S, Vh = np.zeros((5, 0)), np.zeros(0), np.zeros((0, 4))
    with pytest.raises(ValueError, match=r"truncated_svd_vjp: no triplet came"):
        sg.rules.truncated_svd_vjp((x,), (U, S, Vh), (U, S, Vh))


def test_a_truncated_svd_with_a_negative_value():
    """Its residual is zero, and it is no singular value."""
    x = random((5, 4))
    U, S, Vh = np.linalg.svd(x, full_matrices=False)
    turned = -U[:, :2], -S[:2], Vh[:2]
    with pytest.warns(sg.ConvergenceWarning, match=r"none of x: .* is 1 where"):
        x_bar = sg.rules.truncated_svd_vjp(x, turned, (None, np.ones(2), None))
    assert np.all(np.isnan(x_bar))


def test_sums_over_many_rows_keep_single_precision():
    """Of 10^6 numbers alike, one added after the other, three digits are left."""
    x = np.full((10**6, 2), 1e-3, dtype=np.float32)
    x[::2, 1] *= -0.5
    x[1::2, 1] *= 0.5
    (_, S, _), (_, dS, _) = sg.jvp(lambda x: sg.svd(x, full_matrices=False), (x,), (x,))
    np.testing.assert_allclose(dS, S, rtol=3e-5)


def test_rules_neither_warn_nor_raise():
    x = with_spectrum(3, 3, (1.0, 1.0, 0.5))
    factors = np.linalg.svd(x)
    for ties in ("nan", "raise"):
        x_bar = sg.rules.svd_vjp(x, factors, (np.ones((3, 3)), None, None), ties=ties)
        assert np.all(np.isnan(x_bar))


@pytest.mark.parametrize("name", RULES)
def test_zero_directions_have_zero_results(name):
    fun, inputs, outputs, options = RULES[name]
    x = np.stack([random((3, 3), seed=21), np.full((3, 3), np.nan), np.zeros((3, 3))])
    factors = _factors(x, name)
    made = {"x": x, **dict(zip("wQ" if "eig" in name else ("U", "S", "Vh"), factors, strict=True))}
    made["out"] = value = fun(x, *options.values())
    mask = np.array([1.0, 0.0, 0.0])
    shaped = lambda a: mask.reshape(3, *(1,) * (a.ndim - 1))
    bars = sg.testing.random_cotangent(value)
    bars = tuple(bars) if isinstance(bars, tuple) else (bars,)
    bars = tuple(np.where(shaped(b) == 1, b, 0.0) for b in bars)
    vjp, jvp = (getattr(sg.rules, f"{name}_{kind}") for kind in ("vjp", "jvp"))
    given, out = tuple(made[i] for i in inputs), tuple(made[o] for o in outputs)
    x_bar = vjp(given, out, bars, **options)[0]
    dx = np.where(shaped(x) == 1, random((3, 3, 3), seed=2), 0.0)
    for result in (x_bar, *jvp(given, out, (dx,) + (None,) * (len(given) - 1), **options)):
        assert np.all(np.isfinite(result[0]))
        assert np.all(result[1:] == 0)
