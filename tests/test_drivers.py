"""Drivers of factorizations: accuracy on hard stacks, the choice of one, and what is verified."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from marks import slow
from matrices import random

import spectralgrad as sg
from spectralgrad._bindings import host
from spectralgrad._spectrum import drivers, factorizations, polar_svd, verification

EPS = {"float64": 2.0**-52, "float32": 2.0**-23}


def orthogonal(n, seed, is_complex=False):
    return np.linalg.qr(random((3, n, n), seed=seed, is_complex=is_complex))[0]


def stacks(n, is_complex):
    """Name and stack: spectra that drivers find hard."""
    U, V = (orthogonal(n, seed, is_complex) for seed in (1, 2))
    half = n // 2
    with_values = lambda s: (U * s) @ V
    e11 = np.zeros((3, n, n))
    e11[:, 0, 0] = 1
    return {
        "random": random((3, n, n), is_complex=is_complex),
        "tall": random((3, 3 * n, n), is_complex=is_complex),
        "wide": random((3, n, 2 * n), is_complex=is_complex),
        "graded": with_values(np.logspace(0, -20, n)),
        "half of the rank": U[..., :half] @ V[..., :half, :],
        "two ties": with_values(np.where(np.arange(n) < half, 1.0, 0.5)),
        "ones": np.ones((3, n, n)),
        "one entry": e11,
        "identity": np.broadcast_to(np.eye(n), (3, n, n)),
        "shift": np.broadcast_to(np.eye(n, k=-1), (3, n, n)),
        "zero": np.zeros((3, n, n)),
        "tiny": 2.0**-900 * random((3, n, n), is_complex=is_complex),
        "huge": 2.0**900 * random((3, n, n), is_complex=is_complex),
    }


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("name", stacks(6, False))
@pytest.mark.parametrize("n", [33, 64])
def test_polar_driver(name, n, is_complex):
    x = stacks(n, is_complex)[name]
    U, S, Vh = polar_svd.svd(x)
    top = np.max(np.abs(x), initial=0.0) or 1.0
    tolerance = 60 * EPS["float64"]
    k = S.shape[-1]
    one = np.broadcast_to(np.eye(k), (3, k, k))
    np.testing.assert_allclose(np.conj(U.mT) @ U, one, rtol=0, atol=tolerance)
    np.testing.assert_allclose(Vh @ np.conj(Vh.mT), one, rtol=0, atol=tolerance)
    size = np.linalg.svd(x / top, compute_uv=False)[..., :1].max() or 1.0
    residual = (x - (U * S[..., None, :]) @ Vh) / top / size
    np.testing.assert_allclose(residual, 0, atol=tolerance)
    values = np.linalg.svd(x / top, compute_uv=False)
    np.testing.assert_allclose(S / top / size, values / size, rtol=0, atol=tolerance)
    assert np.all(S[..., 1:] <= S[..., :-1])
    assert np.all(S >= 0)


def test_polar_driver_in_single_precision(library):
    x = library.array(random((2, 40, 40)), "float32")
    U, S, Vh = map(library.numpy, polar_svd.svd(x))
    assert U.dtype == S.dtype == np.float32
    np.testing.assert_allclose((U * S[..., None, :]) @ Vh, library.numpy(x), atol=2e-5)
    np.testing.assert_allclose(U.mT @ U, np.stack([np.eye(40)] * 2), atol=1e-5)


@pytest.mark.parametrize("power", [0, 1015])
def test_sound_factors_of_every_library_are_verified(library, power):
    x = 2.0**power * random((3, 40, 12), is_complex=True)
    h = 2.0**-power * (np.conj(x.mT) @ (2.0**-power * x)) * 2.0**power
    for of, factors, a in (
        (verification.verified_svd, np.linalg.svd(x, full_matrices=False), x),
        (verification.verified_eigh, np.linalg.eigh(h), h),
    ):
        for found, wanted in zip(of(*map(library.array, (a, *factors))), factors, strict=True):
            np.testing.assert_array_equal(library.numpy(found), wanted)


def test_verification_finds_what_drivers_got_wrong():
    x = random((5, 40, 12))
    U, S, Vh = np.linalg.svd(x, full_matrices=False)
    for factors in ((U, S, Vh), np.linalg.svd(x)):
        assert all(np.all(np.isfinite(y)) for y in verification.verified_svd(x, *factors))
    wrong = U.copy(), S.copy(), Vh.copy()
    wrong[0][1, :, 3] *= 1 + 1e-6  # not orthonormal
    wrong[1][2, 5] *= 1 + 1e-6  # another value
    wrong[2][3, [0, 1]] = wrong[2][3, [1, 0]]  # vectors of another value
    for y in verification.verified_svd(x, *wrong):
        good = np.all(np.isfinite(y.reshape(5, -1)), axis=-1)
        np.testing.assert_array_equal(good, [True, False, False, False, True])
    h = x.mT @ x
    w, Q = np.linalg.eigh(h)
    Q[4] = np.eye(12)
    for y in verification.verified_eigh(h, w, Q):
        good = np.all(np.isfinite(y.reshape(5, -1)), axis=-1)
        np.testing.assert_array_equal(good, [True, True, True, True, False])


@pytest.fixture
def elsewhere(monkeypatch):
    """Arrays of array_api_strict on a device that is not the host's, and who was asked."""
    strict = pytest.importorskip("array_api_strict")
    asked = []
    monkeypatch.setattr(host, "loop", lambda *_: pytest.fail("a loop waited for the device"))
    for name, by in drivers.SVD.items():
        monkeypatch.setitem(drivers.SVD, name, lambda x, n=name, f=by: asked.append(n) or f(x))
    return lambda x: strict.asarray(x, device=strict.Device("device1")), asked


