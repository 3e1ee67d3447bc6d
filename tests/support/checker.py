"""Counts a run's losses from what stands in its topics, beside an undisturbed replay of the same events.

It shares the pure core with the worker and nothing else: reading, order, storing and counting are its
own. ``check`` takes the topics as plain values, so hand-made ones can be checked too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np

from models.recommender import Recommender
from stream.lists import Lists
from stream.messages import RecommendationList, decode_list
from stream.rules import Rules
from stream.serving import Serving
from stream.state import UserState, decode_state
from stream.step import Batch, process
from tests.support.offline import same_items

TOGETHER = 500
HIDDEN_TOLERANCE = 1e-4
#: Fields that follow from the weights in force when an event came, and the list that was sent.
BY_WEIGHTS = frozenset({"hidden", "weights", "listed"})

#: Topic, partition, offset.
Place = tuple[str, int, int]


class Came(NamedTuple):
    """A record as it stands in a topic; a source record is what the core reads."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.topic, self.partition, self.offset


@dataclass
class Topics:
    """What was read of each topic, every partition in the order of its offsets.

    ``sources`` are the names of the source topics in the core's order; ``committed`` is the group's
    offset of each source partition.
    """

    sources: Sequence[str]
    events: list[Came] = field(default_factory=list)
    lists: list[Came] = field(default_factory=list)
    changelog: list[Came] = field(default_factory=list)
    dead_letters: list[Came] = field(default_factory=list)
    committed: dict[tuple[str, int], int] = field(default_factory=dict)


@dataclass
class Report:
    """The counts. All but the first four must be zero."""

    events_in: int = 0
    applied_once: int = 0
    refused: int = 0
    lists_repeated: int = 0
    lost: int = 0
    applied_twice: int = 0
    lists_missing: int = 0
    lists_contradicting: int = 0
    lists_unexpected: int = 0
    lists_overwritten: int = 0
    states_differing: int = 0
    dead_letters_missing: int = 0
    offsets_ahead: int = 0

    @property
    def faults(self) -> int:
        """How much is wrong in all."""
        return sum(getattr(self, one.name) for one in fields(self)[4:])

    def __str__(self) -> str:
        """Return the counts in one line."""
        return ", ".join(f"{one.name.replace('_', ' ')} {getattr(self, one.name)}" for one in fields(self))


class _Replay:
    """What the events lead to when nothing happens, under one version of the weights."""

    def __init__(self, topics: Topics, recommender: Recommender, rules: Rules, now_ms: int) -> None:
        self.serving = Serving(recommender)
        self.states: dict[bytes, bytes] = {}
        #: As bytes: a million lists as objects would take gigabytes.
        self.lists: dict[tuple[bytes, Place], bytes] = {}
        self.newest: dict[bytes, Place] = {}
        self.refused: dict[Place, Came] = {}
        self.applied = 0
        lists = Lists(rules, self.serving, topics.sources)
        for number, records in _in_order(topics).items():
            for begin in range(0, len(records), TOGETHER):
                batch = Batch(self.states.get, partition=number, lists=lists, now_ms=now_ms)
                self._note(topics, process(batch, records[begin : begin + TOGETHER], partition_of=_none))

    def _note(self, topics: Topics, effects) -> None:
        for key, value in effects.states.items():
            if value is None:
                self.states.pop(key, None)
            else:
                self.states[key] = value
        for key, value in effects.lists:
            if value is not None:
                place = _place_of(decode_list(value))
                self.lists[key, place] = value
                self.newest[key] = place
        for refused in effects.dead_letters:
            self.refused[refused.record.place] = refused.record
        self.applied += sum(n for (_, outcome), n in effects.outcomes.items() if outcome == "applied")


def _none(key: bytes) -> int:
    raise ValueError(f"{key!r} came without a key: records that are sent on are not checked")


def _in_order(topics: Topics) -> dict[int, list[tuple[int, Came]]]:
    """Return the source records of each partition number in the order of their production.

    The times of a number's records must differ, since nothing else says what was first.
    """
    source_of = {topic: source for source, topic in enumerate(topics.sources)}
    numbered: dict[int, list[tuple[int, Came]]] = defaultdict(list)
    for came in topics.events:
        numbered[came.partition].append((source_of[came.topic], came))
    for number, records in numbered.items():
        records.sort(key=lambda sourced: sourced[1].timestamp)
        if len({came.timestamp for _, came in records}) != len(records):
            raise ValueError(f"partition {number}: two records were produced in one millisecond")
    return numbered


