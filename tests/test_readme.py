"""Every Python block of the documentation runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from marks import skip_without_imports

ROOT = Path(__file__).parent.parent
SITE = "https://spectralgrad.github.io/spectralgrad/"
FILES = ("https://github.com/spectralgrad/spectralgrad/blob/main/",
         "https://raw.githubusercontent.com/spectralgrad/spectralgrad/main/")  # fmt: skip
BLOCKS = [
    pytest.param(block, id=f"{path.name}-{i}")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if path.name != "instead-of-masks.md"  # test_masks.py runs it
    for i, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL))
]


def test_there_are_blocks():
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("block", BLOCKS)
def test_block(block):
    skip_without_imports(block)
    exec(compile(block, "README", "exec"), {})


def test_links_of_the_readme_lead_to_pages_and_files():
    """They are absolute, since the README is also read where the repository is not."""
    targets = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert len(targets) > 15
    for target in targets:
        assert target.startswith("https://"), target
        page, where = target.split("#")[0], (SITE, *FILES)
        for start in (start for start in where if page.startswith(start)):
            name = page.removeprefix(start)
            file = f"docs/{name.removesuffix('html')}md" if start == SITE else name
            assert (ROOT / file).is_file(), target
