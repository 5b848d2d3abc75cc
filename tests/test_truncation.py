"""An adaptive rank: the conditions hold, and what is kept is a truncated SVD of that rank."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
import scipy.sparse
from matrices import random, with_spectrum
from scipy.sparse.linalg import aslinearoperator

import spectralgrad as sg

pytestmark = pytest.mark.filterwarnings(
    "ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning",
    "ignore:truncat.*nothing is kept:UserWarning",
    "ignore:<class 'torch.autograd.function.Function'> should not be:DeprecationWarning",
)
KRYLOV = {"solver": "krylov", "adjoint": "krylov"}
SPECTRA = {
    "decaying": 2.0 ** -np.arange(9),
    "slow": 1 / np.arange(1.0, 10.0),
    "rank 3": np.array([3.0, 2.0, 1.0, 0, 0, 0, 0, 0, 0]),
    "tied at most": np.array([3.0, 2.0, 1.5, 1.0, 0.5, 0.5, 0.5, 0.25, 0.1]),
    "tied above": np.array([4.0, 2.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.25, 0.1]),
    "all tied": np.full(9, 2.0),
    "zero": np.zeros(9),
    "rank 9": np.linspace(2.0, 1.0, 9),
}
CONDITIONS = [
    {"most": 5},
    {"most": 9},
    {"most": 30},
    {"most": 6, "rtol": 0.21},
    {"most": 9, "rtol": 1e-3},
    {"most": 6, "error": 0.3},
    {"most": 9, "error": 0.05},
    {"most": 9, "error": 1e-8},
    {"most": 7, "rtol": 0.3, "error": 0.1},
    {"most": 4, "error": 1.0},
]
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])


def rank_of(s, most, rtol=0.0, error=None):
    """The rank by its definition, from all of the values."""
    padded = np.append(s, 0.0)
    gap = np.finfo(float).eps ** 0.75 * s[0]
    ranks = [c for c in range(1, min(most, len(s)) + 1) if padded[c - 1] - padded[c] > gap]
    ranks = [0, *(c for c in ranks if s[c - 1] > rtol * s[0])]
    if error is None:
        return ranks[-1]
    enough = [c for c in ranks if np.linalg.norm(s[c:]) <= error * np.linalg.norm(s) and c]
    return enough[0] if enough else ranks[-1]


def stack_of(shape, is_complex, names=SPECTRA):
    parts = [
        with_spectrum(*shape, SPECTRA[name], seed=i, is_complex=is_complex)
        for i, name in enumerate(names)
    ]
    return np.stack(parts)


def of_rank(x, r, **options):
    """The triplets that a number for k gives, none for 0."""
    if r == 0:
        return np.zeros((x.shape[0], 0)), np.zeros(0), np.zeros((0, x.shape[1]))
    return sg.truncated_svd(x, r, **options)


@pytest.mark.thinned
@by_dtype
@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
def test_every_condition_holds(library, conditions, is_complex):
    shape = (12, 9)
    stack, truncation = stack_of(shape, is_complex), sg.truncation(**conditions)
    function = library.compiled(lambda x: sg.truncated_svd(x, truncation))
    U, S, Vh, mask = map(library.numpy, function(library.array(stack)))
    most = min(conditions["most"], 9)
    assert mask.dtype == bool
    assert U.shape[-1] == S.shape[-1] == Vh.shape[-2] == mask.shape[-1] == most
    for i, (x, s) in enumerate(zip(stack, SPECTRA.values(), strict=True)):
        r = rank_of(s, **conditions)
        np.testing.assert_array_equal(mask[i], np.arange(most) < r)
        assert not np.any(U[i, :, r:])
        assert not np.any(S[i, r:])
        assert not np.any(Vh[i, r:])
        wanted = of_rank(x, r)
        np.testing.assert_allclose(S[i, :r], wanted[1], rtol=1e-13)
        np.testing.assert_allclose(
            (U[i] * S[i]) @ Vh[i], (wanted[0] * wanted[1]) @ wanted[2], atol=1e-13
        )


def bars_of(U, S, Vh):
    """Cotangents of Re<C, U S^2 V^H> + sum S^3, zero where S is."""
    C = random((U.shape[0], Vh.shape[1]), seed=2)
    CV = C @ Vh.conj().T
    S_bar = np.sum(U.conj() * CV, axis=0).real * 2 * S + 3 * S**2
    return CV * S**2, S_bar, (U * S**2).conj().T @ C


UNTIED = {"decaying": 5, "slow": 6, "rank 3": 3, "tied at most": 4, "zero": 0, "rank 9": 6}


def padded_bars(found, ranks):
    """`bars_of` what is kept, and anything in the columns that are not."""
    bars = [random(part.shape, seed=7).astype(part.dtype) for part in found[:3]]
    for i, r in enumerate(ranks):
        U, S, Vh = found.U[i, :, :r], found.S[i, :r], found.Vh[i, :r]
        bars[0][i, :, :r], bars[1][i, :r], bars[2][i, :r] = bars_of(U, S, Vh)
    return tuple(bars)


def moved(out, dots):
    """What tangents do to U S V^H with S held, which no phase changes."""
    (U, S, Vh), (dU, _, dVh) = out[:3], dots[:3]
    return (dU * S) @ Vh + (U * S) @ dVh


@pytest.mark.thinned
@by_dtype
@pytest.mark.parametrize("shape", [(12, 9), (9, 12)], ids=str)
@pytest.mark.parametrize("options", [{}, KRYLOV], ids=["full", "krylov"])
def test_derivatives_are_those_of_the_rank(library, shape, options, is_complex):
    stack, ranks = stack_of(shape, is_complex, UNTIED), list(UNTIED.values())
    dx = random(stack.shape, seed=5, is_complex=is_complex)
    truncation = sg.truncation(6, rtol=0.05)
    function = lambda x: tuple(sg.truncated_svd(x, truncation, **options)[:3])
    bars = padded_bars(sg.truncated_svd(stack, truncation, **options), ranks)
    _, pullback = library.vjp(function, library.array(stack))
    x_bar = library.numpy(pullback(tuple(map(library.array, bars)))[0])
    results = library.jvp(function, (library.array(stack),), (library.array(dx),))
    out, dots = (tuple(map(library.numpy, parts)) for parts in results)
    for i, r in enumerate(ranks):
        assert not np.any(dots[0][i, :, r:])
        assert not np.any(dots[1][i, r:])
        assert not np.any(dots[2][i, r:])
        if r == 0:
            assert not np.any(x_bar[i])
            continue
        of_number = partial(sg.truncated_svd, k=r, **options)
        triplets, pullback = sg.vjp(of_number, stack[i])
        np.testing.assert_allclose(x_bar[i], pullback(bars_of(*triplets))[0], atol=1e-12)
        wanted = sg.jvp(of_number, (stack[i],), (dx[i],))
        np.testing.assert_allclose(dots[1][i, :r], wanted[1].S, atol=1e-12)
        found = moved([part[i] for part in out], [part[i] for part in dots])
        np.testing.assert_allclose(found, moved(*wanted), atol=1e-12)


@pytest.mark.thinned
def test_the_error_of_an_adaptive_rank(library):
    names = (*UNTIED, "all tied")
    stack, k = stack_of((12, 9), False, names), sg.truncation(6, rtol=0.05)
    function = lambda x: sg.truncation_error(x, k)
    e, pullback = library.vjp(function, library.array(stack))
    (x_bar,) = pullback(library.xp.ones_like(e))
    for i, r in enumerate((*UNTIED.values(), 0)):
        if r:
            value, of_number = sg.vjp(sg.truncation_error, stack[i], k=r)
            wanted = of_number(1.0)[0]
        else:  # nothing is kept
            value = np.linalg.norm(stack[i])
            wanted = stack[i] / (value or 1)
        assert np.isclose(library.numpy(e)[i], value, atol=1e-14)
        np.testing.assert_allclose(library.numpy(x_bar)[i], wanted, atol=1e-12)


def total(x, k, xp, **options):
    U, S, Vh = sg.truncated_svd(x, k, **options)[:3]
    return xp.sum(((U * S[..., None, :]) @ Vh) ** 3) + xp.sum(S**3)


def with_zeros(xp):
    """A matrix of rank 2, and a function of it with all four triplets to choose from, or two."""
    x = xp.asarray(with_spectrum(5, 4, [3.0, 2.0, 0.0, 0.0]))
    return x, lambda adjoint: [
        partial(total, k=k, xp=xp, adjoint=adjoint) for k in (sg.truncation(4), 2)
    ]


@pytest.mark.parametrize("adjoint", ["full", "krylov"])
@pytest.mark.parametrize("shape", [(4, 4), (4, 5), (6, 4)])
def test_what_is_dropped_of_all_is_outside(shape, adjoint):
    """There are as many columns as rows, but not as many vectors."""
    x = with_spectrum(*shape, [4.0, 2.0, 1e-1, 1e-2])
    left, right = (random((n, n), seed=n) for n in shape)
    gradients = []
    for k in (sg.truncation(4, rtol=0.1), 2):
        (U, S, Vh, *_), pullback = sg.vjp(sg.truncated_svd, x, k=k, adjoint=adjoint)
        w = np.arange(1.0, 5.0)[: len(S)] * (S != 0)
        bars = (left @ U) * w, w, ((right @ Vh.T) * w).T
        gradients.append(pullback(bars if k == 2 else (*bars, None))[0])
    np.testing.assert_allclose(*gradients, atol=1e-12)


@pytest.mark.parametrize("solver", ["full", "krylov"])
@pytest.mark.parametrize("shape", [(5, 5), (5, 9), (9, 5)])
def test_nothing_is_outside_of_all(shape, solver):
    """Not even what rounding leaves there, over a small value."""
    x, weight = with_spectrum(*shape, [4.0, 3.0, 2.0, 1.0, 1e-9]), random((5, 5), seed=1)
    side = 0 if shape[0] < shape[1] else 2  # the square one
    gradients = []
    for function, options in (
        (sg.svd, {"full_matrices": False}),
        (sg.truncated_svd, {"k": sg.truncation(5), "solver": solver, "adjoint": solver}),
    ):
        found, pullback = sg.vjp(function, x, **options)
        W = found[side] if side == 0 else found[side].T
        bar = ((weight + weight.T) @ W) * np.arange(1.0, 6.0)
        bars = [None] * len(found)
        bars[side] = bar if side == 0 else bar.T
        gradients.append(pullback(tuple(bars))[0])
    np.testing.assert_allclose(*gradients, atol=1e-12)


@pytest.mark.parametrize("adjoint", ["full", "krylov"])
def test_second_derivatives_of_pytorch_do_not_see_what_is_dropped(adjoint):
    torch = pytest.importorskip("torch")
    x, of = with_zeros(torch)
    found, wanted = (torch.func.hessian(f)(x) for f in of(adjoint))
    assert torch.max(torch.abs(wanted)) > 1
    torch.testing.assert_close(found, wanted)
    mixed = torch.func.jacrev(torch.func.jacfwd(of(adjoint)[0]))(x)
    torch.testing.assert_close(mixed, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("adjoint", ["full", "krylov"])
def test_second_derivatives_of_jax_do_not_see_what_is_dropped(adjoint):
    jax = pytest.importorskip("jax")
    x, of = with_zeros(jax.numpy)
    found, wanted = (jax.jit(jax.hessian(f))(x) for f in of(adjoint))
    assert np.max(np.abs(wanted)) > 1
    np.testing.assert_allclose(found, wanted, atol=1e-10)


def kinds(x):
    """x as what has products; a sparse matrix last."""
    csr = scipy.sparse.csr_array(x)
    return x, aslinearoperator(csr), csr


@by_dtype
@pytest.mark.parametrize("scale", [2.0**-500, 1.0, 2.0**500])
def test_the_error_bound_without_the_whole_spectrum(scale, is_complex):
    s = 0.7 ** np.arange(60)
    x = with_spectrum(70, 60, s, is_complex=is_complex) * scale
    for error in (0.5, 0.1, 1e-3, 1e-7):
        for most in (3, 8, 20, 50):
            k, r = sg.truncation(most, error=error), rank_of(s, most, error=error)
            for A in kinds(x)[: 3 if error > 1e-4 else 2]:
                found = sg.truncated_svd(A, k, solver="krylov", adjoint="krylov")
                assert np.sum(found.mask) == r
                left = sg.truncation_error(A, k, solver="krylov")
                assert np.isclose(left / scale, np.linalg.norm(s[r:]), rtol=1e-6)


def test_a_bound_that_a_sparse_matrix_cannot_tell():
    rng = np.random.default_rng(0)
    A = scipy.sparse.random_array((900, 600), density=0.01, rng=rng).tocsr()
    k = sg.truncation(4, error=1e-5)
    for function in (sg.truncated_svd, sg.truncation_error):
        with pytest.raises(
            ValueError, match=rf"{function.__name__}: `k` has error = 1e-05.*0.00012"
        ):
            function(A, k)
    assert np.sum(sg.truncated_svd(A, k, solver="full").mask) == 4
    assert np.sum(sg.truncated_svd(aslinearoperator(A), k).mask) == 4


def test_gradients_of_operators_and_sparse_matrices():
    s = np.concatenate([2.0 ** -np.arange(6), np.full(54, 1e-3)])
    x, k = with_spectrum(70, 60, s), sg.truncation(12, rtol=0.01)  # 12 splits a multiplet
    wanted = sg.vjp(sg.truncated_svd, x, k=6)
    x_bar = wanted[1](bars_of(*wanted[0]))[0]
    for A in kinds(x):
        out, pullback = sg.vjp(sg.truncated_svd, A, k=k, **KRYLOV)
        assert out.S.shape == (12,)
        assert np.sum(out.mask) == 6
        found = pullback((*bars_of(*out[:3]), None))[0]
        found = found if A is x else found.todense()
        np.testing.assert_allclose(found, x_bar, atol=1e-11)


@pytest.mark.thinned
@by_dtype
@pytest.mark.parametrize("ties", ["nan", "drop", "split"])
def test_ties_among_what_is_kept(library, ties, is_complex):
    """Of a loss of U_r U_r^H alone, for which all policies but "nan" are right."""
    x = with_spectrum(12, 9, [3, 3, 2, 2, 1, 0.5, 0.5, 0.5, 0.1], is_complex=is_complex)
    W = random((12, 12), seed=1)

    def gradient(library, x, k):
        function = lambda x: tuple(sg.truncated_svd(x, k, ties=ties)[:3])
        out, pullback = library.vjp(function, library.array(x))
        bars = [np.zeros(part.shape, part.dtype) for part in map(library.numpy, out)]
        bars[0] += (W + W.T) @ library.numpy(out[0])
        return library.numpy(pullback(tuple(map(library.array, bars)))[0])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sg.DerivativeUndefinedWarning)
        found = gradient(library, x, sg.truncation(7, rtol=0.3))
    if ties == "nan":
        assert np.all(np.isnan(found))
    else:
        wanted = sg.vjp(sg.singular_projector, x, k=5)[1](W.astype(x.dtype))[0]
        np.testing.assert_allclose(found, wanted, atol=1e-11 if ties == "drop" else 1e-6)


def test_an_element_that_is_not_finite_is_nan_and_shows(library):
    stack = stack_of((12, 9), False, ("decaying", "rank 3", "zero"))
    stack[1, 2, 3] = np.nan
    k = sg.truncation(6)
    function = lambda x: tuple(sg.truncated_svd(x, k)[:3])
    out, pullback = library.vjp(function, library.array(stack))
    mask = library.compiled(lambda x: sg.truncated_svd(x, k).mask)(library.array(stack))
    assert np.all(library.numpy(mask)[1])
    zeros = [library.xp.zeros_like(part) for part in out]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sg.DerivativeUndefinedWarning)
        x_bar = library.numpy(pullback((zeros[0], zeros[1] + 1, zeros[2]))[0])
    for part in map(library.numpy, out):
        assert np.all(np.isnan(part[1]))
        assert np.all(np.isfinite(part[[0, 2]]))
    assert np.all(np.isnan(x_bar[1]))
    assert np.all(np.isfinite(x_bar[[0, 2]]))


@pytest.mark.thinned
def test_the_mask_is_an_output_without_a_derivative(library):
    x = library.array(stack_of((12, 9), False))
    k = sg.truncation(4, error=0.1)
    out, pullback = sg.vjp(sg.truncated_svd, x, k=k)
    dots = sg.jvp(sg.truncated_svd, (x,), (x,), k=k)[1]
    assert library.numpy(out.mask).dtype == bool
    assert not np.any(library.numpy(dots.mask))
    np.testing.assert_allclose(library.numpy(dots.S), library.numpy(out.S), atol=1e-13)
    assert library.numpy(pullback((None, out.S, None, None))[0]).shape == (8, 12, 9)
    with pytest.raises(ValueError, match="3 items; wanted a tuple of 4"):
        pullback((None, out.S, None))


def test_single_and_half_precision():
    torch = pytest.importorskip("torch")
    x, k = torch.asarray(with_spectrum(12, 9, SPECTRA["tied at most"])), sg.truncation(6)
    assert int(sg.truncated_svd(x.float(), k).mask.sum()) == 4
    assert int(sg.truncated_svd(x.to(torch.complex64), k).mask.sum()) == 4
    half = x.half()  # whose rounding opens the tie
    found, wanted = sg.truncated_svd(half, k), sg.truncated_svd(half.float(), k)
    assert found.U.dtype == found.Vh.dtype == torch.float16
    assert torch.equal(found.mask, wanted.mask)


def test_a_truncation_is_a_static_argument_of_jit():
    jax = pytest.importorskip("jax")
    x = with_spectrum(12, 9, SPECTRA["slow"])
    jitted = jax.jit(sg.truncated_svd, static_argnames="k")
    for truncation in (sg.truncation(5, rtol=0.3), sg.truncation(most=5, error=0.5)):
        found, again = jitted(x, k=truncation), sg.truncated_svd(x, truncation)
        for part, other in zip(found, again, strict=True):
            np.testing.assert_allclose(np.abs(part), np.abs(other), atol=1e-13)
    assert sg.truncation(3, rtol=0.5) == sg.truncation(3, rtol=0.5)
    assert len({sg.truncation(3), sg.truncation(3), sg.truncation(4)}) == 2


@pytest.mark.slow
def test_pytorch_compiles_and_maps():
    torch = pytest.importorskip("torch")
    x, k = torch.asarray(stack_of((12, 9), False, UNTIED)), sg.truncation(6, rtol=0.05)
    of = partial(total, k=k, xp=torch)
    wanted = torch.stack([torch.func.grad(of)(part) for part in x])
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(of))(x), wanted)
    leaf = x.clone().requires_grad_()
    torch.compile(of, fullgraph=True)(leaf).backward()
    torch.testing.assert_close(leaf.grad, wanted)


def test_dask_computes_nothing_early():
    da = pytest.importorskip("dask.array")
    stack = stack_of((12, 9), False)
    x, k = da.from_array(stack, chunks=(2, 12, 9)), sg.truncation(6, error=0.2)
    found, wanted = sg.truncated_svd(x, k), sg.truncated_svd(stack, k)
    assert isinstance(found.mask, da.Array)
    for part, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(part.compute(), other, atol=1e-13)


def test_a_multiplet_that_is_too_large_is_told_of():
    k, words = sg.truncation(3), r"truncated_svd: `k` has most = 3 where.*nothing is kept"
    with pytest.warns(UserWarning, match=words):
        sg.truncated_svd(np.stack([np.eye(5), np.diag(np.arange(5.0))]), k)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sg.truncated_svd(np.zeros((2, 5, 5)), k)
        sg.truncated_svd(np.eye(5), sg.truncation(5))


def test_arguments_out_of_range():
    for given, words in (
        ({"most": 0}, "`most` is 0; wanted a whole number, at least 1"),
        ({"most": 2.0}, "`most` is 2.0"),
        ({"most": 2, "rtol": 1.0}, "`rtol` is 1.0"),
        ({"most": 2, "error": 0.0}, "`error` is 0.0; wanted None or a number above 0"),
        ({"most": 2, "error": 2}, "`error` is 2"),
    ):
        with pytest.raises(ValueError, match=f"truncation: {words}"):
            sg.truncation(**given)
    with pytest.raises(TypeError, match="truncated_eigh: `k` is a Truncation"):
        sg.truncated_eigh(np.eye(5), sg.truncation(2))
    with pytest.raises(ValueError, match=r"truncated_svd: argument `x` has shape \(0, 3\)"):
        sg.truncated_svd(np.zeros((0, 3)), sg.truncation(2))
    assert sg.truncated_svd(np.zeros((0, 4, 3)), sg.truncation(2)).mask.shape == (0, 2)