def check(topics: Topics, recommenders: Iterable[Recommender], rules: Rules, *, now_ms: int) -> Report:
    """Compare the topics with a replay under each version of the weights that was announced."""
    replays = {one.version: _Replay(topics, one, rules, now_ms) for one in recommenders}
    replay = next(iter(replays.values()))
    report = Report(events_in=len(topics.events), refused=len(replay.refused))
    missing = _check_lists(topics, replays, report)
    _check_states(topics, replays, report)
    missing |= _check_dead_letters(topics, replay.refused, report)
    ends = Counter()
    for came in topics.events:
        ends[came.topic, came.partition] = max(ends[came.topic, came.partition], came.offset + 1)
    for place, offset in topics.committed.items():
        report.offsets_ahead += max(0, offset - ends[place])
    report.offsets_ahead += sum(offset < topics.committed.get((topic, p), 0) for topic, p, offset in missing)
    report.applied_once = replay.applied - report.lost
    return report


def _check_lists(topics: Topics, replays: Mapping[str, _Replay], report: Report) -> set[Place]:
    """Compare lists by identity; returns the events whose list is missing."""
    replay = next(iter(replays.values()))
    found: Counter[tuple[bytes, Place]] = Counter()
    last: dict[bytes, Place] = {}
    for came in topics.lists:
        if came.value is None or came.key is None:
            continue
        said = decode_list(came.value)
        place = _place_of(said)
        found[came.key, place] += 1
        last[came.key] = place
        under = replays.get(said.model_version)
        expected = under.lists.get((came.key, place)) if under is not None else None
        if expected is None:
            report.lists_unexpected += 1
        elif not _agree(said, decode_list(expected)):
            report.lists_contradicting += 1
    missing = replay.lists.keys() - found.keys()
    report.lists_missing = len(missing)
    report.lists_repeated = found.total() - len(found)
    report.lists_overwritten = sum(
        place != last.get(key) for key, place in replay.newest.items() if (key, place) in found
    )
    return {place for _, place in missing}


def _place_of(said: RecommendationList) -> Place:
    return said.event.topic, said.event.partition, said.event.offset


def _agree(said: RecommendationList, expected: RecommendationList) -> bool:
    return said.kind == expected.kind and same_items(said.items, expected.items)


def _check_states(topics: Topics, replays: Mapping[str, _Replay], report: Report) -> None:
    """Compare what recovery would restore with what the events lead to."""
    replay = next(iter(replays.values()))
    restored: dict[bytes, bytes] = {}
    for came in topics.changelog:
        assert came.key is not None
        if came.value is None:
            restored.pop(came.key, None)
        else:
            restored[came.key] = came.value
    by_key = {one.serving.key: one for one in replays.values()}
    for key in replay.states.keys() | restored.keys():
        expected = decode_state(replay.states[key]) if key in replay.states else None
        state = decode_state(restored[key]) if key in restored else None
        had, has = _retained(expected), _retained(state)
        report.lost += (had - has).total()
        report.applied_twice += (has - had).total()
        if (
            expected is None
            or state is None
            or _differ(state, expected)
            or state.weights not in by_key
            or _hidden_differs(state, decode_state(by_key[state.weights].states[key]))
        ):
            report.states_differing += 1


def _retained(state: UserState | None) -> Counter[tuple[str, int]]:
    if state is None:
        return Counter()
    return Counter(zip(state.items, (state.base_ms + time for time in state.times), strict=True))


def _differ(state: UserState, expected: UserState) -> bool:
    compared = (name for name in UserState.__struct_fields__ if name not in BY_WEIGHTS)
    return any(getattr(state, name) != getattr(expected, name) for name in compared)


def _hidden_differs(state: UserState, expected: UserState) -> bool:
    ours, theirs = (np.frombuffer(one.hidden, np.float32) for one in (state, expected))
    return ours.shape != theirs.shape or bool(np.abs(ours - theirs).max(initial=0) > HIDDEN_TOLERANCE)


def _check_dead_letters(topics: Topics, refused: Mapping[Place, Came], report: Report) -> set[Place]:
    """Each refused record stands among the dead letters byte for byte; returns those that do not."""
    found = set()
    for letter in topics.dead_letters:
        said = dict(letter.headers)
        place = (
            said["source-topic"].decode(),
            int(said["source-partition"]),
            int(said["source-offset"]),
        )
        came = refused.get(place)
        if came is not None and (came.key, came.value) == (letter.key, letter.value):
            found.add(place)
    missing = refused.keys() - found
    report.dead_letters_missing = len(missing)
    return set(missing)
