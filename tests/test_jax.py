"""JAX's own ways of differentiating: jit, vmap, grad, jvp and what they nest into."""

from __future__ import annotations

import numpy as np
import pytest
from marks import slow
from matrices import SPECTRA, random, with_spectrum
from operations import OPERATIONS

import spectralgrad as sg

jax = pytest.importorskip("jax")
jnp = jax.numpy


def blind_svd(x):
    U, S, Vh = sg.svd(x, full_matrices=False)
    return jnp.abs(U), S, jnp.abs(Vh), (U * S[..., None, :])[..., :2] @ Vh[..., :2, :]


def blind_full_svd(x):
    U, S, Vh = sg.svd(x)
    k = S.shape[-1]
    U3, V3 = U[..., k:], jnp.conj(Vh[..., k:, :]).mT
    return U3 @ jnp.conj(U3).mT, V3 @ jnp.conj(V3).mT, S


def blind_eigh(x):
    w, Q = sg.eigh(x)
    return w, jnp.abs(Q)


FUNCTIONS = {
    op.name: op.call
    for op in OPERATIONS
    if op.name in ("svdvals", "eigvalsh", "orthogonalize", "nuclear_norm", "eigh_function:exp")
}
FUNCTIONS |= {
    "svd": blind_svd,
    "svd_full": blind_full_svd,
    "eigh": blind_eigh,
    "svd_function:soft": lambda x: sg.svd_function(x, sg.functions.soft_threshold(0.7)),
    "svd_function:tanh": lambda x: sg.svd_function(x, sg.functions.tanh),
    "svd_function:bare": lambda x: sg.svd_function(x, lambda s: s**3 / (1 + s * s)),
}
KINDS = ("svd", "svd_full", "eigh", "svd_function:bare")  # one of each way of being made
COSTLY = ("svd_full", "svd_function:bare", "svd_function:soft")  # seconds of compilation each
by_kind = pytest.mark.parametrize("name", [slow(k) if k in COSTLY else k for k in KINDS])


def loss_of(fun):
    """A real loss that weighs every entry of every output differently."""

    def loss(x):
        out = fun(x)
        leaves = out if isinstance(out, tuple) else (out,)
        return sum(
            jnp.sum(jnp.cos(jnp.arange(y.size)).reshape(y.shape) * jnp.abs(y) ** 2) for y in leaves
        )

    return loss


def shape_of(name):
    return (3, 3) if name.startswith("eig") else (4, 3)


@pytest.mark.parametrize(
    ("name", "is_complex"),
    [(slow if name in COSTLY else pytest.param)(name, name in KINDS) for name in FUNCTIONS],
)
def test_transforms_agree(name, is_complex):
    loss = loss_of(FUNCTIONS[name])
    stack = jnp.asarray(random((3, *shape_of(name)), is_complex=is_complex))
    gradient = jax.jit(jax.grad(loss))
    looped = jnp.stack([gradient(x) for x in stack])
    close = lambda got: np.testing.assert_allclose(got, looped, rtol=1e-10, atol=1e-11)
    close(jax.jit(jax.vmap(jax.grad(loss)))(stack))
    close(jax.jit(jax.grad(lambda s: jnp.sum(jax.vmap(loss)(s))))(stack))
    close(jax.jit(jax.grad(lambda s: jnp.sum(jax.lax.map(jax.checkpoint(loss), s))))(stack))
    direction = jnp.asarray(random(shape_of(name), seed=4, is_complex=is_complex))
    _, forward = jax.jit(lambda x, dx: jax.jvp(loss, (x,), (dx,)))(stack[0], direction)
    assert forward == pytest.approx(float(jnp.real(jnp.sum(looped[0] * direction))), rel=1e-10)


@by_kind
def test_eager_is_jitted(name):
    x = jnp.asarray(random(shape_of(name), seed=6, is_complex=True))
    loss = loss_of(FUNCTIONS[name])
    np.testing.assert_allclose(
        jax.grad(loss)(x), jax.jit(jax.grad(loss))(x), rtol=1e-10, atol=1e-11
    )


@by_kind
def test_jacobians_agree(name):
    fun = FUNCTIONS[name]

    def moduli(parts):  # Jacobians are of real arguments and values
        out = fun(parts[0] + 1j * parts[1])
        return [jnp.abs(leaf) for leaf in jax.tree.leaves(out)]

    x = jnp.asarray(random((2, *shape_of(name)), seed=7))
    reverse, forward = jax.jit(jax.jacrev(moduli))(x), jax.jit(jax.jacfwd(moduli))(x)
    for a, b in zip(reverse, forward, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)


