"""What docs/comparison.md says of this library: every gradient of the table is right."""

import pytest

from benchmarks.comparison.further import CASES
from benchmarks.comparison.libraries import by_torch
from benchmarks.comparison.rows import ROWS


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_ours_is_right(row):
    pytest.importorskip("torch")
    assert by_torch(row, row.ours) == "right"


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_ours_is_right_beyond_one_gradient(case):
    pytest.importorskip("torch")
    assert case.by["spectralgrad"]() == "right"


def test_a_wrong_gradient_is_told():
    pytest.importorskip("torch")
    (row,) = (row for row in ROWS if row.name == "polar factor U Vh, at the identity")
    assert by_torch(row, lambda x: 1.001 * row.ours(x)) == "off by 1e-03"
