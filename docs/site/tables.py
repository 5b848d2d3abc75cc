"""Fill the place in a page that a pair of marks names with a table."""

import re
from pathlib import Path


def fill(path: Path, name: str, text: str) -> None:
    marks = rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)"
    page, count = re.subn(marks, lambda m: m[1] + text + "\n" + m[2], path.read_text(), flags=re.S)
    if count != 1:
        raise SystemExit(f"{path} has no place for {name}")
    path.write_text(page)
