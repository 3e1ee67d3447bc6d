"""Whom training leaves out: by a hash with a key, up to the request, whatever the source."""

import stat

import polars as pl
import pytest

from stream.errors import FreshetError
from stream.exclusion import KEY, LIST, Exclusions
from stream.retraining import Source, load_source
from stream.settings import Settings

AT_MS = 1_511_544_070_000
EVENTS = pl.DataFrame(
    {
        "user_id": ["u", "v", "u", "u"],
        "item_id": ["i1", "i2", "i3", "i4"],
        "timestamp": [AT_MS, AT_MS + 1, AT_MS + 10, AT_MS + 11],
    }
)


@pytest.fixture
def settings(tmp_path) -> Settings:
    """A model store that is not there yet."""
    return Settings.load(model_store=str(tmp_path / "models"))


def test_events_up_to_the_request_are_left_out(settings):
    """The event at the request's time included; later ones and other users stay, in their order."""
    exclusions = Exclusions(settings)
    exclusions.add({"u": AT_MS + 10, "nobody": AT_MS})
    assert exclusions.without(EVENTS)["item_id"].to_list() == ["i2", "i4"]


def test_nobody_excluded_changes_nothing(settings):
    """Without a list nothing is made either."""
    assert Exclusions(settings).without(EVENTS) is EVENTS
    assert not (settings.data_dir / LIST).exists()


def test_list_tells_no_user(settings, tmp_path):
    """The file has hashes that another key would make others of; the key is for its owner alone."""
    exclusions = Exclusions(settings)
    exclusions.add({"user-with-a-name": AT_MS})
    text = (tmp_path / "models" / LIST).read_text()
    assert "name" not in text
    assert exclusions.hash_of("user-with-a-name") in text
    assert stat.S_IMODE((tmp_path / "models" / KEY).stat().st_mode) == 0o600
    other = tmp_path / "other.key"
    other.write_bytes(b"another key")
    assert (
        Exclusions(settings.model_copy(update={"forget_keyfile": other})).hash_of("user-with-a-name")
        not in text
    )


def test_later_of_two_requests_counts(settings):
    """An older request that is read again changes nothing."""
    for at_ms in (AT_MS + 10, AT_MS):
        Exclusions(settings).add({"u": at_ms})
    assert list(Exclusions(settings).read().values()) == [AT_MS + 10]


def test_damaged_list_stops_the_training(settings, tmp_path):
    """Nobody is trained on because a file could not be read."""
    Exclusions(settings).add({"u": AT_MS})
    (tmp_path / "models" / LIST).write_text("{")
    with pytest.raises(FreshetError, match=r"forgotten\.json is damaged"):
        Exclusions(settings).without(EVENTS)


def test_training_from_a_file_leaves_them_out(settings, tmp_path):
    """The list holds for any source."""
    file = tmp_path / "events.csv"
    EVENTS.write_csv(file)
    exclusions = Exclusions(settings)
    exclusions.add({"u": AT_MS + 10})
    assert load_source(Source(file), exclusions).events["item_id"].to_list() == ["i2", "i4"]
    assert load_source(Source(file)).events.height == EVENTS.height
