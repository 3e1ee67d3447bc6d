"""Events as sorted columns."""

import numpy as np
import polars as pl
import pytest

from models.behavior import Behavior
from models.events import EventLog
from models.vocabulary import Vocabulary

ROWS = [
    # user, item, category, behaviour, ms
    ("u2", "a", "k", 0, 50),
    ("u1", "b", None, 3, 20),
    ("u1", "a", None, 0, 20),
    ("u2", "c", "l", 0, 10),
    ("u1", "b", "k", 0, 20),
]
SCHEMA = {
    "user_id": pl.String,
    "item_id": pl.String,
    "category_id": pl.String,
    "behavior": pl.Int8,
    "timestamp": pl.Int64,
}


def frame(rows: list[tuple[str, str, str | None, int, int]]) -> pl.DataFrame:
    """Rows in order of arrival as the frame the readers give."""
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def log_of(rows: list[tuple[str, str, str | None, int, int]]) -> tuple[EventLog, Vocabulary]:
    """Those rows as a log, and the vocabulary they make."""
    vocabulary = Vocabulary.from_frame(frame(rows))
    return EventLog.from_frame(frame(rows), vocabulary), vocabulary


def test_events_stand_by_user_time_behaviour_and_arrival() -> None:
    """Users come in order of appearance; equal times are ordered by behaviour, then by arrival."""
    log, vocabulary = log_of(ROWS)
    assert log.user.tolist() == [0, 0, 1, 1, 1]
    assert [vocabulary.item_ids[row] for row in log.item] == ["c", "a", "a", "b", "b"]
    assert log.behavior.tolist() == [0, 0, 0, 0, 3]
    assert log.time_ms.tolist() == [10, 50, 20, 20, 20]


def test_the_items_category_wins_over_the_events() -> None:
    """The category is the vocabulary's of a known item that has one, else the event's own, else unknown."""
    vocabulary = Vocabulary(("", "has", "has none"), ("", "k", "l"), np.array([0, 1, 0], np.int32))
    rows = [
        ("u", "has", "l", 0, 1),
        ("u", "has none", "l", 0, 2),
        ("u", "not known", "k", 0, 3),
        ("u", "not known", "not known", 0, 4),
        ("u", "has none", None, 0, 5),
    ]
    log = EventLog.from_frame(frame(rows), vocabulary)
    assert log.item.tolist() == [1, 2, 0, 0, 2]
    assert log.category.tolist() == [1, 2, 1, 0, 0]


def test_each_users_events_come_as_one_slice() -> None:
    """Iterating by user gives every event once."""
    log, _ = log_of(ROWS)
    assert [len(part) for part in log.by_user()] == [2, 3]
    assert log.starts.tolist() == [0, 2, 5]


def test_gaps_begin_anew_with_each_user() -> None:
    """The time since the previous event never reaches across users."""
    log, _ = log_of(ROWS)
    assert log.gaps_ms().tolist() == [0, 40, 0, 0, 0]


def test_a_mask_chooses_events() -> None:
    """Choosing by mask keeps the order and drops users without an event left."""
    log, _ = log_of(ROWS)
    assert log.of_behavior(Behavior.PURCHASE).time_ms.tolist() == [20]
    assert log[log.time_ms > 1000].starts.tolist() == [0]


def test_columns_out_of_order_are_refused() -> None:
    """A log whose times run backwards within a user cannot be made."""
    times = np.array([2, 1], np.int64)
    rows = np.zeros(2, np.int32)
    with pytest.raises(ValueError, match="sorted by user"):
        EventLog(np.zeros(2, np.int64), rows, rows, rows.astype(np.int8), times)
    with pytest.raises(ValueError, match="differ in length"):
        EventLog(np.zeros(1, np.int64), rows, rows, rows.astype(np.int8), times)