OF_VECTORS = {  # blind to the phases of complex vectors
    name: FUNCTIONS[name] for name in ("svd", "svd_full", "eigh")
} | {
    "truncated_svd": lambda x: tuple(map(jnp.abs, sg.truncated_svd(x, 2))),
    "truncated_eigh": lambda x: tuple(map(jnp.abs, sg.truncated_eigh((x + jnp.conj(x).mT) / 2, 2))),
}


@pytest.mark.parametrize(
    ("name", "is_complex"),  # the others have `hvp` to equal
    [(name, False) for name in ("svd", "eigh", "svdvals", "eigvalsh")]
    + [slow(name, False) for name in ("svd_full", "svd_function:bare")]
    + [slow(name, True) for name in ("svd_full", "truncated_svd", "truncated_eigh")]
    + [(name, True) for name in ("svd", "eigh")],
)
def test_second_order_where_values_are_simple(name, is_complex):
    """Forward over reverse, reverse over reverse and differences of the gradient agree."""
    loss = loss_of((FUNCTIONS | OF_VECTORS)[name])
    shape = (3, 3) if "eig" in name else (4, 3)
    x = jnp.asarray(with_spectrum(*shape, (2.0, 1.4, 0.4), is_complex=is_complex))
    dx = jnp.asarray(random(x.shape, seed=8, is_complex=is_complex))
    gradient = jax.jit(jax.grad(loss))
    difference = (gradient(x + 1e-5 * dx) - gradient(x - 1e-5 * dx)) / 2e-5
    forward = jax.jit(lambda x: jax.jvp(jax.grad(loss), (x,), (dx,))[1])(x)
    along = lambda x: jnp.real(jnp.sum(jax.grad(loss)(x) * dx))
    reverse = jax.jit(jax.grad(along))(x)
    size = float(jnp.max(jnp.abs(difference)))
    np.testing.assert_allclose(forward, difference, atol=1e-6 * size)
    np.testing.assert_allclose(reverse, forward, atol=1e-10 * size)


@pytest.mark.parametrize(
    "name", [name if name in ("svd", "eigh") else slow(name) for name in OF_VECTORS]
)
def test_forward_over_reverse_says_nothing_where_it_is_right(name):
    """The cotangents' tangents alone, which are not blind to phases, give no warning."""
    loss = loss_of(OF_VECTORS[name])
    x = jnp.asarray(with_spectrum(3, 3, (2.0, 1.4, 0.4), is_complex=True))
    assert jnp.all(jnp.isfinite(jax.jvp(jax.grad(loss), (x,), (1j * x,))[1]))


@pytest.mark.parametrize("name", ["svd_function:tanh", "orthogonalize", "nuclear_norm", "svdvals"])
def test_second_order_at_ties_is_right_or_nan(name):
    loss = loss_of(FUNCTIONS[name])
    x = jnp.asarray(with_spectrum(4, 3, (2.0, 2.0, 1.0)))
    dx = jnp.asarray(random(x.shape, seed=8))
    gradient = jax.jit(jax.grad(loss))
    second = np.asarray(jax.jit(lambda x: jax.jvp(jax.grad(loss), (x,), (dx,))[1])(x))
    difference = (gradient(x + 1e-5 * dx) - gradient(x - 1e-5 * dx)) / 2e-5
    assert np.all(np.isnan(second)) or np.allclose(second, difference, atol=1e-6)


def test_derivatives_by_the_direction_are_nan_at_ties():
    x, dx = jnp.eye(3), jnp.asarray(random((3, 3), seed=1))
    vectors = jax.jit(lambda x: sg.svd(x).U)
    pullback = lambda bar: jax.vjp(vectors, x)[1](bar)[0]
    assert jnp.all(jnp.isnan(jax.jvp(pullback, (0 * dx,), (dx,))[1]))
    along = lambda dx: jnp.sum(jax.jvp(vectors, (x,), (dx,))[1])
    assert jnp.all(jnp.isnan(jax.grad(along)(dx)))


def test_the_convention_is_jaxs_own():
    """jax.grad returns the conjugate of the gradient in PyTorch's sense."""
    x = jnp.asarray(random((3, 3), is_complex=True))
    by_jax = jax.grad(lambda x: jnp.sum(jnp.linalg.svd(x, compute_uv=False) ** 2))(x)
    np.testing.assert_allclose(
        jax.grad(lambda x: jnp.sum(sg.svdvals(x) ** 2))(x), by_jax, atol=1e-12
    )


