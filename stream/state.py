"""The user's record: what freshet remembers of a user between two events, and its byte codec.

One record a user, about 1 KB, kept in the table's store and in its changelog. Event time is
held in milliseconds relative to ``base_ms``; items by their external ids, so that a segment
outlives every vocabulary: an item that was unknown when its event came is known as soon as
weights that know it are in force.
"""

from bisect import bisect_left, bisect_right
from enum import IntEnum
from functools import lru_cache
from itertools import accumulate
from operator import sub
from typing import NamedTuple

import msgspec
import xxhash

from models.cleaning import NEW, Activity
from models.segment import SegmentRule, Window, extend, insert
from stream.errors import StateError

CODEC = 1
SOURCES = 5
NEVER = -1
CATEGORY_BYTES = 4
EVENT_KEY_BYTES = 6
CATEGORIES_REMEMBERED = 100_000


class UserState(msgspec.Struct, array_like=True, gc=False):
    """One user's record.

    The columns from ``items`` to ``event_keys`` hold the retained events (see
    ``models.segment``): those of the previous segment and, from ``start`` on, those of the
    current one. ``event_keys`` is empty until an event brings an ``event_id``.
    """

    codec: int = CODEC
    base_ms: int = 0
    items: list[str] = []
    times: list[int] = []
    behaviors: bytes = b""
    categories: bytes = b""
    event_keys: bytes = b""
    start: int = 0
    cut: int = 0
    #: The position of the event that began the previous segment.
    floor: int = 0
    #: Whether events older than the retained ones were let go.
    shortened: bool = False
    #: Last applied offset of each source topic in the user's partition.
    offsets: list[int] = []
    #: The network's state after the segment, float32, and the key of the weights that made it.
    hidden: bytes = b""
    weights: int = 0
    #: What the rule on suspicious users counts.
    activity: Activity = NEW
    #: Items bought and when, for as long as they are kept out of lists.
    bought: list[str] = []
    bought_ms: list[int] = []
    #: The rows of the list last sent (int32, best first).
    listed: bytes = b""
    #: The event of the list last sent: source, partition, offset, event time.
    listed_for: tuple[int, int, int, int] | None = None
    #: Processing time of the last list; kept only where lists are limited in time.
    listed_ms: int = 0
    #: The newest event whose list is held back: source, partition, offset, event time.
    held: tuple[int, int, int, int] | None = None
    #: When the event of ``held`` was produced.
    held_produced_ms: int = 0

    @property
    def window(self) -> Window:
        """Where the segment lies among the retained events."""
        return Window(self.start, self.cut)

    def segment_items(self) -> list[str]:
        """Return the item ids of the segment, oldest first."""
        return self.items[self.start :]

    def segment_times_ms(self) -> list[int]:
        """Return the event times of the segment, oldest first."""
        base_ms = self.base_ms
        return [base_ms + time for time in self.times[self.start :]]

    def category_keys(self) -> memoryview:
        """Return the category keys of the retained events."""
        return memoryview(self.categories).cast("I")


class Entry(NamedTuple):
    """One event as it goes into a segment."""

    item_id: str
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


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(UserState)
_NO_KEY = bytes(EVENT_KEY_BYTES)
_BEHAVIOR_BYTES = [bytes((behavior,)) for behavior in range(SOURCES)]


def encode_state(state: UserState) -> bytes:
    """Return the record's bytes.

    Event times are written as the gaps between them, which take 1 to 3 bytes more often than 5.
    """
    times = state.times
    state.times = [*times[:1], *map(sub, times[1:], times)]
    try:
        return _encoder.encode(state)
    finally:
        state.times = times


def decode_state(data: bytes) -> UserState:
    """Return the record; raises StateError for bytes that are none of ours."""
    try:
        state = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise StateError(f"a user's record in the changelog cannot be read: {error}") from error
    if state.codec != CODEC:
        raise StateError(
            f"a user's record in the changelog has version {state.codec}, this freshet reads {CODEC}; "
            "run the freshet that wrote it, or a newer one"
        )
    state.times = list(accumulate(state.times))
    return state


def new_state() -> UserState:
    """Return the record of a user never seen."""
    return UserState(offsets=[NEVER] * SOURCES)


