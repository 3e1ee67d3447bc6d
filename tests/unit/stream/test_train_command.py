"""`freshet train FILE` leaves an artifact that can be served, and says what it did."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from models import artifact
from models.training import Epoch, Part
from stream.cli.main import run
from stream.cli.train import telling


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A file of users who walk ten items in a circle."""
    rows = ["who,what,when"]
    for user in range(40):
        rows += [f"u{user},i{(user + step) % 10},{1_700_000_000 + user * 100 + step}" for step in range(8)]
    path = tmp_path / "events.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


COLUMNS = ["--columns", "user_id=who,item_id=what,timestamp=when"]


def test_a_file_becomes_an_artifact(tmp_path: Path, events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The artifact lies under the model's name and version; the report holds its figures."""
    store, report = tmp_path / "store", tmp_path / "report.json"
    options = ["--model-store", str(store), "--model-name", "shop", "--report", str(report)]
    network = ["--cell", "rnn", "--units", "8", "--epochs", "2", "--threads", "1", "--no-announce"]
    assert run(["train", str(events), *COLUMNS, *options, *network]) == 0
    figures = json.loads(report.read_text())
    assert (figures["events"], figures["users"], figures["items"]) == (320, 40, 10)
    folder = Path(figures["artifact"])
    assert folder == store / "shop" / figures["version"]
    origin = artifact.read_manifest(folder).origin
    assert origin["source"] == str(events)
    assert origin["settings"]["segment_max_events"] == 64
    assert not [name for name in origin["settings"] if name.startswith("retrain_")]
    recommender = artifact.load(folder)
    assert (recommender.state_size, recommender.network.config.cell) == (8, "rnn")
    assert recommender.scores(np.zeros((1, 8), np.float32)).shape == (1, 11)
    printed = capsys.readouterr().out
    assert "trained on 320 events of 40 users and 10 items" in printed
    assert str(folder) in printed


def test_a_file_that_teaches_nothing_is_one_line(
    tmp_path: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events without a next event end with status 1 and a line that says why."""
    lines = events.read_text().splitlines()
    events.write_text("\n".join([lines[0], *lines[1::8]]) + "\n")
    assert (
        run(["train", str(events), *COLUMNS, "--no-announce", "--model-store", str(tmp_path / "store")]) == 1
    )
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("freshet: no event of a known item follows another event")
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_written_is_named(
    tmp_path: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where the store should be ends with status 1 and its name."""
    (tmp_path / "store").write_text("a file")
    options = ["--model-store", str(tmp_path / "store"), "--epochs", "1", "--units", "4", "--no-announce"]
    assert run(["train", str(events), *COLUMNS, *options]) == 1
    assert str(tmp_path / "store") in capsys.readouterr().err.splitlines()[-1]


def test_each_part_of_a_training_is_told_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    """With its own count; where training ended early, by which epoch, and nothing where nothing began."""
    nan = float("nan")
    with telling():
        pass
    with telling() as tell:
        tell(Part("one", 9))
        for number, mrr in enumerate((0.1, 0.3, 0.2), 1):
            tell(Epoch(number, 2.0, 0.5, mrr))
        tell(Part("two", 1))
        tell(Epoch(1, 1.5, nan, nan))
        tell(Part("three"))
    told = [
        re.sub(r"in \d+\.\d s( \(.*?\))? ?", "in _ ", line) for line in capsys.readouterr().err.splitlines()
    ]
    assert told == [
        "one: 3/9 epochs in _ loss 2.000, recall@20 0.500, MRR@20 0.200; epoch 2 was better",
        "two: 1/1 epochs in _ loss 1.500",
        "three ...",
        "three: in _ ",
    ]
