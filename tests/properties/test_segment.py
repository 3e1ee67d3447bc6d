"""The segment under late and repeated events, against the plain reading of its rule."""

from hypothesis import given, settings
from hypothesis import strategies as st

from models.segment import SegmentRule, windows
from stream.placement import Entry, Placed, place
from stream.state import EVENT_KEY_BYTES, UserState, decode_state, encode_state, holds, new_state

RULE = st.builds(SegmentRule, span_ms=st.integers(1, 12), max_events=st.integers(2, 7))
TIMES = st.lists(st.integers(0, 60), min_size=1, max_size=40)


def entry(time_ms: int, number: int, behavior: int = 0) -> Entry:
    """Event number ``number``, whose key is that number."""
    return Entry(
        f"i{number}", b"i%d" % number, number, behavior, time_ms, number.to_bytes(EVENT_KEY_BYTES, "little")
    )


def in_order(entries: list[Entry], rule: SegmentRule) -> list[str]:
    """The rule as it is written down, over events in the right order: the last segment's items."""
    segment: list[Entry] = []
    for event in entries:
        if segment and (
            len(segment) + 1 > rule.max_events or event.time_ms - segment[0].time_ms > 2 * rule.span_ms
        ):
            recent = [e for e in [*segment, event] if e.time_ms >= event.time_ms - rule.span_ms]
            segment = recent[-max(1, rule.max_events // 2) :]
        else:
            segment = [*segment, event]
    return [e.item_id for e in segment]


def applied(entries: list[Entry], rule: SegmentRule) -> tuple[UserState, list[Entry]]:
    """Place events as they arrive; return the state and the events that were taken."""
    state = new_state()
    taken = []
    for event in entries:
        if place(state, event, rule=rule) in (Placed.STEP, Placed.REPLAY):
            taken.append(event)
        state = decode_state(encode_state(state))
    return state, taken


@given(TIMES, RULE)
def test_segment_in_order_is_the_rule_as_written(times: list[int], rule: SegmentRule) -> None:
    """Placing events one by one gives the segment of the plain rule, and the training cut agrees."""
    entries = [entry(time, number) for number, time in enumerate(sorted(times))]
    state, _ = applied(entries, rule)
    assert state.segment_items() == in_order(entries, rule)
    last = windows([e.time_ms for e in entries], rule)[-1]
    assert state.segment_items() == [e.item_id for e in entries[last.start :]]


@settings(max_examples=500)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), min_size=1, max_size=40), RULE)
def test_late_events_give_the_segment_of_the_right_order(
    events: list[tuple[int, int]], rule: SegmentRule
) -> None:
    """Whatever order events come in, the segment is that of the taken events in the right order."""
    entries = [entry(time, number, behavior) for number, (time, behavior) in enumerate(events)]
    state, taken = applied(entries, rule)
    right = sorted(taken, key=lambda e: (e.time_ms, e.behavior))
    assert state.segment_items() == in_order(right, rule)
    assert state.segment_times_ms() == [e.time_ms for e in right[-len(state.segment_items()) :]]


@given(TIMES, RULE)
def test_an_event_within_the_segment_is_never_refused(times: list[int], rule: SegmentRule) -> None:
    """An event at or after the segment's first event is taken, however late it comes."""
    state = new_state()
    for number, time in enumerate(times):
        segment = state.segment_times_ms()
        placed = place(state, entry(time, number), rule=rule)
        if segment and time >= segment[0]:
            assert placed in (Placed.STEP, Placed.REPLAY)


@given(TIMES, RULE, st.data())
def test_an_event_of_the_segment_is_known_again(
    times: list[int], rule: SegmentRule, data: st.DataObject
) -> None:
    """The id of every event of the segment is found in the record, and an unseen one is not."""
    entries = [entry(time, number) for number, time in enumerate(times)]
    state, _ = applied(entries, rule)
    again = data.draw(st.sampled_from(state.segment_items()))
    assert holds(state, entries[int(again[1:])].event_key)
    assert not holds(state, (len(times) + 1).to_bytes(EVENT_KEY_BYTES, "little"))
