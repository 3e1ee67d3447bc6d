"""How Sphinx builds the site: `make docs`."""

import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from docs.links import DOCS, relocated  # noqa: E402 - it lies beside this file, which Sphinx runs by its path

project = "freshet"
html_title = "freshet"
extensions = ["myst_parser"]
myst_heading_anchors = 3
# A block without a language is a command line.
highlight_language = "none"
# Two hyphens are the beginning of an option, not a dash.
smartquotes = False
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False


def setup(app: Any) -> None:
    """Let links lead to pages of the site, whichever file they stand in."""
    app.connect("source-read", _read)
    app.connect("include-read", _included)


def _read(app: Any, docname: str, content: list[str]) -> None:
    page = Path(app.env.doc2path(docname)).resolve()
    content[0] = relocated(content[0], page.relative_to(PROJECT).as_posix())


def _included(app: Any, path: Path, docname: str, content: list[str]) -> None:
    content[0] = relocated(content[0], (DOCS / path).resolve().relative_to(PROJECT).as_posix())
