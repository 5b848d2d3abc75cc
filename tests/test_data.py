"""The reference gradients are what their generator computes, and more can be made like them."""

import importlib
import json
from pathlib import Path

import pytest

pytest.importorskip("mpmath")
generate = importlib.import_module("data.generate")

REFERENCE = json.loads((Path(__file__).parent / "data" / "open.json").read_text())
CASES = {case["id"]: case for case in REFERENCE["cases"]}


@pytest.mark.parametrize(
    "case_id",
    [
        "0079-nearest_rotation-4x4r-graded",
        "0129-hermitian:inv_sqrt-4x4c-pair-psd",
        "0270-spectral:log1p-5x3r-exact-rank-deficient",
        "0460-left_projector-3x5c-gap1e-12",
    ],
)
def test_recomputed_gradient_agrees(case_id):
    assert generate.relative_difference(CASES[case_id]) < 1e-14


def test_recomputed_second_derivatives_agree():
    path = Path(__file__).parent / "data" / "second.json"
    cases = json.loads(path.read_text())["cases"]
    for case in [case for case in cases if "all_equal" in case["id"]][:2]:
        assert generate.relative_difference(case) < 1e-14


def test_generated_file_has_the_format_of_the_stored_one(tmp_path):
    path = tmp_path / "more.json"
    generate.generate(seed=1, count=2, names=["pinv", "ky_fan_norm"], output=path)
    made = json.loads(path.read_text())
    assert made.keys() == REFERENCE.keys()
    for case, name in zip(made["cases"], ["pinv", "ky_fan_norm"], strict=True):
        assert case["op"] == name
        assert case.keys() == CASES["0000-spectral:cube-4x4r-spread"].keys()
        assert generate.relative_difference(case) < 1e-14
