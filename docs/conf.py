"""The configuration of Sphinx: `ci/docs` builds the site from this folder."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "site")]

import gallery  # noqa: E402
import reference  # noqa: E402

import spectralgrad  # noqa: E402

project = "spectralgrad"
author = "The spectralgrad developers"
copyright = author  # noqa: A001 (Sphinx asks for the name)
version = release = spectralgrad.__version__
source = "https://github.com/spectralgrad/spectralgrad"

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "reference",
]
root_doc = "index"
exclude_patterns = ["build", "examples", "site", "gallery/**/*.ipynb"]
templates_path = ["site/templates"]

# A single backtick is code, with a link where it names something public.
default_role = "code_or_link"
smartquotes = False
nitpicky = True
suppress_warnings = ["config.cache"]  # functions in the gallery's configuration

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

sphinx_gallery_conf = gallery.configuration(HERE / "examples")

html_theme = "pydata_sphinx_theme"
html_title = "spectralgrad"
html_static_path = ["site/static"]
html_css_files = ["spectralgrad.css"]
html_sourcelink_suffix = ""
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "github_url": source,
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_persistent": ["search-button"],
    "navigation_depth": 1,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
alone = ("start", "concepts", "comparison", "support", "benchmarks", "faq", "glossary")
html_sidebars = {page: [] for page in alone}  # no other pages below them

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app):
    app.add_config_value("public_names", reference.public_names(), "env")
