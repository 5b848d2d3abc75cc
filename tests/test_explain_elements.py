"""Why a gradient is NaN, batch element by batch element, for every function of the library."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from matrices import random
from test_undefined import CASES, NO_VALUE, first_of

import spectralgrad as sg

CLEAN = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.3, 0.0, 0.4]])


def explained(library, fun, x, *, seed=7, **options):
    shape = np.shape(library.numpy(first_of(fun(library.array(x), **options))))
    bar = library.array(random(shape, seed=seed))
    return sg.explain(lambda x: first_of(fun(x, **options)), library.array(x), bar)


@pytest.mark.thinned
@pytest.mark.filterwarnings("ignore:.*the value is NaN:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_every_element_is_explained(library, name):
    """In the words of the warning, at each place of a stack of two axes."""
    fun, pair, why = CASES[name]
    x = np.stack([pair, pair[::-1], pair[[1, 1]]])
    with warnings.catch_warnings():
        warnings.simplefilter("error", sg.DerivativeUndefinedWarning)
        explanation = explained(library, fun, x)
    np.testing.assert_array_equal(library.numpy(explanation.ok), [[0, 1], [1, 0], [1, 1]])
    gradient = library.numpy(explanation.gradient)
    finite = np.isfinite(gradient).all(axis=(-2, -1))
    np.testing.assert_array_equal(library.numpy(explanation.ok), finite)
    assert list(explanation.reasons) == [(0, 0), (1, 1)]
    for place, reason in explanation.reasons.items():
        value = name in NO_VALUE or not np.isfinite(library.numpy(first_of(fun(pair))[0])).all()
        assert value or re.search(why, reason.what), reason
        assert reason.remedy
        assert f"{place}: {reason}" in repr(explanation)
    assert explanation.why((0, 1)) is None


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:.*the value is NaN:UserWarning")
def test_the_words_are_those_of_the_warning(name):
    fun, pair, _ = CASES[name]
    out, pullback = sg.vjp(lambda x: first_of(fun(x)), pair)
    bar = random(out.shape, seed=7)
    with pytest.warns(sg.DerivativeUndefinedWarning) as caught:
        pullback(bar)
    collected = sg.explain(lambda x: first_of(fun(x)), pair, bar)
    reason = collected.why(0)
    if np.isfinite(out[0]).all():  # else the value is explained, and no gradient
        assert str(caught[-1].message).endswith(str(reason))


@pytest.mark.thinned
def test_factors_name_their_ties(library):
    x = np.stack([np.eye(3), CLEAN, np.full((3, 3), np.nan), np.diag([2.0, 1.0, 1.0])])
    bars = (library.array(np.ones((4, 3, 3))), None, None)
    explanation = sg.explain(sg.svd, library.array(x), bars)
    np.testing.assert_array_equal(library.numpy(explanation.ok), [False, True, False, False])
    found = {place[0]: reason.what for place, reason in explanation.reasons.items()}
    assert found[0].startswith("S[0] = 1 and S[1] = 1 count as equal")
    assert found[2] == "The input or its cotangent holds NaN or Inf"
    assert found[3].startswith("S[1] = 1 and S[2] = 1 count as equal")
    assert repr(explanation).startswith("svd: 3 of 4 batch elements have no gradient.")
    assert explanation.to_dict()["reasons"][0]["index"] == [0]


def test_the_mask_shields_a_loss():
    torch = pytest.importorskip("torch")
    x = torch.asarray(np.stack([np.eye(3), CLEAN])).requires_grad_()
    ok = sg.explain(sg.svd, x.detach(), (torch.ones(2, 3, 3, dtype=x.dtype), None, None)).ok
    torch.where(ok, sg.svd(x).U.sum((-2, -1)), 0.0).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_single_matrices_and_several_arrays():
    assert repr(sg.explain(sg.nuclear_norm, CLEAN, 1.0)) == "nuclear_norm: the gradient exists."
    P = random((3, 5, 3), seed=8)
    P[1] = np.arange(5.0)[:, None]  # on a line
    explanation = sg.explain(
        lambda P, Q: sg.kabsch(P, Q).rotation, (P, 2 * P), random((3, 3, 3), seed=9)
    )
    np.testing.assert_array_equal(explanation.ok, [True, False, True])
    assert "several rotations are as good" in explanation.why(1).what
    assert len(explanation.gradient) == 2
    one = sg.explain(lambda P, Q: sg.kabsch(P, Q).rotation, (P[1], P), random((3, 3, 3), seed=9))
    assert not one.ok
    assert "several rotations are as good" in one.why().what


def test_large_matrices():
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.csr_array(np.eye(300, 400))
    explanation = sg.explain(sg.truncated_svd, x, (np.ones((300, 2)), None, None), k=2)
    assert not explanation.ok
    assert "S[0] = 1 and S[1] = 1 count as equal" in repr(explanation)


def test_policies_neither_raise_nor_warn():
    x = np.stack([np.diag([2.0, 1.0]), np.diag([2.0, 0.0])])
    bar = np.ones((2, 2, 2))
    explanation = sg.explain(sg.orthogonalize, x, bar, undefined="raise")
    assert list(explanation.reasons) == [(1,)]
    assert sg.explain(sg.orthogonalize, x, bar, undefined="least_norm").ok.all()
    with pytest.raises(sg.DerivativeUndefinedError):  # as ever, outside
        sg.vjp(sg.orthogonalize, x, undefined="raise")[1](bar)


def test_what_is_out_of_range_or_not_to_be_read():
    tiny = np.diag([1e-200, 1e-250])
    found = sg.explain(lambda x: sg.pinv(x, rtol=0.0), tiny, 1e150 * np.ones((2, 2)))
    assert not found.ok
    jax = pytest.importorskip("jax")
    with pytest.raises(TypeError, match="explain: `x` is traced"):
        jax.jit(lambda x: sg.explain(sg.orthogonalize, x, x).ok)(jax.numpy.eye(2))


def test_an_index_is_asked_for():
    explanation = sg.explain(sg.orthogonalize, np.zeros((2, 2, 2)), np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match=r"why: `index` is \(\) where the stack has shape \(2,\)"):
        explanation.why()
