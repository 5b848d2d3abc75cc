"""Second derivatives: against 90 digits, at ties and zeros, on every library, in bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from data.generate import decode
from matrices import SHAPES, SPECTRA, hermitian, random, sample, with_spectrum
from operations import REFERENCE, SECOND

import spectralgrad as sg
from spectralgrad.testing import inner, random_cotangent

CASES = json.loads((Path(__file__).parent / "data" / "second.json").read_text())["cases"]
F = sg.functions
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
by_operation = pytest.mark.parametrize("operation", SECOND, ids=lambda op: op.name)


def native_hvp(library, fun, x, dx, out_bar):
    """The same by the library's own autodiff: double backward, or forward over reverse."""
    if library.name == "torch":
        import torch

        leaf = x.detach().clone().requires_grad_()
        out = fun(leaf)
        outs = out if isinstance(out, tuple) else (out,)
        bars = out_bar if isinstance(out_bar, tuple) else (out_bar,)
        bars = [bar.clone().requires_grad_() for bar in bars]
        (x_bar,) = torch.autograd.grad(outs, leaf, bars, create_graph=True)
        return torch.autograd.grad(x_bar, leaf, dx)[0]  # the Hessian is symmetric
    import jax

    conj = lambda tree: jax.tree.map(library.xp.conj, tree)
    pulled = lambda x: conj(jax.vjp(fun, x)[1](conj(out_bar))[0])
    return jax.jit(lambda x, dx: jax.jvp(pulled, (x,), (dx,))[1])(x, dx)


def own_hvp(library, fun):
    """sg.hvp, compiled by JAX, which takes long over one operation after the other."""
    if library.name != "jax":
        return partial(sg.hvp, fun)
    import jax

    return jax.jit(partial(sg.hvp, fun))


@pytest.mark.thinned
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_against_references(library, case):
    fun = partial(REFERENCE[case["op"]], **case["params"])
    matrix, cotangent, direction, product = (
        decode(case[key]) for key in ("matrix", "cotangent", "direction", "product")
    )
    if case["op"].endswith("_norm"):
        cotangent = cotangent.real[0, 0]
    x, out_bar, dx = map(library.array, (matrix, cotangent, direction))
    bound = (1e-9 if "graded" in case["id"] else 1e-10) * (np.max(np.abs(product)) or 1.0)
    products = [own_hvp(library, fun)(x, dx, out_bar)]
    if library.name in ("torch", "jax"):
        products.append(native_hvp(library, fun, x, dx, out_bar))
    for got in products:
        assert np.max(np.abs(library.numpy(got) - product)) <= bound


def test_there_are_enough_references():
    tied = [case for case in CASES if any(s in case["id"] for s in ("pair", "equal", "exact"))]
    assert len(CASES) >= 60
    assert len(tied) >= 20


def matrices(operation, is_complex, *, brief):
    """At ties and zeros; `brief` for what compiles each anew."""
    spectra = ["pair" if is_complex else "rank_deficient"] if brief else SPECTRA
    for spectrum in spectra:
        values = SPECTRA[spectrum]
        if operation.exists_at(spectrum, twice=True):
            shapes = ((4, 4),) if operation.square else ((4, 4), (3, 5), (5, 3))
            for shape in shapes[-1:] if brief else shapes:
                if operation.square:
                    yield hermitian(values, is_complex=is_complex)
                else:
                    yield with_spectrum(*shape, values, is_complex=is_complex)


@pytest.mark.thinned
@by_dtype
@by_operation
def test_native_equals_hvp_and_is_symmetric(native, operation, is_complex):
    is_complex = is_complex and not operation.real
    for values in matrices(operation, is_complex, brief=is_complex or native.name == "jax"):
        x = native.array(values)
        dx, other = (
            native.array(random(x.shape, seed=seed, is_complex=is_complex)) for seed in (1, 2)
        )
        out_bar = random_cotangent(operation.call(x))
        hvp = own_hvp(native, operation.call)
        product = hvp(x, dx, out_bar)
        size = np.max(np.abs(native.numpy(product))) + 1
        np.testing.assert_allclose(
            native.numpy(product),
            native.numpy(native_hvp(native, operation.call, x, dx, out_bar)),
            rtol=0,
            atol=1e-11 * size,
        )
        turned = hvp(x, other, out_bar)
        assert abs(inner(product, other) - inner(turned, dx)) <= 1e-11 * size * 25


