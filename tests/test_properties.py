"""What holds for every operation, input and library."""

from __future__ import annotations

from functools import partial
from threading import Event, Thread, current_thread

import numpy as np
import pytest
from matrices import SHAPES, SPECTRA, hermitian, random, sample, with_spectrum
from operations import OPERATIONS
from threadpoolctl import threadpool_limits

import spectralgrad as sg
from spectralgrad.testing import check_jvp, check_vjp, inner, random_cotangent

pytestmark = pytest.mark.thinned  # JAX has the 485 references on all operations besides
by_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.name)
by_dtype = pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])


def _shapes(operation):
    return ((4, 4), (2, 3, 3)) if operation.square else SHAPES


def _leaves(out):
    return tuple(out) if isinstance(out, tuple) else (out,)


def _matrix(operation, spectrum, shape, is_complex):
    values = SPECTRA[spectrum]
    if operation.square:
        return hermitian(values, is_complex=is_complex)
    return with_spectrum(*shape, values, is_complex=is_complex)


@by_operation
@by_dtype
def test_derivatives_agree_with_differences_and_each_other(library, operation, is_complex):
    for shape in library.brief(_shapes(operation)):
        x = library.array(sample(operation, shape, seed=3, is_complex=is_complex))
        call = library.compiled(operation.call)
        check_vjp(call, x)
        check_jvp(call, x)


@by_dtype
@pytest.mark.parametrize(
    ("operation", "spectrum"),
    [
        pytest.param(operation, spectrum, id=f"{operation.name}-{spectrum}")
        for operation in OPERATIONS
        for spectrum in ("pair", "triple", "all_equal", "gap1e-8", "rank_deficient", "zero")
        if operation.exists_at(spectrum)
    ],
)
def test_adjoint_at_ties_and_zeros(library, operation, spectrum, is_complex):
    is_complex = is_complex and not operation.real
    for shape in library.brief(((5, 3), (4, 4), (3, 5))):
        x = library.array(_matrix(operation, spectrum, shape, is_complex))
        dx = library.array(random(tuple(x.shape), seed=7, is_complex=is_complex))
        out, pullback = library.vjp(operation.call, x)
        out_bar = random_cotangent(out)
        (x_bar,) = pullback(out_bar)
        _, dout = library.jvp(operation.call, (x,), (dx,))
        size = np.linalg.norm(library.numpy(x_bar)) * np.linalg.norm(library.numpy(dx))
        assert abs(inner(x_bar, dx) - inner(out_bar, dout)) <= 1e-12 * size


@by_operation
def test_own_and_native_agree(native, operation):
    x = native.array(sample(operation, _shapes(operation)[0], seed=5, is_complex=True))
    out, own = sg.vjp(operation.call, x)
    out_bar = random_cotangent(out)
    np.testing.assert_allclose(
        native.numpy(own(out_bar)[0]),
        native.numpy(native.vjp(operation.call, x)[1](out_bar)[0]),
        rtol=0,
        atol=1e-13,
    )


@by_operation
def test_stack_is_its_members(library, operation):
    x = sample(operation, (3, 2, 4, 4), seed=11, is_complex=True)
    out, pullback = sg.vjp(operation.call, library.array(x))
    out_bar = random_cotangent(out)
    (x_bar,) = pullback(out_bar)
    assert all(tuple(y.shape[:2]) == (3, 2) for y in _leaves(out))
    alone_out, alone = sg.vjp(operation.call, library.array(x[2, 1]))
    bars = tuple(bar[2, 1, ...] for bar in _leaves(out_bar))
    (alone_bar,) = alone(bars if isinstance(out, tuple) else bars[0])
    for y, y_alone in zip(_leaves(out), _leaves(alone_out), strict=True):
        np.testing.assert_allclose(
            library.numpy(y)[2, 1], library.numpy(y_alone), rtol=1e-12, atol=1e-13
        )
    np.testing.assert_allclose(
        library.numpy(x_bar)[2, 1], library.numpy(alone_bar), rtol=1e-10, atol=1e-12
    )


