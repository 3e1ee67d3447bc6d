"""Of two claims on a partition number only the newer one can write its changelog and its lists."""

import asyncio
import gc
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from faust.types import TP

from stream import clients
from stream.errors import BrokerUnavailable, PartitionLost
from stream.fence import Claims, claim, fenced_topics, mark, renew
from stream.outbox import Outbox, record
from stream.settings import Settings
from stream.transactions import Transactions
from tests.support.kafka_broker import KafkaBroker, free_port

PARTITIONS = 2


@pytest.fixture
def settings(kafka: KafkaBroker) -> Settings:
    """Settings with a group and topics of their own; those that are fenced are there."""
    own = f"f{uuid.uuid4().hex[:8]}"
    made = Settings.load(brokers=kafka.bootstrap, group_id=own, topic_prefix=f"{own}.", partitions=PARTITIONS)
    kafka.create_topics(dict.fromkeys((*fenced_topics(made), made.topics.dead_letter), PARTITIONS))
    return made


@pytest.fixture
async def started() -> AsyncIterator[Callable[[Settings], Awaitable[tuple[Outbox, Claims]]]]:
    """Start outboxes whose batches are stamped by claims; all end with the test."""
    async with AsyncExitStack() as stack:

        async def start(settings: Settings) -> tuple[Outbox, Claims]:
            producer: AIOKafkaProducer = clients.producer(settings)
            claims = Claims(fenced_topics(settings))
            for part in (producer, producer._sender, producer._message_accumulator):
                part._txn_manager = claims
            await stack.enter_async_context(clients.running(producer, settings))
            return Outbox(lambda: producer), claims

        yield start


async def test_an_older_claim_cannot_write(settings: Settings, started) -> None:
    """Neither topic takes its batches, the newer claim goes on, and other partitions are not touched."""
    (older, mine), (newer, theirs) = await started(settings), await started(settings)
    for number, held in (await claim(settings, [0, 1])).items():
        mine.take(number, held)
    for topic in fenced_topics(settings):
        await older.send(topic, 0, [record(b"u", b"before")])
    theirs.take(0, (await claim(settings, [0]))[0])
    for topic in fenced_topics(settings):
        with pytest.raises(PartitionLost, match="partition 0"):
            await older.send(topic, 0, [record(b"u", b"of the past")])
        await newer.send(topic, 0, [record(b"u", b"after")])
        await older.send(topic, 1, [record(b"u", b"elsewhere")])
        assert [value for _, value in await _values(settings, topic)] == [b"before", b"after", b"elsewhere"]


async def test_a_claim_is_in_force_before_the_newer_owner_writes(settings: Settings, started) -> None:
    """So that what is read after the claim is all that there will ever be of before."""
    older, mine = await started(settings)
    for _ in range(20):
        mine.take(0, (await claim(settings, [0]))[0])
        await older.send(settings.topics.changelog, 0, [record(b"u", b"mine")])
        await claim(settings, [0])
        with pytest.raises(PartitionLost):
            await older.send(settings.topics.changelog, 0, [record(b"u", b"of the past")])


async def test_the_same_worker_claims_again(settings: Settings, started) -> None:
    """After each rebalance it begins a new sequence under a new epoch."""
    outbox, claims = await started(settings)
    for value in (b"1", b"2", b"3"):
        claims.take(0, (await claim(settings, [0]))[0])
        await outbox.send(settings.topics.changelog, 0, [record(b"u", value)] * 2)
    assert len(await _values(settings, settings.topics.changelog)) == 6


async def test_a_topic_that_is_not_fenced_needs_no_claim(settings: Settings, started) -> None:
    """Dead letters are written by whoever has one."""
    outbox, _ = await started(settings)
    await outbox.send(settings.topics.dead_letter, 0, [record(b"u", b"letter")])
    assert [value for _, value in await _values(settings, settings.topics.dead_letter)] == [b"letter"]


async def test_a_renewed_claim_goes_on(settings: Settings, started) -> None:
    """It stays what it was, so that batches on their way are not disturbed."""
    outbox, claims = await started(settings)
    claims.take(0, (await claim(settings, [0]))[0])
    await outbox.send(settings.topics.changelog, 0, [record(b"u", b"1")])
    await renew(settings, claims.held([0, 1]))
    await outbox.send(settings.topics.changelog, 0, [record(b"u", b"2")])
    assert len(await _values(settings, settings.topics.changelog)) == 2


async def test_a_claim_that_was_lost_is_not_renewed(settings: Settings) -> None:
    """The worker learns of it even if it has nothing to write."""
    held = await claim(settings, [0])
    await claim(settings, [0])
    with pytest.raises(PartitionLost, match="partition 0"):
        await renew(settings, held)


async def test_a_transaction_of_the_past_is_refused_in_one_line(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever it finds out, and nothing of it is reported besides the error."""
    transactions = Transactions(settings)
    await transactions.claim([0, 1])
    await claim(settings, [0, 1])
    for number, sent in ((0, [record(b"u", b"of the past")]), (1, [])):
        with pytest.raises(PartitionLost, match=f"partition {number}"):
            async with transactions.begun(number, {TP("events.click", number): 1}) as outbox:
                await outbox.send(settings.topics.changelog, number, sent)
    await transactions.close()
    del transactions, outbox
    gc.collect()
    assert [found.getMessage() for found in caplog.records if found.levelno >= logging.WARNING] == []
    assert await _values(settings, settings.topics.changelog) == []


async def test_where_one_claim_is_refused_no_other_goes_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would stop its producer any more."""

    async def refused(producer: AIOKafkaProducer, settings: Settings, number: int) -> None:
        if number == 1:
            raise PartitionLost("partition 1")
        await mark(producer, settings, number)

    monkeypatch.setattr("stream.fence.mark", refused)
    before = asyncio.all_tasks()
    with pytest.raises(PartitionLost, match="partition 1"):
        await claim(settings, [0, 1])
    assert asyncio.all_tasks() == before


async def test_an_absent_broker_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked until the limit, since one of several may only be restarting."""
    monkeypatch.setattr("stream.fence.CLAIM_LIMIT_S", 1.0)
    with pytest.raises(BrokerUnavailable, match="no partition could be claimed"):
        await claim(Settings.load(brokers=f"127.0.0.1:{free_port()}"), [0])


async def _values(settings: Settings, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    """Everything that stands in a topic, partition by partition."""
    found = []
    async with clients.running(clients.consumer(settings), settings) as consumer:
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            found += [
                (came.key, came.value) async for came in clients.read_range(consumer, place, 0, ends[place])
            ]
    return found
