"""The file of settings: read, refused, written."""

import json
from pathlib import Path

import pytest

from models.space import Choice, Range
from stream.errors import FreshetError, UsageError
from stream.tuned import read_settings, write_settings

SPACES = {
    "gru": {"units": Range(8, 64), "learning_rate": Range(0.001, 0.1), "loss": Choice(("full", "sampled"))},
    "popularity": {},
}


def _file(folder: Path, text: str) -> Path:
    path = folder / "best.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_settings_are_read_by_system(tmp_path: Path) -> None:
    """What stands beside them is for people; a whole number is a number too, and bounds are included."""
    entry = {"settings": {"units": 64, "learning_rate": 0.001, "loss": "full"}, "value": 0.5}
    path = _file(tmp_path, json.dumps({"gru": entry, "popularity": {"settings": {}}}))
    assert read_settings(path, SPACES) == {"gru": entry["settings"], "popularity": {}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON"),
        ("[1]", "does not hold settings"),
        ('{"gru": 1}', "does not hold settings"),
        ('{"gru": {"units": 8}}', "does not hold settings"),
        ('{"oracle": {"settings": {}}}', "no system 'oracle'; there are gru"),
        ('{"gru": {"settings": {"sauce": 1}}}', "no setting 'sauce'; what can be set is units, "),
        ('{"popularity": {"settings": {"units": 8}}}', "no setting 'units'; what can be set is nothing"),
        ('{"gru": {"settings": {"units": 65}}}', "units is 65; it must be a whole number from 8 to 64"),
        ('{"gru": {"settings": {"units": 8.5}}}', "units is 8.5; it must be a whole number"),
        ('{"gru": {"settings": {"units": "8"}}}', 'units is "8"; it must be a whole number'),
        ('{"gru": {"settings": {"units": true}}}', "units is true; it must be a whole number"),
        ('{"gru": {"settings": {"learning_rate": NaN}}}', "learning_rate is NaN; it must be a number"),
        ('{"gru": {"settings": {"loss": "best"}}}', 'loss is "best"; it must be one of "full", "sampled"'),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    """The file, the system, the setting and what is allowed."""
    with pytest.raises(UsageError) as failure:
        read_settings(_file(tmp_path, text), SPACES)
    assert words in str(failure.value)
    assert str(tmp_path / "best.json") in str(failure.value)
    assert "\n" not in str(failure.value)


def test_absent_file_and_folder_are_named(tmp_path: Path) -> None:
    """Neither reading nor writing ends in a traceback."""
    absent = tmp_path / "absent" / "best.json"
    with pytest.raises(UsageError, match=r"cannot read .*absent.*no such file"):
        read_settings(absent, SPACES)
    with pytest.raises(FreshetError, match=r"cannot write the settings .*absent"):
        write_settings(absent, "gru", {"settings": {}})


def test_writing_one_system_leaves_the_others(tmp_path: Path) -> None:
    """Several systems are tuned into one file, each again where it was before."""
    path = tmp_path / "best.json"
    write_settings(path, "gru", {"settings": {"units": 8}})
    write_settings(path, "popularity", {"settings": {}})
    write_settings(path, "gru", {"settings": {"units": 16}})
    assert read_settings(path, SPACES) == {"gru": {"units": 16}, "popularity": {}}
