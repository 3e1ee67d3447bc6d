"""A user's segment: which of the user's events the network is shown.

The paper's equation 4 looks only at what lies within the time parameter m. While serving,
only the past exists, so a segment covers at least the last m and at most 2m of a user's
events, and at most K of them. Serving, training and evaluation all cut with this module.

Everything here speaks of *retained* events: one user's events in the order of (event time,
behaviour, arrival). The retained events are those of the previous segment followed by those
of the current one (the two overlap). The previous segment is kept because a late event can
move the point at which the current one began; with it the result is exactly that of the
right order.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class SegmentRule:
    """m and K of the segment.

    ``span_ms`` is the paper's m in milliseconds; ``max_events`` is K.
    """

    span_ms: int = 24 * 3_600_000
    max_events: int = 64

    def __post_init__(self) -> None:
        """Refuse a rule under which no segment could hold an event and its successor."""
        if self.span_ms < 1:
            raise ValueError(f"span_ms is {self.span_ms}; it must be at least 1")
        if self.max_events < 2:
            raise ValueError(f"max_events is {self.max_events}; it must be at least 2")

    @property
    def longest_ms(self) -> int:
        """How much later than its first event one of the same segment can be: 2m."""
        return 2 * self.span_ms


class Window(NamedTuple):
    """Where the segment lies among the retained events.

    ``start`` is the position of the segment's first event and ``cut`` that of the event
    whose arrival began the segment. The first segment of a user has both at 0.
    """

    start: int
    cut: int


FIRST = Window(0, 0)


def goes_on(events: int, age_ms: int, rule: SegmentRule) -> bool:
    """Whether a segment of ``events`` events takes one that is ``age_ms`` later than its first."""
    return events < rule.max_events and age_ms <= rule.longest_ms


def extend(times_ms: Sequence[int], last: int, window: Window, rule: SegmentRule) -> Window:
    """Take the event at position ``last`` into the segment; positions before it are in place.

    Returns ``window`` itself when the segment goes on. When the event would make it longer
    than 2m or K, the new segment begins with the events of the last m, at most K/2 of them,
    the new event included.
    """
    start = window.start
    now_ms = times_ms[last]
    if goes_on(last - start, now_ms - times_ms[start], rule):
        return window
    fewest = max(last + 1 - rule.max_events // 2, start)
    return Window(bisect_left(times_ms, now_ms - rule.span_ms, fewest, last), last)


def insert(
    times_ms: Sequence[int], position: int, window: Window, *, floor: int, rule: SegmentRule
) -> tuple[Window | None, Window]:
    """Replay the cuts after a late event was put at ``position`` of the retained events.

    ``times_ms`` already holds the late event; ``window`` and ``floor`` are those from before
    it came. ``floor`` is the position of the event that began the previous segment, and
    ``position > floor``, or nothing was ever let go. Returns the last window but one if there
    was a cut, and the window in force at the end. Positions count the late event.
    """
    # Up to the cut the late event comes while the previous segment is in force, which begins at 0.
    current = window if position > window.cut else Window(0, floor)
    previous = None
    for last in range(position, len(times_ms)):
        after = extend(times_ms, last, current, rule)
        if after is not current:
            previous, current = current, after
    return previous, current


def windows(times_ms: Sequence[int], rule: SegmentRule) -> list[Window]:
    """Cut one user's events, in order: the window in force after each of them."""
    current = FIRST
    result = []
    for last in range(len(times_ms)):
        current = extend(times_ms, last, current, rule)
        result.append(current)
    return result
