"""The links of the project's Markdown files, as the site needs them.

Every file is read where it lies too, so its links are relative to itself. On the site the README and the
runbook are parts of other pages, some folders have a page that says more, and the rest are files to
download.
"""

import re
from pathlib import Path
from posixpath import normpath
from typing import Final

DOCS: Final = Path(__file__).parent
PROJECT: Final = DOCS.parent

INCLUDED: Final = re.compile(r'^```\{include\} \S*README\.md\n:start-after: "\\n## (.+)\\n"$', re.MULTILINE)
"""How a page of the site takes a section of the README."""

FOLDERS: Final = {
    "docs/clients": "clients/README.md",
    "docs/explanation": "explanation/index.md",
    "docs/how-to": "how-to/index.md",
    "docs/reference": "reference/index.md",
    "stream/schemas": "reference/messages.md",
}
"""Folders of which a page of the site tells."""

POINTER: Final = re.compile(r"^\*In the repository the text .*\*\n\n?", re.MULTILINE)
"""A line for whoever reads a page where it lies, which the site has no use for."""

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|/)([^)\s]+)\)")


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def readme_pages() -> dict[str, str]:
    """Return the page that holds each section of the README, by the section's anchor."""
    return {
        slug(heading): page.relative_to(DOCS).as_posix()
        for page in sorted(DOCS.rglob("*.md"))
        for heading in INCLUDED.findall(page.read_text(encoding="utf-8"))
    }


def relocated(text: str, file: str) -> str:
    """Return a file's text with its links as pages and files of the site.

    ``file`` is its path in the project. Raises ``KeyError`` for a section of the README that is on no page.
    """
    pages, text = readme_pages(), POINTER.sub("", text)

    def changed(link: re.Match[str]) -> str:
        words, (target, _, anchor) = link[1], link[2].partition("#")
        path = normpath(f"{Path(file).parent.as_posix()}/{target}") if target else file
        if path == "README.md":
            return f"[{words}](/{pages[anchor] if anchor else 'index.md'})"
        if path == "ops/runbook.md":
            path = "docs/how-to/runbook.md"
        if (PROJECT / path).is_dir():
            return f"[{words}](/{FOLDERS[path]})" if path in FOLDERS else words
        ending = f"#{anchor}" if anchor else ""
        place = path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"
        return f"[{words}](/{place}{ending})"

    return _LINK.sub(changed, text)
