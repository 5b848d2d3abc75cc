"""PyTorch's own sample inputs through PyTorch's own gradient checks, with batched gradients."""

from __future__ import annotations

import warnings

import pytest

import spectralgrad as sg

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # their imports use what Python deprecates
    from torch.testing._internal.opinfo.definitions.linalg import op_db

pytestmark = pytest.mark.filterwarnings("ignore:torch.qr is deprecated:UserWarning")

OPS = {op.full_name: op for op in op_db}
OURS = {
    "linalg.svd": sg.svd,
    "linalg.svdvals": sg.svdvals,
    "linalg.eigh": lambda x, UPLO: sg.eigh(x),
    "linalg.eigvalsh": lambda x, UPLO: sg.eigvalsh(x),
    "linalg.pinv": sg.pinv,
    "linalg.pinv.hermitian": lambda x, hermitian: sg.pinv(x),
    "linalg.pinv.singular": lambda a, b: sg.pinv(a @ b.mT),
}
TWICE = [name for name in OURS if "eig" not in name and name != "linalg.svdvals"]


def inputs_of(sample):
    return [sample.input, *(a for a in sample.args if isinstance(a, torch.Tensor))]


def samples(name, dtype, *, every=1):
    """The sample inputs, or some of them, that have more than no entries first."""
    torch.manual_seed(0)
    found = list(OPS[name].sample_inputs("cpu", dtype, requires_grad=True))
    return sorted(found, key=lambda s: s.input.numel() == 0)[::every]


def is_large(sample):
    """50 rows or columns, whose Jacobians take minutes, and products with them seconds."""
    return any(max(x.shape) >= 50 for x in inputs_of(sample))


@pytest.fixture
def every(request):
    """All samples with --slow, and else every twelfth."""
    return 1 if request.config.getoption("--slow") else 12


def checked(name, sample):
    """The function of the sample's tensors that PyTorch's tests differentiate, and the tensors."""

    def fun(*tensors):
        return sample.output_process_fn_grad(OURS[name](*tensors, **sample.kwargs))

    if name == "linalg.pinv.singular":
        return fun, inputs_of(sample)
    hermitian = "eig" in name or name.endswith("hermitian")
    # every real tensor is its own conjugate, and PyTorch has no rule for the view that mH is, of
    # complex ones under batched forward gradients (2.13)
    part = lambda x: (x + torch.conj_physical(x.transpose(-1, -2))) / 2
    return (lambda x: fun(part(x))) if hermitian else fun, [sample.input]


@pytest.mark.filterwarnings("ignore::spectralgrad.DerivativeUndefinedWarning")
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=["real", "complex"])
@pytest.mark.parametrize("name", OURS)
def test_gradients(name, dtype, every):
    given = samples(name, dtype, every=every)
    assert given
    for sample in given:
        fun, tensors = checked(name, sample)
        assert torch.autograd.gradcheck(
            fun,
            tensors,
            check_batched_grad=True,
            check_forward_ad=True,
            check_batched_forward_grad=True,
            fast_mode=is_large(sample),
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=["real", "complex"])
@pytest.mark.parametrize("name", TWICE)
def test_second_derivatives(name, dtype, every):
    for sample in samples(name, dtype, every=every):
        fun, tensors = checked(name, sample)
        if sample.input.numel() and sample.kwargs.get("full_matrices", True):
            assert torch.autograd.gradgradcheck(
                fun, tensors, check_batched_grad=True, fast_mode=is_large(sample)
            )
