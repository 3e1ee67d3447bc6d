"""The user's record: what freshet remembers of a user between two events, and its byte codec.

One record a user, about 1 KB, kept in the table's store and in its changelog. Event time is
held in milliseconds relative to ``base_ms``; items by their external ids, so that a segment
outlives every vocabulary: an item that was unknown when its event came is known as soon as
weights that know it are in force.

The columns of the retained events are packed bytes, to which an event in order only appends
(``stream.placement``): a batch touches thousands of users, and a list of objects a column would
be some hundred cache misses a user.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from models.cleaning import NEW, Activity
from models.memory import PLACES
from models.segment import Window
from stream.errors import StateError

CODEC = 1
SOURCES = 5
NEVER = -1
CATEGORY_BYTES = 4
EVENT_KEY_BYTES = 6
ITEM_KEY_BYTES = 4
CATEGORIES_REMEMBERED = 100_000


class UserState(msgspec.Struct, array_like=True, gc=False):
    """One user's record.

    The columns from ``item_texts`` to ``event_keys`` hold the retained events (see
    ``models.segment``): those of the previous segment and, from ``start`` on, those of the
    current one. ``event_keys`` is empty until an event brings an ``event_id``.
    """

    codec: int = CODEC
    #: Event time of the oldest retained event; ``newest`` and ``begun`` count from it.
    base_ms: int = 0
    newest: int = 0
    #: Event time of the segment's first event.
    begun: int = 0
    #: The item ids as ``id_text`` writes them, a newline between two.
    item_texts: bytes = b""
    #: The time from each event's predecessor in msgpack, 0 for the first; 1 to 3 bytes more often than 5.
    gaps: bytes = b""
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
    #: The rows of the list last sent, best first; see ``pack_rows``.
    listed: bytes = b""
    #: The event of the list last sent: source, partition, offset, event time.
    listed_for: tuple[int, int, int, int] | None = None
    #: Processing time of the last list; kept only where lists are limited in time.
    listed_ms: int = 0
    #: The newest event whose list is held back: source, partition, offset, event time.
    held: tuple[int, int, int, int] | None = None
    #: When the event of ``held`` was produced.
    held_produced_ms: int = 0
    #: The item keys of events that were let go, none twice, the newest last (see ``remembered``).
    past: bytes = b""

    @property
    def window(self) -> Window:
        """Where the segment lies among the retained events."""
        return Window(self.start, self.cut)

    @property
    def items(self) -> list[str]:
        """The item ids of the retained events, oldest first."""
        texts = self.item_texts
        if b"\\" in texts:
            return [text_id(text) for text in texts.split(b"\n")]
        return texts.decode().split("\n") if texts else []

    @property
    def times(self) -> list[int]:
        """The event times of the retained events less ``base_ms``, oldest first."""
        count = len(self.behaviors)
        return list(accumulate(_ints.decode(_LIST + count.to_bytes(4, "big") + self.gaps)))

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


_encoder = msgspec.msgpack.Encoder()
_to_json = msgspec.json.Encoder().encode
_decoder = msgspec.msgpack.Decoder(UserState)
#: Writes the time between two events as the column ``gaps`` holds it.
pack_gap = _encoder.encode
_ints = msgspec.msgpack.Decoder(list[int])
#: The head of a msgpack list whose length follows in 4 bytes.
_LIST = b"\xdd"


def encode_state(state: UserState) -> bytes:
    """Return the record's bytes."""
    return _encoder.encode(state)


def decode_state(data: bytes) -> UserState:
    """Return the record; raises StateError for bytes that are none of ours."""
    try:
        state = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StateError(f"a user's record in the changelog cannot be read: {error}") from error
    if state.codec != CODEC:
        raise StateError(
            f"a user's record in the changelog has version {state.codec}, this freshet reads {CODEC}; "
            "run the freshet that wrote it, or a newer one"
        )
    return state


def new_state() -> UserState:
    """Return the record of a user never seen."""
    return UserState(offsets=[NEVER] * SOURCES)


def pack_rows(rows: npt.NDArray[np.int32]) -> list[bytes]:
    """Return lists of rows (B, n) that end in -1 as records hold them: the bytes of a number, the numbers."""
    width = np.dtype(np.uint16 if rows.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32)
    narrow = rows.astype(width)
    lengths = (rows > 0).sum(1).tolist()
    head = bytes((width.itemsize,))
    return [head + line[:length].tobytes() for line, length in zip(narrow, lengths, strict=True)]


def place_of(row: int, packed: bytes) -> int:
    """Return the place of a row in a list that `pack_rows` packed, 0 for the best; -1 where it has none."""
    if not packed or row >> 8 * packed[0]:
        return -1
    width = packed[0]
    number = row.to_bytes(width, "little")
    at = packed.find(number, 1)
    while at >= 0 and (at - 1) % width:
        at = packed.find(number, at + 1)
    return (at - 1) // width


def pack_gaps(gaps: Iterable[int]) -> bytes:
    """Return a column ``gaps``."""
    return b"".join(map(pack_gap, gaps))


def id_text(item_id: str) -> bytes:
    """Return an id as JSON writes it between the quotes: lists take it as it is, and no newline is in it."""
    return _to_json(item_id)[1:-1]


def text_id(text: bytes) -> str:
    """Return the id that ``id_text`` wrote."""
    return msgspec.json.decode(b'"%b"' % text, type=str)


@lru_cache(CATEGORIES_REMEMBERED)
def category_key(category_id: str | None) -> int:
    """Return the 32-bit key that stands for a category in a record; 0 for none.

    Two categories that share a key (about one pair among 100,000) are taken for one another
    for items the weights do not know, and only there.
    """
    return xxhash.xxh32_intdigest(category_id.encode()) or 1 if category_id else 0


def item_key(text: bytes) -> bytes:
    """Return the 4 bytes that stand for an item, by its ``id_text``, whose event was let go.

    Among a million items about a hundred pairs share them; one is then taken for the other as
    something the user had long ago, and only there.
    """
    return xxhash.xxh32_digest(text)


def remembered(past: bytes, texts: Iterable[bytes]) -> bytes:
    """Return ``past`` with the keys of more items behind it: none twice, the newest that a memory holds."""
    keys = [past[at : at + ITEM_KEY_BYTES] for at in range(0, len(past), ITEM_KEY_BYTES)]
    keys += map(item_key, texts)
    newest = list(dict.fromkeys(reversed(keys)))[:PLACES]
    return b"".join(reversed(newest))


def event_key(event_id: str | None) -> bytes:
    """Return the 6 bytes that stand for an ``event_id``; empty for none.

    Two ids of one segment share them about once in 280 million million, and the later event is then
    taken for a repeat of the earlier one.
    """
    return xxhash.xxh3_64_digest(event_id.encode())[:EVENT_KEY_BYTES] if event_id else b""


def holds(state: UserState, key: bytes) -> bool:
    """Whether an event with this ``event_key`` is among the retained events."""
    keys = state.event_keys
    at = keys.find(key)
    while at >= 0 and at % EVENT_KEY_BYTES:
        at = keys.find(key, at + 1)
    return at >= 0
