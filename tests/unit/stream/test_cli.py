"""The command line: help, one-line errors, exit statuses, reports."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from models.errors import ArtifactError
from stream.cli import console, main
from stream.cli.options import load_settings, parse_columns
from stream.errors import FreshetError, SettingsError, UsageError
from tests.support.kafka_broker import PROJECT
from tests.support.worker_process import eventually

HEAVY = ("torch", "polars", "faust", "aiokafka", "pydantic", "numpy", "rich", "aiohttp")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    """No setting of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith("FRESHET_"):
            monkeypatch.delenv(name)


@pytest.fixture
def dead_address():
    """An address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def freshet(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own, in a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "stream.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
        | environment,
        check=False,
    )


def test_help_lists_every_command():
    """Help goes to standard output and is a success."""
    told = freshet("--help")
    assert told.returncode == 0
    assert all(f"\n  {name} " in told.stdout for name in main.COMMANDS)


def test_help_imports_nothing_heavy():
    """What makes help quick is what it does not import."""
    code = (
        "import sys\nfrom stream.cli.main import run\nrun(['--help'])\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stderr.strip() == "[]"


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_its_module(name):
    """Each command of the table is there, and explains itself."""
    attribute = name.replace("-", "_")
    assert hasattr(import_module(f"stream.cli.{attribute}"), attribute)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_help(name, capsys):
    """Options are explained without starting anything."""
    assert main.run([name, "--help"]) == 0
    assert f"Usage: freshet {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", main.COMMANDS)
def test_command_modules_import_nothing_heavy(name):
    """A command's imports happen when it is called, so that its help is quick too."""
    code = (
        f"import sys\nimport stream.cli.{name.replace('-', '_')}\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tpoics"], "No such command 'tpoics'"),
        (["topics", "--chekc"], "No such option: --chekc"),
        (["topics", "--partitions", "x"], "--partitions"),
        (["recommend"], "Missing argument 'USER'"),
        (["topics", "--set", "list_size"], "--set 'list_size' is not NAME=VALUE"),
        (["topics", "--set", "list_size=0"], "FRESHET_LIST_SIZE is '0'"),
        (["topics", "--set", "colour=red"], "there is no setting FRESHET_COLOUR"),
        (["topics", "--brokers", "nowhere"], "FRESHET_BROKERS is 'nowhere'"),
        (["recommend", "u1", "--url", "ftp://x"], "must begin with http"),
        (["forget", ""], "an id has 1 to 256"),
        (["dead-letters", "list", "--error", "odd"], "--error is 'odd'; the words are"),
        (["dead-letters", "redrive", "--error", "odd"], "--error is 'odd'; the words are"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(arguments, words, capsys):
    """What is wrong is named, and nothing else is printed."""
    assert main.run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("freshet: ")
    assert words in err
    assert err.count("\n") == 1


def test_no_arguments_is_wrong_use_with_the_help(capsys):
    """Who types the bare command wants to know what there is."""
    assert main.run([]) == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["topics"],
        ["recommend", "u1"],
        ["forget", "u1"],
        ["dead-letters", "list"],
        ["dead-letters", "redrive"],
        ["models", "list"],
        ["models", "rollback"],
    ],
    ids=str,
)
def test_absent_broker_is_one_line_and_status_1(arguments, dead_address):
    """The address and the setting are named; the client library's own warnings stay out of it."""
    told = freshet(*arguments, "--brokers", dead_address)
    assert told.returncode == 1
    assert told.stdout == ""
    assert told.stderr == (
        f"freshet: no Kafka broker answers at {dead_address}; start one, or set FRESHET_BROKERS (--brokers)\n"
    )


def test_absent_worker_is_one_line_and_status_1(dead_address, capsys):
    """``recommend --url`` says that nobody answers there."""
    assert main.run(["recommend", "u1", "--url", f"http://{dead_address}"]) == 1
    assert f"no worker answers at http://{dead_address}" in capsys.readouterr().err


def test_wrong_setting_of_the_environment_is_status_2():
    """As in the contract: name, value, what is allowed, and status 2."""
    told = freshet("topics", FRESHET_PARTITIONS="none")
    assert told.returncode == 2
    assert told.stderr == "freshet: FRESHET_PARTITIONS is 'none'; it must be a whole number from 1 to 10000\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [(FreshetError("a\nb"), 1), (ArtifactError("a b"), 1), (UsageError("a b"), 2), (SettingsError("a b"), 2)],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_both_trees_are_one_line(error, status, capsys, monkeypatch):
    """Each error of ours ends the command with its status; a line end in it becomes a blank."""

    def fail(**_):
        raise error

    monkeypatch.setattr(main, "app", fail)
    assert main.run([]) == status
    assert capsys.readouterr().err == "freshet: a b\n"


def test_a_bug_is_not_hidden(monkeypatch):
    """What is no error of ours keeps its traceback."""

    def fail(**_):
        raise KeyError("x")

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(KeyError):
        main.run([])


