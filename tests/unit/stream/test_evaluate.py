"""The command `freshet evaluate`, on a small file that a shop could have written."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from models.lineup import LINEUP
from stream.cli.evaluate import PEERS, SYSTEMS, system_names
from stream.cli.main import run
from stream.errors import UsageError
from stream.peers import lineup

HEADER = "shopper,product,group,second\n"
COLUMNS = "user_id=shopper,item_id=product,category_id=group,timestamp=second"
START_S = 1_500_000_000


def _write(path: Path, prefix: str, *, shoppers: int, begin_s: int) -> Path:
    """Shoppers who each walk along the products p0 .. p19, from one to the next."""
    draw = random.Random(prefix)
    lines = []
    for shopper in range(shoppers):
        first, start_s = draw.randrange(20), begin_s + draw.randrange(500)
        for step in range(6):
            product = (first + step) % 20
            lines.append(f"{prefix}{shopper},p{product},g{product // 5},{start_s + 60 * step}\n")
    path.write_text(HEADER + "".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """Forty shoppers of the past."""
    return _write(tmp_path / "train.csv", "a", shoppers=40, begin_s=START_S)


@pytest.fixture
def test(tmp_path: Path) -> Path:
    """Ten shoppers of the day after."""
    return _write(tmp_path / "test.csv", "b", shoppers=10, begin_s=START_S + 86_400)


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start processes only where a test asks for them."""
    monkeypatch.setattr("stream.cli.runs.cores", lambda: 1)


