"""Every block of command lines that a person types is run by a test, or it is said why not."""

import ast
from pathlib import Path

import pytest

from tests.support import documented
from tests.support.documented import BLOCKS, PAGES, NotRun, RunBy
from tests.support.documents import Block, blocks, command_blocks, missing, samples
from tests.support.kafka_broker import PROJECT

EVERY = [block for page in PAGES for block in command_blocks(page)]


@pytest.mark.parametrize("block", EVERY, ids=lambda block: f"{block.page}: {block.commands[0]}")
def test_block_is_run_or_it_is_said_why_not(block: Block):
    """A new block needs a line in ``tests.support.documented``."""
    assert documented.how(block) is not None


def test_every_line_is_of_one_block():
    """None is left over from a block that has gone, and none means two."""
    assert len(EVERY) == len(BLOCKS)
    begins = [
        [block for block in EVERY if (block.page, block.text[: len(first)]) == (page, first)]
        for page, first in BLOCKS
    ]
    assert [len(found) for found in begins] == [1] * len(BLOCKS)


@pytest.mark.parametrize("way", BLOCKS.values(), ids=[f"{page}: {first}" for page, first in BLOCKS])
def test_test_that_is_named_exists(way: RunBy | NotRun):
    """In the file, under the name; what runs a block is no stress test, which `make test` leaves out."""
    name = way.test if isinstance(way, RunBy) else way.beside
    if not name:
        return
    file, _, function = name.partition("::")
    tree = ast.parse((PROJECT / file).read_text())
    assert function in {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert isinstance(way, NotRun) or not file.startswith("tests/stress/")


def test_list_tells_of_every_block():
    """For a person: `python -m tests.support.documented`."""
    told = documented.lines()
    assert len(told) == len(EVERY)
    assert all("\n    run by tests/" in line or "\n    not run: " in line for line in told)


def test_blocks_are_read_with_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Continued lines are one, comments go, a fence with a language is no command."""
    monkeypatch.setattr("tests.support.documents.PROJECT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n\n```\na \\\n  b  # why\n# only words\nc\n```\n\n## Below\n\n```text\nout\n```\n"
    )
    first, second = blocks(page)
    assert (first.page, first.heading, first.language) == ("page.md", "Title", "")
    assert first.commands == ["a    b", "c"]
    assert (second.heading, second.language, second.text) == ("Below", "text", "out\n")
    page.write_text("```\na\n")
    with pytest.raises(ValueError, match=r"page\.md: the block under '' does not end"):
        list(blocks(page))


def test_sample_is_of_the_block_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A text after a text, and after another language, is none."""
    monkeypatch.setattr("tests.support.documents.PROJECT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("```\na\n```\n```text\nout\n```\n```text\nmore\n```\n```json\n1\n```\n```text\nx\n```\n")
    assert samples(page) == {"a\n": "out\n"}


@pytest.mark.parametrize(
    ("sample", "lacking"),
    [
        ("read 9,999 of 1 in 0.5 s\ndone", []),
        ("read  9 ...\ndone", []),
        ("ver ...0", []),
        ("version 20250101T000000Z-abcdef", []),
        ("read 1 of 2 in 3 s\nnot done", ["not done"]),
        ("done\nread 1 of 2 in 3 s", ["read 1 of 2 in 3 s"]),
        ("read one of 2 in 3 s", ["read one of 2 in 3 s"]),
        ("read 1\n...\ndone", []),
        ("readdone", ["readdone"]),
    ],
)
def test_sample_is_compared_by_its_words(sample: str, lacking: list[str]):
    """In their order; numbers may be others."""
    assert missing(sample, "read\t17 of 2,000 in 1.2 s\nversion 2026T0-0f\ndone\n") == lacking
