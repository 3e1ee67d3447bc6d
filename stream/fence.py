"""Who may write the changelog and the lists of a partition number: one worker at a time.

A worker that stood still for longer than the session timeout (a machine that slept, a container
that was frozen) has lost its partitions and does not know it: what it had in hand goes out when it
wakes. Only the broker can refuse that. So a worker that is given a partition number first claims
it: it asks for the producer id of the number's transactional id, which raises the id's epoch, and
ends empty transactions over the two partitions, whose markers bring the new epoch to their
leaders. From then on a leader refuses record batches of an older epoch. Nothing is read from the
changelog before, so what is restored is all that was and ever will be written before it.

The records themselves are no part of a transaction, unless ``stream.transactions`` puts them in one:
they carry the id and epoch of the claim and cost what those of any idempotent producer do.

Written against aiokafka 0.14.0; the members with an underscore that are used here are its own.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerFenced
from aiokafka.producer.transaction_manager import PidAndEpoch, TransactionManager

from stream import clients
from stream.errors import BrokerUnavailable, FreshetError, PartitionLost
from stream.settings import Settings

CLAIM_LIMIT_S: Final = 60.0
RETRY_S: Final = 0.5
AT_ONCE: Final = 8

#: A coordinator forgets a transactional id without transactions after seven days by default, and a
#: leader an idle producer after one. A claim that is forgotten no longer keeps anybody out.
RENEWAL_INTERVAL_S: Final = 6 * 3_600.0

_NO_LIMIT_MS: Final = 2**31 - 1


class Claims(TransactionManager):  # type: ignore[misc]  # aiokafka ships no types
    """Gives each record batch its producer id, epoch and sequence number.

    Batches for a topic of ``fenced`` carry those of the claim on their partition number, which must
    have been made before any is sent. All others carry the producer's own.
    """

    def __init__(self, fenced: Collection[str]) -> None:
        """Begin without a claim."""
        super().__init__(None, _NO_LIMIT_MS)
        self._fenced = fenced
        self._claimed: dict[int, PidAndEpoch] = {}
        self._stamping: PidAndEpoch | None = None

    def take(self, number: int, claim: PidAndEpoch) -> None:
        """Write a partition number under a claim from now on; sequence numbers begin anew."""
        self._claimed[number] = claim
        for topic in self._fenced:
            self._sequence_numbers.pop(TopicPartition(topic, number), None)

    def held(self, numbers: Iterable[int]) -> dict[int, PidAndEpoch]:
        """Return the claims on those of these partition numbers that were claimed."""
        return {number: self._claimed[number] for number in numbers if number in self._claimed}

    def sequence_number(self, tp: TopicPartition) -> int:
        """Return a batch's sequence number; the client asks for id and epoch of the same batch next."""
        self._stamping = self._claimed[tp.partition] if tp.topic in self._fenced else None
        return int(super().sequence_number(tp))

    @property
    def producer_id(self) -> int:
        """The producer id of the batch that is being stamped."""
        return int((self._stamping or self._pid_and_epoch).pid)

    @property
    def producer_epoch(self) -> int:
        """The epoch of the batch that is being stamped."""
        return int((self._stamping or self._pid_and_epoch).epoch)


def fenced_topics(settings: Settings) -> tuple[str, str]:
    """Return the topics of which only the owner of a partition number may write that number."""
    return settings.topics.changelog, settings.topics.recommendations


def transactional_id(settings: Settings, number: int) -> str:
    """Return the id whose epoch counts the owners of a partition number."""
    return f"{settings.group_id}-{number}"


async def claim(settings: Settings, numbers: Iterable[int]) -> dict[int, PidAndEpoch]:
    """Return a claim on each partition number once no older one can write any more.

    Raises ``PartitionLost`` where another worker claims at the same time and comes later,
    ``BrokerUnavailable`` where it takes longer than ``CLAIM_LIMIT_S``, and ``FreshetError`` for what a
    broker refuses.
    """
    async with AsyncExitStack() as stack:
        producers = await claims_open(settings, numbers, stack)
        return {number: producer._txn_manager._pid_and_epoch for number, producer in producers.items()}


async def claims_open(
    settings: Settings, numbers: Iterable[int], stack: AsyncExitStack, **options: Any
) -> dict[int, AIOKafkaProducer]:
    """Return the producers that hold a claim on each partition number; ``stack`` stops them.

    Raises as ``claim`` does. ``options`` are those of the client.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> tuple[int, AIOKafkaProducer]:
        async with slots:
            return number, await _claimed(settings, number, stack, options)

    tasks = [asyncio.create_task(one(number)) for number in numbers]
    try:
        async with asyncio.timeout(CLAIM_LIMIT_S):
            return dict(await asyncio.gather(*tasks))
    except TimeoutError:
        raise BrokerUnavailable(
            f"no partition could be claimed within {CLAIM_LIMIT_S:.0f} s at {settings.brokers}; "
            "look at the brokers' log, and whether __transaction_state has its replicas "
            "(transaction.state.log.replication.factor)"
        ) from None
    finally:
        # A claim made after another was refused would come too late for the stack to stop it.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def renew(settings: Settings, claims: dict[int, PidAndEpoch]) -> None:
    """Keep claims from being forgotten. Raises ``PartitionLost`` where another worker has claimed."""
    for number, held in claims.items():
        producer = _producer(settings, number)
        producer._txn_manager.set_pid_and_epoch(*held)
        async with _running(producer, settings, number):
            await mark(producer, settings, number)


@asynccontextmanager
async def _running(producer: AIOKafkaProducer, settings: Settings, number: int) -> AsyncIterator[None]:
    """Start and stop a producer of one claim, and name what it means when that is fenced."""
    try:
        async with clients.running(producer, settings):
            yield
    except FreshetError as error:
        if isinstance(error.__cause__, ProducerFenced):
            raise lost(number) from error
        raise


def lost(number: int) -> PartitionLost:
    """Say that another worker has claimed a partition number."""
    return PartitionLost(
        f"another worker has taken over partition {number}, because this one was silent for longer than "
        "FRESHET_SESSION_TIMEOUT_S; it ends so that nothing of the past is written: start it again"
    )


async def _claimed(
    settings: Settings, number: int, stack: AsyncExitStack, options: Mapping[str, Any]
) -> AIOKafkaProducer:
    while True:
        producer = _producer(settings, number, **options)
        try:
            async with AsyncExitStack() as trying:
                await trying.enter_async_context(_running(producer, settings, number))
                # The answer to a commit does not wait for its markers; that to the next transaction does.
                await mark(producer, settings, number)
                await mark(producer, settings, number)
                stack.push_async_exit(trying.pop_all())
                return producer
        except BrokerUnavailable:
            await asyncio.sleep(RETRY_S)


def _producer(settings: Settings, number: int, **options: Any) -> AIOKafkaProducer:
    return clients.producer(settings, transactional_id=transactional_id(settings, number), **options)


async def mark(producer: AIOKafkaProducer, settings: Settings, number: int) -> None:
    """End an empty transaction over the partitions of a number."""
    await producer.begin_transaction()
    for topic in fenced_topics(settings):
        producer._txn_manager.maybe_add_partition_to_txn(TopicPartition(topic, number))
    await producer.commit_transaction()
