"""Reads a compacted topic from its beginning and goes on with it: every worker needs all of it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from logging import getLogger

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from stream import clients
from stream.errors import BrokerUnavailable
from stream.rights import refusal
from stream.settings import Settings

log = getLogger(__name__)

POLL_MS = 500
FIRST_POLL_MS = 100
RETRY_S = 1.0

Handle = Callable[["ConsumerRecord[bytes, bytes]"], Awaitable[None]]


class Follower:
    """One topic, all partitions, in no group; ``caught_up`` is set once what was there is read."""

    def __init__(self, settings: Settings, topic: str, handle: Handle) -> None:
        """Prepare; ``handle`` is awaited for each record in order."""
        self._settings = settings
        self._topic = topic
        self._handle = handle
        self._task: asyncio.Task[None] | None = None
        self.caught_up = asyncio.Event()

    def start(self, failed: Callable[[BaseException], Awaitable[None]]) -> None:
        """Follow until ``stop``; ``failed`` is awaited with what a handler raised."""
        self._task = asyncio.create_task(self._run(failed))

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, failed: Callable[[BaseException], Awaitable[None]]) -> None:
        positions: dict[TopicPartition, int] = {}
        while True:
            try:
                await self._follow(positions)
            except (KafkaError, BrokerUnavailable) as error:
                refused = refusal(error, "Read")
                if refused is not None:
                    await failed(refused)
                    return
                log.warning("following is interrupted", extra={"topic": self._topic, "error": repr(error)})
                await asyncio.sleep(RETRY_S)
            except Exception as error:  # noqa: BLE001 - it goes to the worker, which ends
                await failed(error)
                return

    async def _follow(self, positions: dict[TopicPartition, int]) -> None:
        """Read on from ``positions``, which moves along, so that an interruption repeats nothing."""
        # Not the consumer's own metadata, which knows no topic before one is assigned.
        partitions = await clients.topic_partitions(self._settings, self._topic)
        consumer = clients.consumer(self._settings, auto_offset_reset="earliest")
        try:
            await clients.start(consumer)
            # Asked before anything is fetched: a broker answers a connection's requests one by one, and lets
            # a fetch of what is not there wait.
            first = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
            consumer.assign(partitions)
            for partition in partitions:
                consumer.seek(partition, positions.get(partition, first[partition]))
            while True:
                # A first look, however little there is to read: the offsets alone may be seen without Read.
                fetched = await consumer.getmany(
                    timeout_ms=POLL_MS if self.caught_up.is_set() else FIRST_POLL_MS
                )
                for partition, records in fetched.items():
                    for record in records:
                        await self._handle(record)
                        positions[partition] = record.offset + 1
                if not self.caught_up.is_set():
                    reached = [await consumer.position(one) >= ends[one] for one in partitions]
                    if all(reached):
                        self.caught_up.set()
        finally:
            await consumer.stop()
