"""Popularity, counted by hand."""

import numpy as np

from models.events import EventLog
from models.popularity import popular_list, popularity


def _log(*events: tuple[int, int]) -> EventLog:
    user, item = np.array(events, np.int64).reshape(-1, 2).T
    nothing = np.zeros(len(user), np.int32)
    return EventLog.sorted(
        user, item.astype(np.int32), nothing, nothing.astype(np.int8), np.arange(len(user))
    )


def test_distinct_users_come_before_events() -> None:
    """Two users make an item more popular than five events of one user do."""
    log = _log((1, 1), (1, 1), (1, 1), (1, 1), (1, 1), (1, 2), (2, 2))
    assert popular_list(popularity(log, 4), 3).tolist() == [2, 1]


def test_events_decide_between_items_with_as_many_users() -> None:
    """With one user each, the item with more events leads; the whole part stays the count of users."""
    log = _log((1, 1), (2, 2), (2, 2), (3, 3), (3, 3))
    scores = popularity(log, 4)
    assert np.floor(scores[1:]).tolist() == [1, 1, 1]
    assert scores[2] == scores[3] > scores[1]
    assert popular_list(scores, 3).tolist() == [2, 3, 1]


def test_item_without_an_event_is_never_listed() -> None:
    """Unknown items and items without events score -inf, so lists stay short instead."""
    scores = popularity(_log((1, 0), (1, 2)), 4)
    assert scores[[0, 1, 3]].tolist() == [-np.inf] * 3
    assert popular_list(scores, 4).tolist() == [2]


def test_withdrawn_item_is_left_out() -> None:
    """The fallback obeys availability as every list does."""
    scores = popularity(_log((1, 1), (2, 1), (1, 2)), 3)
    assert popular_list(scores, 2, available=np.array([True, False, True])).tolist() == [2]


def test_no_events_make_no_list() -> None:
    """An empty log scores nothing."""
    assert popular_list(popularity(_log(), 3), 3).tolist() == []


def test_events_still_decide_at_many_users() -> None:
    """Float32 keeps the part that tells items with 5,000 users each apart."""
    pairs = [(user, item) for item in (1, 2) for user in range(5000)]
    log = _log(*pairs, (7, 2))
    assert popular_list(popularity(log, 3), 2).tolist() == [2, 1]
