"""What is no matrix, no option or no cotangent is refused in words, the same on every library."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
from matrices import random
from operations import OPERATIONS

import spectralgrad as sg
from spectralgrad._spectrum.undefined import Undefined

by_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.name)
SQUARE = [op for op in OPERATIONS if op.square]


@by_operation
def test_not_a_matrix(library, operation):
    xp = library.xp
    with pytest.raises(TypeError, match=r"argument `x` is a list.*Convert"):
        operation.call([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(TypeError, match=r"dtype .*int64.*Cast"):
        operation.call(xp.ones((3, 3), dtype=xp.int64))
    with pytest.raises(TypeError, match=r"dtype .*bool"):
        operation.call(xp.ones((3, 3), dtype=xp.bool))
    with pytest.raises(ValueError, match=r"shape \(3,\).*stack"):
        operation.call(xp.ones(3, dtype=xp.float64))
    with pytest.raises(ValueError, match=r"shape \(\)"):
        operation.call(xp.ones((), dtype=xp.float64))


@pytest.mark.parametrize("operation", SQUARE, ids=lambda op: op.name)
def test_not_square(library, operation):
    with pytest.raises(ValueError, match=r"shape \(3, 2\).*square"):
        operation.call(library.xp.ones((3, 2), dtype=library.xp.float64))


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
def test_other_precisions_are_refused():
    torch = pytest.importorskip("torch")
    for dtype in (torch.complex32, torch.float8_e4m3fn):
        with pytest.raises(TypeError, match="wanted real or complex single or double"):
            sg.svdvals(torch.ones((2, 2)).to(dtype))


def test_longdouble_is_refused():
    with pytest.raises(TypeError, match=r"longdouble|float128"):
        sg.svdvals(np.ones((2, 2), dtype=np.longdouble))


@pytest.mark.parametrize("call", [sg.svd, sg.eigh])
def test_options_out_of_range(call):
    with pytest.raises(ValueError, match=r"`ties` is 'ignore'.*'nan'.*'split'"):
        call(np.eye(3), ties="ignore")
    for rtol in (-1.0, 1.0, float("nan"), "1e-3", np.ones(3)):
        with pytest.raises(ValueError, match="`gap_rtol`"):
            call(np.eye(3), gap_rtol=rtol)


def test_scalar_functions_out_of_range():
    F = sg.functions
    for make, message in (
        (lambda: F.tikhonov(0), "above 0"),
        (lambda: F.soft_threshold(-1.0), "at least 0"),
        (lambda: F.hard_threshold(float("nan")), "finite"),
        (lambda: F.power(float("inf")), "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    for value in ([1.0], "1", None, True):
        with pytest.raises(TypeError, match=r"`tau`.*Python number"):
            F.soft_threshold(value)


def test_what_is_no_scalar_function(library):
    x = library.array(np.eye(3))
    for f in (3, "tanh", (abs,), None):
        with pytest.raises(TypeError, match="`f` is a"):
            sg.svd_function(x, f)
    if library.name in ("numpy", "array_api_strict", "cupy"):
        with pytest.raises(TypeError, match="bare callable"):
            sg.svd_function(x, lambda s: s)
    with pytest.raises(ValueError, match="elementwise"):
        sg.svd_function(x, (lambda s: library.xp.sum(s), lambda s: s))
    with pytest.raises(ValueError, match="elementwise"):
        sg.svd_function(x, (lambda s: 1.0, lambda s: s))


def test_cotangents_that_do_not_fit(library):
    x = library.array(random((3, 2)))
    _, pullback = sg.vjp(sg.svd, x)
    good = library.array(np.ones((3, 3)))
    with pytest.raises(ValueError, match="2 items; wanted a tuple of 3"):
        pullback((good, None))
    with pytest.raises(ValueError, match="wanted a tuple of 3"):
        pullback(good)
    with pytest.raises(ValueError, match=r"shape \(3, 2\); wanted \(3, 3\)"):
        pullback((x, None, None))
    with pytest.raises(TypeError, match="real"):
        pullback((library.array(1j * np.ones((3, 3))), None, None))
    with pytest.raises(TypeError, match="one array library"):
        pullback(([[1.0]], None, None))
    with pytest.raises(TypeError, match=r"sg.jvp\(fun, \(x,\), \(dx,\)\)"):
        sg.jvp(sg.svdvals, x, x)
    with pytest.raises(TypeError, match=r"primal 1 is a .*by keyword"):
        sg.vjp(sg.svd_function, x, sg.functions.tanh)
    with pytest.raises(TypeError, match="at least one array"):
        sg.vjp(sg.svdvals)
    with pytest.raises(TypeError, match="is a float"):
        sg.vjp(sg.svdvals, x)[1](1.0)
    with pytest.raises(ValueError, match="a tangent"):
        sg.jvp(sg.svdvals, (x,), (good,))
    with pytest.raises(ValueError, match="a tangent"):
        sg.jvp(sg.svdvals, (x,), (x, x))


@pytest.mark.parametrize("name", ["sqrtm", "inv_sqrtm", "powm", "logm", "expm"])
def test_what_is_not_hermitian_is_nan_under_the_names_of_scipy(library, name):
    """A rotation beside a matrix that is Hermitian to rounding."""
    fun = partial(sg.powm, p=2) if name == "powm" else getattr(sg, name)
    turned = np.array([[0.6, -0.8], [0.8, 0.6]])
    nearly = np.array([[2.0, 1.0], [1.0 + 1e-3, 3.0]])
    x = library.array(np.stack([turned, nearly]))
    C = library.array(np.ones((2, 2, 2)))
    expected = pytest.warns(UserWarning, match=rf"^{name}: .*eigh_function")
    silent = library.device != "cpu" or library.name == "jax"  # which traces
    with nullcontext() if silent else expected:
        out, pullback = library.vjp(fun, x)
    for result in (out, pullback(C)[0]):
        assert np.all(np.isnan(library.numpy(result)[0]))
        assert np.all(np.isfinite(library.numpy(result)[1]))
    symmetric = library.array((nearly + nearly.T) / 2)
    np.testing.assert_allclose(library.numpy(out)[1], library.numpy(fun(symmetric)), rtol=1e-12)


def test_only_what_is_not_hermitian_is_said_not_to_be():
    """Eigenvalues are NaN, too, where a driver found none of a Hermitian matrix."""
    w, turned = np.full(2, np.nan), np.array([[0.6, -0.8], [0.8, 0.6]])
    assert Undefined("logm").explain_skew(np.eye(2), w) is None
    assert "not Hermitian" in str(Undefined("logm").explain_skew(turned, w))


def test_sparse_input_is_told_of_truncated_svd():
    sparse = pytest.importorskip("scipy.sparse")
    for x in (sparse.eye(4, format="csr"), sparse.linalg.aslinearoperator(np.eye(4))):
        with pytest.raises(TypeError, match=r"svd: argument `x` is .* sparse .*truncated_svd"):
            sg.svd(x)
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"nuclear_norm: argument `x` is a Tensor, which is sparse"):
        sg.nuclear_norm(torch.eye(3).to_sparse())


@pytest.mark.parametrize("name", ["soft_threshold", "power", "fermi", "step"])
def test_a_function_that_was_not_called(library, name):
    f = getattr(sg.functions, name)
    with pytest.raises(TypeError, match=rf"`f` is sg.functions.{name} itself.* such as {name}\("):
        sg.svd_function(library.array(np.eye(3)), f)


def test_arithmetic_between_calls_names_the_public_function():
    for fun in (sg.nuclear_norm, sg.spectral_norm, sg.orthogonalize, sg.pinv):
        with pytest.raises(TypeError, match=f"`{fun.__name__}` was given an array that is neither"):
            sg.vjp(lambda x, fun=fun: fun(2 * x), np.eye(2))


def test_nodes_carry_the_name_of_the_function():
    torch = pytest.importorskip("torch")
    x = torch.eye(3, requires_grad=True)
    names = {
        type(sg.nuclear_norm(x).grad_fn).__name__,
        type(sg.svd_function(x, sg.functions.tanh).grad_fn).__name__,
    }
    assert names == {"NuclearNormBackward", "SvdFunctionBackward"}


def test_no_warning_of_numpy_leaks():
    x = np.diag([1.0, 0.0, -1.0])
    with np.errstate(all="raise"):
        with pytest.warns(UserWarning, match="svd_function: the value is NaN"):
            assert np.isnan(sg.svd_function(x, (np.log, lambda s: 1 / s))).any()
        with pytest.warns(UserWarning, match="eigh_function: the value is NaN"):
            sg.eigh_function(x, sg.functions.log)
        sg.pinv(1e-300 * np.eye(3) + 0 * x)


LOOKALIKES = {"numpy.matrix": np.matrix, "masked array": np.ma.masked_array}
TAKING = {
    "svd": sg.svd,
    "truncated_svd": lambda x: sg.truncated_svd(x, 1),
    "kabsch P": lambda x: sg.kabsch(x, np.eye(3)),
    "kabsch Q": lambda x: sg.kabsch(np.eye(3), x),
    "kabsch weights": lambda x: sg.kabsch(np.eye(3), np.eye(3), x[0]),
    "tau": lambda x: sg.singular_value_threshold(np.eye(3), x[:1, 0]),
    "tangent": lambda x: sg.jvp(sg.orthogonalize, (np.eye(3),), (x,)),
    "cotangent": lambda x: sg.vjp(sg.orthogonalize, np.eye(3))[1](x),
    "direction": lambda x: sg.hvp(sg.orthogonalize, np.eye(3), x, np.eye(3)),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("kind", LOOKALIKES)
@pytest.mark.parametrize("name", TAKING)
def test_what_only_looks_like_an_array_is_refused_by_name(name, kind):
    x = LOOKALIKES[kind](np.eye(3))
    with pytest.raises(TypeError, match=rf"is a {kind}, .* a plain array"):
        TAKING[name](x)


@pytest.mark.parametrize("dtype", [object, str, bool, "M8[s]", [("a", float)]], ids=str)
def test_cotangents_are_numbers(dtype):
    zeros = np.zeros((3, 3)).astype(dtype) if dtype != "M8[s]" else np.zeros((3, 3), dtype)
    _, pullback = sg.vjp(sg.orthogonalize, np.eye(3))
    with pytest.raises(TypeError, match=r"cotangent of the output has dtype .* numbers"):
        pullback(zeros)
    with pytest.raises(TypeError, match=r"a tangent has dtype .* wanted numbers"):
        sg.jvp(sg.orthogonalize, (np.eye(3),), (zeros,))


@pytest.mark.parametrize("value", ["False", "no", 1, None])
def test_flags_are_true_or_false(value):
    calls = (
        lambda: sg.svd(np.eye(3), full_matrices=value),
        lambda: sg.kabsch(np.eye(3), np.eye(3), scale=value),
        lambda: sg.kabsch(np.eye(3), np.eye(3), reflection=value),
    )
    for call, name in zip(calls, ("full_matrices", "scale", "reflection"), strict=True):
        with pytest.raises(TypeError, match=f"`{name}` is .*; wanted True or False"):
            call()


@pytest.mark.parametrize("transform", ["vjp", "jvp", "hvp"])
def test_the_function_comes_first(transform):
    arguments = {"vjp": (np.eye(2),), "jvp": ((np.eye(2),),) * 2, "hvp": (np.eye(2),) * 3}
    with pytest.raises(TypeError, match=f"sg.{transform}: the first argument is a int"):
        getattr(sg, transform)(3, *arguments[transform])


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8", ">c8", ">c16"])
def test_the_order_of_bytes_does_not_matter(dtype):
    x = random((4, 3)).astype(dtype)
    native = x.astype(x.dtype.newbyteorder("="))

    def thresholded(x):
        tau = np.asarray(0.3).astype(x.real.dtype)
        return sg.vjp(sg.singular_value_threshold, x, tau)[1](x)

    for fun in (lambda x: sg.vjp(sg.orthogonalize, x)[1](x), thresholded):
        for found, wanted in zip(fun(x), fun(native), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_stacks_in_a_handler_of_atexit():
    program = """
