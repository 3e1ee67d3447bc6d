"""The agent: takes batches, lets the pure core work, stores, sends, counts."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from logging import getLogger
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from aiokafka.partitioner import murmur2

from models.behavior import Behavior
from models.recommender import Recommender
from stream.app import StreamApp
from stream.effects import Effects, Outgoing, Refused
from stream.errors import Rejected
from stream.lists import Lists
from stream.messages import dead_letter_headers
from stream.outbox import Outbox, Record
from stream.pipeline import Pipeline
from stream.rules import Rules
from stream.serving import Serving
from stream.state import decode_state
from stream.step import FORGET, Batch, process, release
from stream.telemetry import Telemetry
from stream.transport import SourceBatch

log = getLogger(__name__)

#: A batch should take about this long, so that the loop goes on ticking.
BATCH_TARGET_S = 0.25
SMALLEST_LIMIT = 64
IN_FLIGHT = 8
POPULAR_KEPT = 100_000
#: A record can be as large as the broker takes (1,048,588 bytes by default), and the reason makes
#: it larger. A larger letter goes without key and value, and its headers say where they stand:
#: the broker must not refuse one, since an idempotent producer cannot go on after that.
LETTER_MOST_BYTES = 1_000_000

BEHAVIORS = tuple(behavior.name.lower() for behavior in Behavior)


def _size(record: Record) -> int:
    """Return the bytes of a record, its headers included, but for Kafka's own few."""
    headers = sum(len(name) + len(content) for name, content in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def now_ms() -> int:
    """Return the processing time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Watcher(Protocol):
    """Whoever looks on in the same process; must return at once."""

    def processed(self, effects: Effects) -> None:
        """See what a batch led to, before it is sent."""

    def acknowledged(self, latencies_s: npt.NDArray[np.float64]) -> None:
        """See how long after its event's production each list was acknowledged."""


class Recommending:
    """The recommending agent's shell over one app; ``serving`` is replaced when weights change."""

    def __init__(self, app: StreamApp, *, rules: Rules, telemetry: Telemetry) -> None:
        """Prepare; nothing is read before the app starts."""
        self.app = app
        self.rules = rules
        self.telemetry = telemetry
        self.topics = app.settings.topics
        self.partitions = app.settings.partitions
        self.outbox = Outbox(lambda: app.batch_producer.client)
        self.pipeline = Pipeline(limit=IN_FLIGHT, failed=app.crash)
        self.serving: Serving | None = None
        self._lists = Lists(rules, None, app.sources)
        self.withdrawn: set[str] = set()
        self.held: dict[bytes, tuple[int, int]] = {}
        self.watchers: list[Watcher] = []
        #: Held from the first change of a record to the start of its delivery.
        self._changing = asyncio.Lock()
        self._counted: Counter[str] = Counter()

    def partition_of(self, key: bytes) -> int:
        """Return the partition Kafka's clients give a key."""
        return int(murmur2(key) & 0x7FFFFFFF) % self.partitions

    async def run(self, stream: Any) -> None:
        """Take batches until the app stops; whatever goes wrong stops the app, never the loop alone."""
        async for event in stream.noack().events():
            batch: SourceBatch = event.message.value
            try:
                async with self._changing:
                    # What is not current is not acknowledged either: it is read again after the rebalance.
                    if self._current(batch):
                        await self._handle(event, batch)
            except Exception as error:
                log.exception("a batch could not be processed; the worker stops")
                await self.app.crash(error)
                return

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is under way and no batch is being processed; False where that fails.

        The caller has stopped the flow, so no other batch is taken after this one.
        """
        try:
            async with asyncio.timeout(timeout_s):
                async with self._changing:
                    return await self.pipeline.drain(timeout_s)
        except TimeoutError:
            return False

    def _current(self, batch: SourceBatch) -> bool:
        """Whether the batch belongs to the assignment in force."""
        app = self.app
        return (
            batch.generation == app.consumer_generation_id
            and not app.rebalancing
            and app.batch_consumer.flow_active
            and not self.pipeline.broken
        )

    async def _handle(self, event: Any, batch: SourceBatch) -> None:
        """Process a batch and start its delivery."""
        number = batch.partition
        records = batch.records
        began = time.perf_counter()
        effects = self._processed(number, records)
        self._store(number, effects)
        self._adapt(len(records), time.perf_counter() - began)
        await self._deliver(number, effects, event.ack)

    def _processed(self, number: int, records: Sequence[tuple[int, Any]]) -> Effects:
        """Return the effects of a batch; a record that cannot be applied goes to the dead letters."""
        lists = self.lists()
        load = self.app.records.partition(number).get
        try:
            batch = Batch(load, lists=lists, now_ms=now_ms())
            return process(batch, records, partition_of=self.partition_of, stage=self._stage)
        except Exception:
            log.exception("a batch failed; its records are tried one by one", extra={"partition": number})
        return self._one_by_one(load, records, lists)

    def _one_by_one(
        self, load: Callable[[bytes], bytes | None], records: Iterable[tuple[int, Any]], lists: Lists
    ) -> Effects:
        """Apply each record as a batch of its own; merge the effects."""
        merged = Effects()
        changed: dict[bytes, bytes | None] = {}

        def load_changed(key: bytes) -> bytes | None:
            return changed[key] if key in changed else load(key)

        for source, record in records:
            try:
                batch = Batch(load_changed, lists=lists, now_ms=now_ms())
                effects = process(batch, [(source, record)], partition_of=self.partition_of)
            except Exception as error:
                log.exception("a record cannot be applied", extra={"offset": record.offset})
                rejected = Rejected("processing-failed", f"{type(error).__name__}: {error}")
                effects = Effects(dead_letters=[Refused(source, record, rejected)])
                if source != FORGET:
                    effects.outcomes[source, "invalid"] += 1
            changed.update(effects.states)
            merged.merge(effects)
        return merged

    def lists(self) -> Lists:
        """Return what makes lists now."""
        if self.serving is None and self._counted:
            total = self._counted.total()
            common = self._counted.most_common(self.rules.list_size + len(self.withdrawn))
            popular = [(item, count / total) for item, count in common if item not in self.withdrawn]
            self._lists.fallback = popular[: self.rules.list_size]
        return self._lists

    def serve(self, recommender: Recommender) -> None:
        """Take weights in force from the next batch on."""
        self.serving = Serving(recommender, self.withdrawn)
        self._lists = Lists(self.rules, self.serving, self.app.sources)

    def _store(self, number: int, effects: Effects) -> None:
        """Put the new records where the next batch finds them, and count."""
        users = self.app.records.partition(number)
        for key, value in effects.states.items():
            if value is None:
                users.pop(key, None)
                self.held.pop(key, None)
            else:
                users[key] = value
        for key, due_ms in effects.held.items():
            self.held[key] = (number, due_ms)
        if effects.items:
            self._counted.update(effects.items)
            if len(self._counted) > 2 * POPULAR_KEPT:
                self._counted = Counter(dict(self._counted.most_common(POPULAR_KEPT)))
        self._count(effects)

    async def _deliver(self, number: int, effects: Effects, done: Callable[[], object]) -> None:
        """Send lists, then the changelog, then let the offsets be committed."""

        async def lists() -> None:
            with self._stage("lists"):
                await self._send_lists(number, effects)

        async def changelog() -> None:
            with self._stage("changelog"):
                records = [Record(key, value) for key, value in effects.states.items()]
                last_offset = await self.outbox.send(self.topics.changelog, number, records)
            self.app.records.written(number, last_offset)
            done()

        await self.pipeline.submit(number, lists, changelog)

    async def _send_lists(self, number: int, effects: Effects) -> None:
        records = [Record(made.key, made.value) for made in effects.lists]
        await self.outbox.send(self.topics.recommendations, number, records)
        self._measure(effects.lists)
        for target, forwarded in self._forwards(effects).items():
            source, partition = target
            await self.outbox.send(self.app.sources[source], partition, forwarded)
        letters = [self._dead_letter(*refused) for refused in effects.dead_letters]
        if letters:
            # That topic may have fewer partitions than the sources.
            numbers = await self.app.batch_producer.client.partitions_for(self.topics.dead_letter)
            await self.outbox.send(self.topics.dead_letter, number % len(numbers), letters)

    def _dead_letter(self, source: int, record: Any, reason: Rejected) -> Record:
        """Return the record as it came with the reason in its headers; if too large, the reason alone."""
        headers = dead_letter_headers(
            reason, topic=self.app.sources[source], partition=record.partition, offset=record.offset
        )
        letter = Record(record.key, record.value, [*record.headers, *headers])
        return letter if _size(letter) <= LETTER_MOST_BYTES else Record(None, None, headers)

    def _forwards(self, effects: Effects) -> dict[tuple[int, int], list[Record]]:
        """Group the records that came without a key by where their users are."""
        grouped: dict[tuple[int, int], list[Record]] = defaultdict(list)
        for source, key, value in effects.forwards:
            grouped[source, self.partition_of(key)].append(Record(key, value))
        return grouped

    def _measure(self, lists: Iterable[Outgoing]) -> None:
        """Observe the time from each event's production to this moment, its list being acknowledged."""
        acknowledged_ms = now_ms()
        produced_ms = np.array([made.produced_ms for made in lists if made.value is not None], np.float64)
        if not len(produced_ms):
            return
        latencies_s = (acknowledged_ms - produced_ms) / 1000
        self.telemetry.event_to_recommendation_seconds.observe_many(latencies_s)
        for watcher in self.watchers:
            watcher.acknowledged(latencies_s)

    def _count(self, effects: Effects) -> None:
        """Move the counters by what a batch did."""
        telemetry = self.telemetry
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
            for cutoff, hits in quality.hits.items():
                telemetry.prequential_hits.labels(str(cutoff)).inc(hits)
        for watcher in self.watchers:
            watcher.processed(effects)

    def _adapt(self, count: int, took_s: float) -> None:
        """Move the batch limit towards what takes ``BATCH_TARGET_S``."""
        consumer = self.app.batch_consumer
        if count < consumer.batch_limit / 2 or took_s <= 0:
            return
        fitting = int(count * BATCH_TARGET_S / took_s)
        # At most doubled at a time, since the first batches pay for warming up.
        limit = max(SMALLEST_LIMIT, min(fitting, 2 * consumer.batch_limit))
        consumer.batch_limit = min(limit, self.app.settings.batch_max_events)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.telemetry.stage_seconds.labels(name).observe(time.perf_counter() - began)

    # Lists that were held back.

    async def send_held(self) -> None:
        """Send the held lists whose time has come."""
        moment_ms = now_ms()
        due: dict[int, list[bytes]] = defaultdict(list)
        assigned = self.app.partitions_assigned()
        for key, (number, due_ms) in list(self.held.items()):
            if number not in assigned:
                del self.held[key]
            elif due_ms <= moment_ms:
                due[number].append(key)
                del self.held[key]
        for number, keys in due.items():
            async with self._changing:
                await self._release(number, keys, moment_ms)

    async def _release(self, number: int, keys: list[bytes], moment_ms: int) -> None:
        """Send the held lists of a partition, unless it is being given away."""
        if self.app.batch_consumer.flow_active and not self.app.rebalancing:
            batch = Batch(self.app.records.partition(number).get, lists=self.lists(), now_ms=moment_ms)
            effects = release(batch, keys, stage=self._stage)
            self._store(number, effects)
            await self._deliver(number, effects, lambda: None)

    def find_held(self) -> None:
        """Look through the restored records for lists that another process held back."""
        store = self.app.records
        for number in store.partitions():
            for key, value in store.partition(number).items():
                state = decode_state(value)
                if state.held is not None:
                    self.held[key] = (number, state.listed_ms + self.rules.list_interval_ms)