@pytest.mark.thinned
@by_operation
def test_against_differences_of_the_gradient(library, operation):
    shapes = ((3, 3), (2, 3, 3)) if operation.square else SHAPES
    for shape in shapes[-1:] if library.name == "jax" else shapes:
        x = sample(operation, shape, seed=3)
        dx = random(shape, seed=4)
        out_bar = random_cotangent(operation.call(library.array(x)))
        product = library.numpy(
            own_hvp(library, operation.call)(*map(library.array, (x, dx)), out_bar)
        )

        def gradient(step, x=x, dx=dx, out_bar=out_bar):
            _, pullback = sg.vjp(operation.call, library.array(x + step * dx))
            return library.numpy(pullback(out_bar)[0])

        h = 1e-4
        wanted = (8 * (gradient(h) - gradient(-h)) - (gradient(2 * h) - gradient(-2 * h))) / 12 / h
        np.testing.assert_allclose(product, wanted, atol=1e-7 * (np.max(np.abs(wanted)) + 1))


@pytest.mark.parametrize("name", ["float32", "complex64"])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e19])
def test_hessian_of_the_nuclear_norm_in_single_precision(library, name, scale):
    matrix = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 2.0]])
    dx = random((3, 3), seed=1).astype(np.float32)
    wanted = sg.hvp(sg.nuclear_norm, matrix, dx.astype(float), 1.0)
    x = library.array(matrix * scale, name)
    got = library.numpy(sg.hvp(sg.nuclear_norm, x, library.array(dx, name), 1.0)) * scale
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fun", "power"),
    [
        (sg.orthogonalize, 0),
        (sg.nearest_rotation, 0),
        (sg.nuclear_norm, 1),
        (lambda x: sg.low_rank(x, 2), 1),
        (lambda x: sg.singular_projector(x, 2), 0),
        (lambda x: sg.ky_fan_norm(x, 2), 1),
        (lambda x: sg.schatten_norm(x, 3), 1),
        (lambda x: sg.svd_function(x, F.sqrt), 0.5),
    ],
)
def test_scale_changes_nothing_but_the_scale(fun, power):
    x, dx = with_spectrum(4, 4, SPECTRA["spread"]), random((4, 4), seed=1)
    out_bar = random_cotangent(fun(x))
    wanted = sg.hvp(fun, x, dx, out_bar)
    for c in (2.0**-500, 2.0**500):
        got = sg.hvp(fun, c * x, c * dx, out_bar) * c / c**power
        np.testing.assert_allclose(got, wanted, atol=1e-11)


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
def test_zeros_kinks_and_cuts_are_nan():
    """Where the second derivative does not exist, and only there."""
    dx = np.stack([random((3, 3), seed=1)] * 3)
    good = np.diag([3.0, 2.0, 1.0])
    for fun, bad in (
        (lambda x: sg.svd_function(x, F.log1p), np.diag([2.0, 1.0, 0.0])),
        (lambda x: sg.svd_function(x, F.power(2)), np.diag([2.0, 1.0, 0.0])),
        (lambda x: sg.svd_function(x, F.power(1.5)), np.diag([2.0, 1.0, 0.0])),
        (lambda x: sg.singular_value_threshold(x, 0.5), np.diag([2.0, 1.0, 0.5])),
        (lambda x: sg.svd_function(x, F.clip(0.5)), np.diag([2.0, 0.5, 0.1])),
        (lambda x: sg.low_rank(x, 2), np.diag([2.0, 1.0, 1.0])),
        (lambda x: sg.singular_projector(x, 1), np.eye(3)),
        (lambda x: sg.ky_fan_norm(x, 2), np.diag([2.0, 1.0, 1.0])),
        (sg.spectral_norm, np.eye(3)),
        (sg.nuclear_norm, np.diag([2.0, 1.0, 0.0])),
        (lambda x: sg.schatten_norm(x, 1.5), np.diag([2.0, 1.0, 0.0])),
        (lambda x: sg.schatten_norm(x, 3), np.zeros((3, 3))),
        (sg.orthogonalize, np.diag([2.0, 1.0, 0.0])),
        (sg.nearest_rotation, np.diag([2.0, 1.0, -1.0])),
        (sg.sqrtm, np.diag([2.0, 1.0, 0.0])),
    ):
        x = np.stack([good, bad, good])
        out = fun(x)
        product = sg.hvp(fun, x, dx, np.ones_like(out))
        assert np.all(np.isnan(product[1]))
        assert np.all(np.isfinite(product[::2]))