import atexit
import numpy as np
import spectralgrad as sg

x = np.ones((20000, 4, 4))
atexit.register(lambda: print(sg.svdvals(x)[..., 0].sum()))
"""
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert float(run.stdout) == pytest.approx(80000), run.stderr


def test_nothing_is_said_of_overflow_in_rules():
    with np.errstate(all="raise"):
        for exponent in (-300, 300):
            x = random((3, 3)) * 10.0**exponent
            for fun in (sg.pinv, sg.orthogonalize, lambda x: sg.low_rank(x, 1), sg.nuclear_norm):
                out, pullback = sg.vjp(fun, x)
                pullback(np.ones_like(out))


def elsewhere(call):
    """`call` of a matrix and of an array of ones of that shape on another device."""
    strict = pytest.importorskip("array_api_strict")
    there = strict.Device("device1")
    here = strict.asarray(np.eye(3) + 0.1)
    return lambda: call(here, lambda *shape: strict.ones(shape, device=there))


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda x, ones: sg.kabsch(x, ones(3, 3)), "kabsch: `P`"),
        (lambda x, ones: sg.procrustes(x, ones(3, 3)), "procrustes: `A`"),
        (lambda x, ones: sg.kabsch(x, x, ones(3)), "kabsch: `weights`"),
        (lambda x, ones: sg.singular_value_threshold(x, ones()), "singular_value_threshold: `tau`"),
        (lambda x, ones: sg.powm(x @ x.mT, ones()), "powm: `p`"),
        (lambda x, ones: sg.pinv(x, rtol=ones()), "pinv: `rtol`"),
        (
            lambda x, ones: sg.svd_function(x, sg.functions.tikhonov(ones())),
            "svd_function: `alpha`",
        ),
        (lambda x, ones: sg.vjp(sg.orthogonalize, x)[1](ones(3, 3)), "sg.vjp: the cotangent"),
        (lambda x, ones: sg.jvp(sg.orthogonalize, (x,), (ones(3, 3),)), "sg.jvp: a tangent"),
        (lambda x, ones: sg.hvp(sg.orthogonalize, x, ones(3, 3), x), "sg.hvp: the direction"),
    ],
)
def test_arrays_on_two_devices(call, names):
    with pytest.raises(ValueError, match=rf"^{names}.* is on .*; wanted both on one device"):
        elsewhere(call)()


@pytest.mark.parametrize("fun", [sg.svd_function, sg.eigh_function, sg.svdvals_sum])
def test_functions_that_mix_values(native, fun):
    x = native.array(np.diag([3.0, 2.0, 1.0]))
    f = lambda s: s / native.xp.max(s)
    with pytest.raises(ValueError, match=f"^{fun.__name__}: `f` is not elementwise"):
        fun(x, f)
    with pytest.raises(ValueError, match="`f` is not elementwise"):
        fun(x, (f, native.xp.ones_like))
