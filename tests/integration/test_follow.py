"""The follower of a compacted topic on a real broker: it has read what is there at once, and reads on."""

import asyncio
import uuid

from aiokafka.structs import ConsumerRecord
from confluent_kafka import Producer

from stream.follow import Follower
from stream.settings import Settings
from tests.support.kafka_broker import KafkaBroker

PARTITIONS = 32
#: How long a broker lets a fetch wait for the first record, as aiokafka asks by default.
FETCH_WAIT_S = 0.5


async def _failed(error: BaseException) -> None:
    raise error


def test_an_empty_topic_is_read_without_a_wait_for_each_partition(kafka: KafkaBroker):
    """A worker is not ready before; a request that waits behind a fetch of nothing takes half a second."""
    topic = f"follow-{uuid.uuid4()}"
    kafka.create_topics({topic: PARTITIONS})
    read: list[tuple[bytes | None, bytes | None]] = []
    all_there = asyncio.Event()

    async def handle(record: ConsumerRecord[bytes, bytes]) -> None:
        read.append((record.key, record.value))
        if len(read) == PARTITIONS:
            all_there.set()

    async def run() -> None:
        follower = Follower(Settings.load(brokers=kafka.bootstrap), topic, handle)
        follower.start(_failed)
        await asyncio.wait_for(follower.caught_up.wait(), PARTITIONS * FETCH_WAIT_S / 2)
        assert read == []
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        for number in range(PARTITIONS):
            producer.produce(topic, key=b"%d" % number, value=b"later", partition=number)
        producer.flush(30)
        await asyncio.wait_for(all_there.wait(), 30)
        await follower.stop()

    asyncio.run(run())
    assert sorted(read) == sorted((b"%d" % number, b"later") for number in range(PARTITIONS))
