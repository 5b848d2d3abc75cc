"""Check the pages that Sphinx has built: every link within the site has its page and its anchor.

python docs/site/links.py [FOLDER, default docs/build/html]
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, its links and pictures, and pictures without a text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.silent: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors.update(name for name in (found.get("id"), found.get("name")) if name)
        self.links += [link for link in (found.get("href"), found.get("src")) if link]
        source = found.get("src") or "?"
        thumbnail = source.endswith("_thumb.png")  # beside its title
        if tag == "img" and not thumbnail and not (found.get("alt") or "").strip():
            self.silent.append(source)


def faults(folder: Path) -> list[str]:
    paths = (path.resolve() for path in sorted(folder.rglob("*.html")))
    pages = {path: Page(path) for path in paths if "_static" not in path.parts}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        found += [f"{name}: picture without alternative text: {src}" for src in page.silent]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                found.append(f"{name}: no file for {link}")
            elif parts.fragment and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{name}: no anchor for {link}")
    return found


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/build/html")
    found = faults(folder)
    print("\n".join(found) or f"{folder}: all links within the site are right")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
