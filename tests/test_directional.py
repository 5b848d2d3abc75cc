"""One-sided derivatives of sorted values, against differences in 60 digits and blocks by hand."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matrices import hermitian, random, with_spectrum

import spectralgrad as sg

mpmath = pytest.importorskip("mpmath")
mp = mpmath.mp
pytestmark = pytest.mark.thinned
DIGITS, STEP = 60, "1e-25"
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])

# shape, singular values: tied, zero, both and neither
MATRICES = [
    ((4, 4), (2, 2, 1, 0.5)),
    ((5, 3), (2, 2, 1)),
    ((3, 5), (2, 1, 1)),
    ((4, 4), (2, 2, 2, 2)),
    ((6, 4), (3, 3, 1, 1)),
    ((4, 4), (3, 1, 0, 0)),
    ((5, 3), (2, 0, 0)),
    ((3, 5), (1, 1, 0)),
    ((4, 4), (2, 1, 0.5, 0)),
    ((5, 4), (2, 1, 0.5, 0)),
    ((4, 3), (0, 0, 0)),
    ((1, 3), (0,)),
    ((6, 6), (3, 3, 3, 1, 1, 0)),
    ((6, 4), (2, 2, 0, 0)),
    ((3, 3), (3, 2, 1)),
]
EIGENVALUES = [(-1, -1, 0, 2), (1, 1, 1, 1), (0, 0, 3, 3), (-2, 1, 1, 1, 4), (0, 0, 0), (1, 2, 4)]


def unitary(n, *, seed, is_complex):
    return mp.qr(mp.matrix(random((n, n), seed=seed, is_complex=is_complex).tolist()))[0]


def to_floats(A, *, is_complex):
    values = np.array([[complex(A[i, j]) for j in range(A.cols)] for i in range(A.rows)])
    return values if is_complex else values.real


@cache
def svdvals_case(place, is_complex):
    """x, dx and the slopes at the matrix whose rounding x is, with ties to 60 digits."""
    with mp.workdps(DIGITS):
        (m, n), values = MATRICES[place]
        D = mp.zeros(m, n)
        for i, s in enumerate(values):
            D[i, i] = mp.mpf(s)
        U, V = (unitary(k, seed=j, is_complex=is_complex) for j, k in enumerate((m, n)))
        X, dx = U * D * V.H, random((m, n), seed=place, is_complex=is_complex)
        moved = mp.svd(X + mp.mpf(STEP) * mp.matrix(dx.tolist()), compute_uv=False)
        slopes = [float((moved[i] - s) / mp.mpf(STEP)) for i, s in enumerate(values)]
        return to_floats(X, is_complex=is_complex), dx, np.array(slopes)


@cache
def eigvalsh_case(place, is_complex):
    with mp.workdps(DIGITS):
        values = EIGENVALUES[place]
        n = len(values)
        Q = unitary(n, seed=place, is_complex=is_complex)
        X, dx = Q * mp.diag(values) * Q.H, random((n, n), seed=place + 9, is_complex=is_complex)
        H = mp.matrix(dx.tolist())
        moved = X + mp.mpf(STEP) * (H + H.H) / 2
        moved = (mp.eighe if is_complex else mp.eigsy)(moved, eigvals_only=True)
        slopes = [float((moved[i] - w) / mp.mpf(STEP)) for i, w in enumerate(values)]
        return to_floats(X, is_complex=is_complex), dx, np.array(slopes)


def slopes_of(library, fun, *arrays, **options):
    return library.numpy(fun(*map(library.array, arrays), **options))


@by_dtype
@pytest.mark.parametrize("place", range(len(MATRICES)))
def test_singular_values(library, place, is_complex):
    x, dx, wanted = svdvals_case(place, is_complex)
    found = slopes_of(library, sg.directional_svdvals, x, dx)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


@by_dtype
@pytest.mark.parametrize("place", range(len(EIGENVALUES)))
def test_eigenvalues(library, place, is_complex):
    x, dx, wanted = eigvalsh_case(place, is_complex)
    found = slopes_of(library, sg.directional_eigvalsh, x, dx)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


def one_sided(f, x, dx, t=2e-5):
    return (4 * f(x + t * dx) - f(x + 2 * t * dx) - 3 * f(x)) / (2 * t)


@by_dtype
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6])
def test_sums_are_the_slopes_of_norms(k, is_complex):
    """Cuts inside of a tie of three, of two and of zeros."""
    x = with_spectrum(7, 6, (3, 3, 3, 1, 1, 0), seed=1, is_complex=is_complex)
    dx = random((7, 6), seed=2, is_complex=is_complex)
    slope = np.sum(sg.directional_svdvals(x, dx)[:k])
    np.testing.assert_allclose(slope, one_sided(lambda x: sg.ky_fan_norm(x, k), x, dx), atol=1e-8)
    if k == 1:
        np.testing.assert_allclose(slope, one_sided(sg.spectral_norm, x, dx), atol=1e-8)
    if k == 6:
        np.testing.assert_allclose(slope, one_sided(sg.nuclear_norm, x, dx), atol=1e-8)


@by_dtype
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_sums_of_the_largest_eigenvalues(k, is_complex):
    x = hermitian((-1, 2, 2, 2), seed=1, is_complex=is_complex)
    dx = random((4, 4), seed=2, is_complex=is_complex)
    slope = np.sum(sg.directional_eigvalsh(x, dx)[-k:])
    wanted = one_sided(lambda x: sg.sum_largest_eigvalsh(x, k), x, dx)
    np.testing.assert_allclose(slope, wanted, atol=1e-8)


def by_blocks(x, dx, ties):
    """Slopes with the vectors of each tie; ties end at these places, the last one is of zeros."""
    U, _, Vh = np.linalg.svd(x)
    P = U.conj().T @ dx @ Vh.conj().T
    parts, start = [], 0
    for end in ties:
        block = P[start:end, start:end]
        parts.append(np.linalg.eigvalsh((block + block.conj().T) / 2)[::-1])
        start = end
    return np.concatenate([*parts, np.linalg.svd(P[start:, start:], compute_uv=False)])


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(60, 60), (80, 60), (60, 80)])
def test_many_ties(shape, dtype):
    values = np.repeat(np.arange(20.0, 0, -1), 3) - np.repeat([0, 2], [54, 6])
    ties = range(3, 58, 3)
    values[57:] = 0
    values[54:57] = 0.5
    is_complex = dtype.startswith("complex")
    x = with_spectrum(*shape, values, seed=1, is_complex=is_complex).astype(dtype)
    dx = random(shape, seed=2, is_complex=is_complex).astype(dtype)
    found = sg.directional_svdvals(x, dx)
    bound = 20 * np.finfo(dtype).eps * np.linalg.norm(dx, 2)
    np.testing.assert_allclose(found, by_blocks(x, dx, ties), rtol=0, atol=bound)


def test_equal_slopes_of_several_ties():
    """Blocks whose eigenvalues coincide do not mix."""
    x, turn = np.diag([3.0, 3, 2, 2, 1, 1]), np.array([[0, 1.0], [1, 0]])
    dx = np.zeros((6, 6))
    for i in (0, 2, 4):
        dx[i : i + 2, i : i + 2] = turn
    np.testing.assert_allclose(sg.directional_svdvals(x, dx), [1, -1] * 3, rtol=0, atol=1e-15)
    np.testing.assert_allclose(sg.directional_eigvalsh(x, dx), [-1, 1] * 3, rtol=0, atol=1e-15)
    np.testing.assert_allclose(sg.directional_svdvals(x, np.eye(6)), np.ones(6), atol=1e-15)


@by_dtype
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_simple_values_have_their_tangents(library, shape, is_complex):
    x, dx = (random(shape, seed=s, is_complex=is_complex) for s in (0, 1))
    _, wanted = sg.jvp(sg.svdvals, (x,), (dx,))
    np.testing.assert_allclose(
        slopes_of(library, sg.directional_svdvals, x, dx), wanted, atol=1e-13
    )
    if shape[0] == shape[1]:
        _, wanted = sg.jvp(sg.eigvalsh, (x,), (dx,))
        found = slopes_of(library, sg.directional_eigvalsh, x, dx)
        np.testing.assert_allclose(found, wanted, atol=1e-13)


def test_the_slope_of_the_other_side(library):
    x = with_spectrum(5, 4, (2, 2, 2, 0), seed=3)
    dx = random((5, 4), seed=4)
    there, back = (slopes_of(library, sg.directional_svdvals, x, d) for d in (dx, -dx))
    np.testing.assert_allclose(there[:3], -back[2::-1], atol=1e-14)
    np.testing.assert_allclose(there[3], back[3], atol=1e-14)
    assert there[3] > 0.1


@pytest.mark.parametrize("power", [-600, 600])
def test_scale(library, power):
    """A power of two goes through without rounding."""
    x = with_spectrum(5, 4, (2, 2, 1, 0), seed=3)
    dx, c = random((5, 4), seed=4), 2.0**power
    wanted = slopes_of(library, sg.directional_svdvals, x, dx)
    np.testing.assert_allclose(
        slopes_of(library, sg.directional_svdvals, c * x, dx), wanted, atol=1e-13
    )
    np.testing.assert_allclose(
        slopes_of(library, sg.directional_svdvals, x, c * dx) / c, wanted, atol=1e-13
    )
    H = hermitian((1, 1, 2, 5), seed=1)
    wanted = slopes_of(library, sg.directional_eigvalsh, H, dx[:4])
    found = slopes_of(library, sg.directional_eigvalsh, c * H, c * dx[:4]) / c
    np.testing.assert_allclose(found, wanted, atol=1e-13)


def test_a_stack_is_its_matrices(library):
    x = np.stack([with_spectrum(5, 3, s, seed=1) for s in ((2, 2, 1), (3, 0, 0), (3, 2, 1))])
    dx = random((3, 5, 3), seed=2)
    bad = np.stack([x[0], x[1]]), dx[:2].copy()
    bad[0][0, 0, 0], bad[1][1, 2, 1] = np.nan, np.inf
    stack = [np.concatenate(pair) for pair in zip((x, dx), bad, strict=True)]
    found = slopes_of(library, sg.directional_svdvals, *stack)
    for one, a, b in zip(found, x, dx, strict=False):
        np.testing.assert_allclose(one, sg.directional_svdvals(a, b), atol=1e-14)
    assert np.all(np.isnan(found[3:]))


def test_long_stacks_of_tiny_matrices(library):
    """Those are decomposed by Jacobi's method."""
    x = np.concatenate([np.tile(np.eye(3), (70, 1, 1)), np.zeros((70, 3, 3))])
    dx = random((140, 3, 3), seed=2)
    found = slopes_of(library, sg.directional_svdvals, x, dx)
    rising = np.linalg.eigvalsh(dx + np.swapaxes(dx, -1, -2))[:70, ::-1] / 2
    np.testing.assert_allclose(found[:70], rising, atol=1e-14)
    np.testing.assert_allclose(found[70:], np.linalg.svd(dx[70:])[1], atol=1e-14)


