"""The pure core: a batch of one partition's events and the users' records → what follows from them.

``process`` is the whole way of an event between Kafka and Kafka: decode, apply, advance, rank,
encode. It reads records through a callable and returns ``Effects``; Kafka, the clock, threads
and metrics are the caller's. The same batch over the same records gives the same effects, so
a redelivered batch repeats its lists with the same identity.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from types import MappingProxyType
from typing import cast

from models.behavior import Behavior
from models.cleaning import observe
from stream.advance import Line, replay, run, step
from stream.bought import remember_bought
from stream.effects import Effects, Forward, Record, Refused
from stream.errors import Rejected
from stream.list_encoder import before
from stream.lists import Due, Lists
from stream.messages import Event, decode_event, decode_forget
from stream.own_items import OwnLists, newest_texts
from stream.placement import Entry, Placed, place
from stream.serving import Serving
from stream.state import (
    NEVER,
    UserState,
    category_key,
    decode_state,
    encode_state,
    event_key,
    holds,
    id_text,
    new_state,
)
from stream.visit import Visit

FORGET = len(Behavior)
APPLIED = "applied"
#: For so many records of a user in a batch holding the record open pays.
VISITED_FROM = 3
NOBODY: Mapping[bytes, int] = MappingProxyType({})
_STEP, _LATE = Placed.STEP, Placed.LATE
_PURCHASE = int(Behavior.PURCHASE)

Stage = Callable[[str], AbstractContextManager[object]]
Load = Callable[[bytes], bytes | None]
PartitionOf = Callable[[bytes], int]


def _untimed(name: str) -> AbstractContextManager[object]:
    return nullcontext()


class Batch:
    """One batch in the making, under the rules and weights of ``lists``; ``process`` runs it."""

    def __init__(
        self,
        load: Load,
        *,
        partition: int,
        lists: Lists,
        now_ms: int,
        forgotten: Mapping[bytes, int] = NOBODY,
    ) -> None:
        """Take what the batch is computed from: ``load`` gives a user's record, or None.

        ``partition`` is that of the records, in every source topic. ``forgotten`` says up to which event
        time erased users are left alone.
        """
        self.load = load
        self.forgotten = forgotten
        self.partition = partition
        self.serving = lists.serving
        self.lists = lists
        self.rules = lists.rules
        self.now_ms = now_ms
        self.effects = Effects()
        self.states: dict[bytes, UserState | None] = {}
        self.lines: dict[bytes, Line] = {}
        self.due: list[Due] = []
        #: The events of each source that were applied, and the lists written at once.
        self.applied = [0] * len(Behavior)
        self.recent = 0
        #: Whether nothing is left to do for a user once the events are taken.
        self._at_once = self.rules.recent and not self.rules.list_interval_ms and self.serving is None
        #: Where in ``due`` the one list of a user stands, under a list interval.
        self.sending: dict[bytes, int] = {}

    @cached_property
    def _own_lists(self) -> OwnLists:
        """What writes the lists of users' own last items; not asked for where a network ranks them."""
        return self.lists.own_lists(self.partition, self.now_ms)

    def state_of(self, key: bytes) -> UserState | None:
        """Return the user's record as the batch has it so far."""
        if key in self.states:
            return self.states[key]
        data = self.load(key)
        state = None if data is None else decode_state(data)
        if state is not None:
            self.states[key] = state
        return state

    def take(self, records: Iterable[tuple[int, Record]], partition_of: PartitionOf) -> None:
        """Apply records of the source topics to their users' states; a bad one becomes a dead letter.

        Each user's records are taken in their order, one user after the other: what a user's next event
        needs is then at hand.
        """
        by_user: defaultdict[bytes | None, list[tuple[int, Record]]] = defaultdict(list)
        for sourced in records:
            source, record = sourced
            key = record.key
            if key is None and source != FORGET:
                key = self._user_of(source, record, partition_of)
                if key is None:
                    continue
            by_user[key].append(sourced)
        for key, own in by_user.items():
            self._take_own(key, own)
            if self._at_once and key in self.states:
                # While it is at hand; the next user's record then takes its place in memory.
                self._encode(key, self.states.pop(key))

    def _take_own(self, key: bytes | None, own: Sequence[tuple[int, Record]]) -> None:
        """Apply the records of one user."""
        visits = opens = self._at_once and len(own) >= VISITED_FROM
        visit: Visit | None = None
        user = cast(bytes, key)  # an event has a key by now
        for source, record in own:
            try:
                if source == FORGET:
                    visit = None  # what it took is erased as well
                    self._forget(decode_forget(key).encode(), record.timestamp)
                    continue
                event = self._decoded(key, record)
            except Rejected as rejected:
                self._refuse(source, record, rejected)
                continue
            if opens:
                visit, opens = self._visit(user, event.user_id), False
            if visit is not None:
                message = visit.add(event, source, record.offset)
                if message is not None:
                    self.effects.add_list(user, message, record.timestamp)
                    self.recent += 1
                    self.applied[source] += 1
                    continue
                visit.close()
                visit = None
            outcome = self._apply(user, event, source, record)
            if outcome is APPLIED:
                self.applied[source] += 1
                opens = visits
            else:
                self.effects.outcomes[source, outcome] += 1
        if visit is not None:
            visit.close()

    def _visit(self, key: bytes, user_id: str) -> Visit | None:
        """Open the user's record for plain events; None where the next event is not one for sure."""
        if (self.forgotten or self.effects.forgotten) and self._erased_ms(key) != NEVER:
            return None
        state = self.state_of(key)
        if state is None or not state.behaviors or state.bought or state.hidden or state.weights:
            return None
        return Visit(user_id, state, rules=self.rules, partition=self.partition, lists=self._own_lists)

    def _user_of(self, source: int, record: Record, partition_of: PartitionOf) -> bytes | None:
        """Return the user of an event without a key; None where it is refused, or belongs elsewhere."""
        try:
            key = self._decoded(None, record).user_id.encode()
        except Rejected as rejected:
            self._refuse(source, record, rejected)
            return None
        partition = partition_of(key)
        if partition == self.partition:
            return key
        # It comes back where its user's other events are, with the key filled in.
        self.effects.forwards.append(Forward(source, partition, key, record))
        return None

    def _decoded(self, key: bytes | None, record: Record) -> Event:
        """Read an event of the user ``key``, where that is known; raises Rejected."""
        return decode_event(key, record.value, now_ms=self.now_ms, max_future_ms=self.rules.max_future_ms)

    def _refuse(self, source: int, record: Record, rejected: Rejected) -> None:
        """Make a dead letter of a record."""
        self.effects.dead_letters.append(Refused(source, record, rejected))
        if source != FORGET:
            self.effects.outcomes[source, "invalid"] += 1

    def _erased_ms(self, key: bytes) -> int:
        """Return up to which event time the user was erased."""
        return max(self.forgotten.get(key, NEVER), self.effects.forgotten.get(key, NEVER))

    def _forget(self, key: bytes, at_ms: int) -> None:
        """Erase the user: record, hidden state and served list; earlier events that come later are late.

        A request stands in every partition, since producers differ in where they put a key;
        where the user is not known there is nothing to erase.
        """
        self.effects.forgotten[key] = min(at_ms, self.now_ms)
        # A record that cannot be read is erased like any other.
        if (self.states[key] if key in self.states else self.load(key)) is None:
            return
        self.states[key] = None
        self.lines.pop(key, None)
        for due in self.due:
            if due.key == key:
                due.send, due.row = False, None
        self.sending.pop(key, None)
        self.effects.held.pop(key, None)
        # Lists are made when the batch is done, so this comes before those of the events after it.
        self.effects.add_list(key, None)

    def _apply(self, key: bytes, event: Event, source: int, record: Record) -> str:
        """Apply a valid event; returns its outcome for the counter."""
        if (self.forgotten or self.effects.forgotten) and event.timestamp <= self._erased_ms(key):
            return "late"
        state = self.states.get(key)
        if state is None:
            state = self.states[key] = self.state_of(key) or new_state()
        offset, time_ms = record.offset, event.timestamp
        if offset <= state.offsets[source]:
            return "duplicate"
        state.offsets[source] = offset
        rules = self.rules
        identity = event_key(event.event_id)
        if identity and holds(state, identity):
            return "duplicate"
        state.activity, suspicious = observe(state.activity, source, time_ms, rules.cleaning)
        if suspicious:
            return "suspicious"
        item_id, category = event.item_id, category_key(event.category_id)
        entry = Entry(item_id, id_text(item_id), category, source, time_ms, identity)
        newest_ms = state.base_ms + state.newest
        placed = place(state, entry, rule=rules.segment)
        if placed is _LATE:
            return "late"
        if rules.exclude_bought_ms and (state.bought or source == _PURCHASE):
            remember_bought(state, event, source, rules.exclude_bought_ms)
        if self.serving is not None:
            line = self._line(key, event.user_id, state, self.serving)
            self._schedule(line, state, entry, placed=placed, newest_ms=newest_ms)
        else:
            self._go_without_weights(state, event)
        ref = source, self.partition, offset, time_ms
        if rules.recent and not rules.list_interval_ms:
            # Nothing has to be ranked, so the list is written at once.
            self._write_own(key, state, event, ref, record.timestamp)
        else:
            self._owe(key, state, event, ref, record.timestamp)
        return APPLIED

    def _go_without_weights(self, state: UserState, event: Event) -> None:
        """Note that the hidden state lacks an event: whatever weights come next have to replay."""
        if state.hidden or state.weights:
            state.hidden, state.weights = b"", 0
        if not self.rules.recent:
            self.effects.items[event.item_id] += 1

    def _line(self, key: bytes, user_id: str, state: UserState, champion: Serving) -> Line:
        """Return the user's line, under the weights that serve the user."""
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line(state.hidden, self.lists.serving_of(user_id, champion))
        return line

    def _schedule(
        self, line: Line, state: UserState, entry: Entry, *, placed: Placed, newest_ms: int
    ) -> None:
        """Note what the network has to do for an applied event; ``newest_ms`` is the event time before it."""
        serving = line.serving
        if len(state.behaviors) == 1:
            line.hidden = bytes(serving.state_bytes)
            line.operations.append(step(entry, 0, serving))
        elif placed is _STEP and state.weights == serving.key:
            line.operations.append(step(entry, entry.time_ms - newest_ms, serving))
        else:
            cause = "segment" if state.weights == serving.key else "weights"
            self.effects.rebuilds[cause] += 1
            line.operations.append(replay(state, serving))
        if state.weights != serving.key:
            # The rows of the list last sent are those of the weights that made it.
            state.listed = b""
            state.weights = serving.key

    def _write_own(
        self, key: bytes, state: UserState, event: Event, ref: tuple[int, int, int, int], produced_ms: int
    ) -> None:
        """Write the list of the user's own last items."""
        source, _, offset, time_ms = ref
        texts = newest_texts(state, self.rules.list_size)
        message = self._own_lists.write(before(event.user_id), texts, source, offset, time_ms)
        state.listed_for = ref
        self.effects.add_list(key, message, produced_ms)
        self.recent += 1

    def _owe(
        self, key: bytes, state: UserState, event: Event, ref: tuple[int, int, int, int], produced_ms: int
    ) -> None:
        """Note the list an applied event is due, or hold it back."""
        send = not self.rules.list_interval_ms or self._is_time(key, state, ref, produced_ms)
        self.due.append(
            self.lists.due(
                key,
                event.user_id,
                state,
                item_id=event.item_id,
                ref=ref,
                produced_ms=produced_ms,
                line=self.lines.get(key),
                send=send,
            )
        )

    def _is_time(
        self, key: bytes, state: UserState, ref: tuple[int, int, int, int], produced_ms: int
    ) -> bool:
        """Whether the user may get a list now; if not, the event's is held back."""
        due_ms = state.listed_ms + self.rules.list_interval_ms
        if self.now_ms < due_ms:
            state.held, state.held_produced_ms = ref, produced_ms
            self.effects.held[key] = due_ms
            return False
        state.held = None
        earlier = self.sending.get(key)
        if earlier is not None:
            self.due[earlier].send = False
        self.sending[key] = len(self.due)
        return True

    def let_go(self, key: bytes) -> None:
        """Owe the user the list that was held back."""
        state = self.state_of(key)
        if state is None or state.held is None:
            return
        self._owe_again(key, state, state.held, produced_ms=state.held_produced_ms)
        state.held = None

    def _owe_again(
        self, key: bytes, state: UserState, ref: tuple[int, int, int, int], *, produced_ms: int = 0
    ) -> None:
        """Owe the list of an event that was applied before."""
        line = None
        user_id = key.decode()
        if self.serving is not None:
            serving = self.lists.serving_of(user_id, self.serving)
            line = self.lines[key] = Line(state.hidden, serving)
            line.operations.append(replay(state, serving))
            state.weights = serving.key
        self.due.append(
            self.lists.due(key, user_id, state, item_id=None, ref=ref, produced_ms=produced_ms, line=line)
        )

    def show(self, key: bytes) -> bytes | None:
        """Return the user's list as it stands, for whoever asks; None where none was sent."""
        state = self.state_of(key)
        if state is None or state.listed_for is None:
            return None
        self._owe_again(key, state, state.listed_for)
        self.advance()
        self.rank()
        return self.effects.lists[0][1] if self.effects.lists else None

    def advance(self) -> None:
        """Bring the hidden states up to date, all users of the same weights together."""
        if self.serving is None or not self.lines:
            return
        for serving, lines in self.lists.by_weights(list(self.lines.values()), lambda line: line.serving):
            run(lines, serving)
        for key, line in self.lines.items():
            state = self.states[key]
            if state is not None:
                state.hidden = line.hidden

    def rank(self) -> None:
        """Make the lists that are owed."""
        self.lists.make(self.due, self.states, self.effects, now_ms=self.now_ms)

    def encode(self) -> Effects:
        """Write the records that changed; the batch is done."""
        for key, state in self.states.items():
            self._encode(key, state)
        for source, count in enumerate(self.applied):
            if count:
                self.effects.outcomes[source, APPLIED] = count
        if self.recent:
            self.effects.kinds["personalized"] += self.recent
        return self.effects

    def _encode(self, key: bytes, state: UserState | None) -> None:
        self.effects.states[key] = None if state is None else encode_state(state)


def process(
    batch: Batch, records: Iterable[tuple[int, Record]], *, partition_of: PartitionOf, stage: Stage = _untimed
) -> Effects:
    """Return the effects of one partition's records, in their order, each with its source.

    ``partition_of`` gives the partition of a key; ``stage`` is entered around each part of the
    work with its name, for whoever measures.
    """
    with stage("apply"):
        batch.take(records, partition_of)
    return _finished(batch, stage)


def release(batch: Batch, keys: Iterable[bytes], *, stage: Stage = _untimed) -> Effects:
    """Return the lists that were held back for these users and are due now."""
    with stage("apply"):
        for key in keys:
            batch.let_go(key)
    return _finished(batch, stage)


def _finished(batch: Batch, stage: Stage) -> Effects:
    with stage("advance"):
        batch.advance()
    with stage("rank"):
        batch.rank()
    with stage("encode"):
        return batch.encode()