def test_unused_factors_cost_nothing_under_jit():
    """The jvp of a function of the spectrum leaves no tangent of U or V in the program."""
    x = jnp.asarray(random((6, 5)))
    program = jax.jit(lambda x, dx: jax.jvp(sg.orthogonalize, (x,), (dx,))[1]).lower(x, x)
    assert program.as_text().count("while") == 0
    jaxpr = jax.make_jaxpr(lambda x, dx: jax.jvp(sg.orthogonalize, (x,), (dx,))[1])(x, x)
    kept, _ = jax.interpreters.partial_eval.dce_jaxpr(jaxpr.jaxpr, [True])
    assert sum(eqn.primitive.name == "spectralgrad_lin" for eqn in kept.eqns) == 1


def test_tracing_says_nothing_and_gives_nan():
    x = jnp.asarray(with_spectrum(4, 4, SPECTRA["triple"]))
    for ties in ("nan", "raise"):
        gradient = jax.jit(jax.grad(lambda x, ties=ties: jnp.sum(sg.svd(x, ties=ties).U)))
        assert jnp.all(jnp.isnan(gradient(x)))
    with pytest.warns(sg.DerivativeUndefinedWarning, match=r"S\[0\] = .* count as equal"):
        jax.grad(lambda x: jnp.sum(sg.svd(x).U))(x)


def test_a_traced_value_in_f_is_refused():
    x = jnp.asarray(random((3, 3)))
    for make in (lambda p: lambda s: s * p, lambda p: (lambda s: s * p, lambda s: p + 0 * s)):
        with pytest.raises(TypeError, match="closes over"):
            jax.grad(lambda p, make=make: jnp.sum(sg.svd_function(x, make(p))))(2.0)
        np.testing.assert_allclose(sg.svd_function(x, make(2.0)), 2 * x, atol=1e-13)


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (8, 0)], ids=str)
def test_one_matrix_without_entries_is_in_no_blocks(shape):
    x = jnp.zeros(shape)
    for call in (sg.svd, jax.jit(sg.svd), sg.orthogonalize):
        assert all(y.size in (0, shape[0] ** 2, shape[1] ** 2) for y in jax.tree.leaves(call(x)))
    assert sg.svd(x, full_matrices=False).U.shape == (shape[0], 0)
    assert jax.grad(sg.nuclear_norm)(x).shape == shape


SECOND, SINGULAR = jnp.diag(jnp.array([3.0, 2.0, 1.0])), jnp.diag(jnp.array([2.0, 1.0, 0.0]))


def through_an_operator(factor):
    """The largest value of an operator that asks for a norm of its parameters, times SECOND."""

    def operator(params):
        size = factor(params)
        return sg.operators.from_matmat(
            lambda X: size() * (SECOND @ X),
            lambda Y: size() * (SECOND @ Y),
            (3, 3),
            SECOND.dtype,
            like=SECOND,
        )

    return lambda x: sg.truncated_svd(operator, 1, params=x).S[0]


jitted_norm = jax.jit(sg.nuclear_norm)
USERS_CODE = {
    "jit": through_an_operator(lambda x: lambda: jitted_norm(x)),
    "scan": through_an_operator(
        lambda x: lambda: jax.lax.scan(lambda c, x: (c + sg.nuclear_norm(x), None), 0.0, x[None])[0]
    ),
    "grad": through_an_operator(lambda x: lambda: jnp.sum(jax.grad(sg.nuclear_norm)(SINGULAR) * x)),
    "function": lambda x: jnp.sum(
        sg.svd_function(SECOND, lambda s, x: s / 2 * jitted_norm(x), params=x)
    ),
}


@pytest.mark.parametrize("name", USERS_CODE)
def test_what_users_code_computes_inside_of_a_compiled_rule_is_differentiated(name):
    """It may be in JAX's caches before its derivative is asked for."""
    f = USERS_CODE[name]
    assert abs(jax.jit(f)(SINGULAR) - 9) < 1e-12
    for gradient in (jax.jit(jax.grad(f)), jax.grad(f)):
        expected = jnp.diag(jnp.array([3.0, 3.0, 0.0]))
        assert jnp.max(jnp.abs(gradient(SINGULAR) - expected)) < 1e-12


def test_single_precision_alone():
    """The default of JAX, where it warns of all that asks for 64 bits."""
    x = np.diag([3.0, 2.0, 2.0, 1.0]).astype(np.float32)
    with jax.enable_x64(False):
        of = lambda x: jnp.sum(sg.truncated_eigh(x, 1, solver="krylov").eigenvalues)
        np.testing.assert_allclose(jax.grad(of)(x), np.diag([1.0, 0, 0, 0]), atol=1e-6)
        with pytest.warns(sg.DerivativeUndefinedWarning, match="count as equal"):
            assert jnp.any(jnp.isnan(jax.grad(lambda x: jnp.sum(sg.svd(x).U[0, :]))(x)))
