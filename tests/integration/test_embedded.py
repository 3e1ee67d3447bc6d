"""The embedded broker, used by the client that the worker uses."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream.embedded import RETAINED_BYTES, EmbeddedBroker
from stream.errors import FreshetError, TopicError

# A group that was joined before waits for this less one second; see the broker's docstring.
SESSION_MS = 1500
LIMIT_S = 20


@pytest.fixture
async def producer(embedded: EmbeddedBroker):
    """A producer with the guarantees a worker asks for."""
    client = AIOKafkaProducer(bootstrap_servers=embedded.bootstrap, acks="all", enable_idempotence=True)
    await client.start()
    yield client
    await client.stop()


async def read(embedded: EmbeddedBroker, topic: str, count: int, *, commit: bool) -> list:
    """Read ``count`` records of ``topic`` as a member of the group `readers`."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=embedded.bootstrap,
        group_id="readers",
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=SESSION_MS // 3,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        check_crcs=True,
    )
    await consumer.start()
    try:
        async with asyncio.timeout(LIMIT_S):
            records = [await consumer.getone() for _ in range(count)]
        if commit:
            await consumer.commit()
    finally:
        await consumer.stop()
    return records


async def test_topics_have_the_partitions_asked_for():
    """The partition counts of the mapping are those that clients see."""
    with EmbeddedBroker({"a": 1, "b": 8}) as broker:
        client = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
        await client.start()
        counts = {name: len(await client.partitions_for(name)) for name in ("a", "b")}
        await client.stop()
    assert counts == {"a": 1, "b": 8}


async def test_records_come_back_as_they_were_sent(embedded: EmbeddedBroker, producer: AIOKafkaProducer):
    """Key, value, headers, timestamp and the null value survive the broker, checksums verified."""
    embedded.create_topics({"t": 1})
    sent = [(b"k", b"v", [("h", b"\xff")], 1_511_544_070_123), (b"k", None, [], 1_511_544_070_124)]
    for key, value, headers, timestamp_ms in sent:
        await producer.send_and_wait("t", value, key=key, headers=headers, timestamp_ms=timestamp_ms)
    records = await read(embedded, "t", 2, commit=False)
    assert [(r.key, r.value, list(r.headers), r.timestamp) for r in records] == sent


async def test_group_goes_on_after_its_committed_offset(embedded: EmbeddedBroker, producer: AIOKafkaProducer):
    """What a group committed is not read again by it, what it did not commit is."""
    embedded.create_topics({"t": 1})
    for value in (b"1", b"2", b"3"):
        await producer.send_and_wait("t", value)
    first = await read(embedded, "t", 1, commit=False)
    again = await read(embedded, "t", 1, commit=True)
    assert [first[0].value, again[0].value] == [b"1", b"1"]
    rest = await read(embedded, "t", 1, commit=False)
    assert rest[0].value == b"2"


async def test_batch_built_by_hand_is_one_append(embedded: EmbeddedBroker):
    """A batch of the worker's kind gets consecutive offsets from the one that was acknowledged."""
    embedded.create_topics({"t": 2})
    client = AIOKafkaProducer(bootstrap_servers=embedded.bootstrap, acks="all", compression_type="gzip")
    await client.start()
    batch = client.create_batch()
    for number in range(5):
        batch.append(key=None, value=b"%d" % number, timestamp=None)
    acknowledged = await (await client.send_batch(batch, "t", partition=1))
    await client.stop()
    records = await read(embedded, "t", 5, commit=False)
    assert acknowledged.offset == 0
    assert [(r.partition, r.offset, r.value) for r in records] == [(1, n, b"%d" % n) for n in range(5)]


async def test_partition_keeps_its_newest_five_mebibytes(
    embedded: EmbeddedBroker, producer: AIOKafkaProducer
):
    """Past the limit the oldest batches are dropped: the demo must read as fast as it writes."""
    embedded.create_topics({"t": 1})
    record_bytes, count = 100_000, 80
    for _ in range(count):
        await producer.send_and_wait("t", bytes(record_bytes))
    consumer = AIOKafkaConsumer(bootstrap_servers=embedded.bootstrap)
    await consumer.start()
    partition = TopicPartition("t", 0)
    begin = (await consumer.beginning_offsets([partition]))[partition]
    end = (await consumer.end_offsets([partition]))[partition]
    await consumer.stop()
    assert end == count
    assert abs((end - begin) * record_bytes - RETAINED_BYTES) <= 2 * record_bytes


def test_topic_that_exists_is_refused_by_name(embedded: EmbeddedBroker):
    """Creating a topic twice is an error that names it."""
    embedded.create_topics({"events.click": 4})
    with pytest.raises(TopicError, match=r"events\.click"):
        embedded.create_topics({"events.click": 8})


def test_topic_without_partitions_is_refused():
    """A partition count below 1 is an error, not a topic that nobody can use."""
    with pytest.raises(TopicError, match="at least 1"):
        EmbeddedBroker({"t": 0})


def test_closed_broker_says_so():
    """After the end of the block nothing can be created, and closing again is allowed."""
    with EmbeddedBroker({}) as broker:
        pass
    broker.close()
    with pytest.raises(FreshetError, match="closed"):
        broker.create_topics({"t": 1})


async def test_two_brokers_share_nothing():
    """Each broker has its own address and topics."""
    with EmbeddedBroker({"t": 1}) as one, EmbeddedBroker({"t": 2}) as two:
        assert one.bootstrap != two.bootstrap
        client = AIOKafkaProducer(bootstrap_servers=two.bootstrap)
        await client.start()
        partitions = await client.partitions_for("t")
        await client.stop()
    assert len(partitions) == 2
