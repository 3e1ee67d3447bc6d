"""Where the effects of a batch go: lists, records sent on, dead letters, and the counters."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.behavior import Behavior
from models.vocabulary import UNKNOWN_ROW
from stream.clock import now_ms
from stream.effects import NO_EVENT, Effects
from stream.effects import Record as SourceRecord
from stream.errors import Rejected
from stream.messages import dead_letter_headers
from stream.outbox import Outbox, Record, record
from stream.settings import Topics
from stream.telemetry import Telemetry

#: A record can be as large as the broker takes (1,048,588 bytes by default), and the reason makes
#: it larger. A larger letter goes without key and value, and its headers say where they stand:
#: the broker must not refuse one, since an idempotent producer cannot go on after that.
LETTER_MOST_BYTES = 1_000_000

BEHAVIORS = tuple(behavior.name.lower() for behavior in Behavior)


class Watcher(Protocol):
    """Whoever looks on in the same process; must return at once."""

    def processed(self, effects: Effects) -> None:
        """See what a batch led to, before it is sent."""

    def acknowledged(self, latencies_s: npt.NDArray[np.float64]) -> None:
        """See how long after its event's production each list was acknowledged."""


class Dispatch:
    """Sends what is not state, and counts. ``sources`` are the names of the source topics."""

    def __init__(
        self, outbox: Outbox, *, topics: Topics, sources: Sequence[str], telemetry: Telemetry
    ) -> None:
        """Take where to send and what to count in."""
        self.outbox = outbox
        self.watchers: list[Watcher] = []
        #: That topic may have fewer partitions than the sources.
        self.dead_letter_partitions = 1
        self._topics = topics
        self._sources = sources
        self._telemetry = telemetry

    async def send(self, number: int, effects: Effects, outbox: Outbox | None = None) -> None:
        """Return when the lists, forwards and dead letters of partition ``number`` are acknowledged.

        Those of a transaction go through its own ``outbox``, and are measured when it is committed.
        """
        box = outbox or self.outbox
        await box.send_pairs(self._topics.recommendations, number, effects.lists, now_ms())
        if outbox is None:
            self.measure(effects)
        for (source, partition), forwarded in _by_place(effects).items():
            await box.send(self._sources[source], partition, forwarded)
        letters = [self._dead_letter(number, *refused) for refused in effects.dead_letters]
        await box.send(self._topics.dead_letter, number % self.dead_letter_partitions, letters)

    def _dead_letter(self, number: int, source: int, came: SourceRecord, reason: Rejected) -> Record:
        """Return the record as it came with the reason in its headers; if too large, the reason alone."""
        headers = dead_letter_headers(
            reason, topic=self._sources[source], partition=number, offset=came.offset
        )
        letter = record(came.key, came.value, [*came.headers, *headers])
        return letter if _size(letter) <= LETTER_MOST_BYTES else record(None, None, headers)

    def measure(self, effects: Effects) -> None:
        """Observe the time from each event's production to this moment, its list being acknowledged."""
        acknowledged_ms = now_ms()
        produced_ms = np.array(effects.produced_ms, np.float64)
        produced_ms = produced_ms[produced_ms != NO_EVENT]
        if not len(produced_ms):
            return
        latencies_s = (acknowledged_ms - produced_ms) / 1000
        self._telemetry.event_to_recommendation_seconds.observe_many(latencies_s)
        for watcher in self.watchers:
            watcher.acknowledged(latencies_s)

    def count(self, effects: Effects) -> None:
        """Move the counters by what a batch did."""
        telemetry = self._telemetry
        for (source, outcome), count in effects.outcomes.items():
            telemetry.events.labels(BEHAVIORS[source], outcome).inc(count)
        for kind, count in effects.kinds.items():
            telemetry.recommendations.labels(kind).inc(count)
        for cause, count in effects.rebuilds.items():
            telemetry.state_rebuilds.labels(cause).inc(count)
        for refused in effects.dead_letters:
            telemetry.dead_letters.labels(refused.reason.error).inc()
        quality = effects.quality
        if quality.events:
            telemetry.prequential_events.inc(quality.events)
            telemetry.prequential_reciprocal_rank.inc(quality.reciprocal_rank)
            telemetry.prequential_unknown.inc(quality.rows.count(UNKNOWN_ROW))
            for cutoff, hits in quality.hits.items():
                telemetry.prequential_hits.labels(str(cutoff)).inc(hits)
        for watcher in self.watchers:
            watcher.processed(effects)


def _size(letter: Record) -> int:
    """Return the bytes of a record, its headers included, but for Kafka's own few."""
    key, value, headers, _ = letter
    return len(key or b"") + len(value or b"") + sum(len(name) + len(content) for name, content in headers)


def _by_place(effects: Effects) -> dict[tuple[int, int], list[Record]]:
    """Group the records that came without a key by the source and partition they are sent on to."""
    grouped: dict[tuple[int, int], list[Record]] = defaultdict(list)
    for source, partition, key, came in effects.forwards:
        grouped[source, partition].append(record(key, came.value, came.headers, came.timestamp))
    return grouped
