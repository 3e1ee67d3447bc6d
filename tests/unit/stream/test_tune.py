"""The command `freshet tune`, on a file where near neighbours are best."""

import json
import random
from pathlib import Path

import pytest

from stream.cli.main import run

COLUMNS = "user_id=shopper,item_id=product,timestamp=second"
START_S = 1_500_000_000


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Sixty shoppers, one after another, who walk along the products p0 .. p29."""
    draw = random.Random(1)
    lines = []
    for shopper in range(60):
        first = draw.randrange(30)
        lines += [
            f"s{shopper},p{(first + step + draw.randrange(2)) % 30},{START_S + 600 * shopper + 60 * step}\n"
            for step in range(8)
        ]
    path = tmp_path / "events.csv"
    path.write_text("shopper,product,second\n" + "".join(lines), encoding="utf-8")
    return path


def _tune(events: Path, *options: str) -> int:
    best = events.with_name("best.json")
    return run(
        ["tune", str(events), "--best", str(best), "--columns", COLUMNS, "--system", "item-cf", *options]
    )


def test_trials_are_lines_and_the_best_is_written(events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The defaults, then each trial; the file holds the highest of them, which evaluate takes."""
    assert _tune(events, "--trials", "4") == 0
    lines = capsys.readouterr().out.splitlines()
    told = [line.split(":")[0] for line in lines]
    assert told[1:6] == ["defaults", *(f"trial {number} of 4" for number in (1, 2, 3, 4))]
    reached = [float(line.split("mrr@20 ")[1].split()[0]) for line in lines[1:6]]
    best = events.with_name("best.json")
    entry = json.loads(best.read_text(encoding="utf-8"))["item-cf"]
    assert entry["value"] == pytest.approx(max(reached), abs=1e-4)
    assert entry["value_of_defaults"] == pytest.approx(reached[0], abs=1e-4)
    assert entry["trial"] == reached.index(max(reached))
    report = events.with_name("report.json")
    options = ["--columns", COLUMNS, "--systems", "item-cf", "--settings", str(best), "--report", str(report)]
    assert run(["evaluate", str(events), *options]) == 0
    (item_cf,) = json.loads(report.read_text(encoding="utf-8"))["systems"]
    assert item_cf["settings"] == entry["settings"]


def test_search_goes_on_where_it_was_stopped(events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first two trials are not made again, and the others are not the same as they."""
    assert _tune(events, "--trials", "2") == 0
    before = capsys.readouterr().out
    assert _tune(events, "--trials", "4") == 0
    after = capsys.readouterr().out
    assert [line.split(":")[0] for line in after.splitlines()[1:3]] == ["trial 3 of 4", "trial 4 of 4"]
    assert "defaults:" not in after
    drawn = [line.split(" s ")[1] for line in (before + after).splitlines() if line.startswith("trial ")]
    assert len(set(drawn)) == 4


def test_nothing_from_the_cut_on_is_looked_at(events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other events after the cut of evaluate change no trial."""
    assert _tune(events, "--trials", "2") == 0
    before = capsys.readouterr().out
    lines = events.read_text(encoding="utf-8").splitlines()
    cut = 1 + int((len(lines) - 1) * 0.8)
    for place in range(cut, len(lines)):
        shopper, _, second = lines[place].split(",")
        lines[place] = f"{shopper},p0,{second}"
    events.write_text("\n".join(lines) + "\n", encoding="utf-8")
    events.with_name("best.json.journal").unlink()
    assert _tune(events, "--trials", "2") == 0
    timeless = [text.split(" in ")[0] for text in before.splitlines()]
    assert [text.split(" in ")[0] for text in capsys.readouterr().out.splitlines()] == timeless


def test_journal_of_other_events_is_refused(events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures of other events are not to be compared with."""
    assert _tune(events, "--trials", "1") == 0
    assert _tune(events, "--trials", "1", "--train-share", "0.5") == 2
    said = capsys.readouterr().err
    assert "holds trials on other events" in said
    assert said.count("\n") == 1


def test_sequences_of_a_training_file_are_held_back_whole(
    events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --train the newest sequences are foretold, each but its first event."""
    best = events.with_name("best.json")
    options = ["--columns", COLUMNS, "--system", "item-cf", "--trials", "1", "--known-items-only"]
    assert run(["tune", "--train", str(events), "--best", str(best), *options]) == 0
    assert "sequences that begin in the last 10% of the events" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--system", "oracle"], "'oracle'"),
        (["--system", "popularity"], "nothing of popularity can be tuned"),
        (["--validation-share", "1"], "--validation-share is 1"),
        (["--level", "category"], "no mrr@20, category level"),
        (["--train", "other.csv"], "either FILE"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    events: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong is named."""
    assert _tune(events, *options) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_journal_that_is_none_is_named(events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of something else is not written to."""
    journal = events.with_name("best.json.journal")
    journal.write_text("shopping list\n", encoding="utf-8")
    assert _tune(events, "--trials", "1") == 2
    assert "is no journal of trials" in capsys.readouterr().err
    assert journal.read_text(encoding="utf-8") == "shopping list\n"