@pytest.mark.parametrize("shape", [(0, 3, 3), (3, 0), (0, 3), (2, 0, 0)])
def test_nothing(library, shape):
    x = library.array(np.zeros(shape))
    assert tuple(sg.directional_svdvals(x, x).shape) == (*shape[:-2], min(shape[-2:]))
    if shape[-1] == shape[-2]:
        assert tuple(sg.directional_eigvalsh(x, x).shape) == shape[:-1]


def test_what_is_equal_is_the_users_to_say():
    x, dx = np.diag([1.0, 1 - 1e-9, 1e-9]), np.diag([1.0, 2.0, -3.0])
    np.testing.assert_allclose(sg.directional_svdvals(x, dx), [1, 2, -3])
    np.testing.assert_allclose(sg.directional_svdvals(x, dx, gap_rtol=1e-8), [2, 1, 3])
    np.testing.assert_allclose(sg.directional_eigvalsh(x, dx)[1:], [2, 1])
    np.testing.assert_allclose(sg.directional_eigvalsh(x, dx, gap_rtol=1e-8)[1:], [1, 2])


def test_half_precision_and_dtypes(library):
    x, dx = np.eye(3), np.diag([1.0, 2, 3])
    arrays = library.array(x, "float32"), library.array(dx)
    found = sg.directional_svdvals(*arrays)
    assert found.dtype == arrays[0].dtype
    np.testing.assert_allclose(library.numpy(found), [3, 2, 1], rtol=1e-6)
    if hasattr(library.xp, "float16"):
        half = [library.xp.astype(a, library.xp.float16) for a in arrays]
        found = sg.directional_svdvals(*half)
        assert found.dtype == library.xp.float16
        np.testing.assert_allclose(library.numpy(found), [3, 2, 1], rtol=1e-3)


