"""Faust's Kafka transport, handing agents whole batches instead of single events.

Faust's own way costs about 70 µs of Python an event (conductor, stream iterator, sensors, one
acknowledgement and one changelog send each). Here the records of a partition number are merged
across the source topics (``stream.merge``) and travel through Faust as one message, whose
value is a ``SourceBatch``. Group membership, flow control, recovery and commits stay Faust's.

Kept on purpose, since Faust 0.15.3 does otherwise:

- Source partitions are not read before the seek to the committed offsets after a rebalance.
- What is committed is the end of a batch that was delivered, whatever offsets are missing in
  between.
- Changelog records go into the store a fetch at a time; Faust is told how far that is, which is
  what ends recovery, also where a transaction's marker stands at the end.
- Record batches are stamped with the claim on their partition (``stream.fence``).

The thread in which the client talks to the brokers is ``stream.consumer_thread``. Written against
faust-streaming 0.15.3 and aiokafka 0.14.0; the members with an underscore that are used here are theirs.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import aiokafka
import faust
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from faust.types.tuples import ConsumerMessage

from stream.consumer_thread import BatchConsumerThread
from stream.errors import UnreadableBatch
from stream.fence import Claims, fenced_topics
from stream.merge import Merger, Sourced
from stream.messages import event_time_ms
from stream.rights import refusal

if TYPE_CHECKING:
    from stream.app import StreamApp

MERGE_POLL_S = 0.02
RESTORE_POLL_S = 0.1
FIRST_LIMIT = 500
#: From so many events on a batch is worth its requests to the broker, and is made at once.
LARGE_BATCH = 500


@dataclass(frozen=True)
class SourceBatch:
    """Records of one partition number of the source topics, in one order.

    ``positions`` is where each of its partitions goes on: the offset to commit once the batch
    is delivered.
    """

    partition: int
    records: Sequence[Sourced]
    generation: int
    positions: Mapping[TP, int] = field(default_factory=dict)


class Fetch(NamedTuple):
    """A fetch under way, and the generation of the group in which it was begun."""

    generation: int
    task: asyncio.Task[Mapping[TP, Sequence[Any]]]


class BatchConsumer(driver.Consumer):
    """Faust's consumer, yielding one message a batch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with nothing fetched and nothing delivered."""
        self._mergers: dict[int, Merger] = {}
        self._delivered: dict[TP, int] = {}
        self._in_place = False
        self._fetch: Fetch | None = None
        #: Source partitions of which the broker had nothing more when the last fetch was taken in, among
        #: those of the numbers of which something waits. The client itself may be further by now: what it
        #: has read belongs to the fetch that is under way.
        self._read_to_end: set[TP] = set()
        #: Changelog records read since partitions were last assigned.
        self.restored = 0
        super().__init__(*args, **kwargs)
        self._app = cast("StreamApp", self.app)
        self._sources = self._app.sources
        self._source_of = {topic: number for number, topic in enumerate(self._sources)}
        #: Held from a batch's making until the agent has taken it in. A batch is made when it is about to
        #: be taken and, unless much waits, the one before it in its partition is delivered, so that under
        #: load it holds all that has come meanwhile: small batches cost the broker more than their events.
        self._turn = asyncio.Semaphore(1)
        #: Most events of a batch; the agent moves it so that batches take about the same time.
        self.batch_limit = min(FIRST_LIMIT, self._app.settings.batch_max_events)

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # Fetching.

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109 - Faust's name
        """Wait for what is fetched, and yield a message for each batch for as long as there are any."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        generation = self.app.consumer_generation_id
        fetch = self._fetching(generation, timeout)
        await asyncio.wait([fetch.task])  # not awaited itself: who is cancelled here would cancel it
        if self.should_stop:
            return
        self._take_in(generation)
        for tp, offset in self._restored():
            if not self._current(generation):
                return
            yield tp, self._changelog_message(tp, offset)
        async for batch in self._batches(generation, timeout):
            yield self._batch_message(batch)

    def _fetching(self, generation: int, timeout_s: float) -> Fetch:
        """Return the fetch that is under way, or begin one."""
        fetch = self._fetch
        if fetch is not None and fetch.generation == generation:
            return fetch
        self._let_go()
        wanted = {tp for tp in self._get_active_partitions() if self._wants(tp)}
        merging = self._in_place and any(map(self._waits, self._mergers))
        wait_s = MERGE_POLL_S if merging else timeout_s if self._in_place else RESTORE_POLL_S
        fetch = self._fetch = Fetch(generation, asyncio.create_task(self._allowed(wanted, wait_s)))
        return fetch

    def _let_go(self) -> None:
        """Forget a fetch; a seek follows before anything of its partitions is read again."""
        if self._fetch is not None:
            self._fetch.task.cancel()
            self._fetch = None

    def _take_in(self, generation: int) -> None:
        """Take in what has been fetched, if it has come.

        A rebalance can come in at every wait and every yield. It seeks again before anything is read, so
        what was fetched before it is let go.
        """
        fetch = self._fetch
        if fetch is None or not fetch.task.done() or fetch.generation != generation:
            return
        self._fetch = None
        for tp, fetched in fetch.task.result().items():
            if not self._current(generation):
                return
            source = self._source_of.get(tp.topic)
            if source is None:
                self._restore(tp.partition, fetched)
            elif self._in_place:
                self._merger(tp.partition).add(source, fetched)
        read_to_end = cast(BatchConsumerThread, self._thread).read_to_end
        waiting = filter(self._waits, self._mergers)
        places = (TP(topic, number) for number in waiting for topic in self._sources)
        self._read_to_end = set(filter(read_to_end, places))

    async def _allowed(self, wanted: set[TP], wait_s: float) -> Mapping[TP, Sequence[Any]]:
        """Fetch; what the broker refuses, or holds in a way nobody can read, ends the app; nothing comes."""
        if not wanted:
            await self.sleep(wait_s)
            return {}
        try:
            records: Mapping[TP, Sequence[Any]] = await self._getmany(wanted, wait_s)
        except UnreadableBatch as error:
            await self.app.crash(error)
            await self.wait_until_stopped()  # the client would go on behind the batch
            return {}
        except KafkaError as error:
            refused = refusal(error, "Read")
            if refused is None:
                raise
            await self.app.crash(refused)
            await self.sleep(wait_s)
            return {}
        return records

    async def _batches(self, generation: int, timeout_s: float) -> AsyncIterator[SourceBatch]:
        """Give what can be handed on, a batch of each partition in turn, while ``generation`` is in force.

        The next fetch is under way while the agent works on a batch.
        """
        went_on = True
        while went_on:
            went_on = False
            for number in sorted(self._mergers):
                if not self._may_hand_on(generation, number):
                    continue
                if self._app.idle is not None and self._count(number) < LARGE_BATCH:
                    await self._app.idle(number)
                await self._turn.acquire()
                batch = None
                if self._may_hand_on(generation, number):
                    self._take_in(generation)
                    self._fetching(generation, timeout_s)
                    batch = self._next_batch(number, generation)
                if batch is None:
                    self.next_turn()
                    continue
                went_on = True
                yield batch

    def _may_hand_on(self, generation: int, number: int) -> bool:
        """Whether something of a partition waits here and may be taken."""
        return self._in_place and self._current(generation) and self._waits(number)

    def next_turn(self) -> None:
        """Let the next batch be made: the agent has taken one in, or a rebalance has ended it."""
        if self._turn.locked():
            self._turn.release()

    def _current(self, generation: int) -> bool:
        """Whether the assignment of ``generation`` is in force and may be read."""
        return self.flow_active and generation == self.app.consumer_generation_id

    async def _drain_messages(self, fetcher: Any) -> None:
        """Fetch until stopped; what goes wrong ends the app, which Faust would leave without a fetcher."""
        try:
            await super()._drain_messages(fetcher)
        except Exception as error:
            await self.app.crash(error)
            raise

    def _wants(self, tp: TP) -> bool:
        """Whether to fetch a partition: not before the seek, and not while much of it waits."""
        source = self._source_of.get(tp.topic)
        if source is None:
            return True
        return self._in_place and self._merger(tp.partition).waiting(source) < 2 * self.batch_limit

    def _merger(self, number: int) -> Merger:
        merger = self._mergers.get(number)
        if merger is None:
            merger = self._mergers[number] = Merger(len(self._sources), event_time_ms)
        return merger

    def _waits(self, number: int) -> bool:
        return self._count(number) > 0

    def _count(self, number: int) -> int:
        merger = self._mergers.get(number)
        return sum(map(merger.waiting, range(len(self._sources)))) if merger is not None else 0

    def _next_batch(self, number: int, generation: int) -> SourceBatch | None:
        """Take the next batch of a partition number; None where none can be handed on now."""

        def read_to_end(source: int) -> bool:
            return TP(self._sources[source], number) in self._read_to_end

        records = self._mergers[number].take(read_to_end, limit=self.batch_limit)
        if not records:
            return None
        last_offsets = {source: record.offset for source, record in records}
        positions = {TP(self._sources[source], number): offset + 1 for source, offset in last_offsets.items()}
        return SourceBatch(number, records, generation, positions)

    def _batch_message(self, batch: SourceBatch) -> tuple[TP, Message]:
        """Wrap a batch in the one message that Faust passes to the agent."""
        source, last = batch.records[-1]
        tp = TP(self._sources[source], batch.partition)
        # Faust types the value as bytes; the agent's schema hands it on as it is.
        return tp, ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000,
            last.timestamp_type,
            None,
            None,
            cast(bytes, batch),
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    # Restoring.

    def _restore(self, number: int, fetched: Sequence[Any]) -> None:
        """Apply a fetch of a partition of the changelog."""
        self.restored += len(fetched)
        self._app.records.restore(number, fetched)

    def _restored(self) -> list[tuple[TP, int]]:
        """Return the changelog partitions that went on, each with the last offset that was read.

        That may be one without a record: that of a marker, or of a record that was compacted away.
        """
        if self._in_place:
            return []
        recovery = self._app.recovery
        thread = cast(BatchConsumerThread, self._thread)
        went_on = []
        for tp in recovery.active_tps:
            position, before = thread.next_offset(tp), recovery.active_offsets.get(tp)
            if position is not None and before is not None and position - 1 > before:
                recovery.active_offsets[tp] = position - 1
                self._app.records.partition(tp.partition).reach(position - 1)
                went_on.append((tp, position - 1))
        return went_on

    def _changelog_message(self, tp: TP, offset: int) -> Message:
        """Return the message that tells Faust how far a partition is restored; its content is not read."""
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            offset,
            0.0,
            0,
            None,
            b"",
            None,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    # Delivery and commits.

    def ack(self, message: Message) -> bool:
        """Note a delivered batch; its offsets go out with the next commit."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        batch: object = message.value
        if self._app.settings.exactly_once:
            return True  # the transaction has committed the offsets
        if isinstance(batch, SourceBatch) and batch.generation == self.app.consumer_generation_id:
            for tp, position in batch.positions.items():
                if position > self._delivered.get(tp, -1):
                    self._delivered[tp] = position
        return True

    async def commit_delivered(self) -> None:
        """Commit all that has been delivered.

        Faust's own commit waits for one that is under way and then does nothing, though that one was begun
        before the last batches were delivered.
        """
        while await self.maybe_wait_for_commit_to_finish():
            pass
        await self.commit()

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._delivered) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self._delivered.get(tp)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: offsets missing from a topic need no bookkeeping when whole batches are committed."""

    async def lags(self, *partitions: TP) -> Mapping[TP, int]:
        """Ask the broker for the lag of each partition. Raises TimeoutError where it does not answer."""
        return await cast(BatchConsumerThread, self._thread).lags(*partitions)

    async def check(self) -> None:
        """Raise what ended or holds up the membership of the group."""
        await cast(BatchConsumerThread, self._thread).check()

    async def on_stop(self) -> None:
        """Stop; a fetch that waits would do so for a thread that has ended."""
        self._let_go()
        await super().on_stop()

    # Rebalances.

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget what was fetched; what was delivered has been committed by the app."""
        self._in_place = False
        self._mergers.clear()
        await super().on_partitions_revoked(revoked)
        self._delivered.clear()
        self.next_turn()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin a generation with nothing fetched."""
        self._in_place = False
        self.restored = 0
        self._mergers.clear()
        self._delivered.clear()
        self.next_turn()
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Go to the committed offsets; only then are source partitions read."""
        self._mergers.clear()
        await super().perform_seek()
        self._in_place = True


