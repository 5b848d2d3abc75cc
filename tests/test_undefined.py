"""Where a derivative does not exist: NaN with a reason, an error, or what is left of it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from matrices import hermitian, random, with_spectrum

import spectralgrad as sg
from spectralgrad.testing import inner

F = sg.functions
pytestmark = pytest.mark.filterwarnings("ignore:.*the value is NaN:UserWarning")
GOOD = (3.0, 2.0, 1.2, 0.5)
TIED, SINGULAR = (3.0, 2.0, 2.0, 0.5), (3.0, 2.0, 1.2, 0.0)


def general(values):
    return np.stack([with_spectrum(4, 4, v, seed=5) for v in (values, GOOD)])


def symmetric(values):
    return np.stack([hermitian(v, seed=5) for v in (values, GOOD)])


def turned(values):
    """A matrix that turns space over, and a good one."""
    U, V = (np.linalg.qr(random((4, 4), seed=s))[0] for s in (5, 6))
    V[0] *= -np.sign(np.linalg.det(U @ V))
    return np.stack([(U * np.array(v)) @ V for v in (values, GOOD)])


# name: function, stack whose first batch element has no derivative, what the warning says
CASES = {
    "orthogonalize": (sg.orthogonalize, general(SINGULAR), r"S\[3\] = .* counts as zero"),
    "polar": (sg.polar, general(SINGULAR), r"S\[3\] = .* counts as zero"),
    "nearest_rotation": (sg.nearest_rotation, turned((3.0, 2.0, 0.5, 0.5)), r"S\[2\] = .* equal"),
    "low_rank": (lambda x, **o: sg.low_rank(x, 2, **o), general(TIED), r"S\[1\] = .* equal"),
    "singular_projector": (
        lambda x, **o: sg.singular_projector(x, 2, **o),
        general(TIED),
        r"S\[1\] = .* count as equal",
    ),
    "eigenprojector": (
        lambda x, **o: sg.eigenprojector(x, 2, **o),
        symmetric(TIED),
        r"w\[1\] = .* count as equal",
    ),
    "pinv": (lambda x, **o: sg.pinv(x, rtol=0.5, **o), general((4.0, 2.0, 1.0, 0.5)), "threshold"),
    "sqrtm": (sg.sqrtm, symmetric(SINGULAR), r"w\[0\] = .* counts as zero"),
    "inv_sqrtm": (sg.inv_sqrtm, symmetric(SINGULAR), r"w\[0\] = .* counts as zero"),
    "powm": (lambda x, **o: sg.powm(x, 0.3, **o), symmetric(SINGULAR), r"w\[0\] = .* zero"),
    "logm": (sg.logm, symmetric((3.0, 2.0, 1.0, -1.0)), r"w\[0\] = -1, which is negative"),
    "svd_function": (
        lambda x, **o: sg.svd_function(x, F.exp, **o),
        general(SINGULAR),
        r"jumps or is infinitely steep where S\[3\] = .* counts as zero",
    ),
    "eigh_function": (
        lambda x, **o: sg.eigh_function(x, F.step(0.7), **o),
        symmetric((3.0, 0.7, 0.7, 0.5)),
        "no derivative at an eigenvalue",
    ),
}
by_case = pytest.mark.parametrize("name", CASES)


def first_of(out):
    return out[0] if isinstance(out, tuple) else out


def pulled(library, fun, x, **options):
    """A value and the gradient by one cotangent."""
    out, pullback = library.vjp(lambda x: first_of(fun(x, **options)), library.array(x))
    bar = library.array(random(x.shape, seed=7))
    return library.numpy(out), lambda: library.numpy(pullback(bar)[0])


@pytest.mark.thinned
@by_case
def test_nan_says_why(library, name):
    fun, x, why = CASES[name]
    _, pull = pulled(library, fun, x)
    if library.name == "jax":  # which compiles, so that nothing can be read
        x_bar = pull()
    else:
        with library.warns(f"{name}: the derivative is undefined for batch element .0,.*{why}"):
            x_bar = pull()
    assert np.all(np.isnan(x_bar[0]))
    assert np.all(np.isfinite(x_bar[1]))


NO_VALUE = {
    "sqrtm": (sg.sqrtm, symmetric((3.0, 2.0, 1.2, -0.5)), "-0.5, 1.2, 2, 3"),
    "inv_sqrtm": (sg.inv_sqrtm, symmetric((4.0, 2.0, 1.0, 0.0)), "e-1.*, 1, 2, 4|0, 1, 2, 4"),
    "powm": (lambda x: sg.powm(x, 0.5), symmetric((3.0, 2.0, 1.2, -0.5)), "-0.5, 1.2"),
    "expm": (sg.expm, symmetric((1e4, 2.0, 1.0, 0.5)), "out of range.*0.5, 1, 2, 10000"),
    "eigh_function": (
        lambda x: sg.eigh_function(x, F.log),
        symmetric((3.0, 2.0, 1.2, -0.5)),
        "-0.5, 1.2, 2, 3",
    ),
    "eigvalsh_sum": (
        lambda x: sg.eigvalsh_sum(x, F.log),
        symmetric((3.0, 2.0, 1.2, -0.5)),
        "-0.5, 1.2, 2, 3",
    ),
    "svd_function": (
        lambda x: sg.svd_function(x, F.power(-400)),
        general((3.0, 2.0, 1.2, 1e-3)),
        "out of range.*3, 2, 1.2, 0.001",
    ),
}


@pytest.mark.thinned
@pytest.mark.filterwarnings("error:.*the value is NaN:UserWarning")
@pytest.mark.parametrize("name", NO_VALUE)
def test_a_value_that_is_nan_says_why(library, name):
    fun, x, shown = NO_VALUE[name]
    with pytest.warns(
        UserWarning, match=f"{name}: the value is NaN for batch element .0,.*{shown}"
    ):
        out = library.numpy(fun(library.array(x)))
    assert np.all(np.isnan(out[0]))
    assert np.all(np.isfinite(out[1]))
    fun(library.array(x[1:]))


@pytest.mark.thinned
def test_alignment_without_a_value_says_why(library):
    """Of no point that counts, whose derivatives are NaN too."""
    points, weights = random((2, 4, 3), seed=5), np.ones((2, 4))
    weights[0] = 0
    P, Q, w = map(library.array, (points, points + 1, weights))
    with pytest.warns(UserWarning, match=r"kabsch: .* batch element .0,.*: no point has a weight"):
        found, pullback = sg.vjp(lambda P, Q, w: sg.kabsch(P, Q, w).msd, P, Q, w)
    assert np.isnan(library.numpy(found)[0])
    for bar in pullback(library.array(np.ones(2))):
        assert np.all(np.isnan(library.numpy(bar)[0]))
        assert np.all(np.isfinite(library.numpy(bar)[1]))


@pytest.mark.parametrize("of", [sg.svdvals, sg.eigvalsh], ids=["svdvals", "eigvalsh"])
def test_second_derivatives_of_values_say_why(of):
    torch = pytest.importorskip("torch")
    hessian = lambda x: torch.func.hessian(lambda x: (of(x) ** 2 * torch.arange(4.0)).sum())(x)
    with pytest.warns(
        sg.DerivativeUndefinedWarning, match=f"{of.__name__}: the second .* equal.*_sum"
    ):
        assert torch.isnan(hessian(torch.asarray(hermitian(TIED, seed=5)))).all()
    assert torch.isfinite(hessian(torch.asarray(hermitian(GOOD, seed=5)))).all()


@pytest.mark.thinned
@by_case
def test_an_error_if_asked_for(library, name):
    fun, x, why = CASES[name]
    _, pull = pulled(library, fun, x, undefined="raise")
    if library.name == "jax":
        assert np.all(np.isnan(pull()[0]))
    else:
        with pytest.raises(sg.DerivativeUndefinedError, match=f"{name}: .*{why}"):
            pull()
    _, pull = pulled(library, fun, x[1:], undefined="raise")
    assert np.all(np.isfinite(pull()))


@pytest.mark.thinned
@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@by_case
def test_least_norm_is_finite_and_the_derivative_where_there_is_one(library, name):
    fun, x, _ = CASES[name]
    plain, pull = pulled(library, fun, x)
    value, lenient = pulled(library, fun, x, undefined="least_norm")
    np.testing.assert_array_equal(value, plain)
    x_bar, wanted = lenient(), pull()
    assert np.max(np.abs(x_bar[0])) < 100
    np.testing.assert_allclose(x_bar[1], wanted[1], atol=1e-13 * np.max(np.abs(wanted[1])))
    dx = library.array(random(x.shape, seed=8))
    _, tangent = library.jvp(
        lambda x: first_of(fun(x, undefined="least_norm")), (library.array(x),), (dx,)
    )
    bar = library.array(random(x.shape, seed=7))
    assert abs(inner(tangent, bar) - inner(dx, library.array(x_bar))) < 1e-10


@by_case
def test_least_norm_has_no_second_derivative(name):
    fun, x, _ = CASES[name]
    dx, bar = random(x.shape, seed=8), random(x.shape, seed=7)
    with pytest.warns(sg.DerivativeUndefinedWarning, match=f"{name}: the second derivative .*0,"):
        product = sg.hvp(lambda x: first_of(fun(x, undefined="least_norm")), x, dx, bar)
    assert np.all(np.isnan(product[0]))
    assert np.all(np.isfinite(product[1]))


@pytest.mark.thinned
@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_what_is_left_of_a_polar_factor(library, shape, is_complex):
    """At low rank: the derivative along changes that keep the null spaces, and none across."""
    x = with_spectrum(*shape, (2.0, 1.0, 0.0, 0.0), seed=3, is_complex=is_complex)
    U, _, Vh = np.linalg.svd(x, full_matrices=False)
    inside = U[:, :2] @ random((2, 2), seed=4, is_complex=is_complex) @ Vh[:2]
    fun = lambda x: sg.orthogonalize(x, undefined="least_norm")
    _, tangent = library.jvp(fun, (library.array(x),), (library.array(inside),))
    small = U[:, :2].conj().T @ x @ Vh[:2].conj().T
    change = U[:, :2].conj().T @ inside @ Vh[:2].conj().T
    _, wanted = sg.jvp(sg.orthogonalize, (small,), (change,))
    np.testing.assert_allclose(library.numpy(tangent), U[:, :2] @ wanted @ Vh[:2], atol=1e-12)


ALIGNED = {
    "line": (random((6, 1), seed=1) * np.ones(3), random((6, 1), seed=2) * np.arange(1.0, 4.0)),
    "mirror": (np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]]),) * 2,
    "point": (np.ones((1, 3)), np.zeros((1, 3))),
}


@pytest.mark.thinned
@pytest.mark.parametrize("kind", ALIGNED)
def test_alignment(library, kind):
    P, Q = ALIGNED[kind]
    Q = -Q if kind == "mirror" else Q
    for undefined in ("nan", "raise", "least_norm"):

        def rotation(P, Q, undefined=undefined):
            return sg.kabsch(P, Q, undefined=undefined).rotation

        out, pullback = library.vjp(rotation, library.array(P), library.array(Q))
        bar = library.array(random(tuple(out.shape), seed=3))
        if undefined == "least_norm":
            for part in pullback(bar):
                assert np.max(np.abs(library.numpy(part))) < 100
        elif library.name == "jax":
            assert np.all(np.isnan(library.numpy(pullback(bar)[0])))
        elif undefined == "raise":
            with pytest.raises(sg.DerivativeUndefinedError, match="kabsch: the derivative"):
                pullback(bar)
        else:
            with library.warns("kabsch: the derivative is undefined"):
                assert np.all(np.isnan(library.numpy(pullback(bar)[0])))


def test_procrustes():
    A, B = random((5, 3), seed=1) * [1.0, 1.0, 0.0], random((5, 3), seed=2)
    _, pullback = sg.vjp(lambda A, B: sg.procrustes(A, B).rotation, A, B)
    with pytest.warns(sg.DerivativeUndefinedWarning, match="procrustes: the derivative"):
        assert np.isnan(pullback(np.eye(3))[0]).all()
    fun = lambda A, B: sg.procrustes(A, B, undefined="least_norm").rotation
    assert np.isfinite(sg.vjp(fun, A, B)[1](np.eye(3))[0]).all()


def test_the_warning_is_at_the_users_line():
    x = CASES["orthogonalize"][1]
    out, pullback = sg.vjp(sg.orthogonalize, x)
    with pytest.warns(sg.DerivativeUndefinedWarning) as seen:
        pullback(np.ones_like(out))
    assert [w.filename for w in seen] == [__file__]
    torch = pytest.importorskip("torch")
    leaf = torch.asarray(x).requires_grad_()
    loss = sg.orthogonalize(leaf).sum()
    with pytest.warns(sg.DerivativeUndefinedWarning) as seen:
        loss.backward()
    assert [w.filename for w in seen] == [__file__]
    with pytest.warns(sg.DerivativeUndefinedWarning) as seen:
        torch.func.grad(lambda x: sg.orthogonalize(x).sum())(torch.asarray(x))
    assert [w.filename for w in seen] == [__file__]


def test_jax_says_why_where_it_does_not_compile():
    jax = pytest.importorskip("jax")
    x = jax.numpy.asarray(CASES["orthogonalize"][1])
    with pytest.warns(sg.DerivativeUndefinedWarning, match=r"orthogonalize: .*S\[3\]") as seen:
        jax.vjp(sg.orthogonalize, x)[1](x)
    assert [w.filename for w in seen] == [__file__]


def test_nothing_is_said_of_nan_that_came():
    x = np.stack([np.full((3, 3), np.nan), np.eye(3)])
    out, pullback = sg.vjp(sg.orthogonalize, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(pullback(np.ones_like(out))[0][0]).all()


@pytest.mark.parametrize("fun", [case[0] for case in CASES.values()], ids=CASES)
def test_bad_policies(fun):
    with pytest.raises(ValueError, match=r"`undefined` is 'zero'; wanted one of 'nan', 'raise'"):
        fun(np.eye(4), undefined="zero")


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
def test_a_cotangent_that_the_inner_factor_does_not_feel():
    """The derivative does not exist, though a chain of rules passes a zero on the way."""
    tied = np.diag([2.0, 2.0, 1.0])
    for fun, x, bar in (
        (lambda x: sg.singular_projector(x, 1), tied, np.diag([0.0, 0.0, 1.0])),
        (lambda x: sg.singular_projector(x, 3, side="right"), np.eye(3, 4) * [1, 1, 0, 0], None),
        (lambda x: sg.polar(x).P, np.diag([2.0, 1.0, 0.0]), np.diag([0.0, 0.0, 1.0])),
    ):
        out, pullback = sg.vjp(fun, x)
        bar = np.diag([0.0, 0.0, 0.0, 1.0]) if bar is None else bar
        assert np.all(np.isnan(pullback(bar)[0])), out
    P = np.array([[1.0, 0, 0], [-1.0, 0, 0]])  # about zero: the rotation does not move its centre
    _, pullback = sg.vjp(lambda P, Q: sg.kabsch(P, Q).translation, P, 2 * P)
    assert np.all(np.isnan(pullback(np.ones(3))[0]))


def test_second_derivatives_in_jax_say_why_where_values_are_traced():
    """The factors of x are, and have values all the same."""
    jax = pytest.importorskip("jax")
    x = jax.numpy.zeros((3, 3))
    factor = lambda x: jax.numpy.sum(sg.polar(x).P)
    with pytest.warns(sg.DerivativeUndefinedWarning, match="^polar: .* S.2. = 0 counts as zero"):
        _, product = jax.jvp(jax.grad(factor), (x,), (x + 1.0,))
    assert np.all(np.isnan(product))


def test_a_truncation_error_names_itself():
    x = np.stack([np.diag(v) for v in ((3.0, 2.0, 1.5, 1.0), (3.0, 2.0, 2.0, 1.0))])
    said = r"truncation_error: .* batch element \(1,\).* the cut splits a tie, S\[1\] = 2"
    _, pullback = sg.vjp(sg.truncation_error, x, k=2)
    with pytest.warns(sg.DerivativeUndefinedWarning, match=said):
        (x_bar,) = pullback(np.ones(2))
    with pytest.warns(sg.DerivativeUndefinedWarning, match=said):
        _, tangent = sg.jvp(lambda x: sg.truncation_error(x, 2), (x,), (np.ones_like(x),))
    for result in (x_bar, tangent):
        assert np.all(np.isfinite(result[0]))
        assert np.all(np.isnan(result[1]))


@pytest.mark.parametrize(
    ("name", "fun"),
    [
        ("nuclear_norm", sg.nuclear_norm),
        ("ky_fan_norm", lambda x: sg.ky_fan_norm(x, 1)),
        ("schatten_norm", lambda x: sg.schatten_norm(x, 1.5)),
        ("svdvals_sum", lambda x: sg.svdvals_sum(x, F.log1p)),
        ("eigvalsh_sum", lambda x: sg.eigvalsh_sum(x, F.power(1.5))),
        ("sum_largest_eigvalsh", lambda x: sg.sum_largest_eigvalsh(x, 1)),
        ("svd_function", lambda x: sg.svdvals_sum(sg.svd_function(x, F.log1p), F.power(2))),
    ],
)
def test_second_derivatives_at_kinks_say_why(name, fun):
    x = np.stack([np.diag([3.0, 2.0, 1.0]), np.diag([2.0, 2.0, 0.0])])
    with pytest.warns(
        sg.DerivativeUndefinedWarning,
        match=rf"^{name}: the second derivative is undefined for batch element \(1,\)",
    ):
        product = sg.hvp(fun, x, np.ones((2, 3, 3)), np.ones(2))
    assert np.all(np.isfinite(product[0]))
    assert np.any(np.isnan(product[1]))