@lru_cache(CATEGORIES_REMEMBERED)
def category_key(category_id: str | None) -> int:
    """Return the 32-bit key that stands for a category in a record; 0 for none.

    Two categories that share a key (about one pair among 100,000) are taken for one another
    for items the weights do not know, and only there.
    """
    return xxhash.xxh32_intdigest(category_id.encode()) or 1 if category_id else 0


def event_key(event_id: str | None) -> bytes:
    """Return the 6 bytes that stand for an ``event_id``; empty for none.

    Two ids of one segment share them about once in 280 million million, and the later event is then
    taken for a repeat of the earlier one.
    """
    return xxhash.xxh3_64_digest(event_id.encode())[:EVENT_KEY_BYTES] if event_id else b""


def holds(state: UserState, key: bytes) -> bool:
    """Whether an event with this ``event_key`` is among the retained events."""
    at = state.event_keys.find(key)
    while at >= 0 and at % EVENT_KEY_BYTES:
        at = state.event_keys.find(key, at + 1)
    return at >= 0


def place(state: UserState, entry: Entry, *, rule: SegmentRule) -> Placed:
    """Put an event where it belongs in the user's segment.

    The caller has made sure that the event does not stand there already (``holds``).
    """
    times = state.times
    if not times:
        state.base_ms = entry.time_ms
    time = entry.time_ms - state.base_ms
    last = len(times)
    before = state.window
    if not last or time > times[-1] or (time == times[-1] and entry.behavior >= state.behaviors[-1]):
        _append(state, time, entry)
        window = extend(times, last, before, rule)
        if window is before:
            return Placed.STEP
        _begin(state, before, window)
        return Placed.REPLAY
    position = _position(state, time, entry.behavior)
    if state.shortened and position <= state.floor:
        return Placed.LATE
    replayed = [*times[:position], time, *times[position:]]
    previous, window = insert(replayed, position, before, floor=state.floor, rule=rule)
    if position <= state.start and position < window.start:
        return Placed.LATE
    _put(state, position, time, entry)
    if previous is not None:
        _begin(state, previous, window)
    return Placed.REPLAY


def _position(state: UserState, time: int, behavior: int) -> int:
    """Return where (time, behaviour) goes: behind its equals."""
    low = bisect_left(state.times, time)
    high = bisect_right(state.times, time, low)
    return bisect_right(state.behaviors, behavior, low, high)


def _append(state: UserState, time: int, entry: Entry) -> None:
    """Put the event's columns behind all others: what ``_put`` does there, without the slicing."""
    if entry.event_key:
        if not state.event_keys:
            state.event_keys = _NO_KEY * len(state.times)
        state.event_keys += entry.event_key
    elif state.event_keys:
        state.event_keys += _NO_KEY
    state.categories += entry.category_key.to_bytes(CATEGORY_BYTES, "little")
    state.behaviors += _BEHAVIOR_BYTES[entry.behavior]
    state.items.append(entry.item_id)
    state.times.append(time)


def _put(state: UserState, position: int, time: int, entry: Entry) -> None:
    """Insert the event's columns at ``position``."""
    if entry.event_key and not state.event_keys:
        state.event_keys = _NO_KEY * len(state.times)
    if entry.event_key or state.event_keys:
        state.event_keys = _spliced(state.event_keys, position * EVENT_KEY_BYTES, entry.event_key or _NO_KEY)
    state.categories = _spliced(
        state.categories, position * CATEGORY_BYTES, entry.category_key.to_bytes(CATEGORY_BYTES, "little")
    )
    state.behaviors = _spliced(state.behaviors, position, _BEHAVIOR_BYTES[entry.behavior])
    state.items.insert(position, entry.item_id)
    state.times.insert(position, time)


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
    offset = state.times[drop]
    state.base_ms += offset
    state.times[:] = [time - offset for time in state.times[drop:]]
    state.items[:] = state.items[drop:]
    state.behaviors = state.behaviors[drop:]
    state.categories = state.categories[drop * CATEGORY_BYTES :]
    state.event_keys = state.event_keys[drop * EVENT_KEY_BYTES :]
