"""The README, the pages of docs and the runbook: what they print is what there is."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from prometheus_client import CollectorRegistry

from docs.generated import commands_of
from stream.cli.main import COMMANDS, app
from stream.settings import NOT_SETTINGS, listing
from stream.telemetry import Telemetry
from tests.support.documents import command_blocks, prose
from tests.support.kafka_broker import PROJECT

README = PROJECT / "README.md"
PAGES = (README, PROJECT / "ops" / "runbook.md", *sorted((PROJECT / "docs").rglob("*.md")))
#: Those that call commands and link to files; a page of the site may do neither.
TELLING = {
    README,
    PROJECT / "ops" / "runbook.md",
    *(PROJECT / "docs" / name for name in ("design.md", "results.md")),
}
INLINE = re.compile(r"`([^`\n]+)`")
SHELL_WORDS = {"|", "&", "&&", ";", ">", "2>"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())


def section(heading: str) -> str:
    """Return the README's text under a heading."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, f"the README has no section {heading}"
    return found[1]


def pieces(page: Path) -> Iterator[str]:
    """Give each command line of a page's blocks, and each inline piece of code."""
    for block in command_blocks(page):
        yield from block.commands
    yield from INLINE.findall(prose(page))


def calls(page: Path) -> Iterator[list[str]]:
    """Give the words of each call of freshet on a page, from the command's name on."""
    for piece in pieces(page):
        if piece.startswith("freshet "):
            words = shlex.split(piece)[1:]
            end = next((place for place, word in enumerate(words) if word in SHELL_WORDS), len(words))
            yield words[:end]


def options(words: list[str]) -> tuple[str, set[str]]:
    """Return the command that the words call and the options it takes; fail for one there is not."""
    command = typer.main.get_command(app)
    name = "freshet"
    context = typer.Context(command)
    while hasattr(command, "get_command"):
        word = next((word for word in words if not word.startswith("-")), None)
        if word is None:
            break
        words = words[words.index(word) + 1 :]
        found = command.get_command(context, word)
        assert found is not None, f"there is no command `{name} {word}`"
        command, name = found, f"{name} {word}"
    return name, {
        spelling for option in command.params for spelling in (*option.opts, *option.secondary_opts)
    }


@pages
def test_every_call_is_of_a_command_and_options_that_exist(page: Path):
    """Each `freshet ...` that is printed names a command, and options of that command."""
    found = list(calls(page))
    assert found or page not in TELLING
    for words in found:
        name, known = options(words)
        given = {word.split("=")[0] for word in words if word.startswith("--")}
        assert given <= known | {"--help"}, f"`{name}` has no {sorted(given - known)}"


def test_every_command_is_mentioned():
    """No command is left out of the README."""
    called = {word for words in calls(README) for word in words[:1]}
    assert called >= set(COMMANDS)


@pages
def test_every_bare_option_exists(page: Path):
    """An option that is named without its command belongs to one of them."""
    paths = (path for path, command, _ in commands_of(app) if not hasattr(command, "list_commands"))
    every = options([])[1].union(*(options(path.split()[1:])[1] for path in paths))
    bare = {piece.split()[0] for piece in INLINE.findall(page.read_text()) if piece.startswith("--")}
    assert bare <= every | {"--help"}


@pages
def test_every_setting_exists(page: Path):
    """Each FRESHET_ name is a setting, or begins one where it ends in an underscore."""
    settings = {name for name, *_ in listing()}
    secrets = {f"{name}_FILE" for name in settings if name.endswith(("_PASSWORD", "_TOKEN", "_SECRET"))}
    for name in set(re.findall(r"\bFRESHET_[A-Z_]*", page.read_text())):
        if name.endswith("_"):
            assert any(setting.startswith(name) for setting in settings), name
        else:
            assert name in settings | secrets | NOT_SETTINGS


def test_settings_are_told_as_the_program_tells_them():
    """The table of settings prints each default and meaning as `freshet --settings` does."""
    rows = re.findall(r"^\| `(FRESHET_[A-Z_]+)` \|([^|]*)\|([^|]*)\|$", section("Settings"), re.MULTILINE)
    told = {name: (default, meaning) for name, default, _, meaning in listing()}
    assert rows
    assert {name: (default.strip(), meaning.strip()) for name, default, meaning in rows} == {
        name: told[name] for name, *_ in rows
    }


def test_folder_map_names_exactly_the_modules():
    """Every module is in the folder map once, and nothing else is."""
    rows = re.findall(r"^\| `([a-z/]+)/` \| ([^|]+) \|", section("Folder map"), re.MULTILINE)
    named = sorted(f"{folder}/{name}" for folder, modules in rows for name in INLINE.findall(modules))
    folders = (
        PROJECT / "models",
        PROJECT / "models" / "kernels",
        PROJECT / "stream",
        PROJECT / "stream" / "cli",
        PROJECT / "stream" / "peers",
    )
    there = sorted(
        module.relative_to(PROJECT).with_suffix("").as_posix()
        for folder in folders
        for module in folder.glob("*.py")
        if module.name != "__init__.py"
    )
    assert named == there


def test_metrics_table_names_exactly_the_instruments():
    """Each instrument stands in the table of metrics, with its labels, and no other does."""
    registry = CollectorRegistry()
    Telemetry(registry)
    suffix = {"counter": "_total", "info": "_info"}
    there = {family.name + suffix.get(family.type, "") for family in registry.collect()}
    named = set(re.findall(r"`(freshet_[a-z_]+)(?:\{[a-z,]+\})?`", section("Metrics")))
    assert named == there


@pages
def test_every_target_of_make_exists(page: Path):
    """Each `make ...` that is printed is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = {piece.split()[1] for piece in pieces(page) if piece.startswith("make ")}
    assert named <= targets


@pages
def test_every_link_leads_somewhere(page: Path):
    """A relative link is to a file or folder of the project."""
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    assert links or page not in TELLING
    assert [link for link in links if not (page.parent / link).exists()] == []