@by_operation
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_nan_member_reaches_no_other(library, operation, bad):
    x = sample(operation, (3, 4, 4), seed=13)
    x[1, 2, 0] = bad
    out, pullback = sg.vjp(operation.call, library.array(x))
    out_bar = random_cotangent(out)
    x_bar = library.numpy(pullback(out_bar)[0])
    _, tangent = sg.jvp(operation.call, (library.array(x),), (library.array(np.ones_like(x)),))
    for y in (*_leaves(out), *_leaves(tangent), x_bar):
        y = library.numpy(y)
        assert np.all(np.isnan(y[1]))
        assert np.all(np.isfinite(y[::2]))


@by_operation
def test_empty(library, operation):
    shapes = [(0, 0), (2, 0, 0), (0, 3, 3)]
    shapes = shapes if operation.square else [*shapes, (0, 3), (3, 0), (0, 2, 3)]
    for shape in [(0, 3, 3)] if operation.cut else library.brief(shapes[::-1]):
        _check_empty(library, operation, shape)


def _check_empty(library, operation, shape):
    x = library.array(np.zeros(shape))
    out, pullback = library.vjp(operation.call, x)
    (x_bar,) = pullback(random_cotangent(out))
    _, tangent = library.jvp(operation.call, (x,), (x,))
    assert tuple(x_bar.shape) == shape
    for y, dy in zip(_leaves(out), _leaves(tangent), strict=True):
        assert y.shape == dy.shape


by_scale = pytest.mark.parametrize(
    ("dtype", "exponents"), [(np.float64, (-600, 600)), (np.float32, (-83, 83))], ids=["f8", "f4"]
)


@pytest.mark.parametrize(
    "operation",
    [operation for operation in OPERATIONS if operation.scale_power is not None],
    ids=lambda operation: operation.name,
)
@by_scale
def test_scale_changes_nothing_but_the_scale(library, operation, dtype, exponents):
    """F(c A) = c^p F(A) with c a power of two: what differs is the factorization's rounding."""
    p, tolerance = operation.scale_power, 1000 * np.finfo(dtype).eps
    x = _matrix(operation, "spread", (4, 4), False).astype(dtype)
    out, pullback = sg.vjp(operation.call, library.array(x))
    out_bar = random_cotangent(out)
    x_bar = library.numpy(pullback(out_bar)[0])
    for exponent in exponents:
        c = dtype(2.0) ** exponent
        scaled, scaled_pullback = sg.vjp(operation.call, library.array(c * x))
        scaled_bar = library.numpy(scaled_pullback(out_bar)[0])
        np.testing.assert_allclose(library.numpy(scaled) / c**p, library.numpy(out), atol=tolerance)
        np.testing.assert_allclose(scaled_bar * c ** (1 - p), x_bar, atol=tolerance)


