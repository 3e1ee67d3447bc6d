"""`freshet evaluate --jobs`: several processes make what one makes, and all of them end."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stream.cli.main import INTERRUPTED, run
from stream.comparison import Latest, Task, bundles
from stream.crew import longest_first
from tests.support.kafka_broker import PROJECT

COLUMNS = "user_id=shopper,item_id=product,timestamp=second"
LIMIT_S = 120


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Sixty shoppers who each walk along the products p0 .. p19."""
    draw = random.Random(1)
    lines = []
    for shopper in range(60):
        first, start_s = draw.randrange(20), 1_500_000_000 + draw.randrange(3_000)
        lines += [
            f"s{shopper},p{(first + step * draw.choice((1, 1, 3))) % 20},{start_s + 60 * step}\n"
            for step in range(8)
        ]
    path = tmp_path / "events.csv"
    path.write_text("shopper,product,second\n" + "".join(lines), encoding="utf-8")
    return path


def test_several_processes_make_the_tables_of_one(
    events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every line but the times, and every figure of the report, in the order of the plan."""
    chosen = ["--systems", "popularity,item-cf,dynamic,gru,blend", "--seeds", "2,1", "--windows", "2"]
    small = ["--columns", COLUMNS, "--epochs", "1", "--units", "8"]
    shown, figures = [], []
    for jobs in ("1", "2"):
        report = tmp_path / f"{jobs}.json"
        assert run(["evaluate", str(events), *chosen, *small, "--jobs", jobs, "--report", str(report)]) == 0
        out, err = capsys.readouterr()
        shown.append(out[: out.index("system\ttimes learnt")])
        found = json.loads(report.read_text(encoding="utf-8"))
        for system in found["systems"]:
            for timed in (system, *system["runs"]):
                timed.update(fit_s=0, lists_s=0)
        figures.append(found)
        assert "16 of 16 done: " in err
        assert "s left at this pace" in err
        for title in ("gru, seed 2: learning: ", "blend, seed 1: lists: "):
            assert err.count(title) >= 2  # on a busy machine there is time for a line in between
    assert shown[0] == shown[1]
    assert figures[0] == figures[1]


def test_what_fails_in_a_process_is_the_line_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network cannot learn from users of one event; status and last line stay the same."""
    path = tmp_path / "events.csv"
    lines = "".join(f"s{place},p{place % 7},{1_500_000_000 + 60 * place}\n" for place in range(80))
    path.write_text("shopper,product,second\n" + lines, encoding="utf-8")
    ends = []
    for jobs in ("1", "2"):
        chosen = ["--systems", "popularity,dynamic", "--jobs", jobs]
        assert run(["evaluate", str(path), "--columns", COLUMNS, *chosen]) == 1
        ends.append(capsys.readouterr().err.splitlines()[-1])
    assert ends[0] == ends[1]
    assert ends[0].startswith("freshet: no event of a known item follows another event")


def test_long_runs_are_begun_first() -> None:
    """The last of the lineup first, and of one system the latest window, since it has most to learn from."""
    gru = [Task(window, "gru", seed) for window in (1, 2) for seed in (1, 2)]
    every = [Task(1, "popularity", None), *gru[:2], Task(2, "popularity", None), *gru[2:]]
    expected = [*gru[2:], *gru[:2], Task(2, "popularity", None), every[0]]
    assert longest_first([[task] for task in every]) == [[task] for task in expected]


def test_runs_of_one_training_are_made_side_by_side() -> None:
    """A GRU and the blend of an equal seed and window; nothing else shares one."""
    names = ("gru", "lstm", "blend")
    gru, lstm, blend = ([Task(1, name, seed) for seed in (1, 2)] for name in names)
    made = bundles([*gru, *lstm, *blend])
    assert made == [[gru[0], blend[0]], [gru[1], blend[1]], [lstm[0]], [lstm[1]]]
    assert longest_first(made)[0] == made[0]


def test_what_was_made_last_is_made_once() -> None:
    """Another key makes anew, and the first is forgotten then."""
    latest, made = Latest(), iter(range(9))
    assert [latest(key, lambda: next(made)) for key in ("a", "a", "b", "a")] == [0, 0, 1, 2]
    assert latest.saved_s > 0


def test_network_of_two_systems_is_trained_once(events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second tells of no epoch, and its time is that of the training all the same."""
    small = ["--columns", COLUMNS, "--epochs", "2", "--units", "8", "--jobs", "1"]
    assert run(["evaluate", str(events), "--systems", "gru,blend,lstm", *small]) == 0
    out, err = capsys.readouterr()
    for title in ("gru: learning: 4 epochs in ", "lstm: learning: 4 epochs in ", "blend: learning: in "):
        assert title in err
    rows = [line.split("\t") for line in out[out.index("system\ttimes learnt") :].splitlines()[1:4]]
    learning_s = {row[0]: float(row[2]) for row in rows}
    assert learning_s["blend"] >= learning_s["gru"] > 0


def _started(events: Path) -> "subprocess.Popen[str]":
    """The command in a group of its own, both its processes learning."""
    command = [sys.executable, "-m", "stream.cli.main", "evaluate", str(events), "--columns", COLUMNS]
    endless = ["--systems", "dynamic", "--seeds", "1,2", "--epochs", "1000000", "--jobs", "2"]
    process = subprocess.Popen(
        command + endless,
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    learning: set[str] = set()
    while len(learning) < 2:
        line = process.stderr.readline()
        assert line, "it ended early"
        if ": learning: " in line:
            learning.add(line.partition(":")[0])
    return process


def _others(process: "subprocess.Popen[str]") -> list[int]:
    """The other processes of its group that make runs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != process.pid:
            try:
                if (
                    os.getpgid(int(entry.name)) == process.pid
                    and b"spawn_main" in (entry / "cmdline").read_bytes()
                ):
                    found.append(int(entry.name))
            except (ProcessLookupError, FileNotFoundError):
                pass
    return found


def _none_is_left(process: "subprocess.Popen[str]") -> bool:
    """Whether the group is empty before long."""
    deadline_s = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline_s:
        if not _others(process):
            return True
    return False


on_linux = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")


@on_linux
def test_ctrl_c_ends_every_process(events: Path) -> None:
    """The terminal interrupts the whole group: status 130, one line and no traceback, nobody left."""
    process = _started(events)
    assert len(_others(process)) == 2
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == INTERRUPTED
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "freshet: interrupted"
    assert _none_is_left(process)


@on_linux
def test_processes_end_with_the_one_that_asked(events: Path) -> None:
    """Killed, it can end nobody; they see it and go."""
    process = _started(events)
    process.kill()
    process.communicate(timeout=LIMIT_S)
    assert _none_is_left(process)


@on_linux
def test_process_that_is_killed_ends_the_command(events: Path) -> None:
    """As when memory runs out: one line with the system and what to do."""
    process = _started(events)
    os.kill(_others(process)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    last = err.splitlines()[-1]
    assert last.startswith("freshet: the process that measured dynamic ended with status -9; ")
    assert last.endswith("give fewer --jobs")
    assert _none_is_left(process)
