"""What the event topics hold, as a frame to train on: the same events, refused the same way."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
from aiokafka import AIOKafkaConsumer, TopicPartition

from models.behavior import Behavior
from stream import clients
from stream.columns import EVENT_SCHEMA, ITEM_SCHEMA
from stream.errors import Rejected
from stream.messages import MAX_TIMESTAMP_MS, decode_event, decode_item
from stream.settings import Settings


@dataclass(frozen=True)
class History:
    """Events and items read from Kafka, and up to where.

    ``offsets`` is, for each topic, the end of each partition when reading began; ``refused``
    counts the records that no worker would take either.
    """

    events: pl.DataFrame
    items: pl.DataFrame
    offsets: dict[str, list[int]]
    refused: int


async def read_history(settings: Settings, *, progress: Callable[[int], None] | None = None) -> History:
    """Read everything the event topics and the items topic hold now; takes part in no group.

    ``progress`` is called with the number of records read since the last call. Raises
    ``TopicError`` where a topic is missing and ``BrokerUnavailable`` where no broker answers.
    """
    names = (*settings.topics.events, settings.topics.items)
    partitions = {name: await clients.topic_partitions(settings, name) for name in names}
    reading = _Reading(settings)
    async with clients.running(clients.consumer(settings), settings) as consumer:
        every = [partition for found in partitions.values() for partition in found]
        consumer.assign(every)
        starts = await consumer.beginning_offsets(every)
        ends = await consumer.end_offsets(every)
        for partition in every:
            # Only one partition is fetched at a time: what is read stays in the order of its offsets.
            consumer.pause(*(other for other in every if other != partition))
            consumer.resume(partition)
            count = await reading.partition(consumer, partition, starts[partition], ends[partition])
            if progress is not None:
                progress(count)
    offsets = {name: [ends[partition] for partition in found] for name, found in partitions.items()}
    return reading.history(offsets)


class _Reading:
    """Events and items column by column; frames are made of them once."""

    def __init__(self, settings: Settings) -> None:
        self._behaviors = {name: Behavior(number) for number, name in enumerate(settings.topics.events)}
        self._columns: dict[str, list[object]] = {name: [] for name in EVENT_SCHEMA}
        self._categories: dict[str, str | None] = {}
        self._refused = 0

    async def partition(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, start: int, end: int
    ) -> int:
        """Read a partition from ``start`` to before ``end``; returns how many records there were."""
        count = 0
        behavior = self._behaviors.get(partition.topic)
        async for record in clients.read_range(consumer, partition, start, end):
            count += 1
            try:
                if behavior is None:
                    item_id, item = decode_item(record.key, record.value)
                    self._categories[item_id] = None if item is None else item.category_id
                else:
                    self._add(record.key, record.value, behavior)
            except Rejected:
                self._refused += 1
        return count

    def _add(self, key: bytes | None, value: bytes | None, behavior: Behavior) -> None:
        event = decode_event(key, value, now_ms=MAX_TIMESTAMP_MS, max_future_ms=0)
        columns = self._columns
        columns["user_id"].append(event.user_id)
        columns["item_id"].append(event.item_id)
        columns["category_id"].append(event.category_id)
        columns["behavior"].append(int(behavior))
        columns["timestamp"].append(event.timestamp)

    def history(self, offsets: dict[str, list[int]]) -> History:
        """Return what was read."""
        items = pl.DataFrame(
            {"item_id": list(self._categories), "category_id": list(self._categories.values())},
            schema=ITEM_SCHEMA,
        )
        events = pl.DataFrame(self._columns, schema=EVENT_SCHEMA)
        return History(events, items, offsets, self._refused)
