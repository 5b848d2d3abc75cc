"""`params` of the truncated SVD: any nesting of arrays, numbers among them."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from matrices import random

import spectralgrad as sg

SHAPE, K = (14, 11), 2
OPTIONS = {"solver": "krylov", "adjoint": "krylov", "oversample": 1}
X = random(SHAPE) * 0.7 ** np.arange(11)
ROWS = np.roll(np.arange(14), 3)
SCALE = 1.7
by_function = pytest.mark.parametrize("name", ["truncated_svd", "truncation_error"])
Named = namedtuple("Named", "left right")


def build(p):
    """power * A[rows] diag(d), by its products."""
    A, d = p["z"]["matrix"], p["z"]["d"][0]
    inverse = p["rows"].argsort()

    def matmat(V):
        return p["scale"] * (A @ (d[:, None] * V))[p["rows"]]

    def rmatmat(Y):
        return p["scale"] * d[:, None] * (A.T @ Y[inverse])

    return sg.operators.from_matmat(matmat, rmatmat, SHAPE, A.dtype, like=A)


def params_of(xp, order=1):
    inner = {"matrix": xp.asarray(X), "d": [xp.asarray(1 + 0.1 * random((11,), seed=5))]}
    outer = {"z": inner, "scale": SCALE, "rows": xp.asarray(ROWS)}
    return dict(list(outer.items())[::order])


def loss(x, xp, name, params=None):
    if name == "truncation_error":
        return sg.truncation_error(x, K, params=params) ** 2
    options = {} if params is None else OPTIONS
    U, S, Vh = sg.truncated_svd(x, K, params=params, **options)
    return xp.sum((U * S**2) @ Vh * xp.asarray(random(SHAPE, seed=8)))


def dense_loss(p, xp, name):
    z = p["z"]
    return loss(p["scale"] * z["matrix"][p["rows"]] * z["d"][0], xp, name)


@by_function
def test_dicts_in_pytorch(name):
    torch = pytest.importorskip("torch")
    gradients = []
    for of in (lambda p: dense_loss(p, torch, name), lambda p: loss(build, torch, name, p)):
        for order in (1, -1):
            p = params_of(torch, order)
            leaves = p["z"]["matrix"].requires_grad_(), p["z"]["d"][0].requires_grad_()
            of(p).backward()
            gradients.append([leaf.grad for leaf in leaves])
    for found in gradients[1:]:
        for a, b in zip(found, gradients[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@by_function
def test_dicts_in_jax(name):
    jax = pytest.importorskip("jax")
    p = params_of(jax.numpy)
    of_params = lambda p: loss(build, jax.numpy, name, p)
    wanted = jax.grad(lambda p: dense_loss(p, jax.numpy, name), allow_int=True)(p)
    for found in (
        jax.grad(of_params, allow_int=True)(p),
        jax.jit(jax.grad(of_params, allow_int=True))(params_of(jax.numpy, -1)),
    ):
        assert jax.tree.structure(found) == jax.tree.structure(p)
        np.testing.assert_allclose(found["scale"], wanted["scale"], rtol=1e-9)
        for name_of, leaf in (("matrix", lambda z: z["matrix"]), ("d", lambda z: z["d"][0])):
            np.testing.assert_allclose(
                leaf(found["z"]), leaf(wanted["z"]), atol=1e-9, err_msg=name_of
            )


def test_the_tree_comes_back_as_it_was():
    torch = pytest.importorskip("torch")
    seen = []

    def build(p):
        seen.append(p)
        return p["b"].left

    x = torch.asarray(X)
    params = OrderedDict(b=Named(x, [2.0, 3]), a=(1j, True))
    sg.truncated_svd(build, K, params=params)
    for p in seen:
        assert type(p) is OrderedDict
        assert list(p) == ["b", "a"]
        assert type(p["b"]) is Named
        assert p["b"].right == [2.0, 3]
        assert p["a"] == (1j, True)


@pytest.mark.parametrize("module", ["torch", "jax.numpy"])
@pytest.mark.parametrize(
    ("strange", "words"),
    [
        ("text", r"`params\['a'\]\[1\]` holds a str"),
        (None, r"`params\['a'\]\[1\]` holds a NoneType"),
        (object(), r"`params\['a'\]\[1\]` holds a object"),
        (np.eye(2), r"`params\['a'\]\[1\]` holds a ndarray"),
    ],
    ids=["str", "None", "object", "ndarray"],
)
@by_function
def test_anything_else_is_refused(module, strange, words, name):
    xp = pytest.importorskip(module)
    with pytest.raises(TypeError, match=f"{name}: {words}"):
        getattr(sg, name)(lambda p: p["b"], K, params={"b": xp.asarray(X), "a": [1.0, strange]})
    with pytest.raises(TypeError, match=f"{name}: `params` holds no array"):
        getattr(sg, name)(lambda p: p["b"], K, params={"b": 1.0})


def test_cotangents_of_a_dict():
    def both(x):
        S = sg.svdvals(x)
        return {"values": S, "norm": sg.nuclear_norm(x)}

    out, pullback = sg.vjp(both, X)
    assert set(out) == {"values", "norm"}
    found = pullback({"norm": 2.0, "values": None})[0]
    np.testing.assert_allclose(found, 2 * sg.orthogonalize(X), atol=1e-13)
    with pytest.raises(ValueError, match=r"dict of \['values', 'norm'\]"):
        pullback({"norm": 2.0})


def test_what_the_function_closes_over_has_no_derivative():
    torch = pytest.importorskip("torch")
    left, right = torch.asarray(X), torch.ones(11, dtype=torch.float64, requires_grad=True)
    with pytest.raises(TypeError, match=r"`x` closes over a value.*`params`"):
        sg.truncated_svd(lambda left: left * right, K, params=left)
    jax = pytest.importorskip("jax")
    left = jax.numpy.asarray(X)
    value = lambda right: sg.truncated_svd(lambda left: left * right, K, params=left).S[0]
    for transform in (jax.grad, jax.jit):
        with pytest.raises(TypeError, match=r"`x` closes over a value.*`params`"):
            transform(value)(jax.numpy.ones(11))
