"""What `freshet evaluate` makes of odd and damaged files: a result, or one line that names the problem."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from stream.cli.main import run

START_S = 1_500_000_000
Row = tuple[str, str, str, str]
RESULT = ""

COLUMNS = "user_id=u,item_id=i,category_id=c,timestamp=t"


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start no processes."""
    monkeypatch.setattr("stream.cli.runs.cores", lambda: 1)


def _rows(users: int = 12, items: int = 9, length: int = 10) -> list[Row]:
    """Users who walk along the items, a minute apart."""
    draw = random.Random(7)
    rows = []
    for user in range(users):
        first, begin = draw.randrange(items), START_S + draw.randrange(5_000)
        rows += [
            (
                f"u{user}",
                f"i{(first + step) % items}",
                f"c{(first + step) % items // 3}",
                f"{begin + 60 * step}",
            )
            for step in range(length)
        ]
    return sorted(rows, key=lambda row: row[3])


def _of(rows: list[Row], *, column: int, value: str, where: int | None = None) -> list[Row]:
    """The rows with another value in a column, everywhere or in one row."""
    return [
        (*row[:column], value, *row[column + 1 :]) if where in {None, place} else row
        for place, row in enumerate(rows)
    ]


CASES: dict[str, tuple[Callable[[], list[Row]], str]] = {
    "no event": (list, "holds a header and no events"),
    "one event": (lambda: _rows()[:1], "the same time"),
    "one user": (lambda: _rows(users=1), RESULT),
    "one item": (lambda: _of(_rows(), column=1, value="i0"), RESULT),
    "equal timestamps": (lambda: _of(_rows(), column=3, value=f"{START_S}"), "120 events have the same time"),
    "out of order": (lambda: random.Random(3).sample(_rows(), 120), RESULT),
    "duplicate rows": (lambda: [row for row in _rows() for _ in range(2)], RESULT),
    "NaN as a user": (lambda: _of(_rows(), column=0, value="NaN", where=4), "row 6: user_id is 'NaN'"),
    "NaN as an item": (lambda: _of(_rows(), column=1, value="nan", where=4), "row 6: item_id is 'nan'"),
    "NaN as a category": (lambda: _of(_rows(), column=2, value="NaN", where=4), RESULT),
    "NaN as a time": (lambda: _of(_rows(), column=3, value="NaN", where=4), "row 6: timestamp is 'NaN'"),
    "no time": (lambda: _of(_rows(), column=3, value="", where=4), "row 6: timestamp is missing"),
    "later items all new": (
        lambda: [
            (user, f"n{item}" if place > 80 else item, *rest)
            for place, (user, item, *rest) in enumerate(_rows())
        ],
        RESULT,
    ),
}


def _write(path: Path, rows: list[Row]) -> Path:
    path.write_text("u,i,c,t\n" + "".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _check(status: int, said: tuple[str, str], words: str) -> None:
    """A table and status 0, or status 1 and a last line that is ours and holds the words."""
    output, errors = said
    assert "Traceback" not in errors
    if words == RESULT:
        assert status == 0, errors
        assert "gru\titem\t20\t" in output
        assert "nan" not in output
        return
    assert status == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("freshet: ")]
    assert words in line


@pytest.mark.parametrize("name", CASES)
def test_odd_files_give_a_result_or_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every system of ours goes through with it."""
    make, words = CASES[name]
    path = _write(tmp_path / "events.csv", make())
    small = ["--systems", "all", "--epochs", "1", "--units", "4", "--time-unit", "s", "--columns", COLUMNS]
    status = run(["evaluate", str(path), *small])
    _check(status, capsys.readouterr(), words)


@pytest.mark.parametrize("text", ["", "\n", "u,i,c,t\n"])
def test_empty_file_is_named(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No byte, an empty line, or a header alone."""
    path = tmp_path / "events.csv"
    path.write_text(text, encoding="utf-8")
    _check(run(["evaluate", str(path), "--columns", COLUMNS]), capsys.readouterr(), str(path))


def test_test_file_without_known_items_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is missing is said, and nothing is learnt in vain."""
    train = _write(tmp_path / "train.csv", _rows())
    test = _write(tmp_path / "test.csv", _of(_rows(), column=1, value="unheard-of"))
    files = ["--train", str(train), "--test", str(test), "--known-items-only"]
    status = run(["evaluate", *files, "--columns", COLUMNS])
    _check(status, capsys.readouterr(), "none of them is of an item of the training events")


def test_test_file_of_single_events_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sequence of one event foretells nothing."""
    train = _write(tmp_path / "train.csv", _rows())
    test = _write(tmp_path / "test.csv", _rows(length=1))
    status = run(["evaluate", "--train", str(train), "--test", str(test), "--columns", COLUMNS])
    _check(status, capsys.readouterr(), "no sequence goes on after its first")


@pytest.mark.parametrize(
    ("unit", "factor", "words"),
    [
        ("ms", 1, "read as milliseconds is not between 1980 and 2100; it looks like seconds"),
        ("s", 1000, "read as seconds is not between 1980 and 2100; it looks like milliseconds"),
    ],
)
def test_times_in_the_wrong_unit_are_named_with_the_right_one(
    unit: str, factor: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seconds read as milliseconds, and the other way round: the line says which unit to give."""
    rows = [(*row[:3], str(int(row[3]) * factor)) for row in _rows()]
    path = _write(tmp_path / "events.csv", rows)
    status = run(["evaluate", str(path), "--columns", COLUMNS, "--time-unit", unit])
    _check(status, capsys.readouterr(), words)


def test_order_of_the_file_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Events are put in order of time; the same figures come out."""
    shown = []
    for name, rows in (("ordered", _rows()), ("shuffled", random.Random(5).sample(_rows(), 120))):
        path = _write(tmp_path / f"{name}.csv", rows)
        assert run(["evaluate", str(path), "--columns", COLUMNS, "--systems", "item-cf"]) == 0
        shown.append(
            [line for line in capsys.readouterr().out.splitlines() if line.startswith("item-cf\titem")]
        )
    assert shown[0] == shown[1]


def test_user_of_100_000_events_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One long history among short ones; with the cleaning rule off, since such a user looks like a robot."""
    items = [f"i{place * 7919 % 500}" for place in range(100_000)]
    long = [("long", item, "c", f"{START_S + 60 * place}") for place, item in enumerate(items)]
    path = _write(tmp_path / "events.csv", long + _rows())
    off = ["--set", "suspicious_clicks_per_day=0", "--set", "suspicious_burst_clicks=0"]
    small = ["--systems", "popularity,item-cf,gru", "--epochs", "1", "--units", "4"]
    share = ["--train-share", "0.99", "--columns", COLUMNS]
    _check(run(["evaluate", str(path), *share, *small, *off]), capsys.readouterr(), RESULT)
    assert run(["evaluate", str(path), *share, *small]) == 0
    assert "1 suspicious users left out" in capsys.readouterr().out
