"""A user's record: placing events, telling repeats, and its bytes."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.segment import SegmentRule
from stream.errors import StateError
from stream.placement import Entry, Placed, place
from stream.state import (
    CODEC,
    EVENT_KEY_BYTES,
    NEVER,
    SOURCES,
    UserState,
    category_key,
    decode_state,
    encode_state,
    event_key,
    holds,
    id_text,
    new_state,
    pack_gaps,
    pack_rows,
    place_of,
)

RULE = SegmentRule(span_ms=10, max_events=4)
GOLDEN = Path(__file__).parents[2] / "golden" / "records"


def entry(item_id: str, time_ms: int, behavior: int = 0, *, event_id: str | None = None) -> Entry:
    """An event of category c of its item."""
    return Entry(
        item_id, id_text(item_id), category_key("c" + item_id), behavior, time_ms, event_key(event_id)
    )


def placed(state: UserState, *entries: Entry) -> list[Placed]:
    """Offer events one after the other."""
    return [place(state, one, rule=RULE) for one in entries]


def test_a_new_user_has_applied_nothing() -> None:
    """Every source's offset is below the first one, and there is no list."""
    state = new_state()
    assert state.offsets == [NEVER] * SOURCES
    assert state.listed_for is None
    assert not state.hidden


def test_new_users_share_nothing() -> None:
    """What one user's record takes in is not in the next one's."""
    first = new_state()
    placed(first, entry("a", 1))
    first.offsets[0] = 7
    assert new_state() == UserState(offsets=[NEVER] * SOURCES)


def test_events_in_order_are_steps() -> None:
    """Each lengthens the segment; times are kept against the first."""
    state = new_state()
    assert placed(state, entry("a", 100), entry("b", 105, 3), entry("c", 105, 3)) == [Placed.STEP] * 3
    assert state.segment_items() == ["a", "b", "c"]
    assert state.segment_times_ms() == [100, 105, 105]
    assert (state.base_ms, state.times) == (100, [0, 5, 5])
    assert state.behaviors == bytes([0, 3, 3])
    assert list(state.category_keys()) == [category_key("ca"), category_key("cb"), category_key("cc")]


def test_a_late_event_goes_where_its_time_belongs() -> None:
    """All its columns go to the same place, before the first event too."""
    state = new_state()
    late = [entry("b", 103, 2), entry("z", 99, 1)]
    assert placed(state, entry("a", 100), entry("c", 105), *late) == [
        *[Placed.STEP] * 2,
        *[Placed.REPLAY] * 2,
    ]
    assert state.segment_items() == ["z", "a", "b", "c"]
    assert state.segment_times_ms() == [99, 100, 103, 105]
    assert state.behaviors == bytes([1, 0, 2, 0])
    assert list(state.category_keys()) == [category_key("c" + item) for item in "zabc"]


def test_events_of_one_time_stand_in_the_order_of_behaviours_then_of_arrival() -> None:
    """A purchase of the same moment comes after the click, however they arrive."""
    state = new_state()
    events = [entry("bought", 5, 3), entry("seen", 5, 0), entry("seen later", 5, 0), entry("carted", 5, 2)]
    assert placed(state, *events) == [Placed.STEP, Placed.REPLAY, Placed.REPLAY, Placed.REPLAY]
    assert state.segment_items() == ["seen", "seen later", "carted", "bought"]


def test_a_cut_keeps_the_previous_segment() -> None:
    """K = 4: the fifth event begins a segment of two; the events before stay for late ones."""
    state = new_state()
    assert placed(state, *(entry(name, time) for time, name in enumerate("abcde")))[-1] is Placed.REPLAY
    assert state.segment_items() == ["d", "e"]
    assert state.items == ["a", "b", "c", "d", "e"]
    assert not state.shortened


def test_the_second_cut_lets_the_oldest_segment_go() -> None:
    """What remains are two segments, and times count from their first event."""
    state = new_state()
    placed(state, *(entry(name, 100 + time) for time, name in enumerate("abcdefgh")))
    assert state.segment_items() == ["g", "h"]
    assert state.items == ["d", "e", "f", "g", "h"]
    assert state.segment_times_ms() == [106, 107]
    assert (state.base_ms, state.times[0]) == (103, 0)
    assert len(state.behaviors) == len(state.category_keys()) == 5
    assert state.shortened


