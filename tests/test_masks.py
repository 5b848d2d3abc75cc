"""The page of ways out of masks: its codes run, and its table holds what they give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from marks import skip_without_imports

PAGE = Path(__file__).parent.parent / "docs" / "instead-of-masks.md"
SECTIONS = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
CODES = {
    title: block
    for title, text in SECTIONS
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
}
ROWS = re.findall(r"^\| \[(.*?)\]\(#(.*?)\) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)


def test_every_section_with_a_code_is_in_the_table():
    assert [title.lower().replace(" ", "-") for title in CODES] == [name for _, name, _ in ROWS]


@pytest.mark.parametrize(
    ("title", "row"),
    [
        pytest.param(title, row, id=row[0], marks=[pytest.mark.slow] * ("JAX" in row_title))
        for title, (row_title, *row) in zip(CODES, ROWS, strict=True)
    ],
)
def test_table(title, row):
    skip_without_imports(CODES[title])
    lines_before, lines_after, error_before, error_after = row[1].split(" | ")
    assert error_after == "below 1e-6"

    parts = re.split(r"^# (?:before|after|measured)$", CODES[title], flags=re.MULTILINE)
    counts = [len(re.findall(r"^.*\S", part, re.MULTILINE)) for part in parts[1:3]]
    assert counts == [int(lines_before), int(lines_after)]

    found: dict[str, float] = {}
    exec(compile(CODES[title], PAGE.name, "exec"), found)  # our own text
    bound = float(re.fullmatch(r"above ([\d.]+)(?:, or NaN)?", error_before)[1])
    assert not found["error_before"] <= bound  # nor is NaN
    assert found["error_after"] < 1e-6
