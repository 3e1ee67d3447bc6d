"""The thread in which the consumer's client talks to the brokers, with a loop of its own.

What Faust's own does not do: records are those of the client's parser (``stream.fetched``), what comes
under another assignment is put back, a batch that nobody can read is an error that names it, and the
broker can be asked for the lag.

Written against faust-streaming 0.15.3 and aiokafka 0.14.0; the members with an underscore that are used
here are theirs.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import aiokafka
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.threads import ServiceThread, WorkerThread

from stream.errors import UnreadableBatch
from stream.fetched import Fetched

if TYPE_CHECKING:
    from stream.app import StreamApp

LAG_LIMIT_S = 10.0


def lag(end: int, *, first: int, committed: int | None) -> int:
    """Return how many records of a partition still stand in it and are not committed.

    ``end`` is the offset after the last record, ``first`` that of the oldest one that is kept; what
    nobody ever committed begins there, and so does what was deleted before it was read.
    """
    return max(0, end - max(first, committed or 0))


class ConsumerWorker(WorkerThread):
    """The consumer's thread; the process can end while it still runs."""

    def __init__(self, service: ServiceThread, **options: Any) -> None:
        """Prepare; nothing runs yet."""
        super().__init__(service, **options)
        self.daemon = True


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that talks to the broker, with a consumer made from our settings."""

    Worker = ConsumerWorker

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        app = cast("StreamApp", self.app)
        settings = app.settings
        self._assignor = app.assignor
        conf = app.conf
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=settings.group_id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=settings.brokers.split(","),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=None,
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 0) * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=app.fetch_wait_ms,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            check_crcs=conf.broker_check_crcs,
            isolation_level=settings.isolation_level,
            **settings.kafka_security(),
        )

    async def on_thread_stop(self) -> None:
        """Stop the consumer, so that whoever waits for this thread's end is told of it.

        aiokafka cancels a fetch that has failed and waits to be tried again, and is itself ended by that,
        half-way through its stop; Faust would then never say that the thread has ended.
        """
        try:
            await super().on_thread_stop()
        except asyncio.CancelledError:
            consumer = self._ensure_consumer()
            await consumer.stop()  # does nothing where the stop had begun
            await consumer._client.close()

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's name
        max_records: int | None = None,
    ) -> Mapping[TP, list[Any]]:
        """Fetch; what comes under another assignment than it was asked for under is put back.

        aiokafka lets a fetch that waits outlive a rebalance. Who asked is of the generation before
        and drops the records, while the position has gone on behind them: they would be lost. Raises
        ``UnreadableBatch`` where a batch cannot be unpacked; the client would then go on behind it.
        """
        if not isinstance(consumer._fetcher._records, Fetched):
            consumer._fetcher._records = Fetched(consumer._fetcher._records)
        before = self._assignment(consumer)
        try:
            records: Mapping[TP, list[Any]] = await super()._fetch_records(
                consumer, active_partitions, timeout=timeout, max_records=max_records
            )
        except (CorruptRecordException, UnsupportedCodecError) as error:
            where = consumer._fetcher._records.broken_off()
            why = "is damaged" if isinstance(error, CorruptRecordException) else "has a codec nobody knows"
            raise UnreadableBatch(
                f"{where} {why}; nothing after it is taken. Let a sound replica lead the partition, or move "
                "the group past it with kafka-consumer-groups --reset-offsets"
            ) from error
        if self._assignment(consumer) is before:
            return records
        for tp, fetched in records.items():
            consumer.seek(tp, fetched[0].offset)
        return {}

    @staticmethod
    def _assignment(consumer: aiokafka.AIOKafkaConsumer) -> object:
        subscription = consumer._subscription.subscription
        return None if subscription is None else subscription.assignment

    async def lags(self, *partitions: TP) -> Mapping[TP, int]:
        """Ask the broker for the lag of each partition. Raises TimeoutError where it does not answer."""
        lags: Mapping[TP, int] = await self.call_thread(self._lags, partitions)
        return lags

    async def _lags(self, partitions: Sequence[TP]) -> Mapping[TP, int]:
        consumer = self._ensure_consumer()
        async with asyncio.timeout(LAG_LIMIT_S):
            committed = await consumer._coordinator.fetch_committed_offsets(partitions)
            firsts = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
        return {
            tp: lag(ends[tp], first=firsts[tp], committed=committed[tp].offset if tp in committed else None)
            for tp in partitions
        }

    async def check(self) -> None:
        """Raise what ended or holds up the membership of the group; the client tells only who polls it."""
        if self._consumer is not None:
            await self.call_thread(self._check)

    async def _check(self) -> None:
        self._ensure_consumer()._coordinator.check_errors()

    def read_to_end(self, tp: TP) -> bool:
        """Whether the broker had nothing more of a partition when it was last asked."""
        state = self._state(tp)
        if state is None or state.highwater is None:
            return False
        return bool(state.position >= state.highwater)

    def next_offset(self, tp: TP) -> int | None:
        """Return the offset at which reading a partition goes on; None where that is not known."""
        state = self._state(tp)
        return None if state is None else int(state.position)

    def _state(self, tp: TP) -> Any:
        """Return what the client knows of an assigned partition, or None where it has no position."""
        assignment = self._ensure_consumer()._subscription.subscription.assignment
        state = assignment.state_value(tp) if assignment is not None else None
        return state if state is not None and state.has_valid_position else None