def test_split_as_given_is_measured_and_reported(
    train: Path, test: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five next events of each of ten sequences; the report holds what the table shows."""
    report = tmp_path / "report.json"
    options = ["--columns", COLUMNS, "--time-unit", "s", "--known-items-only", "--report", str(report)]
    chosen = ["--systems", "popularity,item-cf", "--cutoff", "5", "--cutoff", "2"]
    assert run(["evaluate", "--train", str(train), "--test", str(test), *options, *chosen]) == 0
    figures = json.loads(report.read_text(encoding="utf-8"))
    (split,) = figures["splits"]
    assert (split["predictions"], split["users"], split["candidates"]) == (50, 10, 20)
    assert (figures["cutoffs"], split["train_events"]) == ([2, 5], 240)
    assert [system["system"] for system in figures["systems"]] == ["popularity", "item-cf"]
    popularity, item_cf = (
        {(row["level"], row["cutoff"]): row for row in system["figures"]} for system in figures["systems"]
    )
    assert set(item_cf) == {("item", 2), ("item", 5), ("category", 2), ("category", 5)}
    assert item_cf["item", 5]["prediction_accuracy"] > popularity["item", 5]["prediction_accuracy"]
    assert item_cf["item", 5]["prediction_accuracy"] >= item_cf["item", 2]["prediction_accuracy"]
    shown = capsys.readouterr().out
    for words in ("split: as given", "candidates: every item", "N = 2, N = 5", "ties: equal scores"):
        assert words in shown
    row = item_cf["item", 5]
    assert f"item-cf\titem\t5\t{row['prediction_accuracy']:.4f}\t{row['accuracy']:.4f}" in shown
    assert f"\t{row['prediction_accuracy']:.4f}\t{row['mrr']:.4f}\t{row['ndcg']:.4f}\n" in shown
    assert "time-series RNN, as the paper prints it\tnot said\t-\t0.4220\t0.3800\t0.0760\t0.8720" in shown


def test_one_file_is_cut_by_time(train: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With half of the events before the cut, the other half is foretold; networks are chosen by name."""
    report = tmp_path / "report.json"
    options = ["--columns", COLUMNS, "--train-share", "0.5", "--report", str(report)]
    networks = ["--systems", "rnn", "--epochs", "1", "--units", "4"]
    assert run(["evaluate", str(train), *options, *networks]) == 0
    figures = json.loads(report.read_text(encoding="utf-8"))
    (split,) = figures["splits"]
    assert split["train_events"] + split["predictions"] == 240
    assert [system["system"] for system in figures["systems"]] == ["rnn"]
    assert "one cut in time after 50% of the events" in capsys.readouterr().out


def test_only_what_is_drawn_is_learnt_with_every_seed(
    train: Path, test: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Item CF once, the network once for each seed; the report holds each and the mean."""
    report = tmp_path / "report.json"
    options = ["--columns", COLUMNS, "--report", str(report), "--seeds", "1,2,3"]
    small = ["--systems", "item-cf,gru", "--epochs", "1", "--units", "4"]
    assert run(["evaluate", "--train", str(train), "--test", str(test), *options, *small]) == 0
    item_cf, gru = json.loads(report.read_text(encoding="utf-8"))["systems"]
    assert [one["seed"] for one in item_cf["runs"]] == [None]
    assert [one["seed"] for one in gru["runs"]] == [1, 2, 3]
    hits = [one["figures"][0]["prediction_accuracy"] for one in gru["runs"]]
    assert gru["figures"][0]["prediction_accuracy"] == pytest.approx(sum(hits) / 3)
    (last,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("4 of 4 done: gru ")]
    (of_items,) = (one for one in gru["runs"][2]["figures"] if (one["level"], one["cutoff"]) == ("item", 20))
    assert f"HR@20 {of_items['prediction_accuracy']:.4f} MRR@20 {of_items['mrr']:.4f}" in last


def test_difference_has_an_interval_around_it(train: Path, test: Path, tmp_path: Path) -> None:
    """Item CF is ahead of popularity on the shoppers' walks, and the interval says that it is no chance."""
    report = tmp_path / "report.json"
    options = ["--columns", COLUMNS, "--report", str(report), "--systems", "popularity,item-cf"]
    assert run(["evaluate", "--train", str(train), "--test", str(test), *options]) == 0
    found = json.loads(report.read_text(encoding="utf-8"))["differences"]
    (one,) = (
        one
        for one in found
        if (one["system"], one["level"], one["cutoff"], one["figure"])
        == ("item-cf", "item", 5, "prediction_accuracy")
    )
    assert 0 < one["low"] <= one["difference"] <= one["high"]
    assert one["reference"] == "popularity"


def test_windows_are_measured_one_by_one(
    train: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two windows: 240 events in three parts, of which the second and third are foretold."""
    report = tmp_path / "report.json"
    options = ["--columns", COLUMNS, "--windows", "2", "--systems", "item-cf", "--report", str(report)]
    assert run(["evaluate", str(train), *options]) == 0
    figures = json.loads(report.read_text(encoding="utf-8"))
    assert sum(split["predictions"] for split in figures["splits"]) == pytest.approx(160, abs=8)
    (item_cf,) = figures["systems"]
    first, second = (one["figures"][0]["prediction_accuracy"] for one in item_cf["runs"])
    assert item_cf["figures"][0]["prediction_accuracy"] == pytest.approx((first + second) / 2)
    shown = capsys.readouterr().out
    assert "figure\tlevel\tsystem\twindow 1\twindow 2\tmean" in shown


def test_announced_items_are_ranked_too(train: Path, test: Path, tmp_path: Path) -> None:
    """Items of the later events count as candidates when they were announced, and not otherwise."""
    report = tmp_path / "report.json"
    lines = f"x,q1,g1,{START_S + 90_000}\nx,q2,g1,{START_S + 90_001}\n"
    test.write_text(test.read_text(encoding="utf-8") + lines, encoding="utf-8")
    options = ["--columns", COLUMNS, "--report", str(report), "--systems", "popularity"]
    for announced, candidates in (([], 20), (["--announced"], 22)):
        assert run(["evaluate", "--train", str(train), "--test", str(test), *options, *announced]) == 0
        assert json.loads(report.read_text(encoding="utf-8"))["splits"][0]["candidates"] == candidates


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "either FILE"),
        (["FILE", "--train", "FILE"], "either FILE"),
        (["--train", "FILE"], "either FILE"),
        (["FILE", "--systems", "gru,oracle"], "'oracle'"),
        (["FILE", "--train-share", "1.5"], "--train-share is 1.5"),
        (["FILE", "--cutoff", "0"], "--cutoff"),
        (["FILE", "--chart", "figure.doc"], "figure.doc"),
        (["FILE", "--seeds", "1,two"], "'two'"),
        (["FILE", "--seeds", "4294967296"], "'4294967296'"),
        (["FILE", "--systems", "gru", "--reference", "item-cf"], "'item-cf'"),
        (["--train", "FILE", "--test", "FILE", "--windows", "2"], "--windows"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    arguments: list[str], words: str, train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong is named, before any file is read."""
    given = [str(train) if argument == "FILE" else argument for argument in arguments]
    assert run(["evaluate", *given]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_nothing_to_foretell_is_one_line_and_status_1(
    train: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A test file of items never trained on leaves nothing, and the line says so."""
    other = tmp_path / "other.csv"
    other.write_text(HEADER + f"x,q1,g,{START_S}\nx,q2,g,{START_S + 1}\n", encoding="utf-8")
    options = ["--columns", COLUMNS, "--known-items-only"]
    assert run(["evaluate", "--train", str(train), "--test", str(other), *options]) == 1
    assert "nothing to foretell" in capsys.readouterr().err


def test_names_are_those_of_the_lineup() -> None:
    """What the command offers is what there is, in the order of the tables."""
    assert tuple(LINEUP) == SYSTEMS
    assert tuple(lineup.PEERS) == tuple(lineup.NEEDED) == PEERS


def test_every_system_can_be_named() -> None:
    """Names come back in order, each once; another is refused."""
    assert system_names(" gru, rnn,gru ") == ("gru", "rnn")
    assert system_names("peers,gru") == (*PEERS, "gru")
    assert system_names("all") == system_names(",".join(SYSTEMS)) == SYSTEMS
    with pytest.raises(UsageError):
        system_names("")


def test_page_and_chart_are_written(train: Path, test: Path, tmp_path: Path) -> None:
    """The page holds the tables and links to the chart from where it stands."""
    page, chart = tmp_path / "page.md", tmp_path / "charts" / "figure.svg"
    chart.parent.mkdir()
    options = ["--columns", COLUMNS, "--systems", "item-cf", "--markdown", str(page), "--chart", str(chart)]
    assert run(["evaluate", "--train", str(train), "--test", str(test), *options]) == 0
    text = page.read_text(encoding="utf-8")
    assert "](charts/figure.svg)" in text
    assert "| item-cf | item | 20 |" in text
    assert "<svg" in chart.read_text(encoding="utf-8")


def test_peer_that_is_not_installed_is_named_with_the_reason(
    train: Path,
    test: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The others are measured; alone it is wrong use."""
    monkeypatch.setitem(sys.modules, "implicit", None)  # as if it were not there
    report = tmp_path / "report.json"
    options = ["--columns", COLUMNS, "--train", str(train), "--test", str(test), "--report", str(report)]
    assert run(["evaluate", *options, "--systems", "popularity,implicit-bm25"]) == 0
    assert "left out: implicit-bm25: implicit cannot be imported" in capsys.readouterr().out
    figures = json.loads(report.read_text(encoding="utf-8"))
    assert [one["system"] for one in figures["systems"]] == ["popularity"]
    assert list(figures["absent"]) == ["implicit-bm25"]
    assert run(["evaluate", *options, "--systems", "implicit-bm25"]) == 2
    assert "not installed" in capsys.readouterr().err


def test_help_imports_neither_torch_nor_polars() -> None:
    """Help comes at once."""
    code = (
        "import sys; from stream.cli.main import run; run(['evaluate', '--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'polars', 'matplotlib')))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
    )


def test_same_seed_gives_the_same_table_on_one_thread_and_on_two(
    train: Path, test: Path, tmp_path: Path
) -> None:
    """Everything but the times is equal, intervals included."""
    import torch

    before = torch.get_num_threads()
    shown = []
    for threads in (1, 2):
        report = tmp_path / f"{threads}.json"
        small = ["--systems", "item-cf,gru", "--epochs", "2", "--units", "8", "--seeds", "3"]
        try:
            torch.set_num_threads(threads)
            options = ["--columns", COLUMNS, "--report", str(report), *small]
            assert run(["evaluate", "--train", str(train), "--test", str(test), *options]) == 0
        finally:
            torch.set_num_threads(before)
        found = json.loads(report.read_text(encoding="utf-8"))
        shown.append(([one["figures"] for one in found["systems"]], found["differences"]))
    assert shown[0] == shown[1]


def test_users_can_be_drawn(train: Path, test: Path, tmp_path: Path) -> None:
    """Four of the ten sequences have five targets each."""
    report = tmp_path / "report.json"
    options = ["--columns", COLUMNS, "--systems", "item-cf", "--users", "4", "--report", str(report)]
    assert run(["evaluate", "--train", str(train), "--test", str(test), *options]) == 0
    (split,) = json.loads(report.read_text(encoding="utf-8"))["splits"]
    assert (split["users"], split["predictions"]) == (4, 20)