@pytest.mark.parametrize("operation", SECOND, ids=lambda op: op.name)
def test_a_lone_matrix_with_a_nan(operation):
    x = np.full((3, 3), np.nan)
    out_bar = random_cotangent(operation.call(np.eye(3)))
    product = sg.hvp(operation.call, x, np.ones((3, 3)), out_bar)
    assert np.all(np.isnan(product))


@pytest.mark.parametrize("scale", [1e-9, 1e-11, 1e-13])
def test_small_values_beside_a_large_one(scale):
    """tanh and friends are smooth at zero: small singular values lose no digits."""
    U, V = (np.linalg.qr(random((4, 4), seed=s))[0] for s in (1, 2))
    small = (U * np.array([1.0, scale, scale, scale / 2])) @ V
    none = (U * np.array([1.0, 0.0, 0.0, 0.0])) @ V
    dx, C = random((4, 4), seed=3), random((4, 4), seed=4)
    tanh = (np.tanh, lambda s: np.cosh(s) ** -2, lambda s: -2 * np.tanh(s) * np.cosh(s) ** -2)
    for f in (F.tanh, F.tikhonov(0.3), F.clip(0.7), F.power(3), F.soft_threshold(0.5), tanh):
        product = sg.hvp(sg.svd_function, small, dx, C, f=f)
        limit = sg.hvp(sg.svd_function, none, dx, C, f=f)
        np.testing.assert_allclose(product, limit, atol=1e-13 + 200 * scale)


def test_slices_keep_memory_within_64_k_squared():
    k = 128
    x, dx, C = (random((k, k), seed=s) for s in range(3))
    for f in (
        F.tanh,
        F.log1p,
        F.power(2.5),
        F.tikhonov(1.0),
        (np.sin, np.cos, lambda s: -np.sin(s)),
    ):
        tracemalloc.start()
        sg.hvp(sg.svd_function, x, dx, C, f=f)
        sg.hvp(sg.eigh_function, x @ x.T + np.eye(k), dx, C, f=f)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 64 * k * k * 8


def test_a_function_without_its_second_derivative(library):
    xp, x = library.xp, library.array(random((3, 3)))
    pair = (xp.tanh, lambda s: 1 - xp.tanh(s) ** 2)
    (first,) = sg.vjp(sg.svd_function, x, f=pair)[1](x)
    assert np.all(np.isfinite(library.numpy(first)))
    with pytest.raises(TypeError, match=r"has no d2f.*\(f, df, d2f\)"):
        sg.hvp(sg.svd_function, x, x, x, f=pair)
    if library.name in ("torch", "jax"):
        with pytest.raises(TypeError, match=r"has no d2f"):
            native_hvp(library, partial(sg.svd_function, f=pair), x, x, x)


@pytest.mark.parametrize("fun", [sg.svd, sg.eigh])
def test_factors_have_no_rule_of_second_order(fun):
    x = random((3, 3))
    bars = random_cotangent(fun(x))
    with pytest.raises(TypeError, match=r"no rule of second order.*svd_function"):
        sg.hvp(fun, x, x, bars)


@pytest.mark.thinned
def test_several_arguments_and_structures(library):
    """Mixed second derivatives: symmetric in the arguments."""
    x, tau = library.array(random((4, 3), seed=1)), library.array(np.asarray(0.4))
    dx, dtau = library.array(random((4, 3), seed=2)), library.array(np.asarray(1.5))
    out_bar = library.array(random((4, 3), seed=3))
    fun = sg.singular_value_threshold
    of_x, of_tau = sg.hvp(fun, (x, tau), (dx, None), out_bar)
    x_of_tau, tau_of_tau = sg.hvp(fun, (x, tau), (None, dtau), out_bar)
    assert of_x.shape == x.shape
    assert inner(of_tau, dtau) == pytest.approx(inner(x_of_tau, dx), rel=1e-12)
    assert float(tau_of_tau) == 0.0
    alone = sg.hvp(lambda x: fun(x, 0.4), x, dx, out_bar)
    np.testing.assert_allclose(library.numpy(of_x), library.numpy(alone), atol=1e-13)


