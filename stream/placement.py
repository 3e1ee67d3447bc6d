"""Where an event goes in its user's segment.

Nearly every event is the newest of its user and lengthens the segment: it is appended to the
columns as they are. The others, late ones and those that begin a segment, unpack the columns.
"""

from bisect import bisect_left, bisect_right
from enum import IntEnum
from operator import sub

import msgspec

from models.segment import SegmentRule, Window, extend, goes_on, insert
from stream.state import (
    CATEGORY_BYTES,
    EVENT_KEY_BYTES,
    SOURCES,
    UserState,
    pack_gap,
    pack_gaps,
    remembered,
)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One event as it goes into a segment."""

    item_id: str
    #: The id as the record holds it.
    item_text: bytes
    category_key: int
    behavior: int
    time_ms: int
    event_key: bytes


class Placed(IntEnum):
    """What became of an event that was offered to a segment."""

    #: It lengthens the segment: one step of the network.
    STEP = 0
    #: The segment began anew or changed in the middle: a replay from zero.
    REPLAY = 1
    #: It is older than the segment; nothing changed.
    LATE = 2


_STEP = Placed.STEP
_NO_KEY = bytes(EVENT_KEY_BYTES)
_BEHAVIOR_BYTES = [bytes((behavior,)) for behavior in range(SOURCES)]


def place(state: UserState, entry: Entry, *, rule: SegmentRule) -> Placed:
    """Put an event where it belongs in the user's segment.

    The caller has made sure that the event does not stand there already (``stream.state.holds``).
    """
    behaviors = state.behaviors
    count = len(behaviors)
    if not count:
        state.base_ms = entry.time_ms
        _append(state, entry, 0)
        return _STEP
    time, newest = entry.time_ms - state.base_ms, state.newest
    if time < newest or (time == newest and entry.behavior < behaviors[-1]):
        return _insert(state, entry, time, rule)
    if goes_on(count - state.start, time - state.begun, rule):
        _append(state, entry, time)
        return _STEP
    before = state.window
    _append(state, entry, time)
    times = state.times
    _begin(state, before, extend(times, count, before, rule))
    _pack_times(state, times)
    return Placed.REPLAY


def _append(state: UserState, entry: Entry, time: int) -> None:
    """Put the event behind all others."""
    texts = state.item_texts
    state.item_texts = b"%b\n%b" % (texts, entry.item_text) if texts else entry.item_text
    if entry.event_key:
        if not state.event_keys:
            state.event_keys = _NO_KEY * len(state.behaviors)
        state.event_keys += entry.event_key
    elif state.event_keys:
        state.event_keys += _NO_KEY
    state.gaps += pack_gap(time - state.newest)
    state.behaviors += _BEHAVIOR_BYTES[entry.behavior]
    state.categories += entry.category_key.to_bytes(CATEGORY_BYTES, "little")
    state.newest = time


def _insert(state: UserState, entry: Entry, time: int, rule: SegmentRule) -> Placed:
    """Put an event before those that are later, unless it is older than the segment it would be in."""
    times = state.times
    position = _position(state, times, time, entry.behavior)
    if state.shortened and position <= state.floor:
        return Placed.LATE
    times.insert(position, time)
    previous, window = insert(times, position, state.window, floor=state.floor, rule=rule)
    if position <= state.start and position < window.start:
        return Placed.LATE
    _put(state, position, entry)
    if previous is not None:
        _begin(state, previous, window)
    _pack_times(state, times)
    return Placed.REPLAY


def _position(state: UserState, times: list[int], time: int, behavior: int) -> int:
    """Return where (time, behaviour) goes: behind its equals."""
    low = bisect_left(times, time)
    high = bisect_right(times, time, low)
    return bisect_right(state.behaviors, behavior, low, high)


def _put(state: UserState, position: int, entry: Entry) -> None:
    """Insert the event's columns at ``position``; times are the caller's."""
    if entry.event_key and not state.event_keys:
        state.event_keys = _NO_KEY * len(state.behaviors)
    if entry.event_key or state.event_keys:
        state.event_keys = _spliced(state.event_keys, position * EVENT_KEY_BYTES, entry.event_key or _NO_KEY)
    state.categories = _spliced(
        state.categories, position * CATEGORY_BYTES, entry.category_key.to_bytes(CATEGORY_BYTES, "little")
    )
    state.behaviors = _spliced(state.behaviors, position, _BEHAVIOR_BYTES[entry.behavior])
    texts = state.item_texts.split(b"\n")
    texts.insert(position, entry.item_text)
    state.item_texts = b"\n".join(texts)


def _spliced(column: bytes, at: int, piece: bytes) -> bytes:
    return column[:at] + piece + column[at:]


def _begin(state: UserState, previous: Window, window: Window) -> None:
    """Begin the segment ``window``: what came before the previous one is let go."""
    drop = previous.start
    state.start = window.start - drop
    state.cut = window.cut - drop
    state.floor = previous.cut - drop
    if not drop:
        return
    state.shortened = True
    *gone, state.item_texts = state.item_texts.split(b"\n", drop)
    state.past = remembered(state.past, gone)
    state.behaviors = state.behaviors[drop:]
    state.categories = state.categories[drop * CATEGORY_BYTES :]
    state.event_keys = state.event_keys[drop * EVENT_KEY_BYTES :]


def _pack_times(state: UserState, times: list[int]) -> None:
    """Write the times of the retained events, the last of ``times``, which count from ``base_ms``."""
    kept = times[len(times) - len(state.behaviors) :]
    state.gaps = pack_gaps([0, *map(sub, kept[1:], kept)])
    state.base_ms += kept[0]
    state.newest = kept[-1] - kept[0]
    state.begun = kept[state.start] - kept[0]
