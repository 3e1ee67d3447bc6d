"""One user's newest list, found in the topic of lists.

The key tells the partition only to the producer of the events, whose partitioner may be any
(Java's and librdkafka's differ), and a list lies where its event lay. So the partition that
Java's partitioner names is looked at first, then the others; each from its newest records
backwards, so that an active user is found in the first look.
"""

from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from stream import clients
from stream.partitioner import murmur2_hash
from stream.settings import Settings

FIRST_LOOK_RECORDS: Final = 10_000
"""How many records the first look backwards takes; each further one takes twice as many."""


async def newest_list(settings: Settings, user_id: str) -> bytes | None:
    """Give the user's list as it was sent; ``None`` where there is none, or the user was erased.

    Raises ``TopicError`` where the topic does not exist, ``BrokerUnavailable`` where no broker
    answers.
    """
    key = user_id.encode()
    partitions = await clients.topic_partitions(settings, settings.topics.recommendations)
    likely = partitions[murmur2_hash(key) % len(partitions)]
    partitions.sort(key=lambda partition: partition != likely)
    async with clients.running(clients.consumer(settings), settings) as client:
        async for partition, first, end in clients.ranges(client, partitions):
            record = await _newest(client, partition, key, first, end)
            if record is not None:
                value: bytes | None = record.value
                return value
    return None


async def _newest(
    client: AIOKafkaConsumer, partition: TopicPartition, key: bytes, first: int, end: int
) -> ConsumerRecord[bytes, bytes] | None:
    """Give the last record of the key in a partition, looking backwards from its end."""
    look = FIRST_LOOK_RECORDS
    while end > first:
        start = max(first, end - look)
        newest = None
        async for record in clients.read_range(client, partition, start, end):
            if record.key == key:
                newest = record
        if newest is not None:
            return newest
        end, look = start, look * 2
    return None
