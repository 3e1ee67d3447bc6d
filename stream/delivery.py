"""Events of a frame to their topics: encoded, put into record batches, acknowledged by all replicas.

Each event goes to the topic of its behaviour, with the user as key. The record's timestamp is
the time it is sent, not the event time, which the value holds: topics are kept by that time,
and a broker deletes last year's events within its next round of retention, half a minute after
they arrive. The partition is the one that Kafka's own clients choose for the key, so a user has
one partition number in all four topics, as the worker needs it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from functools import lru_cache

import polars as pl
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, RequestTimedOutError
from aiokafka.producer.message_accumulator import BatchBuilder

from stream import clients
from stream.errors import BrokerUnavailable, FreshetError, TopicError
from stream.messages import Event, encode
from stream.ordering import ROW
from stream.partitioner import murmur2_hash
from stream.settings import Settings
from stream.topics import check_present, topic_specs

MAX_BATCH_BYTES = 256 * 1024
# The hash of a key costs more in Python than all else that is done for an event.
USERS_REMEMBERED = 1 << 18
_OPTIONAL = ("category_id", "session_id", "event_id")


def delivery_producer(settings: Settings) -> AIOKafkaProducer:
    """A producer for ``Delivery``, to be run with ``clients.running``."""
    return clients.producer(settings, max_batch_size=MAX_BATCH_BYTES)


async def event_partitions(settings: Settings) -> int:
    """The partition count that the four event topics share.

    Raises ``TopicError`` when one is missing or has another count: its users would go astray.
    """
    topics = settings.topics.events
    async with clients.running(clients.admin(settings), settings) as client:
        counts = await clients.partition_counts(client)
    check_present([spec for spec in topic_specs(settings) if spec.name in topics], counts)
    if len({counts[topic] for topic in topics}) > 1:
        shown = ", ".join(f"{topic} has {counts[topic]}" for topic in topics)
        raise TopicError(f"the event topics must have one partition count, but {shown}; make them anew")
    return counts[topics[0]]


class Delivery:
    """Sends events and counts the acknowledged ones: ``delivered`` in all, ``by_topic`` each."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topics: Sequence[str],
        *,
        partitions: int,
        event_ids: str | None = None,
    ) -> None:
        """``topics`` are in the order of ``Behavior``, each with ``partitions``.

        With ``event_ids`` an event without an id of its own gets ``"<event_ids>:<row>"``.
        """
        self.delivered = 0
        self.by_topic = dict.fromkeys(topics, 0)
        self._producer = producer
        self._topics = topics
        self._event_ids = event_ids
        self._partition = lru_cache(USERS_REMEMBERED)(lambda key: murmur2_hash(key) % partitions)

    async def send(self, events: pl.DataFrame) -> None:
        """Return when every one of ``events`` (with ``ROW``) is acknowledged.

        Raises ``FreshetError`` saying how many of all events are known to be safe.
        """
        pending: list[asyncio.Future[object]] = []
        outcomes: list[object] = []
        try:
            for topic, partition, batch in self._batches(events):
                pending.append(await self._producer.send_batch(batch, topic, partition=partition))
        except KafkaError as fault:
            outcomes.append(fault)
        outcomes += await asyncio.gather(*pending, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise self._failure(outcome) from outcome
        self.delivered += events.height
        for behavior, count in events["behavior"].value_counts().iter_rows():
            self.by_topic[self._topics[behavior]] += count

    def _batches(self, events: pl.DataFrame) -> Iterator[tuple[str, int, BatchBuilder]]:
        """The events as closed batches, those of one partition in the events' order."""
        open_batches: dict[tuple[str, int], BatchBuilder] = {}
        for topic, partition, key, value in self._records(events):
            place = topic, partition
            batch = open_batches.get(place)
            if batch is None:
                batch = open_batches[place] = self._producer.create_batch()
            if batch.append(key=key, value=value, timestamp=None) is None:  # full, now closed
                yield topic, partition, batch
                batch = open_batches[place] = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        for (topic, partition), batch in open_batches.items():
            batch.close()
            yield topic, partition, batch

    def _records(self, events: pl.DataFrame) -> Iterator[tuple[str, int, bytes, bytes]]:
        absent = [pl.lit(None, pl.String).alias(name) for name in _OPTIONAL if name not in events.columns]
        columns = events.with_columns(absent)
        if self._event_ids is not None:
            own_id = pl.format("{}:{}", pl.lit(self._event_ids), ROW)
            columns = columns.with_columns(pl.coalesce("event_id", own_id).alias("event_id"))
        wanted = columns.select("user_id", "item_id", "behavior", "timestamp", *_OPTIONAL)
        for user_id, item_id, behavior, timestamp_ms, category_id, session_id, event_id in wanted.iter_rows():
            event = Event(
                user_id=user_id,
                item_id=item_id,
                timestamp=timestamp_ms,
                event_id=event_id,
                category_id=category_id,
                session_id=session_id,
            )
            key = user_id.encode()
            yield self._topics[behavior], self._partition(key), key, encode(event)

    def _failure(self, fault: BaseException) -> FreshetError:
        text = f"after {self.delivered} acknowledged events Kafka took no more: {fault}"
        gone = isinstance(fault, KafkaConnectionError | KafkaTimeoutError | RequestTimedOutError)
        return BrokerUnavailable(text) if gone else FreshetError(text)