class BatchProducer(driver.Producer):
    """Faust's producer with our settings: idempotent, acknowledged by all replicas."""

    def _settings_default(self) -> Mapping[str, Any]:
        settings = cast("StreamApp", self.app).settings
        return {
            **super()._settings_default(),
            "bootstrap_servers": settings.brokers.split(","),
            "acks": "all",
            "enable_idempotence": True,
        }

    def _settings_auth(self) -> Mapping[str, Any]:
        return cast("StreamApp", self.app).settings.kafka_security()

    def _new_producer(self, transactional_id: str | None = None) -> aiokafka.AIOKafkaProducer:
        """Return a producer whose batches are stamped by ``claims``; it begins without any."""
        producer = super()._new_producer(transactional_id)
        self.claims = Claims(fenced_topics(cast("StreamApp", self.app).settings))
        for part in (producer, producer._sender, producer._message_accumulator):
            part._txn_manager = self.claims
        return producer

    @property
    def client(self) -> aiokafka.AIOKafkaProducer:
        """The aiokafka producer, for whole record batches."""
        return self._ensure_producer()


class BatchTransport(driver.Transport):
    """The transport of ``stream.app``."""

    Consumer = BatchConsumer
    Producer = BatchProducer


class AsItComes(faust.Schema[Any, Any]):
    """A schema that leaves keys and values alone: batches are decoded by the pure core."""

    def loads_key(self, app: Any, message: Message, **kwargs: Any) -> Any:
        """Return the key."""
        return message.key

    def loads_value(self, app: Any, message: Message, **kwargs: Any) -> Any:
        """Return the value."""
        return message.value