@pytest.mark.thinned
@pytest.mark.filterwarnings("ignore:.*overflows", "ignore:.*out of range", "ignore:.*infinite")
@by_operation
def test_values_that_overflow_are_never_finite_and_wrong(library, operation):
    """The largest numbers have a spectrum that is out of range."""
    c, p = 1.7e308, operation.scale_power
    x = hermitian((1.4, 1.2, 0.5, 0.3)) if operation.square else random((4, 3), seed=17)
    x = x / np.max(np.abs(x))
    out, pullback = sg.vjp(operation.call, library.array(c * x))
    wanted, wanted_pullback = sg.vjp(operation.call, library.array(x))
    out_bar = random_cotangent(wanted)
    x_bar, wanted_bar = (library.numpy(f(out_bar)[0]) for f in (pullback, wanted_pullback))
    assert np.max(sg.svdvals(c * x)) == np.inf
    if p is None:
        return
    with np.errstate(over="ignore"):
        wanted, wanted_bar = c**p * library.numpy(wanted), c ** (p - 1) * wanted_bar
    for found, right in ((library.numpy(out), wanted), (x_bar, wanted_bar)):
        known = np.isfinite(found)
        np.testing.assert_allclose(found[known], right[known], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("call", [sg.svdvals, sg.eigvalsh, lambda x: sg.eigh(x)[0]])
def test_the_largest_numbers_have_a_spectrum(library, call):
    x = hermitian((1.4, 1.2, 0.5, 0.3))
    c = 1.7e308 / np.max(np.abs(x))
    with np.errstate(over="ignore"):
        wanted = c * np.asarray(call(x))
    np.testing.assert_allclose(library.numpy(call(library.array(c * x))), wanted, rtol=1e-12)


@by_scale
@pytest.mark.parametrize("call", [sg.svd, partial(sg.svd, full_matrices=False), sg.eigh])
def test_scale_of_vectors(library, call, dtype, exponents):
    """Vectors do not change with the scale, and their cotangents pull back as 1/c."""
    x = hermitian(SPECTRA["spread"]).astype(dtype)
    x = x if call is sg.eigh else np.concatenate([x, x[:1]])
    tolerance = 1e4 * np.finfo(dtype).eps

    def pulled(matrix):
        out, pullback = sg.vjp(call, library.array(matrix))
        bars = [bar if bar.ndim > 1 else None for bar in random_cotangent(out)]
        vectors = [np.abs(library.numpy(y)) for y in out if y.ndim > 1]
        return vectors, library.numpy(pullback(tuple(bars))[0])

    vectors, x_bar = pulled(x)
    for exponent in exponents:
        c = dtype(2.0) ** exponent
        scaled_vectors, scaled_bar = pulled(c * x)
        for W, scaled_W in zip(vectors, scaled_vectors, strict=True):
            np.testing.assert_allclose(scaled_W[:, :4], W[:, :4], atol=tolerance)
        np.testing.assert_allclose(scaled_bar * c, x_bar, atol=tolerance)


def test_scale_at_zero_values(library):
    """Zeros are told from values at the edge of single precision's range."""
    x = np.diag([2.0, 1.0, 0.0]).astype(np.float32)
    bars = library.array(random((3, 3)).astype(np.float32))

    def pulled(c):
        fun = _shrink(0.5 * c)
        return library.numpy(sg.vjp(fun, library.array(x * np.float32(c)))[1](bars)[0])

    for c in (1e-36, 1e36):
        np.testing.assert_allclose(pulled(c), pulled(1.0), rtol=1e-5)


def _shrink(tau):
    return lambda x: sg.svd_function(x, sg.functions.soft_threshold(tau))


def test_arrays_stay_on_their_device():
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device("device1")
    x = strict.asarray(random((2, 4, 3)), device=device)
    square = strict.asarray(random((3, 3)), device=device)
    for ties in ("nan", "raise", "drop", "split"):
        for call, matrix in ((sg.svd, x), (sg.eigh, square)):
            out, pullback = sg.vjp(call, matrix, ties=ties)
            bars = type(out)(*(strict.ones_like(y) for y in out)) if call is sg.eigh else None
            assert pullback(bars)[0].device == device
            assert all(y.device == device for y in out)
    for operation in OPERATIONS:
        if operation.name not in ("svd", "svd_full", "eigh"):
            out, pullback = sg.vjp(operation.call, square)
            bars = tuple(map(strict.ones_like, _leaves(out)))
            (x_bar,) = pullback(bars if isinstance(out, tuple) else bars[0])
            assert x_bar.device == device


@by_operation
def test_input_is_left_alone(operation):
    x = sample(operation, (4, 4), seed=17)
    x.setflags(write=False)
    kept = x.copy()
    out, pullback = sg.vjp(operation.call, x)
    out_bar = random_cotangent(out)
    for bar in _leaves(out_bar):
        bar.setflags(write=False)
    pullback(out_bar)
    pullback(out_bar)
    sg.jvp(operation.call, (x,), (kept,))
    np.testing.assert_array_equal(x, kept)


@by_operation
@pytest.mark.parametrize("name", ["float32", "float64", "complex64", "complex128"])
def test_dtypes_and_kinds_are_kept(library, operation, name):
    if name.startswith("complex") and operation.real:
        return
    x = library.array(sample(operation, (4, 4), is_complex=name.startswith("complex")), name)
    out, pullback = sg.vjp(operation.call, x)
    (x_bar,) = pullback(random_cotangent(out))
    _, tangent = sg.jvp(operation.call, (x,), (x,))
    assert x_bar.dtype == x.dtype
    assert type(x_bar) is type(x)
    real = {"complex64": "float32", "complex128": "float64"}.get(name, name)
    for y, dy in zip(_leaves(out), _leaves(tangent), strict=True):
        assert y.dtype == dy.dtype
        assert y.dtype in (x.dtype, getattr(library.xp, real))


@by_operation
def test_half_is_computed_in_single(library, operation):
    if library.name == "array_api_strict":
        pytest.skip("the standard has no half precision")
    names = ("float16", "bfloat16")
    for name in (name for name in names if hasattr(library.xp, name)):
        _check_half(library, operation, name)


def _check_half(library, operation, name):
    x = library.array(sample(operation, (4, 4), seed=2), "float32")
    half = library.xp.astype(x, getattr(library.xp, name))
    wide = library.xp.astype(half, library.xp.float32)
    out, pullback = library.vjp(operation.call, half)
    wide_out, wide_pullback = library.vjp(operation.call, wide)
    out_bar = random_cotangent(wide_out)
    narrow_bar = tuple(library.xp.astype(bar, half.dtype) for bar in _leaves(out_bar))
    (x_bar,) = pullback(type(out)(*narrow_bar) if isinstance(out, tuple) else narrow_bar[0])
    (wide_bar,) = wide_pullback(out_bar)
    assert x_bar.dtype == half.dtype
    assert all(y.dtype == half.dtype for y in _leaves(out))
    single = library.numpy(library.xp.astype(x_bar, library.xp.float32))
    wanted = library.numpy(wide_bar)
    assert np.max(np.abs(single - wanted)) < 0.1 * np.max(np.abs(wanted))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(
    "operation", [op for op in OPERATIONS if not op.real], ids=lambda op: op.name
)
def test_what_is_nan_is_so_in_both_parts(operation, spectrum):
    """NumPy adds a real NaN to the real part alone."""
    values, dx = SPECTRA[spectrum], random((4, 4), seed=1, is_complex=True)
    x = with_spectrum(4, 4, values, is_complex=True)
    if operation.square:
        x, dx = hermitian(values, is_complex=True), dx + dx.conj().T
    out, pullback = sg.vjp(operation.call, x)
    bar = random_cotangent(out)
    found = [*_leaves(sg.jvp(operation.call, (x,), (dx,))[1]), pullback(bar)[0]]
    found += [sg.hvp(operation.call, x, dx, bar)] if operation.second else []
    for y in filter(np.iscomplexobj, found):
        np.testing.assert_array_equal(np.isnan(y.real), np.isnan(y.imag))


@pytest.mark.parametrize(
    "fun", [sg.svd, sg.eigh, sg.orthogonalize, partial(sg.orthogonalize, method="qdwh")]
)
def test_no_part_of_a_matrix_with_a_nan_is_a_number(library, fun):
    x = random((2, 4, 4), is_complex=True)
    x = x + np.conj(x).mT
    x[0, 1, 1] = np.nan
    for y in map(library.numpy, _leaves(fun(library.array(x)))):
        assert np.all(np.isnan([y[0].real, y[0].imag]) if np.iscomplexobj(y) else np.isnan(y[0]))
        assert np.all(np.isfinite(y[1]))


@pytest.mark.parametrize("threads", [1, 2])
def test_slices_of_a_large_stack_are_its_members(monkeypatch, threads):
    from spectralgrad._bindings import host

    monkeypatch.setattr(host, "available", lambda: threads)
    x = random((7, 600, 4, 3), seed=1)
    x[3, 5, 0, 0] = np.nan
    tau, bars = np.linspace(0.1, 1.0, 600), random((7, 600, 4, 3), seed=2)
    with np.errstate(all="raise"):
        out, pullback = sg.vjp(sg.singular_value_threshold, x, tau)
        x_bar, _ = pullback(bars)
    for i, j in ((0, 0), (3, 5), (6, 599)):
        alone, alone_pullback = sg.vjp(sg.singular_value_threshold, x[i, j], tau[j : j + 1][0])
        # to rounding: a stack of tiny matrices has a driver of its own
        np.testing.assert_allclose(out[i, j], alone, rtol=0, atol=1e-14)
        np.testing.assert_allclose(x_bar[i, j], alone_pullback(bars[i, j])[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("fun", [sg.svd, sg.svdvals, sg.eigh, sg.low_rank])
def test_rules_by_slices_of_a_stack_are_those_of_its_members(monkeypatch, fun, threads):
    from spectralgrad._bindings import host

    monkeypatch.setattr(host, "available", lambda: threads)
    call = partial(fun, k=3) if fun is sg.low_rank else fun
    shape = (1500, 12, 12) if fun is sg.eigh else (3, 500, 12, 11)
    x, dx = random(shape, seed=1, is_complex=True), random(shape, seed=2, is_complex=True)
    x, dx = (a + np.conj(a).mT if fun is sg.eigh else a for a in (x, dx))
    out, pullback = sg.vjp(call, x)
    bars = random_cotangent(out)
    (x_bar,), (_, dy) = pullback(bars), sg.jvp(call, (x,), (dx,))
    for i in (0, -1):
        place = (i,) * (len(shape) - 2)
        alone, alone_pullback = sg.vjp(call, x[place])
        members = [_leaves(y) for y in (alone, sg.jvp(call, (x[place],), (dx[place],))[1])]
        for wanted, found in zip(members, map(_leaves, (out, dy)), strict=True):
            for a, b in zip(wanted, found, strict=True):
                np.testing.assert_allclose(b[place], a, rtol=1e-10, atol=1e-10)
        bar = tuple(b[place] for b in bars) if isinstance(bars, tuple) else bars[place]
        np.testing.assert_allclose(x_bar[place], alone_pullback(bar)[0], rtol=1e-9, atol=1e-9)


def test_what_users_give_is_called_with_all_of_a_stack():
    """After a number or two that it is tried with; not by slices, which run in threads."""
    shapes = []

    def seen(f):
        return lambda s: (shapes.append(s.shape), f(s))[1]

    f = seen(np.tanh), seen(lambda s: 1 - np.tanh(s) ** 2)
    for fun, bar in ((sg.svdvals_sum, np.ones(1500)), (sg.svd_function, random((1500, 12, 11)))):
        sg.vjp(partial(fun, f=f), random((1500, 12, 11)))[1](bar)
    assert {shape[0] for shape in shapes if shape[0] > 2} == {1500}


def test_threads_give_blas_its_own_back():
    """Also where another of a user's threads comes while one is inside, and leaves after it."""
    from spectralgrad._bindings import threads

    limits, ran_in, other_came, first_left = [], [], Event(), Event()

    def first(start):
        limits.append(threads.available())
        if start == 0:
            other.start()
            other_came.wait(60)

    def second(_):
        ran_in.append(current_thread())
        other_came.set()
        first_left.wait(60)

    other = Thread(target=threads.in_threads, args=(second, range(2), 2))
    with threadpool_limits(2, user_api="blas"):
        before = threads.available()
        threads.in_threads(first, range(2), 2)
        first_left.set()
        other.join()
        assert threads.available() == before
    assert limits == [1, 1]
    assert ran_in == [other, other]


def test_threads_leave_the_limits_of_another_thread():
    from spectralgrad._bindings import threads

    starts = []
    with threadpool_limits(2, user_api="blas"):
        before = threads.available()
        other = Thread(target=threads.in_threads, args=(starts.append, range(2), 2))
        other.start()
        other.join()
        assert threads.available() == before
    assert sorted(starts) == [0, 1]
