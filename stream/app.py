"""Faust's application: group, assignment, recovery and the users' table, with our batches in it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import cast

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP
from yarl import URL

from stream.changelog import extents
from stream.disk import Disk
from stream.errors import BrokerUnavailable, FreshetError
from stream.fence import claim, renew
from stream.rights import refusal
from stream.settings import Settings
from stream.store import PartitionStore
from stream.transactions import Transactions
from stream.transport import AsItComes, BatchConsumer, BatchProducer, BatchTransport

log = logging.getLogger(__name__)

TABLE = "users"
MAX_BATCH_BYTES = 512 * 1024
MAX_FETCH_BYTES = 2 * 1024 * 1024
#: Batches that wait between the consumer and the agent; each is large.
QUEUED_BATCHES = 2
FETCH_WAIT_MS = 250
HEARTBEAT_S = 3.0

Drain = Callable[[], Awaitable[bool]]
Idle = Callable[[int], Awaitable[None]]
Failed = Callable[[BaseException], Awaitable[None]]


class UsersTable(faust.Table[bytes, bytes]):
    """The users' records; Faust recovers it, the deliveries write its changelog."""

    def _new_store(self) -> PartitionStore:
        store = PartitionStore(URL("memory://"), self.app, self, table_name=self.name)
        settings = cast(StreamApp, self.app).settings
        if settings.on_disk:
            store.disk = Disk(settings.data_dir / TABLE, memory_mb=settings.store_cache_mb)
        return store

    def __len__(self) -> int:
        """Return how many users this worker holds, those it only keeps a copy of included."""
        return cast(PartitionStore, self.data).users()


class Tables(TableManager):
    """Faust's tables where none is added after the start: nothing is waited for before they are restored."""

    async def on_start(self) -> None:
        """Register the tables' changelogs and begin to restore; Faust's own form sleeps a second first."""
        await self._update_channels()
        await self.recovery.start()


