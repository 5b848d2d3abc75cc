"""Jacobians of singular values and vectors: differences in 60 digits, tangents, pullbacks, NaN."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matrices import random, with_spectrum

import spectralgrad as sg

mpmath = pytest.importorskip("mpmath")
mp = mpmath.mp
pytestmark = pytest.mark.thinned
DIGITS, STEP = 60, "1e-20"
SHAPES = [(4, 4), (5, 3), (3, 5)]
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
by_shape = pytest.mark.parametrize("shape", SHAPES)


def differences(f, x, units=(1,)):
    """The central differences of f, a list of numbers, by all entries of x: [..., p, q]."""
    with mp.workdps(DIGITS):
        h, X = mp.mpf(STEP), mp.matrix(x.tolist())
        found = 0
        for unit in units:
            columns = []
            for p, q in np.ndindex(x.shape):
                up, down = X.copy(), X.copy()
                up[p, q] += unit * h
                down[p, q] -= unit * h
                columns.append(
                    [float((a - b) / (2 * h)) for a, b in zip(f(up), f(down), strict=True)]
                )
            found = found + unit * np.array(columns).T.reshape(-1, *x.shape)
        return found


@cache
def of_values(shape, is_complex):
    x = random(shape, seed=1, is_complex=is_complex)
    units = (1, 1j) if is_complex else (1,)
    return x, differences(lambda X: list(mp.svd(X, compute_uv=False)), x, units)


def with_a_zero(shape):
    """A matrix of integers of rank one less than full, so that a value is exactly zero."""
    x = np.round(4 * random(shape, seed=5))
    if shape[0] < shape[1]:
        x[-1] = x[0] - x[1]
    else:
        x[:, -1] = x[:, 0] - x[:, 1]
    return x


@cache
def of_vectors(shape, i, singular=False):
    """x, and the derivatives of u_i and v_i by it, of NumPy's signs."""
    x = with_a_zero(shape) if singular else random(shape, seed=1)
    column = i % min(shape)
    U, _, Vh = np.linalg.svd(x, full_matrices=False)

    def vectors(X):
        U_mp, _, Vh_mp = mp.svd(X)
        found = []
        for w, mine in ((U_mp[:, column], U[:, i]), (Vh_mp[column, :].T, Vh[i])):
            sign = mp.sign(sum(a * b for a, b in zip(w, mp.matrix(mine.tolist()), strict=True)))
            found += [sign * a for a in w]
        return found

    both = differences(vectors, x)
    return x, both[: shape[0]], both[shape[0] :]


def of_vectors_like_numpys(library, x, i):
    """The Jacobians times the signs that `svd` of the library has chosen otherwise than NumPy's."""
    found = sg.singular_vector_jacobian(library.array(x), i)
    own = sg.svd(library.array(x), full_matrices=False)
    (U, _, Vh), (wanted_U, _, wanted_Vh) = map(library.numpy, own), sg.svd(x, full_matrices=False)
    pairs = ((U[:, i], wanted_U[:, i]), (Vh[i], wanted_Vh[i]))
    return [
        np.sign(w @ wanted) * library.numpy(jacobian)
        for jacobian, (w, wanted) in zip(found, pairs, strict=True)
    ]


@by_dtype
@by_shape
def test_values(library, shape, is_complex):
    x, wanted = of_values(shape, is_complex)
    found = library.numpy(sg.singular_value_jacobian(library.array(x)))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


@by_shape
@pytest.mark.parametrize("i", [0, 1, -1])
def test_vectors(library, shape, i):
    x, du, dv = of_vectors(shape, i)
    for found, wanted in zip(of_vectors_like_numpys(library, x, i), (du, dv), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("shape", "sides"), [((4, 4), "uv"), ((5, 3), "v"), ((3, 5), "u")])
def test_vectors_of_a_lone_zero(library, shape, sides):
    """The vector of the shorter side is determined; that of the longer one is free."""
    x, *wanted = of_vectors(shape, -1, singular=True)
    if len(sides) < 2:
        with library.warns(r"singular_vector_jacobian: .* S\[2\] = .* counts as zero"):
            found = of_vectors_like_numpys(library, x, -1)
    else:
        found = of_vectors_like_numpys(library, x, -1)
    for name, values, by_difference in zip("uv", found, wanted, strict=True):
        if name in sides:
            np.testing.assert_allclose(values, by_difference, rtol=0, atol=1e-13)
        else:
            assert np.all(np.isnan(values))


