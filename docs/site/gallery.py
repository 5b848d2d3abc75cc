"""The gallery: which scripts of `examples` are shown, and how sphinx-gallery runs them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any


def has_heading(script: Path) -> bool:
    """Whether its docstring begins with a heading, underlined, as sphinx-gallery needs one."""
    lines = (ast.get_docstring(ast.parse(script.read_text())) or "").splitlines()
    return len(lines) > 1 and re.fullmatch(r"([=-])\1{3,}", lines[1]) is not None


def configuration(folder: Path) -> dict[str, Any]:
    """The scripts with a heading, run from top to bottom without arguments."""
    pages = folder.parent / "gallery"
    for page in pages.glob("*.rst"):  # of scripts that are gone
        if page.stem != "index" and not (folder / f"{page.stem}.py").exists():
            page.unlink()
    left_out = [script.name for script in sorted(folder.glob("*.py")) if not has_heading(script)]
    return {
        "examples_dirs": str(folder),
        "gallery_dirs": str(pages),
        "filename_pattern": r"^(?!.*out_of_core).*\.py$",  # which limits its process's memory
        "ignore_pattern": "|".join(rf"{re.escape(name)}$" for name in left_out) or "$^",
        "within_subsection_order": "FileNameSortKey",
        "abort_on_example_error": False,
        "only_warn_on_example_error": False,
        "remove_config_comments": True,
        "download_all_examples": False,
        "show_memory": False,
        "min_reported_time": 1e9,
        "write_computation_times": False,
        "backreferences_dir": "gallery/backreferences",
        "doc_module": ("spectralgrad",),
        "copyfile_regex": r".*\.(md|rst)",
    }