@by_operation
def test_empty(operation):
    if not operation.cut:
        for shape in (
            ((0, 0), (0, 3, 3)) if operation.square else ((0, 0), (3, 0), (0, 4), (0, 3, 3))
        ):
            x = np.zeros(shape)
            assert sg.hvp(operation.call, x, x, random_cotangent(operation.call(x))).shape == shape


def test_nothing_to_differentiate_twice():
    x = random((3, 2))
    assert not np.any(sg.hvp(sg.svd_function, x, x, x, f=F.identity))
    assert not np.any(sg.hvp(lambda x: sg.singular_projector(x, 2, side="right"), x, x, np.eye(2)))
    assert not np.any(sg.hvp(sg.nuclear_norm, x, None, 1.0))


def test_products_of_factors_as_one_function(library):
    """What U, S and V lose at ties: an entry of U S Vh at the identity, and its Frobenius norm."""
    eye = library.array(np.eye(3))
    unit = np.zeros((3, 3))
    unit[0, 1] = 1.0
    _, pullback = sg.vjp(lambda x: sg.svd_function(x, F.identity), eye)
    np.testing.assert_array_equal(library.numpy(pullback(library.array(unit))[0]), unit)
    values = np.diag([1.0, 1.0, 2.0, 3.0])
    x = library.array(values)
    out, pullback = sg.vjp(lambda x: sg.svd_function(x, F.identity), x)
    (x_bar,) = pullback(out / float(np.linalg.norm(values)))
    np.testing.assert_allclose(library.numpy(x_bar), values / np.linalg.norm(values), atol=1e-15)
    (x_bar,) = sg.vjp(lambda x: sg.schatten_norm(x, 2), x)[1](library.array(np.asarray(1.0)))
    np.testing.assert_allclose(library.numpy(x_bar), values / np.linalg.norm(values), atol=1e-15)


SCALED = {  # of degree d: D2F(c A)[c H, C] = c^(d - 1) D2F(A)[H, C]
    "pinv": (sg.pinv, -1),
    "reciprocal": (lambda x: sg.eigh_function(x, F.reciprocal), -1),
    "powm": (lambda x: sg.powm(x, -1), -1),
    "inv_sqrtm": (sg.inv_sqrtm, -0.5),
    "logm": (sg.logm, 0),
    "singular_projector": (lambda x: sg.singular_projector(x, k=2), 0),
    "orthogonalize": (sg.orthogonalize, 0),
    "sqrtm": (sg.sqrtm, 0.5),
    "low_rank": (lambda x: sg.low_rank(x, k=2), 1),
    "svd_function:cube": (lambda x: sg.svd_function(x, F.power(3)), 3),
}


@pytest.mark.thinned
@pytest.mark.filterwarnings("ignore:.*the value is NaN:UserWarning")
@pytest.mark.parametrize("exponent", [-400, -300, 300, 400])
@pytest.mark.parametrize("name", SCALED)
def test_scales(library, name, exponent):
    fun, degree = SCALED[name]
    x, dx, C = random((3, 3, 3), seed=1)
    x, dx = x @ x.T + np.eye(3), dx + dx.T
    c = 2.0**exponent
    hvp = own_hvp(library, fun)
    base = library.numpy(hvp(*map(library.array, (x, dx, C))))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # of the value of a cube
        scaled = library.numpy(hvp(*map(library.array, (c * x, c * dx, C))))
    power = exponent * (degree - 1)
    wanted = base * 2.0 ** (power / 2) * 2.0 ** (power / 2)
    np.testing.assert_allclose(scaled, wanted, rtol=1e-12, atol=1e-13 * np.max(np.abs(wanted)))


LEADING = {  # of degree 0, or 1 for the error
    "svd": lambda x: (lambda f: f.U[:, :1] @ f.Vh[:1, :])(sg.svd(x)),
    "svd, wide": lambda x: (lambda f: f.U[:, :1] @ f.Vh[:1, :])(sg.svd(x[:3, :])),
    "eigh": lambda x: (lambda Q: Q[:, :1] @ Q[:, :1].T)(sg.eigh(x).eigenvectors),
    "truncated_svd": lambda x: (lambda f: f.U @ f.Vh)(sg.truncated_svd(x, 2)),
    "truncated_eigh": lambda x: (lambda Q: Q @ Q.T)(sg.truncated_eigh(x, 2).eigenvectors),
    "truncation_error": lambda x: sg.truncation_error(x, 2),
}