SPECTRA = {
    "simple": (3.0, 2.0, 1.2, 0.5),
    "tied": (3.0, 2.0, 1.2, 1.2),
    "triple": (3.0, 2.0, 2.0, 2.0),
    "zero": (3.0, 2.0, 1.2, 0.0),
    "zeros": (3.0, 2.0, 0.0, 0.0),
}


@pytest.mark.parametrize("values", SPECTRA.values(), ids=SPECTRA)
@pytest.mark.parametrize("shape", [(4, 4), (6, 4), (4, 6)])
def test_vectors_have_the_tangents_of_svd(library, shape, values):
    """Ties and zeros among the other values do no harm."""
    x, dx = with_spectrum(*shape, values, seed=3), random(shape, seed=4)
    found = of_vectors_like_numpys(library, x, 0)
    _, (dU, _, dVh) = sg.jvp(lambda x: sg.svd(x, full_matrices=False, ties="drop"), (x,), (dx,))
    for jacobian, wanted in zip(found, (dU[:, 0], dVh[0]), strict=True):
        product = np.sum(jacobian * dx, axis=(-2, -1))
        np.testing.assert_allclose(product, wanted, rtol=0, atol=1e-13)


@by_shape
def test_vectors_have_the_pullback_of_svd(shape):
    x, i = random(shape, seed=1), 1
    (U, _, Vh), pullback = sg.vjp(sg.svd, x, full_matrices=False)
    U_bar, Vh_bar = np.zeros_like(U), np.zeros_like(Vh)
    U_bar[:, i], Vh_bar[i] = (random(n, seed=7) for n in shape)
    jacobian = sg.singular_vector_jacobian(x, i)
    by_u, by_v = (np.tensordot(random(len(j), seed=7), j, 1) for j in jacobian)
    np.testing.assert_allclose(by_u, pullback((U_bar, None, None))[0], atol=1e-13)
    np.testing.assert_allclose(by_v, pullback((None, None, Vh_bar))[0], atol=1e-13)


@by_dtype
@by_shape
def test_values_have_the_tangents_and_slopes(library, shape, is_complex):
    x, dx = (random(shape, seed=s, is_complex=is_complex) for s in (1, 2))
    jacobian = library.numpy(sg.singular_value_jacobian(library.array(x)))
    along = np.sum(np.conj(jacobian) * dx, axis=(-2, -1)).real
    np.testing.assert_allclose(along, sg.jvp(sg.svdvals, (x,), (dx,))[1], atol=1e-14)
    np.testing.assert_allclose(along, sg.directional_svdvals(x, dx), atol=1e-14)
    _, pullback = sg.vjp(sg.svdvals, x)
    for i, one in enumerate(jacobian):
        np.testing.assert_allclose(one, pullback(np.eye(len(jacobian))[i])[0], atol=1e-14)


@by_dtype
@pytest.mark.parametrize("shape", [(4, 4), (6, 4), (4, 6)])
@pytest.mark.parametrize(
    ("values", "kinks", "words"),
    [
        ((3.0, 2.0, 2.0, 1.0), [1, 2], r"S\[1\] = 2 and S\[2\] = 2 count as equal"),
        ((3.0, 2.0, 1.0, 0.0), [3], r"S\[3\] = .* counts as zero"),
        ((3.0, 2.0, 0.0, 0.0), [2, 3], r"S\[2\] = .* counts as zero"),
        ((0.0, 0.0, 0.0, 0.0), [0, 1, 2, 3], r"S\[0\] = 0 counts as zero"),
    ],
    ids=["tied", "zero", "zeros", "all zero"],
)
def test_values_are_nan_at_kinks(library, shape, values, kinks, words, is_complex):
    x = np.stack(
        [with_spectrum(*shape, v, seed=3, is_complex=is_complex) for v in (values, VALUES)]
    )
    with library.warns(rf"singular_value_jacobian: the derivative is .* element \(0,\).*{words}"):
        found = library.numpy(sg.singular_value_jacobian(library.array(x)))
    missing = np.isnan(found)
    assert np.all(missing[0, kinks])
    assert not np.any(np.delete(missing[0], kinks, axis=0))
    assert not np.any(missing[1])


VALUES = SPECTRA["simple"]


def test_vectors_are_nan_in_a_tie(library):
    x = np.stack([with_spectrum(4, 3, v, seed=3) for v in ((2.0, 2.0, 1.0), VALUES)])
    with library.warns(r"singular_vector_jacobian: .*S\[0\] = 2 and S\[1\] = 2 count as equal"):
        found = sg.singular_vector_jacobian(library.array(x), 1)
    for jacobian in map(library.numpy, found):
        assert np.all(np.isnan(jacobian[0]))
        assert np.all(np.isfinite(jacobian[1]))


