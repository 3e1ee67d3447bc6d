"""A user's record held open while a batch takes the user's plain events, where lists are the own last items.

Nearly every event of a batch is plain: it lengthens its user's segment and does nothing else. What a
run of such events adds to the columns of the record is gathered and written once. Any other event
is left to ``stream.step``, whose way for all events does the same to a plain one.
"""

from array import array

from models.behavior import Behavior
from models.cleaning import observe
from stream.messages import Event
from stream.own_items import OwnItems, OwnLists
from stream.rules import Rules
from stream.state import UserState, category_key, event_key, id_text, pack_gaps

_PURCHASE = int(Behavior.PURCHASE)


class Visit:
    """The plain events of one user, one after the other; the record holds them after ``close``."""

    __slots__ = (
        "_activity",
        "_behaviors",
        "_categories",
        "_cleaning",
        "_event_keys",
        "_gaps",
        "_last_behavior",
        "_lists",
        "_newest_ms",
        "_offsets",
        "_own",
        "_partition",
        "_ref",
        "_room",
        "_state",
        "_texts",
        "_to_keep",
        "_until_ms",
    )

    def __init__(
        self, user_id: str, state: UserState, *, rules: Rules, partition: int, lists: OwnLists
    ) -> None:
        """Open the record of a user, who has retained events."""
        self._state = state
        self._lists = lists
        self._partition = partition
        self._cleaning = rules.cleaning
        #: The behaviour of an event that the record has to keep for longer than the segment, if any.
        self._to_keep = _PURCHASE if rules.exclude_bought_ms else None
        segment = rules.segment
        self._room = segment.max_events - (len(state.behaviors) - state.start)
        self._until_ms = state.base_ms + state.begun + segment.longest_ms
        self._newest_ms = state.base_ms + state.newest
        self._last_behavior = state.behaviors[-1]
        self._offsets = state.offsets
        self._activity = state.activity
        self._event_keys = state.event_keys
        self._own = OwnItems(user_id, state, rules.list_size)
        self._texts = [state.item_texts]
        self._gaps: list[int] = []
        self._behaviors = bytearray()
        self._categories = array("I")
        self._ref: tuple[int, int, int, int] | None = None

    def add(self, event: Event, source: int, offset: int) -> bytes | None:
        """Take an event and return its list; where the event is not plain None, and nothing is changed."""
        time_ms, newest_ms, keys = event.timestamp, self._newest_ms, self._event_keys
        identity = event_key(event.event_id)
        if (
            offset <= self._offsets[source]
            or not newest_ms <= time_ms <= self._until_ms
            or not self._room
            or (time_ms == newest_ms and source < self._last_behavior)
            or source == self._to_keep
            # Either all retained events have keys or none has, and this one's may stand there already.
            or (keys.find(identity) >= 0 or not keys if identity else keys)
        ):
            return None
        activity, suspicious = observe(self._activity, source, time_ms, self._cleaning)
        if suspicious:
            return None
        text = id_text(event.item_id)
        self._texts.append(text)
        self._gaps.append(time_ms - newest_ms)
        self._behaviors.append(source)
        self._categories.append(category_key(event.category_id))
        self._event_keys = keys + identity
        self._activity = activity
        self._newest_ms = time_ms
        self._last_behavior = source
        self._offsets[source] = offset
        self._room -= 1
        self._ref = source, self._partition, offset, time_ms
        own = self._own
        own.add(text)
        return self._lists.write(own.before, own.texts, source, offset, time_ms)

    def close(self) -> None:
        """Write what was taken into the record."""
        if self._ref is None:
            return
        state = self._state
        state.item_texts = b"\n".join(self._texts)
        state.gaps += pack_gaps(self._gaps)
        state.behaviors += self._behaviors
        state.categories += self._categories.tobytes()
        state.event_keys = self._event_keys
        state.newest = self._newest_ms - state.base_ms
        state.activity = self._activity
        state.listed_for = self._ref
