"""Session kNN, worked by hand."""

import math

import numpy as np
import pytest

from models.events import EventLog
from models.segment import SegmentRule
from models.session_neighbours import SessionKnnConfig, SessionNeighbours

# Sessions of one user each, in order of time: 1 2 3, then 1 4, then 2 4, then 5 5 3.
SESSIONS = ((1, 2, 3), (1, 4), (2, 4), (5, 5, 3))
CONFIG = SessionKnnConfig(decay=0.5, reach=0.25)


def log_of(*sessions: tuple[int, ...]) -> EventLog:
    """A user for each session, a minute after the one before, an event every second."""
    item = np.concatenate([np.array(session, np.int32) for session in sessions])
    user = np.repeat(np.arange(len(sessions)), [len(session) for session in sessions])
    time_ms = 60_000 * user + 1000 * np.arange(len(item))
    return EventLog(user, item, np.zeros_like(item), np.zeros(len(item), np.int8), time_ms)


def fitted(*sessions: tuple[int, ...], item_sessions: int = 10) -> SessionNeighbours:
    """An index of six item rows."""
    return SessionNeighbours.fit(
        log_of(*sessions), n_items=6, rule=SegmentRule(), item_sessions=item_sessions
    )


def newest_first(*items: int) -> np.ndarray:
    """One user's items."""
    return np.array([items], np.int32)


def test_sessions_count_by_the_places_of_what_they_share() -> None:
    """After 1, then 2: 1 2 3 shares both, 1 4 only the older item, which reaches a quarter as far."""
    found = fitted(*SESSIONS).nearest(newest_first(2, 1), CONFIG).toarray()[0]
    assert found.tolist() == [1 + 0.5, 0.25 * 0.5, 1, 0]


def test_items_score_by_the_sessions_that_held_them_and_their_rarity() -> None:
    """Each of the items stands in two sessions of four, and so weighs log(4 / 2)."""
    scores = fitted(*SESSIONS).scores(newest_first(2, 1), CONFIG)[0]
    half = math.log(2)
    by_hand = [-np.inf, 1.625 * half, 2.5 * half, 1.5 * half, 1.125 * half, -np.inf]
    assert scores.tolist() == pytest.approx(by_hand)


def test_only_the_nearest_sessions_vote() -> None:
    """With one neighbour that is 1 2 3, and nothing speaks for 4."""
    config = SessionKnnConfig(decay=0.5, reach=0.25, nearest=1)
    scores = fitted(*SESSIONS).scores(newest_first(2, 1), config)[0]
    assert np.flatnonzero(scores > -np.inf).tolist() == [1, 2, 3]


def test_an_item_is_looked_up_in_its_newest_sessions() -> None:
    """With one session of each item, 1 leads to 1 4 and not to the older 1 2 3."""
    scores = fitted(*SESSIONS, item_sessions=1).scores(newest_first(1), CONFIG)[0]
    assert np.flatnonzero(scores > -np.inf).tolist() == [1, 4]


def test_an_item_counts_once_in_a_session_and_at_its_newest_place() -> None:
    """5 5 3 held 5 once; of a user who had 5, 3 and 5 again it is the newest."""
    neighbours = fitted(*SESSIONS)
    assert neighbours.held.toarray()[3].tolist() == [0, 0, 0, 1, 0, 1]
    found = neighbours.nearest(newest_first(5, 3, 5), CONFIG).toarray()[0]
    assert found.tolist() == [0.25 * 0.5, 0, 0, 1 + 0.5]


def test_only_the_recent_places_speak() -> None:
    """With one place the older item leads nowhere."""
    config = SessionKnnConfig(recent=1)
    found = fitted(*SESSIONS).nearest(newest_first(5, 4), config).toarray()[0]
    assert found.tolist() == [0, 0, 0, 1]


def test_a_users_days_are_sessions_of_their_own() -> None:
    """Two segments of one user, three days apart, are two sessions, and the unknown item is in neither."""
    day_ms = 86_400_000
    time_ms = np.array([0, 1, 2, 3 * day_ms, 3 * day_ms + 1])
    item = np.array([1, 0, 2, 3, 4], np.int32)
    nothing = np.zeros(5, np.int64)
    log = EventLog(nothing, item, nothing.astype(np.int32), nothing.astype(np.int8), time_ms)
    held = SessionNeighbours.fit(log, n_items=6, rule=SegmentRule(), item_sessions=10).held.toarray()
    # The event that begins a new segment is foretold in the old one.
    assert [np.flatnonzero(line).tolist() for line in held] == [[1, 2, 3], [3, 4]]