JACOBIANS = {
    "values": lambda x, i: sg.singular_value_jacobian(x)[i],
    "u": lambda x, i: sg.singular_vector_jacobian(x, i).u,
    "v": lambda x, i: sg.singular_vector_jacobian(x, i).v,
}
MISSING = [((1.0, 1.0, 1.0), 0), ((2.0, 2.0, 1.0), 0), ((1.0, 0.0, 0.0), 1)]


@pytest.mark.parametrize(
    ("name", "values", "i"),
    [("values", (2.0, 1.0, 0.0), 2), *((name, *case) for name in JACOBIANS for case in MISSING)],
)
@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
def test_no_derivative_where_there_is_no_value(native, name, values, i):
    """Where factors stay as they are, as those of the identity do, it would be zero."""
    of = JACOBIANS[name]
    x, dx = native.array(np.diag(values)), native.array(random((3, 3), seed=5))
    jacobian, pullback = native.vjp(lambda x: of(x, i), x)
    bar = native.array(random(jacobian.shape))
    tangent = native.jvp(lambda x: of(x, i), (x,), (dx,))[1]
    for found in (jacobian, pullback(bar)[0], tangent):
        assert np.all(np.isnan(native.numpy(found)))


def test_why_a_vector_beside_a_tie_has_no_second_derivative(native):
    x = native.array(np.diag([3.0, 1.0, 1.0]))
    jacobian, pullback = native.vjp(lambda x: JACOBIANS["u"](x, 0), x)
    assert np.all(np.isfinite(native.numpy(jacobian)))
    with native.warns("^singular_vector_jacobian: the second derivative .* values are equal"):
        found = pullback(native.array(random((3, 3, 3))))[0]
    assert np.all(np.isnan(native.numpy(found)))


@by_dtype
@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
def test_a_tie_leaves_the_derivatives_of_other_values_alone(native, is_complex):
    spectrum = (3.0, 2.0, 2.0, 1.0)
    x = with_spectrum(4, 4, spectrum, seed=3, is_complex=is_complex)
    dx, bar = (random((4, 4), seed=seed, is_complex=is_complex) for seed in (4, 5))
    _, pullback = native.vjp(lambda x: JACOBIANS["values"](x, 0), native.array(x))
    found = np.sum(np.conj(native.numpy(pullback(native.array(bar))[0])) * dx).real
    up, down = (sg.singular_value_jacobian(x + h * dx)[0] for h in (1e-5, -1e-5))
    wanted = np.sum(np.conj(bar) * (up - down)).real / 2e-5
    np.testing.assert_allclose(found, wanted, rtol=1e-7)


def test_a_nan_affects_no_other(library):
    x = np.stack([random((4, 3), seed=1)] * 3)
    x[1, 2, 0] = np.nan
    found = [
        sg.singular_value_jacobian(library.array(x)),
        *sg.singular_vector_jacobian(library.array(x), 0),
    ]
    for jacobian in map(library.numpy, found):
        assert np.all(np.isnan(jacobian[1]))
        assert np.all(np.isfinite(jacobian[[0, 2]]))


@pytest.mark.parametrize("power", [-600, 600])
def test_scale(library, power):
    x, c = random((5, 4), seed=1), 2.0**power
    pairs = [
        (sg.singular_value_jacobian(library.array(y)), *sg.singular_vector_jacobian(a, 2))
        for y, a in ((x, library.array(x)), (c * x, library.array(c * x)))
    ]
    for here, there, factor in zip(*pairs, (1, c, c), strict=True):
        np.testing.assert_allclose(library.numpy(here), library.numpy(there) * factor, atol=1e-13)


def test_what_is_equal_is_the_users_to_say():
    x = np.diag([1.0, 1 - 1e-9, 0.5])
    np.testing.assert_allclose(sg.singular_value_jacobian(x)[1], np.diag([0, 1.0, 0]))
    with pytest.warns(sg.DerivativeUndefinedWarning, match="count as equal"):
        assert np.all(np.isnan(sg.singular_value_jacobian(x, gap_rtol=1e-8)[1]))
    assert np.all(np.isfinite(sg.singular_vector_jacobian(x, 1).u))
    with pytest.warns(sg.DerivativeUndefinedWarning, match="count as equal"):
        assert np.all(np.isnan(sg.singular_vector_jacobian(x, 1, gap_rtol=1e-8).u))


