"""Robots are caught and shoppers are not."""

import numpy as np
import pytest

from models.behavior import Behavior
from models.cleaning import DAY_MS, NEW, CleaningRule, observe, suspicious_users
from models.events import EventLog

HOUR_MS = 3_600_000
START_MS = 17_000 * DAY_MS + 1  # a millisecond past midnight: no clock's whole minute
RULE = CleaningRule(
    max_clicks_per_day=10, clicks_per_purchase=5, max_burst_clicks=4, burst_ms=1000, quarantine_ms=100
)
NO_BURSTS = CleaningRule(max_clicks_per_day=10, clicks_per_purchase=5, max_burst_clicks=0)


def _fold(events: list[tuple[int, int]], rule: CleaningRule) -> list[bool]:
    """The outcome after each event (behaviour, time in ms)."""
    activity, outcomes = NEW, []
    for behavior, time_ms in events:
        activity, suspicious = observe(activity, behavior, time_ms, rule)
        outcomes.append(suspicious)
    return outcomes


def _clicks(count: int, every_ms: int, start_ms: int = START_MS) -> list[tuple[int, int]]:
    return [(Behavior.CLICK, start_ms + number * every_ms) for number in range(count)]


def _log(*users: list[tuple[int, int]]) -> EventLog:
    rows = [(code, behavior, time_ms) for code, events in enumerate(users, 3) for behavior, time_ms in events]
    user, behavior, time_ms = np.array(rows, np.int64).reshape(-1, 3).T
    nothing = np.zeros(len(user), np.int32)
    return EventLog.sorted(user, nothing, nothing, behavior.astype(np.int8), time_ms)


def test_one_click_too_many_in_a_day_is_suspicious() -> None:
    """The day's limit itself is still a person's."""
    assert _fold(_clicks(11, HOUR_MS), RULE) == [False] * 10 + [True]


def test_a_buyer_may_click_more() -> None:
    """Three purchases allow 3 * 5 clicks; the next one is hardly a purchase for so many."""
    bought = [(Behavior.PURCHASE, START_MS)] * 3
    assert not any(_fold(bought + _clicks(15, HOUR_MS), NO_BURSTS))
    assert _fold(bought + _clicks(16, HOUR_MS), NO_BURSTS)[-1]


def test_the_count_begins_anew_each_day() -> None:
    """Ten clicks a day for a week are nobody's robot."""
    week = [event for day in range(7) for event in _clicks(10, HOUR_MS, START_MS + day * DAY_MS)]
    assert not any(_fold(week, RULE))


def test_burst_past_the_limit_is_suspicious() -> None:
    """A fifth click within the second is more than a hand makes; after the second a new count begins."""
    assert _fold(_clicks(5, 200), RULE) == [False] * 4 + [True]
    assert _fold(_clicks(5, 250), RULE) == [False] * 4 + [True]
    assert not any(_fold(_clicks(5, 251), RULE))


def test_whole_minutes_are_no_burst() -> None:
    """Times of a coarse clock say nothing about speed."""
    rule = CleaningRule(max_clicks_per_day=0, max_burst_clicks=4)
    assert not any(_fold([(Behavior.CLICK, 17_000 * DAY_MS + 60_000)] * 50, rule))
    assert any(_fold([(Behavior.CLICK, 17_000 * DAY_MS + 60_001)] * 50, rule))


def test_an_invoice_of_hundreds_of_purchases_is_no_burst() -> None:
    """Only clicks raise suspicion."""
    assert not any(_fold([(Behavior.PURCHASE, START_MS)] * 500, RULE))


def test_suspicion_lasts_for_the_quarantine() -> None:
    """From the last sign of a robot on, to the millisecond, and then no longer."""
    activity = NEW
    for behavior, time_ms in _clicks(5, 1):
        activity, _ = observe(activity, behavior, time_ms, RULE)
    last_ms = START_MS + 4
    at_the_end = observe(activity, Behavior.FAVORITE, last_ms + 100, RULE)[1]
    after_it = observe(activity, Behavior.FAVORITE, last_ms + 101, RULE)[1]
    assert (at_the_end, after_it) == (True, False)


def test_late_click_counts_towards_the_day_under_way() -> None:
    """An event of yesterday does not turn the day back."""
    activity, _ = observe(NEW, Behavior.CLICK, START_MS, RULE)
    after, suspicious = observe(activity, Behavior.CLICK, START_MS - DAY_MS, RULE)
    assert (*after[:2], suspicious) == (17_000, 2, False)  # day, clicks


def test_activity_is_a_few_plain_integers() -> None:
    """What is remembered goes into a user's record as it is."""
    activity, _ = observe(NEW, Behavior.PURCHASE, START_MS, RULE)
    assert activity[:3] == (17_000, 0, 1)  # day, clicks, purchases
    assert all(type(number) is int for number in activity)


def test_file_and_stream_agree() -> None:
    """A user of a file is suspicious when the fold says so at any of the events."""
    users = [_clicks(10, HOUR_MS), _clicks(11, HOUR_MS), _clicks(5, 1), _clicks(4, 1), []]
    expected = [code for code, events in enumerate(users, 3) if any(_fold(events, RULE))]
    found = suspicious_users(_log(*users), RULE)
    assert found.tolist() == expected == [4, 5]


def test_rule_can_be_turned_off() -> None:
    """Limits of 0 suspect nobody."""
    off = CleaningRule(max_clicks_per_day=0, max_burst_clicks=0)
    assert suspicious_users(_log(_clicks(5000, 1)), off).tolist() == []


def test_threshold_without_a_meaning_is_refused() -> None:
    """The error names the threshold and its value."""
    with pytest.raises(ValueError, match="clicks_per_purchase is 0"):
        CleaningRule(clicks_per_purchase=0)