def test_interrupt_before_a_command_is_told_by_the_status(monkeypatch, capsys):
    """Ctrl-C ends with the shell's own status for it."""

    def fail(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", fail)
    assert main.run([]) == 130
    assert capsys.readouterr().err == "freshet: interrupted\n"


@pytest.mark.parametrize("command", ["train --no-announce", "evaluate"])
def test_interrupt_of_a_command_is_one_line(command: str, tmp_path: Path):
    """A command that waits for its file ends on Ctrl-C with that status, a line, and no traceback."""
    file = tmp_path / "events.csv"
    os.mkfifo(file)
    arguments = [sys.executable, "-m", "stream.cli.main", *command.split(), str(file)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, cwd=PROJECT, text=True) as process:

        def reads() -> int | None:
            """Hold the other end of the pipe, once the command has opened its own."""
            assert process.poll() is None
            with suppress(OSError):  # ENXIO: nobody reads
                return os.open(file, os.O_WRONLY | os.O_NONBLOCK)
            return None

        end = eventually(reads, "the file is opened")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        os.close(end)
    assert process.returncode == 130
    assert err == "freshet: interrupted\n"


def test_reader_that_goes_away_is_no_error():
    """``freshet --settings | head -1`` ends quietly."""
    told = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m stream.cli.main --settings | head -1"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith("setting\t")
    assert told.stderr == ""


def test_no_color_is_honoured(monkeypatch, capsys):
    """On a terminal errors are red, unless the person asked for no colour."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    console.error("x")
    assert "\x1b[31m" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    console.error("x")
    assert capsys.readouterr().err == "freshet: x\n"


def test_table_in_a_pipe_is_separated_by_tabs(capsys):
    """Tools cut it; the first line names the columns."""
    console.table(("a", "b"), [(1, "x y"), (2, "[z]")])
    assert capsys.readouterr().out == "a\tb\n1\tx y\n2\t[z]\n"


def test_report_is_json_without_numbers_that_json_lacks(tmp_path):
    """NaN and infinity are null, numpy's numbers are plain ones, paths are text."""
    path = tmp_path / "report.json"
    figures = {
        "a": np.float32(0.5),
        "b": float("nan"),
        "c": [float("inf"), 2],
        "d": Path("x"),
        "e": np.int64(3),
    }
    console.write_report(path, figures)
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "a": 0.5,
        "b": None,
        "c": [None, 2],
        "d": "x",
        "e": 3,
    }
    assert list(tmp_path.iterdir()) == [path]


def test_report_that_cannot_be_written_is_told(tmp_path):
    """The path and the reason, in one line."""
    with pytest.raises(FreshetError, match=r"cannot write the report .*absent/report.json: no such file"):
        console.write_report(tmp_path / "absent" / "report.json", {})


def test_no_report_is_written_when_none_is_asked():
    """Without ``--report`` nothing happens."""
    console.write_report(None, {"a": 1})


def test_progress_in_a_pipe_is_plain_lines(capsys):
    """The last line gives the whole count; nothing of it goes to standard output."""
    with console.progress("reading", total=1_000, unit="events") as shown:
        shown.advance(400)
        shown.note("fast")
        shown.advance(600)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("reading: 1,000/1,000 events in ")
    assert err.endswith(" fast\n")


def test_progress_in_a_pipe_says_nothing_twice(capsys, monkeypatch):
    """A line that came in its time with the whole count is the last one; what counts nothing has no count."""
    monkeypatch.setattr(console, "PLAIN_PROGRESS_S", 0.0)
    with console.progress("reading", total=2, unit="events") as shown:
        shown.advance()
        shown.advance()
    with console.progress("waiting"):
        pass
    with console.progress("learning", unit="epochs"):
        pass
    first, last, begun, ended, nothing = capsys.readouterr().err.splitlines()
    assert (first.split(" in ")[0], last.split(" in ")[0]) == ("reading: 1/2 events", "reading: 2/2 events")
    assert (begun, ended.split(" in ")[0]) == ("waiting ...", "waiting:")
    assert nothing.startswith("learning: in ")


def test_options_go_before_set_and_set_before_the_environment(monkeypatch):
    """The nearer to the command, the stronger."""
    monkeypatch.setenv("FRESHET_PARTITIONS", "2")
    monkeypatch.setenv("FRESHET_LIST_SIZE", "2")
    settings = load_settings(["partitions=3", "FRESHET_LIST_SIZE=3"], partitions=4, list_size=None)
    assert (settings.partitions, settings.list_size) == (4, 3)


def test_columns_map_fields_to_columns():
    """The form of the contract."""
    assert parse_columns("user_id=SessionId, item_id=ItemId,timestamp=Time") == {
        "user_id": "SessionId",
        "item_id": "ItemId",
        "timestamp": "Time",
    }
    assert parse_columns(None) is None


@pytest.mark.parametrize("columns", ["user_id", "user_id=", "=a", "user_id=a,user_id=b", ""])
def test_wrong_columns_are_told(columns):
    """A pair that is none, or a field named twice."""
    with pytest.raises(UsageError, match="--columns"):
        parse_columns(columns)