def test_shapes_and_dtypes(library):
    for shape in ((0, 4, 3), (3, 0), (2, 3, 5)):
        x, k = library.array(random(shape), "float32"), min(shape[-2:])
        jacobian = sg.singular_value_jacobian(x)
        assert tuple(jacobian.shape) == (*shape[:-2], k, *shape[-2:])
        assert jacobian.dtype == x.dtype
        if k:
            for part, rows in zip(sg.singular_vector_jacobian(x, 0), shape[-2:], strict=True):
                assert tuple(part.shape) == (*shape[:-2], rows, *shape[-2:])
                assert part.dtype == x.dtype


def test_bad_arguments():
    x = np.eye(3)[:2]
    with pytest.raises(TypeError, match=r"argument `x` has dtype complex128; .* phase"):
        sg.singular_vector_jacobian(x + 0j, 0)
    for i in (2, -3):
        with pytest.raises(
            ValueError, match=f"`i` is {i}; wanted a whole Python number from 0 to 1"
        ):
            sg.singular_vector_jacobian(x, i)
    for i in (0.0, None):
        with pytest.raises(TypeError, match="wanted a whole Python number"):
            sg.singular_vector_jacobian(x, i)
    with pytest.raises(ValueError, match="singular_value_jacobian: `gap_rtol` is 2"):
        sg.singular_value_jacobian(x, gap_rtol=2)


def everything(x):
    return sg.singular_value_jacobian(x), *sg.singular_vector_jacobian(x, 1)


def assert_equal_up_to_signs(found, x):
    for jacobian, wanted in zip(found, everything(x), strict=True):
        np.testing.assert_allclose(np.abs(np.asarray(jacobian)), np.abs(wanted), atol=1e-14)


def test_in_jax_programs():
    jax = pytest.importorskip("jax")
    x = random((2, 4, 3), seed=1)
    assert_equal_up_to_signs(jax.jit(jax.vmap(everything))(x), x)


@pytest.mark.filterwarnings(
    "ignore:<class 'torch.autograd.function.Function'> should not be:DeprecationWarning"
)
def test_in_pytorch_programs():
    torch = pytest.importorskip("torch")
    torch.compiler.reset()
    x = random((2, 4, 3), seed=1)
    compiled = torch.compile(everything, backend="eager", fullgraph=True)
    for fun in (torch.func.vmap(everything), compiled):
        assert_equal_up_to_signs(fun(torch.asarray(x)), x)
    found = compiled(torch.asarray(x).requires_grad_())
    assert_equal_up_to_signs([part.detach() for part in found], x)


@pytest.mark.parametrize("part", [0, 1, 2], ids=["values", "u", "v"])
def test_pytorch_and_jax_differentiate_them(native, part):
    x, dx = (native.array(random((4, 3), seed=s)) for s in (1, 2))
    _, tangent = native.jvp(lambda x: everything(x)[part], (x,), (dx,))
    h = 1e-5
    there, back = (native.numpy(everything(x + s * dx)[part]) for s in (h, -h))
    np.testing.assert_allclose(native.numpy(tangent), (there - back) / (2 * h), atol=1e-7)


def test_a_mask_keeps_what_is_nan_out_of_a_gradient(native):
    """In a loss of the simple value alone its Jacobian is differentiated as ever."""
    x = with_spectrum(4, 3, (3.0, 1.0, 1.0), seed=3)
    C = random((4, 3), seed=4)

    def loss(x):
        jacobian = sg.singular_value_jacobian(x)
        xp = native.xp
        return xp.sum(xp.where(xp.isnan(jacobian), 0.0, jacobian * native.array(C)))

    with pytest.MonkeyPatch.context() if native.name == "jax" else native.warns("count as equal"):
        (x_bar,) = native.vjp(loss, native.array(x))[1](native.array(1.0))
    dx, h = random((4, 3), seed=5), 1e-5
    there, back = (np.sum(sg.singular_value_jacobian(x + s * dx)[0] * C) for s in (h, -h))
    np.testing.assert_allclose(np.sum(native.numpy(x_bar) * dx), (there - back) / 2 / h, atol=1e-8)


def test_values_close_to_zero_and_to_each_other():
    """Within the tolerance of each other, and neither within half of it of zero."""
    x = np.diag([1.0, 0.9e-12 * 1.8, 0.6e-12 * 1.8])
    with pytest.warns(sg.DerivativeUndefinedWarning, match=r"S\[1\] = .* and S\[2\] = .* equal"):
        found = sg.singular_value_jacobian(x)
    assert np.all(np.isnan(found[1:]))
    np.testing.assert_array_equal(found[0], np.diag([1.0, 0, 0]))


def test_the_host_refuses_to_differentiate_them():
    with pytest.raises(TypeError, match=r"sg\.vjp"):
        sg.vjp(sg.singular_value_jacobian, random((4, 3)))