def test_an_event_older_than_the_segment_changes_nothing() -> None:
    """It is late: the record stays byte for byte."""
    state = new_state()
    placed(state, *(entry(name, 100 + time) for time, name in enumerate("abcdefgh")))
    before = encode_state(state)
    assert placed(state, entry("late", 101)) == [Placed.LATE]
    assert encode_state(state) == before


def test_an_event_of_the_previous_segment_can_still_be_too_late() -> None:
    """What cannot be in the segment of the right order is not taken."""
    state = new_state()
    placed(state, entry("a", 0), entry("b", 100))
    before = encode_state(state)
    assert state.segment_items() == ["b"]
    assert placed(state, entry("late", 50)) == [Placed.LATE]
    assert encode_state(state) == before


def test_a_late_event_of_the_last_m_joins_a_segment_that_began_after_it() -> None:
    """A segment begins with the last m of events, so one of those belongs to it even if it is late."""
    state = new_state()
    placed(state, entry("a", 0), entry("b", 100))
    assert placed(state, entry("late", 95)) == [Placed.REPLAY]
    assert state.segment_items() == ["late", "b"]


def test_an_event_id_is_known_while_its_event_is_retained() -> None:
    """Ids of events before and after one without an id are found; others are not."""
    state = new_state()
    placed(state, entry("a", 0), entry("b", 1, event_id="e1"), entry("c", 2), entry("d", 3, event_id="e2"))
    assert holds(state, event_key("e1"))
    assert holds(state, event_key("e2"))
    assert not holds(state, event_key("e3"))
    placed(state, entry("z", 0, event_id="e3"))
    assert holds(state, event_key("e3"))
    assert len(state.event_keys) == EVENT_KEY_BYTES * len(state.items)


def test_an_event_id_is_forgotten_with_its_event() -> None:
    """The columns stay in step when a segment is let go."""
    state = new_state()
    placed(state, *(entry(name, time, event_id=name) for time, name in enumerate("abcdefgh")))
    assert [name for name in "abcdefgh" if holds(state, event_key(name))] == list("defgh")


def test_a_key_across_two_events_is_none() -> None:
    """Bytes that match from the middle of one key to the middle of the next do not count."""
    state = new_state()
    keys = [b"1" * EVENT_KEY_BYTES, b"2" * EVENT_KEY_BYTES, b"2" + b"1" * (EVENT_KEY_BYTES - 1), b"1x" * 3]
    state.event_keys = b"".join(keys)
    assert all(holds(state, key) for key in keys)
    half = EVENT_KEY_BYTES // 2
    assert not holds(state, keys[0][half:] + keys[1][:half])


def test_a_key_is_found_behind_a_match_across_two_others() -> None:
    """Looking does not end at the first place where the bytes match."""
    state = new_state()
    sought = b"1" * EVENT_KEY_BYTES
    state.event_keys = b"x" + b"1" * (EVENT_KEY_BYTES - 1) + b"1" + b"x" * (EVENT_KEY_BYTES - 1) + sought
    assert holds(state, sought)


def test_without_event_ids_none_are_kept() -> None:
    """A record of a shop that sends no ids pays nothing for them."""
    state = new_state()
    placed(state, entry("a", 0), entry("b", 1))
    assert state.event_keys == b""
    assert event_key(None) == b""


def test_no_category_is_zero_and_no_category_hashes_to_it() -> None:
    """0 stands for none alone."""
    assert category_key(None) == category_key("") == 0
    assert 0 < category_key("c1") < 2**32


def test_a_full_record_comes_back_from_its_bytes() -> None:
    """Every field is written and read, the largest numbers too."""
    state = UserState(
        base_ms=253_402_300_799_999,
        newest=253_402_300_799_999,
        begun=5,
        item_texts=id_text("a") + b"\n" + id_text("é" * 256),
        gaps=pack_gaps([0, 253_402_300_799_999]),
        behaviors=bytes([3, 0]),
        categories=bytes(range(8)),
        event_keys=bytes(16),
        start=1,
        cut=1,
        floor=0,
        shortened=True,
        offsets=[0, NEVER, 2**62, 5, NEVER],
        hidden=bytes(400),
        weights=2**64 - 1,
        activity=(1, 2, 3, 4, 5, 6),
        bought=["a"],
        bought_ms=[17],
        listed=bytes(80),
        listed_for=(3, 7, 42, 99),
        listed_ms=12,
        held=(0, 7, 43, 100),
        held_produced_ms=101,
    )
    assert decode_state(encode_state(state)) == state


