"""The rule of m, 2m and K, worked out by hand."""

import pytest

from models.segment import FIRST, SegmentRule, Window, extend, insert, windows

# m = 10, K = 4, so a new segment begins with at most 4 // 2 = 2 events.
RULE = SegmentRule(span_ms=10, max_events=4)
WIDE = SegmentRule(span_ms=10, max_events=100)


def starts(times_ms: list[int], rule: SegmentRule) -> list[int]:
    """Where the segment begins after each event."""
    return [window.start for window in windows(times_ms, rule)]


def test_events_within_2m_stay_in_one_segment() -> None:
    """An event exactly 2m after the first still lengthens the segment."""
    assert starts([0, 5, 20], WIDE) == [0, 0, 0]


def test_an_event_past_2m_begins_a_segment_of_the_last_m() -> None:
    """At 21 the segment would span 21 > 2 * 10, so it begins at the first event of 21 - 10 or later."""
    assert starts([0, 10, 11, 12, 21], WIDE) == [0, 0, 0, 0, 2]


def test_an_event_after_a_long_pause_stands_alone() -> None:
    """Nothing of the last m is there but the event itself."""
    assert starts([0, 5, 100], WIDE) == [0, 0, 2]


def test_a_segment_holds_exactly_k_events() -> None:
    """The fourth event fits K = 4; the fifth begins a segment of 4 // 2 = 2 events."""
    assert starts([0, 1, 2, 3], RULE) == [0, 0, 0, 0]
    assert starts([0, 1, 2, 3, 4], RULE) == [0, 0, 0, 0, 3]


def test_a_full_segment_keeps_fewer_than_half_where_the_last_m_has_fewer() -> None:
    """Of 0, 1, 2, 3 none is within m = 10 of 15, so only the new event is kept."""
    assert starts([0, 1, 2, 3, 15], RULE) == [0, 0, 0, 0, 4]


def test_the_segment_after_a_cut_grows_again_to_k() -> None:
    """Two events are kept at the cut, two more fit, the fifth cuts again."""
    assert starts([0, 1, 2, 3, 4, 5, 6, 7], RULE) == [0, 0, 0, 0, 3, 3, 3, 6]


def test_a_segment_covers_at_least_m_and_at_most_2m() -> None:
    """With an event each 3 ms and m = 10, what follows a cut covers 9, and 18 is the most before one."""
    times = list(range(0, 120, 3))
    covered = [times[last] - times[start] for last, start in enumerate(starts(times, WIDE))]
    assert max(covered) == 18
    assert min(covered[7:]) == 9  # the events of the last m: now, 3, 6 and 9 ago


def test_equal_times_are_one_moment() -> None:
    """Events of the same time are all within m of each other; only K parts them."""
    assert starts([7] * 6, RULE) == [0, 0, 0, 0, 3, 3]


def test_the_smallest_k_keeps_the_new_event() -> None:
    """With K = 2 a cut keeps 2 // 2 = 1 event."""
    assert starts([0, 1, 2, 3], SegmentRule(span_ms=10, max_events=2)) == [0, 0, 2, 2]


def test_extend_answers_with_the_same_window_while_the_segment_goes_on() -> None:
    """The caller tells a step from a cut by identity."""
    assert extend([0, 5], 1, FIRST, WIDE) is FIRST
    assert extend([0, 5, 21], 2, FIRST, WIDE) == Window(start=2, cut=2)


def test_a_late_event_without_a_cut_leaves_the_window() -> None:
    """The window of the right order is the one there was, and there is none before it."""
    assert insert([0, 3, 5], 1, FIRST, floor=0, rule=WIDE) == (None, FIRST)


def test_a_late_event_brings_the_cut_forward() -> None:
    """0, 1, 2, 4 fitted K = 4; with a late 3 the fifth event, 4, cuts and keeps 3 and 4."""
    assert insert([0, 1, 2, 3, 4], 3, FIRST, floor=0, rule=RULE) == (FIRST, Window(start=3, cut=4))


def test_a_late_event_before_the_cut_moves_the_cut() -> None:
    """The cut was at 4 of 0, 1, 2, 3, 4; with a late 1 the event 3 is the fifth and cuts already."""
    before = windows([0, 1, 2, 3, 4], RULE)[-1]
    assert before == Window(start=3, cut=4)
    previous, after = insert([0, 1, 1, 2, 3, 4], 2, before, floor=0, rule=RULE)
    assert (previous, after) == (FIRST, Window(start=3, cut=4))
    assert after == windows([0, 1, 1, 2, 3, 4], RULE)[-1]


@pytest.mark.parametrize(
    ("span_ms", "max_events", "named"), [(0, 8, "span_ms is 0"), (10, 1, "max_events is 1")]
)
def test_a_rule_that_holds_no_two_events_is_refused(span_ms: int, max_events: int, named: str) -> None:
    """The message names the field and its value."""
    with pytest.raises(ValueError, match=named):
        SegmentRule(span_ms=span_ms, max_events=max_events)