def numbers(x):
    return np.asarray(x.to_device(type(x.device)("CPU_DEVICE")))


@pytest.mark.parametrize(
    ("shape", "driver"),
    [((2, 40, 36), "polar"), ((drivers.LONG, 3, 3), "jacobi"), ((2, 8, 8), None), ((40, 40), None)],
)
def test_the_choice_on_a_device(elsewhere, shape, driver):
    there, asked = elsewhere
    x = random(shape)
    U, S, Vh = map(numbers, factorizations.svd(there(x)))
    assert asked == ([driver] if driver else [])
    np.testing.assert_allclose((U * S[..., None, :]) @ Vh, x, atol=1e-13)


def test_a_gradient_by_the_polar_driver(elsewhere):
    there, asked = elsewhere
    x, bar = random((2, 40, 36)), random((2, 40, 36), seed=1)
    for fun in (sg.orthogonalize, lambda x: sg.svd_function(x, sg.functions.tanh)):
        out, pullback = sg.vjp(fun, there(x))
        wanted, by_lapack = sg.vjp(fun, x)
        np.testing.assert_allclose(numbers(out), wanted, atol=1e-12)
        np.testing.assert_allclose(
            numbers(pullback(there(bar))[0]), by_lapack(bar)[0], rtol=1e-9, atol=1e-9
        )
    assert asked == ["polar"] * 2


@pytest.mark.filterwarnings(
    "ignore:<class 'torch.autograd.function.Function'> should not be:DeprecationWarning",
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
)
@pytest.mark.parametrize(("shape", "is_complex"), [((3, 3), True), slow((2, 4), False)])
def test_compiled_stacks_of_tiny_matrices_are_one_operation(shape, is_complex):
    torch = pytest.importorskip("torch")
    x = torch.asarray(random((200, *shape), is_complex=is_complex)).requires_grad_()
    seen = []

    def backend(graph, _):
        seen.extend(str(node.target) for part in graph.modules() for node in part.graph.nodes)
        return graph.forward

    def gradients(svd, expm):
        loss = svd(x)[1].sum() + torch.linalg.vector_norm(expm(x @ x.mH / 10))
        return torch.autograd.grad(loss, x)[0]

    thin = partial(sg.svd, full_matrices=False)
    torch.compiler.reset()
    compiled = [torch.compile(f, backend=backend, fullgraph=True) for f in (thin, sg.expm)]
    torch.testing.assert_close(gradients(*compiled), gradients(thin, sg.expm))
    assert {"spectralgrad.svd.default", "spectralgrad.eigh.default"} <= set(seen)
