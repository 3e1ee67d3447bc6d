"""Markdown pages and the fenced blocks in them.

A block whose fence names no language is one of command lines, to be typed as it stands; what a command
prints, drawings and examples of messages name one.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.kafka_broker import PROJECT

_FENCE = re.compile(r"^```(.*)$")
_NUMBER = re.compile(r"\d[\w.,:+-]*")
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


def samples(page: Path) -> dict[str, str]:
    """Return what a page says that each block of command lines prints, by the text of that block.

    It is a block of ``text`` that follows the other one.
    """
    every = list(blocks(page))
    return {
        typed.text: shown.text
        for typed, shown in itertools.pairwise(every)
        if not typed.language and shown.language == "text"
    }


def missing(sample: str, output: str) -> list[str]:
    """Return the lines of a sample that the output has not, after those before them.

    Any number (with what hangs on it: a time, a version) is as good as the sample's, and any white space;
    ``...`` stands for anything.
    """
    lacking, rest = [], output
    for line in sample.splitlines():
        found = _pattern(line).search(rest)
        if found is None:
            lacking.append(line)
        else:
            rest = rest[found.end() :]
    return lacking


def _pattern(line: str) -> re.Pattern[str]:
    """What a line of a sample stands for."""
    return re.compile(".*".join(_words(part) for part in line.split("...")))


def _words(text: str) -> str:
    """A pattern of words with any white space between them, and any numbers where they have some."""
    return r"[^\S\n]+".join(
        _NUMBER.pattern.join(map(re.escape, _NUMBER.split(word))) for word in text.split()
    )


def prose(page: Path) -> str:
    """Return a page's text without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def command_blocks(page: Path) -> list[Block]:
    """Return the blocks of command lines of a page."""
    return [block for block in blocks(page) if not block.language]
