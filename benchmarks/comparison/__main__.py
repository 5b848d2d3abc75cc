"""``python -m benchmarks.comparison``: gradients of other libraries and ours, at hard matrices.

Every row is a loss of a matrix, written with the factors that a library returns and, for ours, with
the function of the matrix that it is. The gradients are compared with central differences of the
loss in NumPy. A cell says "right" where all entries agree to 1e-6 of the largest one, NaN where
one of them is, and else how far off they are. Prints a table in Markdown; `--write` puts it into
docs/comparison.md and, shorter, into README.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import warnings
from pathlib import Path

from .further import CASES
from .libraries import GRADIENTS
from .rows import ROWS

ROOT = Path(__file__).parents[2]
PACKAGES = {"PyTorch": "torch", "RoMa": "roma"}


def version(library: str) -> str | None:
    try:
        found = importlib.metadata.version(PACKAGES.get(library, library.lower()))
    except importlib.metadata.PackageNotFoundError:
        return None
    return found.partition("+")[0]


def table(libraries: list[str], short: bool) -> str:
    heads = [f"{name} {version(name) or ''}".rstrip() for name in libraries]
    lines = ["| gradient of | our function | " + " | ".join(heads) + " |"]
    lines.append("|" + "---|" * (2 + len(libraries)))
    for row in ROWS:
        if row.in_readme or not short:
            cells = [
                GRADIENTS[name](row) if version(name) else "not installed" for name in libraries
            ]
            lines.append(f"| {row.name} | `{row.call}` | " + " | ".join(cells) + " |")
    for case in CASES:
        cells = [
            "not installed" if not version(name) else case.by[name]() if name in case.by else "-"
            for name in libraries
        ]
        lines.append(f"| {case.name} | `{case.call}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Put the table between the marks of the file."""
    marks = r"(<!-- comparison: begin[^>]*-->\n).*?(<!-- comparison: end -->)"
    found, count = re.subn(marks, lambda m: m[1] + text + "\n" + m[2], path.read_text(), flags=re.S)
    if count != 1:
        raise SystemExit(f"{path} has no place for the table")
    path.write_text(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison", description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help="into docs/comparison.md and README.md"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    whole = table(list(GRADIENTS), short=False)
    print(whole)
    if arguments.write:
        write(ROOT / "docs" / "comparison.md", whole)
        write(ROOT / "README.md", table(["spectralgrad", "PyTorch", "JAX"], short=True))


if __name__ == "__main__":
    main()
