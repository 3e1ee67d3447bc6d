"""Whole record batches to Kafka, acknowledged by all replicas, retried while a broker is away."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from logging import getLogger
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced, RecordTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from stream.fence import lost
from stream.rights import refusal

log = getLogger(__name__)

RETRY_FIRST_S = 0.2
RETRY_MOST_S = 5.0

Headers = list[tuple[str, bytes]]

Record = tuple[bytes | None, bytes | None, Headers, int | None]
"""One record to send: key, value, headers, and the time in milliseconds (None: the client sets it)."""

Pair = tuple[bytes | None, bytes | None]
"""Key and value of one of many records of one time without headers: each list, each changed user."""

Delivery = tuple[asyncio.Future[RecordMetadata], int]
"""A batch on its way, and how many records it has."""

#: Adds records from a number on until the batch is full; returns how many. What a record is to it, it knows.
Fill = Callable[[BatchBuilder, Sequence[Any], int], int]


def record(
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes]] = (),
    timestamp_ms: int | None = None,
) -> Record:
    """Return a record to send."""
    return key, value, list(headers), timestamp_ms


class Outbox:
    """Sends records through a producer and returns when all replicas have them.

    While the broker is away ``reachable`` is False and the same batches are sent again until
    they are taken, so a record can be there twice and is never missing.
    """

    def __init__(self, producer: Callable[[], AIOKafkaProducer], *, tries_again: bool = True) -> None:
        """Take how to get the producer, which is made anew when Faust restarts its own.

        With ``tries_again`` False an error is raised, as in a transaction, which would hold both tries.
        """
        self._producer = producer
        self._tries_again = tries_again
        self._turns: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)
        self.reachable = True

    async def send(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        """Send the records in their order; returns the offset of the last (-1 for none).

        Calls for one partition take turns in the order in which they were made: the client would
        mix the batches of two, and one that is sent again would stand behind the other. Raises
        PartitionLost where another worker has claimed the partition, NotAllowed for want of a right, and
        KafkaError where trying again cannot help.
        """
        return await self._in_turn(topic, partition, records, _fill)

    async def send_pairs(self, topic: str, partition: int, pairs: Sequence[Pair], timestamp_ms: int) -> int:
        """Send records of one time without headers as ``send`` does, with no tuple more for each."""
        return await self._in_turn(topic, partition, pairs, partial(_fill_pairs, timestamp_ms=timestamp_ms))

    async def _in_turn(self, topic: str, partition: int, records: Sequence[Any], fill: Fill) -> int:
        async with self._turns[topic, partition]:
            return await self._send(topic, partition, records, fill)

    async def _send(self, topic: str, partition: int, records: Sequence[Any], fill: Fill) -> int:
        last_offset = -1
        sent = 0
        wait_s = RETRY_FIRST_S
        while sent < len(records):
            try:
                for delivery, count in await self._queued(topic, partition, records[sent:], fill):
                    metadata = await delivery
                    sent += count
                    last_offset = metadata.offset + count - 1
                self.reachable = True
            except ProducerFenced as error:
                raise lost(partition) from error
            except KafkaError as error:
                if not (error.retriable and self._tries_again):
                    raise refusal(error, "Write") or error from error
                self._note_failure(topic, partition, error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, RETRY_MOST_S)
        return last_offset

    async def _queued(self, topic: str, partition: int, records: Sequence[Any], fill: Fill) -> list[Delivery]:
        """Queue the records in as few batches as the size limit allows: deliveries and their lengths.

        The client sends the batches of a partition one after the other. All are waited for
        before any is sent again, so that a later list never stands before an earlier one.
        """
        producer = self._producer()
        deliveries: list[Delivery] = []
        begun = 0
        try:
            while begun < len(records):
                builder = producer.create_batch()
                count = fill(builder, records, begun)
                if not count:
                    _, value, *_ = records[begun]
                    raise RecordTooLargeError(f"a record of {len(value or b'')} bytes for {topic}")
                deliveries.append((await producer.send_batch(builder, topic, partition=partition), count))
                begun += count
        except KafkaError:
            await _settled(deliveries)
            raise
        await _settled(deliveries)
        return deliveries

    def _note_failure(self, topic: str, partition: int, error: KafkaError) -> None:
        if self.reachable:
            self.reachable = False
            log.warning(
                "the broker does not take records; trying again",
                extra={"topic": topic, "partition": partition, "error": repr(error)},
            )


async def _settled(deliveries: Iterable[Delivery]) -> None:
    """Return when each has come to its end, and look at what it failed with.

    The caller is told of one failure; asyncio would report the others, which nobody looks at.
    """
    futures = [future for future, _ in deliveries]
    if futures:
        await asyncio.wait(futures)
    look_at_failures(futures)


def look_at_failures(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Look at what these failed with, which is known: asyncio reports a failure that nobody looks at."""
    for future in futures:
        if future.done() and not future.cancelled():
            future.exception()


def _fill(builder: BatchBuilder, records: Sequence[Record], begun: int) -> int:
    """Add records until the batch is full.

    Goes to the builder's own builder: the wrapper's call for each record is a third of the cost.
    """
    append = builder._builder.append
    count = len(records) - begun
    for number, (key, value, headers, timestamp_ms) in enumerate(islice(records, begun, None)):
        if append(number, timestamp_ms, key, value, headers) is None:
            count = number
            break
    builder._relative_offset = count
    return count


def _fill_pairs(builder: BatchBuilder, pairs: Sequence[Pair], begun: int, *, timestamp_ms: int) -> int:
    """Add records of one time without headers, as ``_fill`` does."""
    append = builder._builder.append
    none: Headers = []
    count = len(pairs) - begun
    for number, (key, value) in enumerate(islice(pairs, begun, None)):
        if append(number, timestamp_ms, key, value, none) is None:
            count = number
            break
    builder._relative_offset = count
    return count
