"""Kabsch and Procrustes: SciPy's values, and derivatives where the rotation is determined."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from matrices import random

import spectralgrad as sg
from spectralgrad.testing import check_jvp, check_vjp, random_cotangent

OPTIONS = [
    pytest.param({"scale": scale, "reflection": reflection}, id=f"{scale}-{reflection}")
    for scale in (False, True)
    for reflection in (False, True)
]
by_options = pytest.mark.parametrize("options", OPTIONS)


def rotation(seed=0, d=3):
    Q = np.linalg.qr(random((d, d), seed=seed))[0]
    return Q * np.where(np.arange(d) == 0, np.linalg.det(Q), 1.0)


def points(*shape, seed=1):
    return random(shape, seed=seed), random(shape, seed=seed + 1)


def test_values_are_those_of_scipy():
    align_vectors = pytest.importorskip("scipy.spatial.transform").Rotation.align_vectors
    P, Q = points(7, 3)
    w = np.abs(random((7,), seed=5))
    p, q = (x - np.average(x, axis=0, weights=w) for x in (P, Q))
    wanted, rssd = align_vectors(q, p, weights=w)
    found = sg.kabsch(P, Q, w)
    np.testing.assert_allclose(found.rotation, wanted.as_matrix(), atol=1e-12)
    assert float(found.rmsd) == pytest.approx(rssd / np.sqrt(np.sum(w)), rel=1e-12)
    left = Q - (P @ found.rotation.T + found.translation)
    assert float(found.rmsd) == pytest.approx(np.sqrt(np.average(np.sum(left**2, -1), weights=w)))
    assert float(found.scale) == 1.0


@pytest.mark.thinned
@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
def test_procrustes_is_that_of_scipy(library, is_complex):
    linalg = pytest.importorskip("scipy.linalg")
    A, B = (random((6, 4), seed=s, is_complex=is_complex) for s in (1, 2))
    found = sg.procrustes(library.array(A), library.array(B))
    if not is_complex:
        R, scale = linalg.orthogonal_procrustes(A, B)
        np.testing.assert_allclose(library.numpy(found.rotation), R, atol=1e-12)
        assert float(found.scale) == pytest.approx(scale)
    fun = library.compiled(sg.procrustes)
    check_vjp(fun, library.array(A), library.array(B))
    check_jvp(fun, library.array(A), library.array(B))


@pytest.mark.thinned
@by_options
def test_a_motion_is_found(library, options):
    P = random((2, 6, 3), seed=1)
    R, t, c = rotation(3), np.array([3.0, -1.0, 2.0]), 2.5 if options["scale"] else 1.0
    R = R @ np.diag([1.0, 1.0, -1.0]) if options["reflection"] else R
    found = sg.kabsch(library.array(P), library.array(c * P @ R.T + t), **options)
    np.testing.assert_allclose(library.numpy(found.rotation), [R, R], atol=1e-13)
    np.testing.assert_allclose(library.numpy(found.translation), [t, t], atol=1e-12)
    np.testing.assert_allclose(library.numpy(found.scale), [c, c], rtol=1e-13)
    assert np.max(library.numpy(found.rmsd)) < 1e-14 * 10


@pytest.mark.thinned
@by_options
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("d", [2, 3])
def test_derivatives(library, options, weighted, d):
    primals = [library.array(x) for x in points(5, d)]
    if weighted:
        primals.append(library.array(np.abs(random((5,), seed=9))))
    fun = library.compiled(partial(sg.kabsch, **options))
    check_vjp(fun, *primals)
    check_jvp(fun, *primals)


@pytest.mark.thinned
@pytest.mark.parametrize("case", ["aligned", "coplanar", "plane to plane", "line in the plane"])
def test_derivatives_where_the_rotation_is_determined(library, case):
    d = 2 if case == "line in the plane" else 3
    P, Q = points(6, d, seed=3)
    if case == "aligned":
        Q = P @ rotation(4).T + 1.0
    elif case == "coplanar":
        P[:, 2] = 0
    elif case == "plane to plane":
        P[:, 2] = Q[:, 2] = 0
        P, Q = P @ rotation(5).T, Q @ rotation(6).T
    else:
        P = P[:, :1] * np.array([1.0, 0.5])
    P, Q = map(library.array, (P, Q))

    def motion(P, Q):
        found = sg.kabsch(P, Q, scale=True)
        return found.rotation, found.translation, found.scale

    check_vjp(motion, P, Q)
    check_jvp(motion, P, Q)


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.thinned
@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_nan_where_the_rotation_is_not_determined(library, offset, name):
    """Points on a line in space; a plane with reflections; a mirror image of a ball."""
    ball = np.concatenate([np.eye(3), -np.eye(3)])
    line = random((6, 1), seed=1) * np.array([1.0, 2.0, -0.5]) + offset
    plane = random((6, 3), seed=2) @ np.diag([1.0, 1.0, 0.0]) @ rotation(2).T + offset
    other = random((6, 3), seed=3) + offset
    for P, Q, reflection in (
        (line, other, False),
        (other, line, False),
        (plane, other, True),
        (ball, -ball, False),
        (np.ones((6, 3)), other, False),
    ):
        stack_P, stack_Q = (
            library.array(np.stack([x, random((6, 3), seed=s)]), name) for s, x in ((7, P), (8, Q))
        )
        out, pullback = sg.vjp(sg.kabsch, stack_P, stack_Q, reflection=reflection)
        assert np.all(np.isfinite(library.numpy(out.rotation)))
        bars = (random_cotangent(out.rotation), None, None, None, None)
        for bar in map(library.numpy, pullback(bars)):
            assert np.all(np.isnan(bar[0]))
            assert np.all(np.isfinite(bar[1]))


@pytest.mark.thinned
@pytest.mark.parametrize("offset", [2.0, 1e4])
def test_rmsd_has_a_kink_at_zero(library, offset):
    P = library.array(random((5, 3), seed=1))
    Q = library.array(random((5, 3), seed=1) @ rotation(2).T + offset)
    fun = lambda P, Q: sg.kabsch(P, Q).rmsd
    for bar in sg.vjp(fun, P, Q)[1](library.array(np.asarray(1.0))):
        assert np.max(np.abs(library.numpy(bar))) == 0
    with library.warns("^kabsch: the second derivative .* rmsd has a kink where it is zero"):
        product = sg.hvp(fun, (P, Q), (P, None), library.array(np.asarray(1.0)))
    assert all(np.all(np.isnan(library.numpy(part))) for part in product)


OCTAHEDRON = np.concatenate([np.eye(3), -np.eye(3)])  # which is its own image without rounding


@pytest.mark.thinned
@by_options
def test_rmsd_of_exactly_zero_has_no_second_derivative(native, options):
    """In whatever order: forward over reverse, and reverse over both."""
    P, dP = native.array(OCTAHEDRON), native.array(random((6, 3), seed=1))
    rmsd = lambda x: sg.kabsch(x, native.array(OCTAHEDRON), **options).rmsd
    if native.name == "jax":
        import jax

        gradient = jax.grad(rmsd)
        products = [
            lambda: jax.jvp(gradient, (P,), (dP,))[1],
            lambda: jax.vjp(gradient, P)[1](dP)[0],
            lambda: jax.grad(lambda x: jax.jvp(rmsd, (x,), (dP,))[1])(P),
        ]
    else:
        import torch

        products = [
            lambda: torch.func.jvp(torch.func.grad(rmsd), (P,), (dP,))[1],
            lambda: torch.autograd.functional.vhp(rmsd, P, dP)[1],
            lambda: torch.func.grad(lambda x: torch.func.jvp(rmsd, (x,), (dP,))[1])(P),
        ]
    assert native.numpy(rmsd(P)) == 0
    for product in products:
        with native.warns("rmsd has a kink"):
            assert np.all(np.isnan(native.numpy(product())))


def test_a_kink_without_a_cotangent_leaves_the_others_alone(library):
    P = np.stack([OCTAHEDRON, random((6, 3), seed=1)])
    Q, dP = np.stack([OCTAHEDRON, random((6, 3), seed=2)]), random(P.shape, seed=3)
    fun = lambda P, Q: sg.kabsch(P, Q).rmsd
    args = tuple(map(library.array, (P, Q))), (library.array(dP), None)
    product = library.numpy(sg.hvp(fun, *args, library.array(np.array([0.0, 1.0])))[0])
    assert np.all(product[0] == 0)
    assert np.all(np.isfinite(product[1]))
    strict = lambda P, Q: sg.kabsch(P, Q, undefined="raise").rmsd
    with pytest.raises(sg.DerivativeUndefinedError, match="rmsd has a kink"):
        sg.hvp(strict, *args, library.array(np.ones(2)))


@pytest.mark.thinned
def test_rmsd_of_one_point_is_zero_and_smooth(library):
    P, Q = (library.array(x) for x in points(1, 3))
    fun = lambda P, Q: sg.kabsch(P, Q).rmsd
    for part in sg.hvp(fun, (P, Q), (P, Q), library.array(np.asarray(1.0))):
        assert np.all(library.numpy(part) == 0)


@pytest.mark.thinned
@by_options
def test_second_order(library, options):
    primals = tuple(map(library.array, (*points(5, 3), np.abs(random((5,), seed=9)))))
    directions = tuple(library.array(random(x.shape, seed=s)) for s, x in enumerate(primals))
    fun = partial(sg.kabsch, **options)
    out_bar = random_cotangent(fun(*primals))
    got = sg.hvp(fun, primals, directions, out_bar)

    def gradient(step):
        moved = (x + step * dx for x, dx in zip(primals, directions, strict=True))
        return [library.numpy(bar) for bar in sg.vjp(fun, *moved)[1](out_bar)]

    h = 1e-4
    for product, *near in zip(got, *map(gradient, (h, -h, 2 * h, -2 * h)), strict=True):
        wanted = (8 * (near[0] - near[1]) - (near[2] - near[3])) / (12 * h)
        np.testing.assert_allclose(library.numpy(product), wanted, rtol=1e-6, atol=1e-6)


def test_second_order_natively():
    torch = pytest.importorskip("torch")
    P, Q = (torch.asarray(x).requires_grad_() for x in points(4, 3))
    w = torch.asarray(np.abs(random((4,), seed=9))).requires_grad_()
    assert torch.autograd.gradcheck(sg.kabsch, (P, Q, w), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(
        lambda *a: sg.kabsch(*a, scale=True), (P, Q, w), fast_mode=True
    )
    aligned = (P.detach() @ torch.asarray(rotation(2)).T).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda P, Q: sg.kabsch(P, Q).rotation, (P, aligned))


@pytest.mark.parametrize("exponent", [-80, 80])
def test_scale_changes_nothing_but_the_scale(library, exponent):
    P, Q = (x.astype(np.float32) for x in points(6, 3))
    c = np.float32(2.0**exponent)

    def pulled(factor, shrink):
        primals = library.array(P * factor), library.array(Q * shrink)
        out, pullback = sg.vjp(sg.kabsch, *primals, scale=True)
        bars = (library.array(np.ones((3, 3), np.float32)), None, None, None, None)
        return (
            library.numpy(out.rotation),
            library.numpy(out.rmsd),
            *map(library.numpy, pullback(bars)),
        )

    R, rmsd, P_bar, Q_bar = pulled(np.float32(1), np.float32(1))
    for p, q in ((c, c), (c, np.float32(1)), (np.float32(1), c)):
        scaled_R, scaled_rmsd, scaled_P, scaled_Q = pulled(p, q)
        np.testing.assert_allclose(scaled_R, R, atol=1e-5)
        np.testing.assert_allclose(scaled_rmsd / q, rmsd, rtol=1e-4)
        np.testing.assert_allclose(scaled_P * p, P_bar, atol=1e-4)
        np.testing.assert_allclose(scaled_Q * q, Q_bar, atol=1e-4)


@pytest.mark.thinned
def test_members_that_are_not_finite_warn_of_nothing(library):
    P, Q = random((3, 5, 3), seed=1), random((3, 5, 3), seed=2)
    P[0, 1, 2], Q[1] = np.inf, np.nan
    for fun in (sg.kabsch, sg.procrustes):
        out, pullback = sg.vjp(fun, *map(library.array, (P, Q)))
        for result in (*out[:2], *pullback(random_cotangent(out))):
            result = library.numpy(result)
            assert np.all(np.isnan(result[:2])) or fun is sg.kabsch
            assert np.all(np.isfinite(result[2]))


def test_no_entries(library):
    empty = library.array(np.zeros((0, 3)))
    assert library.numpy(sg.procrustes(empty, empty).scale) == 0


@pytest.mark.thinned
def test_stacks_broadcast(library):
    P, Q = random((5, 3), seed=1), random((2, 4, 5, 3), seed=2)
    w = np.abs(random((4, 5), seed=3))
    out, pullback = sg.vjp(sg.kabsch, *map(library.array, (P, Q, w)))
    assert tuple(out.rotation.shape) == (2, 4, 3, 3)
    bars = pullback(random_cotangent(out))
    assert [tuple(bar.shape) for bar in bars] == [(5, 3), (2, 4, 5, 3), (4, 5)]
    alone = sg.kabsch(P, Q[1, 2], w[2])
    np.testing.assert_allclose(library.numpy(out.rotation)[1, 2], alone.rotation, atol=1e-12)


def test_what_is_no_pair_of_point_sets(library):
    P, Q = map(library.array, points(5, 3))
    xp = library.xp
    for arguments, error, message in (
        ((P, Q[:4, :]), ValueError, r"shapes \(5, 3\) and \(4, 3\)"),
        ((P, Q[:, :2]), ValueError, "one shape"),
        ((P, [[1.0]]), TypeError, "`Q` is a list"),
        ((P, Q, xp.ones(4, dtype=xp.float64)), ValueError, r"`weights` has shape \(4,\)"),
        ((P, Q, [1.0] * 5), TypeError, "`weights` is a list"),
        ((P, Q, xp.ones(5, dtype=xp.int64)), TypeError, "`weights` has dtype"),
        ((xp.astype(P, xp.complex128), Q), TypeError, "`P` has dtype.*real"),
        ((P[:0, :], Q[:0, :]), ValueError, "empty"),
        ((xp.ones((2, 5, 3), dtype=xp.float64), xp.ones((3, 5, 3), dtype=xp.float64)), ValueError,
         "do not broadcast"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            sg.kabsch(*arguments)


@pytest.mark.parametrize("seed", range(3))
def test_training_from_a_singular_matrix(seed):
    """The nearest rotation of M = e1 e1^T, fitted to a random one in single precision with Adam.

    In the plane that rotation is determined although M is singular: s_1 + d s_2 > 0.
    """
    torch = pytest.importorskip("torch")
    M = torch.tensor([[1.0, 0.0], [0.0, 0.0]], requires_grad=True)
    wanted = torch.asarray(rotation(seed, d=2), dtype=torch.float32)
    assert train(torch, M, wanted) < 1e-7


def train(torch, M, wanted, steps=500):
    optimizer = torch.optim.Adam([M], lr=0.03)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (sg.nearest_rotation(M) - wanted).square().sum()
        loss.backward()
        optimizer.step()
    return (sg.nearest_rotation(M) - wanted).square().sum().item()


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.parametrize("seed", range(3))
def test_training_from_nearly_rank_one_in_space(seed):
    """In space e1 e1^T has a circle of nearest rotations, and NaN says so; beside it Adam goes."""
    torch = pytest.importorskip("torch")
    singular = torch.diag(torch.tensor([1.0, 0.0, 0.0])).requires_grad_()
    wanted = torch.asarray(rotation(seed), dtype=torch.float32)
    (sg.nearest_rotation(singular) * wanted).sum().backward()
    assert torch.all(torch.isnan(singular.grad))
    noise = torch.asarray(1e-3 * random((3, 3), seed=seed), dtype=torch.float32)
    assert train(torch, (singular.detach() + noise).requires_grad_(), wanted) < 1e-7


def gradient_along(library, P, Q, dP, **options):
    """The derivative of rmsd along dP, and by central differences."""
    one = library.array(np.asarray(1.0))
    fun = lambda P, Q: sg.kabsch(P, Q, **options).rmsd
    P_bar = library.numpy(library.vjp(fun, *map(library.array, (P, Q)))[1](one)[0])
    h = 1e-6
    up, down = (float(sg.kabsch(P + s * h * dP, Q, **options).rmsd) for s in (1, -1))
    return np.sum(P_bar * dP), (up - down) / (2 * h)


LINE = np.array([1.0, 2.0, -0.5])
PLANE = np.array([1.0, 1.0, 0.0])
DEGENERATE = {
    "two atoms": (random((2, 3), seed=1), random((2, 3), seed=2), {}),
    "lines": (random((6, 1), seed=1) * LINE, random((6, 1), seed=2) * LINE[::-1], {}),
    "line on points": (random((6, 1), seed=1) * LINE, random((6, 3), seed=2), {}),
    "planes": (*(random((6, 3), seed=s) * PLANE for s in (1, 2)), {"reflection": True}),
    "one point": (random((6, 3), seed=1), np.ones((6, 3)), {}),
}  # fmt: skip


@pytest.mark.thinned
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("kind", DEGENERATE)
def test_rmsd_where_there_are_several_rotations(library, kind, scale):
    P, Q, options = DEGENERATE[kind]
    if kind == "line on points":  # along the line, beside which rmsd has a kink
        dP = random((6, 1), seed=3) * LINE
    else:
        dP = random(P.shape, seed=3) * (PLANE if kind == "planes" else 1.0)
    got, wanted = gradient_along(library, P, Q, dP, scale=scale, **options)
    assert got == pytest.approx(wanted, rel=1e-6, abs=1e-8)


def test_one_atom_and_mirror_images(library):
    one = library.array(np.asarray(1.0))
    msd = lambda P, Q: sg.kabsch(P, Q).msd
    ball = np.concatenate([np.eye(3), -np.eye(3)]) - 0.1
    for P, Q in ((ball[:1], ball[1:2]), (ball, -ball)):
        P_bar = library.numpy(library.vjp(msd, *map(library.array, (P, Q)))[1](one)[0])
        # half turns about any axis n are as good, 2 n n^T - 1: their mean is -1/3
        p, q = P - P.mean(0), Q - Q.mean(0)
        np.testing.assert_allclose(P_bar, 2 * (p + q / 3) / len(P), atol=1e-14)


@pytest.mark.thinned
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_rmsd_of_many_points(library, name):
    """The gradient of rmsd has the norm 1/sqrt(points) for equal weights."""
    one = library.array(np.ones((), name))
    steps = np.where(np.arange(1000) % 2, 1, -1)[:, None] * 2.0**-12
    line = np.linspace(-1, 1, 1000)[:, None]
    cloud = random((20000, 3), seed=1)
    for P, Q in ((line, line + steps), (cloud, cloud + 1e-2 * random((20000, 3), seed=2))):
        P, Q = (library.array(x.astype(name)) for x in (P, Q))
        fun = lambda P, Q: sg.kabsch(P, Q).rmsd
        P_bar = library.numpy(library.vjp(fun, P, Q)[1](one)[0])
        assert np.linalg.norm(P_bar) * np.sqrt(len(P_bar)) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("far", [1e4, 1e12, 1e200, np.nan, np.inf])
def test_points_without_weight(library, far):
    P = random((6, 3), seed=1)
    Q = P + 0.1 * random((6, 3), seed=2)
    alone = sg.kabsch(P[1:], Q[1:])
    P[0] = Q[0] = far
    w = np.r_[0.0, np.ones(5)]
    primals = tuple(map(library.array, (P, Q, w)))
    out, pullback = library.vjp(lambda *a: sg.kabsch(*a).rmsd, *primals)
    assert library.numpy(out) == pytest.approx(float(alone.rmsd))
    P_bar, Q_bar, w_bar = map(library.numpy, pullback(library.array(np.asarray(1.0))))
    assert np.linalg.norm(P_bar) == pytest.approx(1 / np.sqrt(5))
    assert np.all(P_bar[0] == 0)
    assert np.all(Q_bar[0] == 0)
    assert np.all(np.isfinite(w_bar))
    assert w_bar[0] > 1e6 if far < 1e100 else w_bar[0] == 0


@pytest.mark.thinned
def test_huge_and_negative_weights(library):
    P, Q = map(library.array, points(6, 3))
    plain = sg.kabsch(P, Q)
    huge = sg.kabsch(P, Q, library.array(np.full(6, 1e308)))
    for a, b in zip(plain, huge, strict=True):
        np.testing.assert_allclose(library.numpy(a), library.numpy(b), rtol=1e-13)
    with pytest.raises(ValueError, match="negative"):
        sg.kabsch(P, Q, library.array(np.r_[-1.0, np.ones(5)]))


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
def test_a_covariance_of_rounding_errors_is_zero(library):
    P = np.array([[-1, -1], [-1, -1], [0, 0], [-1, -1], [0, 0]], float)
    Q = np.array([[0, 0], [-1, -1], [1, 0], [1, 1], [-1, 0]], float)
    ones = library.array(np.ones((2, 2)))
    _, pullback = library.vjp(lambda *a: sg.kabsch(*a).rotation, *map(library.array, (P, Q)))
    assert all(np.all(np.isnan(library.numpy(bar))) for bar in pullback(ones))
    A, B = np.split(np.linalg.qr(random((6, 4), seed=5))[0], 2, axis=1)
    _out, pullback = library.vjp(lambda *a: sg.procrustes(*a).rotation, *map(library.array, (A, B)))
    assert all(np.all(np.isnan(library.numpy(bar))) for bar in pullback(ones))


@pytest.mark.thinned
def test_msd_at_perfect_alignment(library):
    """It has a Hessian there, unlike rmsd: a rigid motion changes nothing, a stretch does."""
    P = random((5, 3), seed=1)
    Q = P @ rotation(2).T + 1.0
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])
    fun = lambda P, Q: sg.kabsch(P, Q).msd
    for dP, is_rigid in ((P @ turn.T + 2.0, True), (P * np.array([1.0, 0, 0]), False)):
        args = tuple(map(library.array, (P, Q))), (library.array(dP), None)
        product = library.numpy(sg.hvp(fun, *args, library.array(np.asarray(1.0)))[0])
        assert (np.max(np.abs(product)) < 1e-13) == is_rigid
        h = 1e-4
        up, here, down = (float(sg.kabsch(P + t * dP, Q).msd) for t in (h, 0.0, -h))
        wanted = (up - 2 * here + down) / h**2
        assert np.sum(product * dP) == pytest.approx(wanted, abs=1e-6)


def test_weights_of_points_that_nearly_fit(library):
    """What the means contribute is zero, and not the rounding error of that."""
    P, w = random((5, 3), seed=1), np.abs(random((5,), seed=2))
    Q = P @ rotation(2).T + 1.0 + 1e-9 * random((5, 3), seed=3)
    found = sg.kabsch(P, Q, w)
    rest = np.sum((Q - P @ found.rotation.T - found.translation) ** 2, axis=-1)
    wanted = (rest - found.msd) / (2 * found.rmsd * np.sum(w))
    one = library.array(np.asarray(1.0))
    fun = lambda *a: sg.kabsch(*a).rmsd
    w_bar = library.numpy(library.vjp(fun, *map(library.array, (P, Q, w)))[1](one)[2])
    np.testing.assert_allclose(w_bar, wanted, rtol=1e-5, atol=1e-14)


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
def test_tangents_where_the_rotation_is_not_determined():
    """Also of the translation, which has one axis only."""
    line = np.outer(np.arange(4.0), LINE)
    _, tangent = sg.jvp(sg.kabsch, (line, line), (np.ones((4, 3)), random((4, 3))))
    assert np.all(np.isnan(tangent.rotation))
    assert np.all(np.isnan(tangent.translation))
    assert np.isfinite(tangent.msd)


@pytest.mark.thinned
@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_many_small_sets_are_their_members(native, weighted):
    """NumPy has the axis of the stack last in memory there, and gives results back in order."""
    arrays = [random((120, 7, 3), seed=1), random((120, 7, 3), seed=2)]
    arrays += [1 + random((120, 7), seed=3) ** 2] if weighted else []
    bars = [random(shape, seed=4) for shape in ((120, 3, 3), (120, 3), (120,), (120,), (120,))]
    kabsch = partial(sg.kabsch, scale=True)

    def pulled(i):
        out, pullback = sg.vjp(kabsch, *(native.array(x[i]) for x in arrays))
        found = (*out, *pullback(tuple(native.array(bar[i]) for bar in bars)))
        return [native.numpy(y) for y in found]

    many = pulled(slice(None))
    assert all(y.flags.c_contiguous for y in many)
    for i in (0, 119):
        for y, alone in zip(many, pulled(i), strict=True):
            np.testing.assert_allclose(y[i], alone, rtol=1e-12, atol=1e-13)


@pytest.mark.thinned
@by_options
@pytest.mark.parametrize("power", [-60, -400, 60])
def test_the_rotation_does_not_mind_sets_of_different_sizes(library, power, options):
    P, Q = points(6, 3)
    if options["reflection"]:
        Q = Q * np.array([1.0, 1.0, -1.0])
    bar, ratio = random((3, 3), seed=7), 2.0**power

    def cotangents(P, Q):
        fun = lambda P, Q: sg.kabsch(P, Q, **options).rotation
        R, pullback = library.vjp(fun, library.array(P), library.array(Q))
        return [library.numpy(x) for x in (R, *pullback(library.array(bar)))]

    wanted, found = cotangents(P, Q), cotangents(P, ratio * Q)
    found[2] = found[2] * ratio
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