@pytest.mark.thinned
@pytest.mark.parametrize("exponent", [-660, 660])
@pytest.mark.parametrize("name", LEADING)
def test_scales_through_vectors(native, name, exponent):
    """Of a scalar of degree 0, along directions of the scale of x, nothing depends on that."""
    x, dx, C = random((3, 4, 4), seed=3)
    x, dx = x + x.T, dx + dx.T
    function, c, degree = LEADING[name], 2.0**exponent, int(name == "truncation_error")
    weights = native.array(C)

    def of_degree_0(x, c):
        found = function(x) / c**degree
        return native.xp.sum(found * (weights[: found.shape[0], :] if found.ndim else 1.0))

    def second(c):
        arrays = map(native.array, (c * x, c * dx, np.asarray(1.0)))
        return np.sum(native.numpy(native_hvp(native, partial(of_degree_0, c=c), *arrays)) * c * dx)

    assert second(c) == pytest.approx(second(1.0), rel=1e-11)


@pytest.mark.thinned
@pytest.mark.parametrize("solver", ["full", "krylov"])
@pytest.mark.parametrize("values", [(3.0, 2.0, 2.0, 1.0, 0.5), (3.0, 2.0, 2.0, 1.0, 1.0)])
@by_dtype
def test_the_error_of_a_truncation_at_ties_that_the_cut_leaves_whole(
    native, is_complex, values, solver
):
    x = with_spectrum(6, 5, values, is_complex=is_complex)
    dx = random((6, 5), is_complex=is_complex)
    error = partial(sg.truncation_error, k=3, solver=solver)
    found = native_hvp(native, error, *map(native.array, (x, dx, np.asarray(1.0))))
    up, down = (sg.vjp(error, x + h * dx)[1](1.0)[0] for h in (1e-4, -1e-4))
    wanted = (up - down) / 2e-4
    np.testing.assert_allclose(native.numpy(found), wanted, atol=1e-6 * np.max(np.abs(wanted)))


@by_dtype
def test_all_triplets_leave_nothing_to_any_order(native, is_complex):
    x, dx = (native.array(random((2, 4, 3), is_complex=is_complex)) for _ in range(2))
    error = partial(sg.truncation_error, k=3)
    assert not np.any(native.numpy(error(x)))
    found = native_hvp(native, error, x, dx, native.array(np.ones(2)))
    assert not np.any(native.numpy(found))


@pytest.mark.thinned
@pytest.mark.parametrize("exponent", [-660, 660])
def test_the_error_of_a_truncation_at_every_scale(library, exponent):
    (x, dx), found = random((2, 4, 3)), []
    for c in (1.0, 2.0**exponent):
        arrays = library.array(c * x), library.array(c * dx)
        _, tangent = sg.jvp(partial(sg.truncation_error, k=1), arrays[:1], arrays[1:])
        _, pullback = sg.vjp(partial(sg.truncation_error, k=1), arrays[0])
        (x_bar,) = pullback(library.array(np.asarray(1 / c)))
        found.append((float(tangent) / c, np.sum(library.numpy(x_bar) * c * dx)))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-13)


STEEP = {
    "power:-2": (lambda x: sg.svd_function(x, F.power(-2)), -2),
    "power:-2.5": (lambda x: sg.eigh_function(x, F.power(-2.5)), -2.5),
}


@pytest.mark.thinned
@pytest.mark.filterwarnings("ignore:.*the value is NaN:UserWarning")
@pytest.mark.parametrize("exponent", [-900, -340, 340, 900])
@pytest.mark.parametrize("name", [*SCALED, *STEEP])
def test_scales_of_first_order(library, name, exponent):
    """DF(c A)[c H] = c^d DF(A)[H], and its adjoint, wherever the result is in range."""
    fun, degree = (SCALED | STEEP)[name]
    x, dx, C = random((3, 3, 3), seed=1)
    x, dx = x @ x.T + np.eye(3), dx + dx.T
    c = 2.0**exponent

    def tangent(c):
        arrays = map(library.array, (c * x, c * dx))
        return library.numpy(library.jvp(fun, *((array,) for array in arrays))[1])

    def cotangent(c):
        out_bar = library.array(C)
        return library.numpy(library.vjp(fun, library.array(c * x))[1](out_bar)[0])

    for derivative, power in ((tangent, exponent * degree), (cotangent, exponent * (degree - 1))):
        if abs(power) < 1000:
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # of the value
                found = derivative(c)
            unit = 2.0 ** int(power)
            np.testing.assert_allclose(found, derivative(1.0) * unit, rtol=1e-12, atol=1e-13 * unit)


