"""The agent: takes batches, lets the pure core work, stores, sends, counts."""

import asyncio
import time
from collections import ChainMap, Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from logging import getLogger
from typing import Any

from faust.types import TP

from models.canary_config import CanaryConfig
from models.recommender import Recommender
from stream.app import StreamApp
from stream.clock import now_ms
from stream.dispatch import Dispatch
from stream.effects import Effects, Refused
from stream.errors import FreshetError, Rejected, StateError, StoreError
from stream.forgotten import Forgotten
from stream.lists import Lists, OnTrial
from stream.merge import Sourced
from stream.outbox import Outbox
from stream.partitioner import murmur2_hash
from stream.pipeline import Pipeline
from stream.rules import Rules
from stream.serving import Serving
from stream.state import decode_state
from stream.step import FORGET, Batch, process, release
from stream.telemetry import Telemetry
from stream.transport import SourceBatch

log = getLogger(__name__)

#: A batch should take about this long at most, so that the loop goes on ticking. Long batches pay
#: under a backlog: a user's record is read and written once for all of its events in a batch.
BATCH_TARGET_S = 1.0
SMALLEST_LIMIT = 64
IN_FLIGHT = 8
POPULAR_KEPT = 100_000


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
        self.dispatch = Dispatch(
            self.outbox, topics=app.settings.topics, sources=app.sources, telemetry=telemetry
        )
        self.pipeline = Pipeline(limit=IN_FLIGHT, failed=app.crash)
        self.serving: Serving | None = None
        self.trial: OnTrial | None = None
        self._lists = Lists(rules, None, app.sources)
        self.withdrawn: set[str] = set()
        #: The category of each item that was announced with one, and of those not yet looked at.
        self._category_of: dict[str, str] = {}
        self._news: dict[str, str] = {}
        self.held: dict[bytes, tuple[int, int]] = {}
        self.forgotten = Forgotten()
        #: Held from the first change of a record to the start of its delivery.
        self._changing = asyncio.Lock()
        self._counted: Counter[str] = Counter()

    def partition_of(self, key: bytes) -> int:
        """Return the partition Kafka's clients give a key."""
        return murmur2_hash(key) % self.partitions

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
                if not isinstance(error, FreshetError):
                    log.exception("a batch could not be processed; the worker stops")
                await self.app.crash(error)
                return
            self.app.batch_consumer.next_turn()

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
        began = time.perf_counter()
        effects = self._processed(number, batch.records)
        self._store(number, effects)
        self._adapt(len(batch.records), time.perf_counter() - began)
        await self._deliver(number, effects, event.ack, batch.positions)

    def _processed(self, number: int, sourced: Sequence[Sourced]) -> Effects:
        """Return the effects of a batch; a record that cannot be applied goes to the dead letters."""
        lists = self.lists()
        users = self.app.records.partition(number)
        with self._stage("read"):
            users.prepare(record.key for _, record in sourced if record.key is not None)
        load = users.get
        try:
            batch = Batch(load, partition=number, lists=lists, now_ms=now_ms(), forgotten=self.forgotten)
            return process(batch, sourced, partition_of=self.partition_of, stage=self._stage)
        except StoreError:
            raise
        except Exception:
            log.exception("a batch failed; its records are tried one by one", extra={"partition": number})
        return self._one_by_one(load, number, sourced, lists)

    def _one_by_one(
        self, load: Callable[[bytes], bytes | None], number: int, sourced: Iterable[Sourced], lists: Lists
    ) -> Effects:
        """Apply each record as a batch of its own; merge the effects."""
        merged = Effects()
        changed: dict[bytes, bytes | None] = {}

        def load_changed(key: bytes) -> bytes | None:
            return changed[key] if key in changed else load(key)

        for source, record in sourced:
            try:
                forgotten = ChainMap(merged.forgotten, self.forgotten)
                batch = Batch(
                    load_changed, partition=number, lists=lists, now_ms=now_ms(), forgotten=forgotten
                )
                effects = process(batch, [(source, record)], partition_of=self.partition_of)
            except StoreError:
                raise
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
        if self._news and self.serving is not None:
            # All that was announced since the last batch at once: the catalogue is copied to grow.
            news, self._news = self._news, {}
            grown, trial = self.serving.announced(news, self.withdrawn), self.trial
            if trial is not None:
                trial = trial._replace(serving=trial.serving.announced(news, self.withdrawn))
            self._take(grown, trial)
        return self._lists

    def serve(self, recommender: Recommender) -> None:
        """Take weights in force from the next batch on."""
        # What is on trial may have grown by some of the news only; it meets all of it again.
        self._news = {} if self.trial is None else dict(self._category_of)
        self._take(Serving(recommender.announced(self._category_of), self.withdrawn), self.trial)

    def try_out(self, recommender: Recommender | None, terms: CanaryConfig | None) -> None:
        """Let a challenger serve its share of the users from the next batch on; None: nobody any more."""
        trial = None
        if recommender is not None and terms is not None:
            trial = OnTrial(Serving(recommender.announced(self._category_of), self.withdrawn), terms)
        self._take(self.serving, trial)

    def announce(self, item_id: str, category_id: str | None, *, available: bool) -> None:
        """Take what is said of an item in force from the next batch on."""
        (self.withdrawn.discard if available else self.withdrawn.add)(item_id)
        if category_id is not None:
            self._category_of[item_id] = self._news[item_id] = category_id
        if self.serving is not None:
            self.serving.set_available(item_id, available=available)
        if self.trial is not None:
            self.trial.serving.set_available(item_id, available=available)

    def _take(self, serving: Serving | None, trial: OnTrial | None) -> None:
        """Make lists by these weights; a challenger without a champion serves nobody yet."""
        if (serving, trial) != (self.serving, self.trial):
            self.serving, self.trial = serving, trial
            self._lists = Lists(self.rules, serving, self.app.sources, self._lists.fallback, trial)

    def _store(self, number: int, effects: Effects) -> None:
        """Put the new records where the next batch finds them, and count."""
        self.app.records.partition(number).put(effects.states)
        for key, value in effects.states.items():
            if value is None:
                self.held.pop(key, None)
        for key, due_ms in effects.held.items():
            self.held[key] = (number, due_ms)
        for key, at_ms in effects.forgotten.items():
            self.forgotten.note(key, at_ms)
        if effects.items:
            self._counted.update(effects.items)
            if len(self._counted) > 2 * POPULAR_KEPT:
                self._counted = Counter(dict(self._counted.most_common(POPULAR_KEPT)))
        self.dispatch.count(effects)

    def _keep(self, number: int, offset: int) -> None:
        """Keep what the changelog has; raises ``StoreError``, and then the batch is not acknowledged."""
        with self._stage("keep"):
            self.app.records.partition(number).keep(offset)

    async def _deliver(
        self, number: int, effects: Effects, done: Callable[[], object], positions: Mapping[TP, int]
    ) -> None:
        """Send lists, then the changelog, keep the records, commit; or all but that in a transaction."""
        if self.app.settings.exactly_once:
            await self._deliver_at_once(number, effects, done, positions)
            return

        async def lists() -> None:
            with self._stage("lists"):
                await self.dispatch.send(number, effects)

        async def changelog() -> None:
            with self._stage("changelog"):
                changed = list(effects.states.items())
                last_offset = await self.outbox.send_pairs(self.topics.changelog, number, changed, now_ms())
            self._keep(number, last_offset)
            done()

        await self.pipeline.submit(number, lists, changelog)

    async def _deliver_at_once(
        self, number: int, effects: Effects, done: Callable[[], object], positions: Mapping[TP, int]
    ) -> None:
        """Send everything of a batch in a transaction, after that of the batch before."""

        async def nothing() -> None:
            pass

        async def everything() -> None:
            with self._stage("transaction"):
                async with self.app.transactions.begun(number, positions) as outbox:
                    await self.dispatch.send(number, effects, outbox)
                    changed = list(effects.states.items())
                    last_offset = await outbox.send_pairs(self.topics.changelog, number, changed, now_ms())
            self.dispatch.measure(effects)
            self._keep(number, last_offset)
            done()

        await self.pipeline.submit(number, nothing, everything)

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
            load = self.app.records.partition(number).get
            batch = Batch(load, partition=number, lists=self.lists(), now_ms=moment_ms)
            effects = release(batch, keys, stage=self._stage)
            self._store(number, effects)
            await self._deliver(number, effects, lambda: None, {})

    def find_held(self) -> None:
        """Look through the restored records for lists that another process held back."""
        store = self.app.records
        for number in self.app.partitions_assigned().intersection(store.partitions()):
            for key, value in store.partition(number).items():
                try:
                    state = decode_state(value)
                except StateError:
                    continue  # told when the user's next event comes
                if state.held is not None:
                    self.held[key] = (number, state.listed_ms + self.rules.list_interval_ms)
