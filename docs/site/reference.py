"""Pages of the reference: one for each public function, grouped as the operations are declared.

`reference/index.rst` and the pages of the submodules are written before Sphinx reads its sources;
autosummary makes the pages of the functions from their docstrings.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref

import spectralgrad as sg
from spectralgrad._operations.declaration import OPERATIONS

BESIDE = {
    "Derivatives": ("vjp", "jvp", "hvp"),
    "Large matrices": ("cut", "truncation"),
    "Along a path": ("analytic_svd",),
    "Slopes and Jacobians": (
        "directional_svdvals",
        "directional_eigvalsh",
        "singular_value_jacobian",
        "singular_vector_jacobian",
    ),
    "What exists, and why not": ("diagnose", "explain", "explain_nan"),
}
NO_LINK_WITHIN = (nodes.title, nodes.reference, pending_xref)
ALSO_OF_LIBRARIES = {"svd", "eigh", "jvp", "vjp", "functions", "rules", "cut"}  # without `sg.`


def public_names() -> set[str]:
    """The names of what is public, as `spectralgrad.functions.tanh`, and as `functions.tanh`."""
    names = set(sg.__all__) | {f"{m}.{name}" for m in _submodules() for name in _members(m)}
    return names | {f"spectralgrad.{name}" for name in names} | {"spectralgrad"}


def _submodules() -> list[str]:
    """The modules that users import, by their files: some are not imported until they are used."""
    return sorted(path.stem for path in Path(sg.__file__).parent.glob("[a-z]*.py"))


def _members(module: str) -> list[str]:
    return list(importlib.import_module(f"spectralgrad.{module}").__all__)


def _groups() -> dict[str, list[str]]:
    """The public names under the headings of the reference; each stands in one group."""
    found: dict[str, list[str]] = {"Derivatives": []}
    for operation in OPERATIONS.values():
        heading = operation.group[0].upper() + operation.group[1:]
        found.setdefault(heading, []).append(operation.name)
    for heading, names in BESIDE.items():
        found.setdefault(heading, []).extend(names)
    shown = {name for names in found.values() for name in names} | set(_submodules())
    rest = [name for name in sg.__all__ if name not in shown]
    errors = [name for name in rest if name.endswith(("Error", "Warning"))]
    found["Results"] = [name for name in rest if name not in errors]
    found["Errors and warnings"] = errors
    return found


def _heading(text: str, line: str = "-") -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _summary(names: list[str], folder: str) -> str:
    lines = "\n".join(f"   {name}" for name in names)
    return f".. autosummary::\n   :toctree: {folder}\n   :nosignatures:\n\n{lines}\n\n"


def _index() -> str:
    text = _heading("Reference", "=") + ".. currentmodule:: spectralgrad\n\n"
    text += "Every function of ``import spectralgrad as sg``, by what it computes.\n\n"
    for heading, names in _groups().items():
        text += _heading(heading) + _summary(names, "functions")
    text += _heading("Modules") + ".. toctree::\n   :maxdepth: 1\n\n"
    return text + "\n".join(f"   {name}" for name in _submodules()) + "\n"


def _module(name: str) -> str:
    full = f"spectralgrad.{name}"
    text = _heading(full, "=") + f".. automodule:: {full}\n\n"
    if name == "rules":  # all alike: one page
        return text + "".join(f".. autofunction:: {rule}\n\n" for rule in _members(name))
    return text + _heading("Contents") + _summary(_members(name), name)


def write(app: Any, config: Any) -> None:
    """Write the sources, those only that have changed, so that Sphinx reads no other again."""
    folder = Path(app.srcdir) / "reference"
    folder.mkdir(exist_ok=True)
    pages = {"index": _index()} | {name: _module(name) for name in _submodules()}
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _link(target: str, content: nodes.Node, page: str) -> pending_xref:
    full = target if target.startswith("spectralgrad") else f"spectralgrad.{target}"
    return pending_xref(
        "", content, refdomain="py", reftype="obj", reftarget=full, refwarn=True,
        refdoc=page, refexplicit=False,
    )  # fmt: skip


def code_or_link(name, rawtext, text, lineno, inliner, options=None, content=None):  # type: ignore[no-untyped-def]
    """The role of single backticks in docstrings."""
    environment = inliner.document.settings.env
    names, module = environment.config.public_names, environment.ref_context.get("py:module")
    literal = nodes.literal(rawtext, text, classes=["py"])
    prefix = (module or "spectralgrad").removeprefix("spectralgrad").lstrip(".")
    for target in (f"{prefix}.{text}" if prefix else text, text):
        if target in names:
            return [_link(target, literal, environment.docname)], []
    return [literal], []


def link_names(app: Any, doctree: nodes.document) -> None:
    """Link code such as `svdvals`, `sg.vjp` and `low_rank(x, k)` to the reference."""
    for code in list(doctree.findall(nodes.literal)):
        name = code.astext().partition("(")[0]
        target = name.removeprefix("sg.")
        linked = any(isinstance(node, NO_LINK_WITHIN) for node in _above(code))
        if target in app.config.public_names and not linked and name not in ALSO_OF_LIBRARIES:
            code.replace_self(_link(target, code.deepcopy(), app.env.docname))


def _above(node: nodes.Node) -> Iterator[nodes.Node]:
    while (node := node.parent) is not None:
        yield node


def escape_bars(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Bars are absolute values in our docstrings, and no substitutions."""
    for i, line in enumerate(lines):
        if "|" in line and not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(`[^`]*`)", line)
            parts[::2] = [re.sub(r"(?<!\\)\|", r"\|", part) for part in parts[::2]]
            lines[i] = "".join(parts)


def setup(app: Any) -> dict[str, bool]:
    app.add_role("code_or_link", code_or_link)
    app.connect("config-inited", write)  # before Sphinx looks for its sources
    app.connect("doctree-read", link_names)
    app.connect("autodoc-process-docstring", escape_bars, priority=100)  # before numpydoc
    return {"parallel_read_safe": True, "parallel_write_safe": True}
