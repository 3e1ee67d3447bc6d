"""Popularity, counted by hand."""

import math

import numpy as np
import pytest

from models.events import EventLog
from models.features import HOUR_MS
from models.popularity import best_half_life_ms, fallback, popular_list, popularity, recent_popularity


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


def _timed(*events: tuple[int, int, float]) -> EventLog:
    """Events (user, item, hour)."""
    user, item, hour = np.array(events, np.float64).reshape(-1, 3).T
    nothing = np.zeros(len(user), np.int32)
    time_ms = (hour * HOUR_MS).astype(np.int64)
    return EventLog.sorted(
        user.astype(np.int64), item.astype(np.int32), nothing, nothing.astype(np.int8), time_ms
    )


def test_user_counts_half_after_each_half_life() -> None:
    """By the user's last event of the item, from the newest event of all back."""
    log = _timed((1, 1, 0), (1, 1, 4), (2, 1, 6), (2, 2, 10), (3, 0, 99))
    scores = recent_popularity(log, 4, half_life_ms=2 * HOUR_MS)
    assert scores[1] == pytest.approx(math.log2(2 ** (-(10 - 4) / 2) + 2 ** (-(10 - 6) / 2)))
    assert scores[2] == pytest.approx(math.log2(2**0))
    assert scores[[0, 3]].tolist() == [-np.inf] * 2


def test_what_is_long_past_keeps_its_order() -> None:
    """Hundreds of half-lives ago two users are still more than one."""
    log = _timed((1, 1, 0), (2, 2, 0), (3, 2, 0), (4, 3, 500))
    assert popular_list(recent_popularity(log, 4, half_life_ms=HOUR_MS), 3).tolist() == [3, 2, 1]


def test_half_life_is_short_where_the_old_favourites_are_gone() -> None:
    """Forty users had each of items 1 to 3 on the first day; now it is one other item for ten hours each."""
    old = [(user, item, user / 10) for item in (1, 2, 3) for user in range(40)]
    news = [(100 + 3 * hour + user, 4 + hour // 10, hour) for hour in range(10, 60) for user in range(3)]
    assert best_half_life_ms(_timed(*old, *news), 10, n=3) == HOUR_MS


def test_half_life_is_long_where_nothing_changes() -> None:
    """The same items are had at the same rates every hour: of equal half-lives the longest is taken."""
    events = [(4 * hour + place, item, hour) for hour in range(60) for place, item in enumerate((1, 1, 1, 2))]
    assert best_half_life_ms(_timed(*events), 3) == 720 * HOUR_MS


def test_no_events_have_no_recent_popularity() -> None:
    """Nor is there anything to choose a half-life by: the longest is taken."""
    assert recent_popularity(_timed(), 3, half_life_ms=1).tolist() == [-np.inf] * 3
    assert best_half_life_ms(_timed(), 3) == 720 * HOUR_MS


def test_fallback_is_what_is_popular_of_late_where_fashions_pass() -> None:
    """A hundred users had item 1 days ago; of late two had item 2, and then others did."""
    days_ago = [(user, 1, 0) for user in range(100)]
    of_late = [(user, 2, 100 + user % 7 / 10) for user in range(100, 130)]
    log = _timed(*days_ago, *of_late)
    assert popular_list(fallback(log, 3), 2).tolist() == [2, 1]
    assert popular_list(popularity(log, 3), 2).tolist() == [1, 2]


def test_fallback_is_what_was_ever_popular_where_nothing_passes() -> None:
    """Where an hour tells nothing, the longest half-life counts nearly as users do."""
    log = _timed(*((user, 1 + (user % 3 == 0), user) for user in range(300)))
    assert popular_list(fallback(log, 3), 2).tolist() == [1, 2]
    assert best_half_life_ms(log, 3) == 720 * HOUR_MS
