"""Markdown pages and the fenced blocks in them.

A block whose fence names no language is one of command lines, to be typed as it stands; what a command
prints, drawings and examples of messages name one.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.kafka_broker import PROJECT

_FENCE = re.compile(r"^```(.*)$")
_COMMENT = re.compile(r"(?:^|\s+)#.*")


class Block(NamedTuple):
    """A fenced block: the page's path in the project, the heading above, what the fence names, the text."""

    page: str
    heading: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The command lines: continued ones joined, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [bare for line in lines if (bare := _COMMENT.sub("", line).strip())]


def blocks(page: Path) -> Iterator[Block]:
    """Give the blocks of a page in their order. Raises ``ValueError`` where the last one does not end."""
    path = page.relative_to(PROJECT).as_posix()
    heading, inside, lines = "", None, list[str]()
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = _FENCE.match(line)
        if inside is None:
            if fence is not None:
                inside, lines = fence[1], []
            elif line.startswith("#"):
                heading = line.lstrip("# ")
        elif fence is not None and not fence[1]:
            yield Block(path, heading, inside, "".join(f"{one}\n" for one in lines))
            inside = None
        else:
            lines.append(line)
    if inside is not None:
        raise ValueError(f"{path}: the block under {heading!r} does not end")


def prose(page: Path) -> str:
    """Return a page's text without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def command_blocks(page: Path) -> list[Block]:
    """Return the blocks of command lines of a page."""
    return [block for block in blocks(page) if not block.language]