@pytest.mark.thinned
@pytest.mark.parametrize(("dtype", "least"), [("float32", 4e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("p", [-2, -8, -30])
def test_steep_powers_are_not_in_units_of_what_they_drop(library, p, dtype, least):
    x, ones = (library.array(v, dtype) for v in (np.diag([1.0, 0.5, least]), np.ones((3, 3))))
    for fun in (sg.eigh_function, sg.svd_function):
        _, tangent = library.jvp(partial(fun, f=F.power(p, cutoff=0.1)), (x,), (ones,))
        np.testing.assert_allclose(library.numpy(tangent)[0, 0], p, rtol=1e-5)


def as_pair(f, df, d2f):
    """A user's own function, with elementwise operations of any library."""
    return lambda library: tuple((lambda s, g=g: g(library.xp, s)) for g in (f, df, d2f))


OWN_EXPM1 = as_pair(lambda xp, s: xp.expm1(s), lambda xp, s: xp.exp(s), lambda xp, s: xp.exp(s))


@pytest.mark.thinned
@pytest.mark.parametrize("name", ["expm1", "log1p", "own", "power"])
def test_small_matrices(library, name):
    """F(t A) = t A + t^2 G(A) + O(t^3): the second derivative is that of G to t, relatively."""
    f = {"expm1": F.expm1, "log1p": F.log1p, "power": F.power(2)}.get(name) or OWN_EXPM1(library)
    curvature = {"log1p": -0.5, "power": 1.0}.get(name, 0.5)
    t = 1e-12
    x, dx, C = random((3, 4, 3), seed=2)
    got, square = (
        library.numpy(
            own_hvp(library, lambda x, f=g: sg.svd_function(x, f))(*map(library.array, (a, b, C)))
        )
        for g, a, b in ((f, t * x, t * dx), (F.power(2), x, dx))
    )
    np.testing.assert_allclose(got / t, curvature * square, rtol=1e-10, atol=1e-10)


SPECTRA_OF_24 = {
    "spread": np.linspace(3, 0.2, 24),
    "half equal": np.r_[np.ones(12), np.linspace(0.99, 0.1, 12)],
    "two groups": np.r_[np.full(8, 2.0), np.full(8, 2 - 1e-5), np.linspace(1, 0.1, 8)],
    "cluster": 1 - 1e-4 * np.linspace(0, 1, 24) ** 2,
    "harmonic": 1 / np.arange(1, 25),
    "graded": 10.0 ** -np.linspace(0, 6, 24),
    "near equal": 1 - 1e-13 * np.arange(24),
}


@pytest.mark.thinned
@pytest.mark.parametrize("kind", SPECTRA_OF_24)
@pytest.mark.parametrize("name", ["tanh", "expm1", "power(2.5)", "clip", "log of Hermitian", "exp"])
def test_products_stand_for_all_triples(library, monkeypatch, name, kind):
    """What larger matrices have by products is what each triple by itself would give."""
    from spectralgrad._spectrum import triple_sums

    hermitian_f = {"log of Hermitian": F.log, "exp": F.exp}.get(name)
    f = {"tanh": F.tanh, "expm1": F.expm1, "power(2.5)": F.power(2.5), "clip": F.clip(0.55)}
    dx, C = random((2, 24, 24), seed=3)
    if hermitian_f is not None:
        x = hermitian(SPECTRA_OF_24[kind], seed=4)
        fun = lambda x: sg.eigh_function(x, hermitian_f)
    else:
        x = with_spectrum(24, 24, SPECTRA_OF_24[kind], seed=4)
        fun = lambda x: sg.svd_function(x, f[name])
    args = tuple(map(library.array, (x, dx, C)))
    got = library.numpy(own_hvp(library, fun)(*args))
    monkeypatch.setattr(triple_sums, "FEW", 24)
    wanted = library.numpy(own_hvp(library, lambda x: fun(x))(*args))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-12 * np.max(np.abs(wanted)))