@pytest.mark.parametrize("fun", [sg.directional_svdvals, sg.directional_eigvalsh])
def test_a_derivative_is_refused(native, fun):
    x = native.array(np.diag([3.0, 2.0]))
    with pytest.raises(TypeError, match="have no derivative of their own"):
        native.vjp(lambda x: fun(x, x), x)[1](native.array(np.ones(2)))
    with pytest.raises(TypeError, match="have no derivative of their own"):
        sg.vjp(lambda x: fun(x, x), np.eye(2))[1](np.ones(2))


def test_bad_arguments():
    x = np.eye(3)
    with pytest.raises(ValueError, match=r"directional_svdvals: argument `dx` has shape \(3, 2\)"):
        sg.directional_svdvals(x, x[:, :2])
    with pytest.raises(TypeError, match="`dx` has dtype complex128; wanted real"):
        sg.directional_svdvals(x, 1j * x)
    with pytest.raises(TypeError, match="`dx` is a list"):
        sg.directional_eigvalsh(x, [[1.0]])
    with pytest.raises(ValueError, match="wanted square"):
        sg.directional_eigvalsh(x[:2], x[:2])
    with pytest.raises(ValueError, match="gap_rtol"):
        sg.directional_svdvals(x, x, gap_rtol=-1)


@pytest.fixture
def stack():
    return (
        np.stack([with_spectrum(4, 3, s, seed=1) for s in ((2, 2, 1), (3, 0, 0))]),
        random((2, 4, 3), seed=2),
    )


def test_in_jax_programs(stack):
    jax = pytest.importorskip("jax")
    compiled = jax.jit(jax.vmap(sg.directional_svdvals))
    np.testing.assert_allclose(compiled(*stack), sg.directional_svdvals(*stack), atol=1e-14)


def test_in_pytorch_programs(stack):
    torch = pytest.importorskip("torch")
    torch.compiler.reset()
    for fun in (
        torch.func.vmap(sg.directional_svdvals),
        torch.compile(sg.directional_svdvals, backend="eager", fullgraph=True),
    ):
        found = fun(*map(torch.asarray, stack))
        np.testing.assert_allclose(found, sg.directional_svdvals(*stack), atol=1e-14)
