"""What a batch of events leads to: everything the shell has to send, store or count."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import NamedTuple, Protocol

from stream.errors import Rejected

#: Cut-offs of the live hit counters; those above the list size are not counted.
CUTOFFS = (1, 5, 10, 20)

#: Stands for the time of production where a list has no event behind it; no record has this one.
NO_EVENT = -(1 << 62)


class Record(Protocol):
    """What the core reads of a Kafka record; the client's own records are such."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def timestamp(self) -> int:
        """When it was produced, in milliseconds since the epoch."""

    @property
    def key(self) -> bytes | None:
        """The key as it came."""

    @property
    def value(self) -> bytes | None:
        """The value as it came."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """The headers as they came."""


class Refused(NamedTuple):
    """A record for the dead letters: its source (a behaviour, or ``FORGET``), and why."""

    source: int
    record: Record
    reason: Rejected


class Forward(NamedTuple):
    """A record without a key that belongs into another partition: its user's, with the user as key."""

    source: int
    partition: int
    key: bytes
    record: Record


@dataclass
class Quality:
    """Live (prequential) counts: events that met a list sent before, and how it did."""

    events: int = 0
    hits: Counter[int] = field(default_factory=Counter)
    #: The places, counted from 0, of those that the lists held.
    places: list[int] = field(default_factory=list)
    #: The row of each of these events' items, 0 where the weights do not know it.
    rows: list[int] = field(default_factory=list)

    def observe(self, row: int, place: int, *, list_size: int) -> None:
        """Count an event whose item stood at ``place`` of the list (0 is best; negative: nowhere)."""
        self.events += 1
        self.rows.append(row)
        if place < 0:
            return
        self.places.append(place)
        for cutoff in cutoffs(list_size):
            if place < cutoff:
                self.hits[cutoff] += 1

    @property
    def reciprocal_rank(self) -> float:
        """The sum over the events, the same to the last bit in whatever order they came."""
        return fsum(1 / (place + 1) for place in self.places)


def cutoffs(list_size: int) -> tuple[int, ...]:
    """Return the cut-offs that are counted for lists of a size, the size itself included."""
    return (*(cutoff for cutoff in CUTOFFS if cutoff < list_size), list_size)


@dataclass
class Effects:
    """The outcome of one batch of one partition."""

    #: User and list, or None where the list is erased, as the outbox sends them.
    lists: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    #: When the event behind each list was produced; ``NO_EVENT`` for an erasure.
    produced_ms: list[int] = field(default_factory=list)
    #: New bytes of each user's record that changed; None erases the user.
    states: dict[bytes, bytes | None] = field(default_factory=dict)
    dead_letters: list[Refused] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    #: Users whose list is held back, and the processing time at which it is due.
    held: dict[bytes, int] = field(default_factory=dict)
    #: Users who were erased, and when that was asked for.
    forgotten: dict[bytes, int] = field(default_factory=dict)
    outcomes: Counter[tuple[int, str]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    #: Applied events of each item, counted while there are no weights to know what is popular.
    items: Counter[str] = field(default_factory=Counter)
    rebuilds: Counter[str] = field(default_factory=Counter)
    quality: Quality = field(default_factory=Quality)

    def add_list(self, key: bytes, value: bytes | None, produced_ms: int = NO_EVENT) -> None:
        """Send a list, or None to erase it."""
        self.lists.append((key, value))
        self.produced_ms.append(produced_ms)

    def merge(self, later: "Effects") -> None:
        """Add the effects of records that follow in the same partition."""
        self.lists += later.lists
        self.produced_ms += later.produced_ms
        self.states.update(later.states)
        self.dead_letters += later.dead_letters
        self.forwards += later.forwards
        self.held.update(later.held)
        self.forgotten.update(later.forgotten)
        self.outcomes += later.outcomes
        self.kinds += later.kinds
        self.items += later.items
        self.rebuilds += later.rebuilds
        self.quality.events += later.quality.events
        self.quality.rows += later.quality.rows
        self.quality.hits += later.quality.hits
        self.quality.places += later.quality.places