class StreamApp(faust.App):
    """Faust's App over the source topics; ``drain`` and ``idle`` are set by the worker that owns it."""

    def __init__(self, settings: Settings, *, fetch_wait_ms: int = FETCH_WAIT_MS) -> None:
        """Configure Faust from our settings; nothing is connected yet.

        ``fetch_wait_ms`` is how long a broker may keep a fetch waiting for the first record.
        """
        self.settings = settings
        self.fetch_wait_ms = fetch_wait_ms
        self.failed: Failed | None = None
        self.on_rebalance_began: Callable[[], None] | None = None
        self.sources: tuple[str, ...] = (*settings.topics.events, settings.topics.forget)
        self.drain: Drain | None = None
        self._ending = False
        self.begun = asyncio.Event()
        self.transactions = Transactions(settings)
        self.idle: Idle | None = None
        super().__init__(
            settings.group_id,
            broker=[URL(f"kafka://{address}") for address in settings.brokers.split(",")],
            datadir=settings.data_dir,
            store="memory://",
            table_standby_replicas=settings.standby_replicas,
            topic_allow_declare=False,
            topic_disable_leader=True,
            topic_partitions=settings.partitions,
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            broker_commit_interval=1.0,
            broker_commit_livelock_soft_timeout=3600.0,
            stream_processing_timeout=3600.0,
            consumer_group_instance_id=settings.group_instance_id or None,
            broker_session_timeout=float(settings.session_timeout_s),
            broker_heartbeat_interval=min(HEARTBEAT_S, settings.session_timeout_s / 3),
            broker_rebalance_timeout=60.0,
            consumer_max_fetch_size=MAX_FETCH_BYTES,
            producer_max_batch_size=MAX_BATCH_BYTES,
            producer_linger=0.0,
            web_enabled=False,
            monitor=None,
            TableManager=Tables,
        )
        self.events = self.topic(
            *self.sources,
            schema=AsItComes(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"),
            maxsize=QUEUED_BATCHES,
        )
        self.users = UsersTable(
            self, name=TABLE, key_type=bytes, value_type=bytes, partitions=settings.partitions
        )
        self.tables.add(self.users)

    @property
    def records(self) -> PartitionStore:
        """The users' records of this worker."""
        return cast(PartitionStore, self.users.data)

    @property
    def recovery(self) -> Recovery:
        """Faust's recovery of the users' table."""
        return cast(TableManager, self.tables).recovery

    @property
    def batch_consumer(self) -> BatchConsumer:
        """The consumer in use."""
        return cast(BatchConsumer, self.consumer)

    @property
    def batch_producer(self) -> BatchProducer:
        """The producer in use."""
        return cast(BatchProducer, self.producer)

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_producer, self)

    async def on_started(self) -> None:
        """Wait for the state to be restored; every part has started, so that all can be stopped."""
        self.begun.set()
        await super().on_started()

    async def crash(self, reason: BaseException) -> None:
        """Tell the worker, which ends the process; Faust's own supervisors start nothing again."""
        self._ending = True
        if not isinstance(reason, FreshetError):
            await super().crash(reason)
        if self.failed is not None:
            await self.failed(reason)

    def on_rebalance_start(self) -> None:
        """Note that the group shares its partitions out anew."""
        super().on_rebalance_start()
        if self.on_rebalance_began is not None:
            self.on_rebalance_began()

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit what is under way before Faust lets the partitions go."""
        if not self.should_stop:
            await self.finish()
        await super()._on_partitions_revoked(revoked)

    async def _on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Claim what is assigned before Faust restores it: what others wrote is then all there."""
        if not self.should_stop:
            numbers = {tp.partition for tp in assigned if tp.topic in self.sources}
            log.info("partitions are assigned", extra={"partitions": len(numbers)})
            try:
                await self._claim(numbers)
                await self._open(numbers | {tp.partition for tp in self.assignor.assigned_standbys()})
            except FreshetError as error:
                await self.crash(error)
                return
        await super()._on_partitions_assigned(assigned, generation_id)

    async def _claim(self, numbers: set[int]) -> None:
        if self.settings.exactly_once:
            await self.transactions.claim(numbers)
            return
        for number, claimed in (await claim(self.settings, numbers)).items():
            self.batch_producer.claims.take(number, claimed)

    async def _open(self, numbers: set[int]) -> None:
        """Open on disk what is not open; of what is claimed the changelog stands still."""
        closed = numbers - {*self.records.partitions()}
        if self.settings.on_disk and closed:
            self.records.open(await extents(self.settings, closed))

    async def renew_claims(self) -> None:
        """Keep the claims on this worker's partitions from being forgotten. Raises ``PartitionLost``."""
        await self.transactions.renew()
        await renew(self.settings, self.batch_producer.claims.held(self.partitions_assigned()))

    async def check_membership(self) -> None:
        """Raise what keeps this worker out of its group, ``NotAllowed`` for want of a right."""
        if self._consumer is None:
            return
        try:
            await self.batch_consumer.check()
        except KafkaError as error:
            raise refusal(error, "Read") or error from error

    async def finish(self) -> None:
        """Stop reading, deliver what is under way, commit it."""
        consumer = self.batch_consumer
        consumer.stop_flow()
        if self.drain is not None and not await self.drain():
            # What is in memory may be ahead of the changelog: only a new process is safe.
            if not self._ending:
                await self.crash(
                    BrokerUnavailable(
                        f"the brokers at {self.settings.brokers} did not take what was under way before its "
                        "partitions had to go; it was not committed and comes again: start this worker again"
                    )
                )
            return
        await consumer.commit_delivered()

    def partitions_assigned(self) -> set[int]:
        """Return the partition numbers this worker serves."""
        if self._consumer is None:
            return set()
        try:
            assignment = self._consumer.assignment()
        except ConsumerNotStarted:
            return set()
        return {tp.partition for tp in assignment if tp.topic in self.sources}