def test_a_record_of_64_events_and_100_units_is_about_a_kilobyte_and_a_half() -> None:
    """64 items of 8 characters, 100 float32 numbers: the memory goal counts segments of 20."""
    state = new_state()
    rule = SegmentRule()
    for number in range(64):
        place(
            state,
            Entry(f"{number:08}", b"%08d" % number, 1, 0, 1_700_000_000_000 + 60_000 * number, b""),
            rule=rule,
        )
    state.hidden = bytes(400)
    state.weights = 2**63
    assert len(encode_state(state)) < 64 * (9 + 5 + 1 + 4) + 400 + 150


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"{}", msgspec.msgpack.encode({"codec": 1}), b"\x93\x01\xa1x\x90"]
)
def test_bytes_that_are_no_record_are_refused_in_one_line(data: bytes) -> None:
    """The error says what cannot be read."""
    with pytest.raises(StateError, match="a user's record in the changelog cannot be read") as refused:
        decode_state(data)
    assert "\n" not in str(refused.value)


def test_a_record_of_another_version_is_refused() -> None:
    """Records of a newer freshet are never misread."""
    state = new_state()
    state.codec = CODEC + 1
    with pytest.raises(StateError, match=f"version {CODEC + 1}, this freshet reads {CODEC}"):
        decode_state(encode_state(state))


@pytest.mark.parametrize(("highest", "width"), [(1, 2), (65_535, 2), (65_536, 4), (2**31 - 1, 4)])
def test_rows_of_a_list_come_back(highest: int, width: int) -> None:
    """Each list ends where its rows do; numbers are as wide as the highest row of the batch needs."""
    rows = np.array([[highest, 1, 2], [3, -1, -1], [-1, -1, -1]], np.int32)
    packed = pack_rows(rows)
    assert [[place_of(row, one) for row in (highest, 2, 3)] for one in packed] == [
        [0, 2, -1],
        [-1, -1, 0],
        [-1] * 3,
    ]
    assert [len(one) for one in packed] == [1 + 3 * width, 1 + width, 1]
    assert place_of(3, b"") == -1


@given(st.lists(st.integers(1, 1030), unique=True, max_size=20), st.integers(0, 70_000), st.booleans())
def test_the_place_of_a_row_is_found_among_whole_numbers(rows: list[int], row: int, wide: bool) -> None:
    """Not where the end of one and the beginning of the next read like it; any row may be asked."""
    listed = [*rows, 65_600] if wide else rows
    (packed,) = pack_rows(np.array([[*listed, -1]], np.int32))
    expected = {one: listed.index(one) if one in listed else -1 for one in (row, *listed)}
    assert {one: place_of(one, packed) for one in expected} == expected


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.msgpack")), ids=lambda path: path.stem)
def test_records_of_earlier_versions_are_read(path: Path) -> None:
    """A worker that is upgraded goes on from what the one before it wrote into the changelog."""
    state = decode_state(path.read_bytes())
    assert state.items == ["lamp", "rug é\n", "lamp"]
    assert state.segment_times_ms() == [1_511_544_070_123, 1_511_544_080_000, 1_511_544_090_000]
    assert list(state.behaviors) == [0, 3, 2]
    assert [*state.category_keys()] == [category_key(name) for name in ("light", "floor", "light")]
    assert holds(state, event_key("e-2"))
    assert state.offsets == [7, NEVER, 3, 0, NEVER]
    assert np.frombuffer(state.hidden, np.float32).tolist() == [0, 1, 2, 3]
    assert (state.bought, state.bought_ms) == (["rug"], [1_511_544_080_000])
    assert [place_of(row, state.listed) for row in (4, 2, 9, 1)] == [0, 1, 2, -1]
    assert state.listed_for == (0, 1, 7, 1_511_544_090_000)
    day = SegmentRule(span_ms=86_400_000, max_events=64)
    assert place(state, entry("mat", 1_511_544_100_000), rule=day) is Placed.STEP
    assert decode_state(encode_state(state)) == state
