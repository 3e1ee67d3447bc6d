"""What the event topics hold, as a frame to train on: the same events, refused the same way."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
from aiokafka import AIOKafkaConsumer, TopicPartition

from models.behavior import Behavior
from stream import clients
from stream.columns import EVENT_SCHEMA, ITEM_SCHEMA
from stream.errors import Rejected
from stream.exclusion import Exclusions
from stream.messages import MAX_TIMESTAMP_MS, decode_event, decode_forget, decode_item
from stream.settings import Settings

FRAME_EVENTS = 100_000
"""As Python objects an event takes some 400 bytes, in a frame a tenth of that."""


@dataclass(frozen=True)
class History:
    """Events and items read from Kafka, and up to where; nothing of erased users up to their requests.

    ``offsets`` is, for each topic, the end of each partition when reading began; ``refused``
    counts the records that no worker would take either.
    """

    events: pl.DataFrame
    items: pl.DataFrame
    offsets: dict[str, list[int]]
    refused: int


async def read_history(settings: Settings, *, progress: Callable[[int], None] | None = None) -> History:
    """Read everything the event topics and the items topic hold now; see ``HistoryReader``."""
    return await HistoryReader(settings).read(progress=progress)


class HistoryReader:
    """Reads the topics, and each time goes on from where it stopped; takes part in no group.

    What is older than ``horizon_ms`` before the newest event is let go, and of more than
    ``max_events`` the oldest, so that memory is bounded whatever the topics hold.
    """

    def __init__(
        self, settings: Settings, *, horizon_ms: int | None = None, max_events: int | None = None
    ) -> None:
        """Prepare; nothing is read yet."""
        self._settings = settings
        self._positions: dict[TopicPartition, int] = {}
        self._reading = _Reading(settings, horizon_ms, max_events)

    async def read(self, *, progress: Callable[[int], None] | None = None) -> History:
        """Read what came since the last time.

        ``progress`` is called with the number of records read since the last call. Raises
        ``TopicError`` where a topic is missing and ``BrokerUnavailable`` where no broker answers.
        """
        settings, positions = self._settings, self._positions
        names = (*settings.topics.events, settings.topics.items, settings.topics.forget)
        partitions = {name: await clients.topic_partitions(settings, name) for name in names}
        async with clients.running(clients.consumer(settings), settings) as consumer:
            ends = {}
            every = [partition for found in partitions.values() for partition in found]
            async for partition, first, end in clients.ranges(consumer, every):
                start = max(first, positions.get(partition, 0))
                positions[partition] = start
                count = await self._reading.partition(consumer, partition, positions, end)
                positions[partition] = max(start, end)
                ends[partition] = end
                if progress is not None:
                    progress(count)
        offsets = {name: [ends[partition] for partition in found] for name, found in partitions.items()}
        return self._reading.history(offsets)


class _Reading:
    """Events and items column by column; frames are made of them now and then."""

    def __init__(self, settings: Settings, horizon_ms: int | None, max_events: int | None) -> None:
        self._behaviors = {name: Behavior(number) for number, name in enumerate(settings.topics.events)}
        self._horizon_ms, self._max_events = horizon_ms, max_events
        self._columns: dict[str, list[object]] = {name: [] for name in EVENT_SCHEMA}
        self._frames = [pl.DataFrame(schema=EVENT_SCHEMA)]
        self._categories: dict[str, str | None] = {}
        self._refused = 0
        self._forget_topic = settings.topics.forget
        self._requests: dict[str, int] = {}
        self._exclusions = Exclusions(settings)

    async def partition(
        self,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        positions: dict[TopicPartition, int],
        end: int,
    ) -> int:
        """Read a partition from its position to before ``end``; returns how many records there were.

        The position moves along, so that a reading that breaks off repeats nothing.
        """
        count, start = 0, positions[partition]
        behavior = self._behaviors.get(partition.topic)
        async for record in clients.read_range(consumer, partition, start, end):
            count += 1
            positions[partition] = record.offset + 1
            try:
                if partition.topic == self._forget_topic:
                    user_id = decode_forget(record.key)
                    self._requests[user_id] = max(record.timestamp, self._requests.get(user_id, 0))
                elif behavior is None:
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
        if len(columns["timestamp"]) >= FRAME_EVENTS:
            self._frames.append(self._emptied())
            if sum(frame.height for frame in self._frames) > 2 * (self._max_events or math.inf):
                self._frames = [self._bounded(pl.concat(self._frames))]

    def _emptied(self) -> pl.DataFrame:
        """Return the columns as a frame, and begin them anew."""
        frame = pl.DataFrame(self._columns, schema=EVENT_SCHEMA)
        self._columns = {name: [] for name in EVENT_SCHEMA}
        return frame

    def _bounded(self, events: pl.DataFrame) -> pl.DataFrame:
        """Let go of what is beyond the horizon, and of the oldest of too many."""
        if events.is_empty():
            return events
        if self._horizon_ms is not None:
            events = events.filter(pl.col("timestamp") >= pl.col("timestamp").max() - self._horizon_ms)
        most = self._max_events
        if most is not None and events.height > most:
            oldest = events["timestamp"].sort()[events.height - most]
            events = events.filter(pl.col("timestamp") >= oldest)
        return events

    def history(self, offsets: dict[str, list[int]]) -> History:
        """Return what was read and kept."""
        self._exclusions.add(self._requests)
        read = pl.concat([*self._frames, self._emptied()])
        self._frames = [self._bounded(self._exclusions.without(read))]
        items = pl.DataFrame(
            {"item_id": list(self._categories), "category_id": list(self._categories.values())},
            schema=ITEM_SCHEMA,
        )
        return History(self._frames[0], items, offsets, self._refused)
