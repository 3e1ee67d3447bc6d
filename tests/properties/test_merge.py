"""Merging topics keeps Kafka Streams' rule, however fetches and takes fall."""

from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.merge import Merger, Sourced


class Stored(NamedTuple):
    """A record of a topic; ``merged_ms`` is the time it is merged by: never back within its topic."""

    timestamp: int
    offset: int
    merged_ms: int


@dataclass
class Topics:
    """Topics with records, and how far each has been fetched."""

    records: list[list[Stored]]
    fetched: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fetched = [0] * len(self.records)

    def fetch(self, source: int, count: int) -> list[Stored]:
        """The next records of a topic."""
        begin = self.fetched[source]
        self.fetched[source] = min(begin + count, len(self.records[source]))
        return self.records[source][begin : self.fetched[source]]

    def read_to_end(self, source: int) -> bool:
        """Whether nothing of a topic is left to fetch."""
        return self.fetched[source] == len(self.records[source])


def topic(times: list[int]) -> list[Stored]:
    """A topic of records produced at these times."""
    return [Stored(time, offset, max(times[: offset + 1])) for offset, time in enumerate(times)]


TOPICS = st.lists(st.lists(st.integers(0, 30), max_size=15).map(topic), min_size=1, max_size=5)
#: Fetches of so many records of a topic, and takes of at most so many.
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("fetch"), st.integers(0, 4), st.integers(1, 6)),
        st.tuples(st.just("take"), st.just(0), st.integers(1, 9)),
    ),
    max_size=40,
)


def moved(topics: Topics, merger: Merger, moves: list[tuple[str, int, int]]) -> list[Sourced]:
    """Run the moves, then read all to the end; what was handed on, each take checked as it comes."""
    handed: list[Sourced] = []
    for move, source, count in [*moves, *(("fetch", source, 99) for source in range(len(topics.records)))]:
        if move == "fetch":
            if source < len(topics.records):
                merger.add(source, topics.fetch(source, count))
            continue
        taken = merger.take(topics.read_to_end, limit=count)
        # Past the limit only what was produced in the same millisecond as the last within it.
        assert len({record.merged_ms for _, record in taken[max(0, count - 1) :]}) <= 1
        for _, record in taken:
            for other, fetched in enumerate(topics.fetched):
                still = topics.records[other][fetched:]
                assert all(record.merged_ms <= later.merged_ms for later in still)
        handed += taken
    while taken := merger.take(topics.read_to_end, limit=7):
        handed += taken
    return handed


@settings(max_examples=300)
@given(TOPICS, MOVES)
def test_whatever_the_fetches_the_order_is_kept_and_nothing_is_lost(
    records: list[list[Stored]], moves: list[tuple[str, int, int]]
) -> None:
    """Each topic's offsets stay in order, times never go back, nothing comes before its time."""
    topics = Topics(records)
    handed = moved(topics, Merger(len(records)), moves)
    for source, stored in enumerate(records):
        assert [record for one, record in handed if one == source] == stored
    merged = [record.merged_ms for _, record in handed]
    assert merged == sorted(merged)


@given(TOPICS, st.integers(1, 9))
def test_what_was_read_to_the_end_has_one_order_whatever_the_limit(
    records: list[list[Stored]], limit: int
) -> None:
    """Taking a few at a time gives the order of time, then topic, then offset."""
    merger = Merger(len(records))
    for source, stored in enumerate(records):
        merger.add(source, stored)
    handed: list[Sourced] = []
    while taken := merger.take(lambda source: True, limit=limit):
        handed += taken
    expected = sorted(
        ((source, record) for source, stored in enumerate(records) for record in stored),
        key=lambda one: (one[1].merged_ms, one[0], one[1].offset),
    )
    assert handed == expected


@given(TOPICS, MOVES)
def test_something_is_handed_on_whenever_every_topic_waits(
    records: list[list[Stored]], moves: list[tuple[str, int, int]]
) -> None:
    """A backlog never stalls: with a record of each topic at hand the earliest one is safe."""
    topics, merger = Topics(records), Merger(len(records))
    for move, source, count in moves:
        if move == "fetch" and source < len(records):
            merger.add(source, topics.fetch(source, count))
        elif move == "take":
            ready = all(merger.waiting(one) for one in range(len(records)))
            assert bool(merger.take(topics.read_to_end, limit=count)) or not ready
