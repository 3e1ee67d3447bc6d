"""Lists, changelog and offsets of a batch in one Kafka transaction, for ``exactly_once``.

Each partition number that a worker owns has a transactional producer of its own, with the
transactional id of its claim (``stream.fence``), so that a worker that slept is fenced as in the other
mode and what it had begun is aborted before its successor reads the changelog.

Written against aiokafka 0.14.0; the members with an underscore that are used here are its own.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced
from faust.types import TP

from stream.errors import FreshetError
from stream.fence import claims_open, lost, mark
from stream.outbox import Outbox, look_at_failures
from stream.rights import refusal
from stream.settings import Settings

BATCH_BYTES: Final = 512 * 1024


class Transactions:
    """The transactions of the partition numbers this worker owns, one at a time for each."""

    def __init__(self, settings: Settings) -> None:
        """Begin with none."""
        self._settings = settings
        self._open = AsyncExitStack()
        self._producers: dict[int, AIOKafkaProducer] = {}
        self._turns: dict[int, asyncio.Lock] = {}

    async def claim(self, numbers: Iterable[int]) -> None:
        """Own these partition numbers and no others from now on. Raises as ``fence.claim`` does."""
        await self.close()
        self._producers = await claims_open(self._settings, numbers, self._open, max_batch_size=BATCH_BYTES)
        self._turns = {number: asyncio.Lock() for number in self._producers}

    async def renew(self) -> None:
        """Keep the claims from being forgotten. Raises ``PartitionLost``."""
        for number, producer in self._producers.items():
            async with self._turns[number], _named(number):
                await mark(producer, self._settings, number)

    async def close(self) -> None:
        """Stop the producers; what is not committed is aborted by whoever claims next."""
        producers, self._producers = self._open, {}
        self._open = AsyncExitStack()
        await producers.aclose()

    @asynccontextmanager
    async def begun(self, number: int, positions: Mapping[TP, int]) -> AsyncIterator[Outbox]:
        """Give an outbox whose records are committed together with ``positions`` at the end.

        Raises ``PartitionLost`` where another worker has claimed the number, and ``FreshetError`` where
        the transaction cannot be ended; then nothing of it is committed, and the worker must end.
        """
        producer = self._producers[number]
        async with self._turns[number], _named(number):
            await producer.begin_transaction()
            try:
                yield Outbox(lambda: producer, tries_again=False)
                if positions:
                    offsets = {TopicPartition(*place): offset for place, offset in positions.items()}
                    await producer.send_offsets_to_transaction(offsets, self._settings.group_id)
                await producer.commit_transaction()
            except (KafkaError, FreshetError):
                look_at_failures(_told(producer))
                raise


def _told(producer: AIOKafkaProducer) -> Iterator[asyncio.Future[None]]:
    """Give what the client tells of a failure besides the call that raises it.

    Those who wait for the transaction's end, and for a batch to be on its way; nobody does any more.
    """
    yield producer._txn_manager.wait_for_transaction_end()
    for batches in producer._message_accumulator._batches.values():
        yield from (batch._drain_waiter for batch in batches)


@asynccontextmanager
async def _named(number: int) -> AsyncIterator[None]:
    """Say in one line what an error of a transaction means."""
    try:
        yield
    except ProducerFenced as error:
        raise lost(number) from error
    except KafkaError as error:
        refused = refusal(error, "Write")
        if refused is not None:
            raise refused from error
        raise FreshetError(
            f"a transaction over partition {number} could not be committed ({error!r}); "
            "nothing of it is seen, and the worker ends: start it again"
        ) from error
