"""Every event after a user's first is a target once, in the segment that serving would have had."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.events import EventLog
from models.segment import SegmentRule, windows
from models.sequences import batched, cut, padded, targets, with_targets


def log_of(times: list[list[int]]) -> EventLog:
    """A log of one list of times a user; event number i is of item i + 1."""
    user = np.repeat(np.arange(len(times)), [len(each) for each in times])
    rows = np.arange(1, len(user) + 1, dtype=np.int32)
    zeros = np.zeros(len(user), np.int32)
    return EventLog(user, rows, zeros, zeros.astype(np.int8), np.concatenate(times).astype(np.int64))


def test_the_event_that_begins_a_segment_is_predicted_from_the_old_one() -> None:
    """With K = 4 the fifth event cuts; it is the old segment's target, and the sixth the new one's."""
    log = log_of([[0, 1, 2, 3, 4, 5]])
    segments = cut(log, SegmentRule(span_ms=1000, max_events=4))
    shown = list(zip(segments.start, segments.target, segments.end, strict=True))
    # The new segment begins with K / 2 events: events 3 and 4.
    assert shown == [(0, 1, 5), (3, 5, 6)]


def test_a_silence_leaves_a_segment_of_the_trigger_alone() -> None:
    """An event later than 2m is predicted from the segment before the silence."""
    log = log_of([[0, 1, 100, 101]])
    segments = cut(log, SegmentRule(span_ms=10, max_events=8))
    assert list(zip(segments.start, segments.target, segments.end, strict=True)) == [(0, 1, 3), (2, 3, 4)]


@given(
    times=st.lists(
        st.lists(st.integers(0, 300), min_size=1, max_size=40).map(sorted), min_size=1, max_size=4
    ),
    span_ms=st.integers(1, 60),
    max_events=st.integers(2, 9),
)
def test_segments_and_targets_are_those_of_serving(
    times: list[list[int]], span_ms: int, max_events: int
) -> None:
    """Each event but a user's first is a target once, shown what serving held just before it."""
    log, rule = log_of(times), SegmentRule(span_ms=span_ms, max_events=max_events)
    segments = cut(log, rule)
    shown = {
        target: start
        for start, first, end in zip(segments.start, segments.target, segments.end, strict=True)
        for target in range(first, end)
    }
    expected = {}
    for begin, end in zip(log.starts[:-1], log.starts[1:], strict=True):
        held = windows(log.time_ms[begin:end].tolist(), rule)
        expected.update({begin + place + 1: begin + held[place].start for place in range(end - begin - 1)})
    assert shown == expected
    assert sum(segments.end - segments.target) == len(shown)


def test_a_split_by_time_parts_the_targets_and_shows_no_future() -> None:
    """Older targets are shown nothing from after the cut; newer ones all that came before them."""
    log = log_of([[0, 10, 20, 30], [0, 1], [40, 50]])
    old, new = cut(log, SegmentRule(span_ms=1000, max_events=8)).split(log, 20)
    assert list(zip(old.start, old.target, old.end, strict=True)) == [(0, 1, 2), (4, 5, 6)]
    assert list(zip(new.start, new.target, new.end, strict=True)) == [(0, 2, 4), (6, 7, 8)]


def test_padding_repeats_the_last_event_and_gaps_begin_at_zero() -> None:
    """Sequences of different length share a rectangle; the first event of each has no gap."""
    log = log_of([[5, 7, 10], [100, 104]])
    inputs = padded(log, np.array([0, 3]), np.array([3, 5]))
    assert inputs.item.tolist() == [[1, 2, 3], [4, 5, 5]]
    assert inputs.gap_ms.tolist() == [[0, 2, 3], [0, 4, 0]]
    assert {column.dtype for column in inputs} == {torch.int64}


def test_targets_stand_at_the_place_of_the_event_before() -> None:
    """The state that predicts event i is that after event i - 1; unknown items are no targets."""
    log = log_of([[0, 1, 2], [0, 1]])
    log.item[1] = 0
    segments = cut(log, SegmentRule())
    places, rows = targets(log, segments)
    assert (places.tolist(), rows.tolist()) == ([1, 2], [3, 5])  # (B, T) = (2, 2)
    log.item[4] = 0
    assert len(with_targets(log, segments)) == 1


def test_batches_hold_every_segment_once_and_like_lengths() -> None:
    """An epoch meets each segment once; only neighbours in length share a batch."""
    rng = np.random.default_rng(0)
    log = log_of([list(range(int(length))) for length in rng.integers(2, 9, 200)])
    segments = cut(log, SegmentRule())
    batches = batched(segments, 50, np.random.default_rng(1))
    assert sorted(np.concatenate(batches).tolist()) == list(range(200))
    assert max(np.ptp(segments.lengths[batch]) for batch in batches) <= 1
    again = batched(segments, 50, np.random.default_rng(1))
    assert all(np.array_equal(one, other) for one, other in zip(batches, again, strict=True))
