"""Help, examples, colours and completion: what a person meets at the prompt."""

import os
import pty
import re
import select
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from stream.cli.main import COMMANDS, EXAMPLES, app
from tests.support.kafka_broker import PROJECT

SHOP = PROJECT / "ops" / "docker" / "shop.csv.xz"
TRAIN = ("train", str(SHOP), "--no-announce", "--epochs", "1", "--units", "8")
COLOUR = re.compile(rb"\x1b\[[0-9;]*\b(?:3[0-7]|4[0-7]|9[0-7]|10[0-7]|[34]8;[25])[0-9;]*m")
LIMIT_S = 120


def leaves() -> Iterator[tuple[str, Any]]:
    """Give each command that does something, with its words; groups give theirs."""
    root = typer.main.get_command(app)
    context = typer.Context(root)
    for name in COMMANDS:
        command = root.get_command(context, name)
        if hasattr(command, "list_commands"):
            for inner in command.list_commands(context):
                yield f"{name} {inner}", command.get_command(context, inner)
        else:
            yield name, command


LEAVES = dict(leaves())
every_command = pytest.mark.parametrize("name", list(LEAVES))


def environment(**changed: str) -> dict[str, str]:
    """Return an environment without settings and colour switches."""
    dropped = ("FRESHET_", "NO_COLOR", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {"TERM": "xterm-256color"} | changed


@pytest.fixture(autouse=True)
def freshet_on_the_path(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """Let the word `freshet` run these sources, wherever an installed one comes from."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "freshet"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m stream.cli.main "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))


def piped(*arguments: str, **changed: str) -> "subprocess.CompletedProcess[str]":
    """Run freshet in a pipe."""
    return subprocess.run(
        ["freshet", *arguments],
        env=environment(**changed),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def on_terminal(*arguments: str, **changed: str) -> bytes:
    """Run freshet on a terminal and return everything it wrote there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["freshet", *arguments], env=environment(**changed), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        written = b""
        while select.select([ours], [], [], LIMIT_S)[0]:
            try:
                written += os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
        process.wait(timeout=LIMIT_S)
    os.close(ours)
    return written


# Help.


@every_command
def test_help_explains_the_command_and_each_option(name: str):
    """No option or argument is without its words."""
    command = LEAVES[name]
    assert command.help
    assert [one.name for one in command.params if not getattr(one, "help", "help of --help is its own")] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_on_one_line(name: str):
    """It is not wrapped, so that it can be copied."""
    told = piped(name, "--help")
    assert told.returncode == 0
    assert told.stdout.endswith(f"\n\n  Example:\n    {EXAMPLES[name]}\n")


@pytest.mark.parametrize("name", ["", *(name for name in COMMANDS if name not in LEAVES), *LEAVES])
def test_help_of_80_columns_cuts_nothing_off(name: str):
    """What is said is wrapped; ``...`` at the end of a line is only of a list's form."""
    usage, told = piped(*name.split(), "--help", COLUMNS="80").stdout.split("\n\n", 1)
    assert usage.startswith("Usage: freshet")
    assert max(map(len, told.splitlines())) <= 80
    assert re.findall(r"^.*(?<!,)(?:\.\.\.|\N{HORIZONTAL ELLIPSIS})$", told, re.MULTILINE) == []


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in LEAVES])
def test_help_of_a_group_tells_of_each_command_what_its_own_help_begins_with(name: str):
    """The whole first paragraph."""
    told = " ".join(piped(name, "--help").stdout.split())
    inner = {leaf.split()[1]: command for leaf, command in LEAVES.items() if leaf.startswith(f"{name} ")}
    assert inner
    for word, command in inner.items():
        first, *_ = command.help.split("\n\n")
        assert f" {word} {' '.join(first.split())} " in told


@pytest.mark.parametrize("name", COMMANDS)
def test_example_is_a_call_that_is_understood(name: str):
    """Its words make a call of the command, with options that there are and values they take."""
    program, *words = shlex.split(EXAMPLES[name])
    assert program == "freshet"
    found = next(leaf for leaf in LEAVES if words[: len(leaf.split())] == leaf.split())
    assert found.split()[0] == name
    arguments = words[len(found.split()) :]
    assert arguments
    LEAVES[found].make_context(found, arguments, resilient_parsing=False)


# Pipes and colours.


def test_in_a_pipe_long_work_is_told_in_plain_lines(tmp_path: Path):
    """No escape, no carriage return; progress goes to standard error, results to standard output."""
    told = piped(*TRAIN, FRESHET_MODEL_STORE=str(tmp_path))
    assert told.returncode == 0, told.stderr
    assert "\x1b" not in told.stdout + told.stderr
    assert "\r" not in told.stdout + told.stderr
    first, second, *blend = told.stderr.splitlines()
    assert re.match(
        r"training 1 of 2, on the older events: 1/1 epochs in .* s loss .*, MRR@20 0\.\d{3}$", first
    )
    assert re.match(r"training 2 of 2, on all events: 1/1 epochs in .* s loss \d\.\d{3}$", second)
    assert re.fullmatch(r"learning the blend \.\.\.\nlearning the blend: in \d+\.\d s", "\n".join(blend))
    assert told.stdout.startswith("trained on 3,000 events")


def test_on_a_terminal_long_work_has_a_bar_and_no_colour_if_none_is_wanted(tmp_path: Path):
    """The bar is drawn; with NO_COLOR it has no colour."""
    written = on_terminal(*TRAIN, FRESHET_MODEL_STORE=str(tmp_path), NO_COLOR="1")
    assert "━".encode() in written
    assert COLOUR.search(written) is None


@pytest.mark.parametrize("arguments", [("forget", ""), ("--settings",)], ids=["an error", "a table"])
def test_no_color_is_respected(arguments: tuple[str, ...]):
    """Errors and tables on a terminal have no colour where none is wanted."""
    assert COLOUR.search(on_terminal(*arguments, NO_COLOR="1")) is None


def test_errors_are_red_on_a_terminal():
    """So that the test above can fail."""
    assert COLOUR.search(on_terminal("forget", "")) is not None


# Completion.


def completed(*words: str) -> list[str]:
    """Let bash complete the last of the words, with the script that freshet gives it."""
    script = piped(_FRESHET_COMPLETE="source_bash")
    assert script.returncode == 0
    line = " ".join(shlex.quote(word) for word in words)
    program = (
        f"{script.stdout}\nCOMP_WORDS=({line})\nCOMP_CWORD={len(words) - 1}\n"
        "_freshet_completion freshet\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    told = subprocess.run(
        ["bash", "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    return told.stdout.split()


def test_bash_completes_commands_and_options():
    """A part of a command's name, and a part of an option's."""
    assert completed("freshet", "re") == ["retrain", "replay", "recommend"]
    assert completed("freshet", "worker", "--http") == ["--http-port"]
    assert completed("freshet", "dead-letters", "") == ["list", "redrive"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_answered(shell: str):
    """The script they load, and what it then asks freshet."""
    script = piped(_FRESHET_COMPLETE=f"source_{shell}")
    assert script.returncode == 0
    assert f"complete_{shell}" in script.stdout
    told = piped(
        _FRESHET_COMPLETE=f"complete_{shell}",
        _TYPER_COMPLETE_ARGS="freshet wor",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert "worker" in told.stdout


def test_completion_is_told_in_the_help():
    """How to install it is among the options of `freshet --help`."""
    assert "--install-completion" in piped("--help").stdout
