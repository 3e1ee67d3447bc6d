"""The reference workload: what every peer reads, and what each of its lists must hold.

20,000 users, events of about 120 bytes keyed by user on 4 partitions. For each event a peer keeps
the user's last 20 items in a state store with a changelog and sends one record with the list.
Everything follows from the seed, so the answers need not be kept beside the events.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

PARTITIONS = 4
LIST_ITEMS = 20
ITEMS = 50_000
ITEM_STEP = 9_973  # prime to the number of items, so that a user meets none twice before having met all
FIRST_MS = 1_511_544_070_000
# The whole workload lies within half a day, so the span of a segment cuts nothing, and a user's
# events lie minutes apart, so nobody is taken for a robot.
SPAN_MS = 12 * 3_600_000
IDLE_S = 10.0


class WrongAnswer(Exception):
    """A peer sent something else than the workload asks for."""


@dataclass(frozen=True)
class Workload:
    """``events`` events of ``users`` users, drawn evenly with ``seed``, with ``items`` items."""

    events: int
    users: int = 20_000
    seed: int = 3
    items: int = ITEMS

    def item(self, user: int, position: int) -> str:
        """Return the item of the user's event number ``position``, counted from 0."""
        return f"i{(user * 7 + position * ITEM_STEP) % self.items}"

    def last_items(self, user: int, position: int) -> list[str]:
        """Return the list due after the user's event number ``position``, oldest item first."""
        first = max(0, position + 1 - LIST_ITEMS)
        return [self.item(user, earlier) for earlier in range(first, position + 1)]

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Yield key and value of each event in the order of their times."""
        drawn = np.random.default_rng(self.seed).integers(0, self.users, self.events).tolist()
        positions: Counter[int] = Counter()
        for number, user in enumerate(drawn):
            item = self.item(user, positions[user])
            positions[user] += 1
            time_ms = FIRST_MS + number * SPAN_MS // self.events
            yield (
                f"u{user}",
                b'{"user_id":"u%d","item_id":"%b","timestamp":%d,"event_id":"e-%08d-%04d","category_id":"c%d"}'
                % (user, item.encode(), time_ms, number, user % 1000, user % 300),
            )

    def produce(self, bootstrap: str, topic: str, records: Iterable[tuple[str, bytes]] | None = None) -> None:
        """Send every event, or ``records`` alone, in order to ``topic``, with the partitions of Java."""
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "log_level": 3,
                "queue.buffering.max.messages": 200_000,
            }
        )
        for key, value in self.records() if records is None else records:
            while True:
                try:
                    producer.produce(topic, key=key, value=value)
                    break
                except BufferError:
                    producer.poll(0.1)
        if producer.flush(60):
            raise WrongAnswer("the source events could not all be written")

    def check_lists(self, bootstrap: str, topic: str, items_of: Callable[[bytes], list[str]]) -> None:
        """Raise WrongAnswer unless ``topic`` holds, for each event, the list that is due after it.

        ``items_of`` takes a record's value to its items, oldest first. The order of a user's lists
        is checked too, and that there is none too many.
        """
        positions: Counter[int] = Counter()
        for key, value in read_all(bootstrap, topic):
            user = int(key[1:])
            items, due = items_of(value), self.last_items(user, positions[user])
            if items != due:
                raise WrongAnswer(f"{topic}: list {positions[user]} of {key!r} is {items}, not {due}")
            positions[user] += 1
        if positions.total() != self.events:
            raise WrongAnswer(f"{topic}: {positions.total()} lists for {self.events} events")

    def check_echo(self, bootstrap: str, topic: str) -> None:
        """Raise WrongAnswer unless ``topic`` holds each event as it was sent."""
        sent = Counter(value for _, value in self.records())
        sent.subtract(value for _, value in read_all(bootstrap, topic))
        if any(sent.values()):
            raise WrongAnswer(f"{topic}: {sum(map(abs, sent.values()))} events missing or repeated")


def read_all(bootstrap: str, topic: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of every record that ``topic`` holds now, in order within a partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "check",
            "enable.auto.commit": False,
            # Offsets tell no count: markers of transactions have some too.
            "enable.partition.eof": True,
        }
    )
    try:
        unread = set(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in unread])
        limit_s = time.monotonic() + IDLE_S
        while unread:
            messages = consumer.consume(10_000, timeout=0.2)
            if messages:
                limit_s = time.monotonic() + IDLE_S
            elif time.monotonic() > limit_s:
                raise WrongAnswer(f"{topic}: {len(unread)} partitions could not be read to their end")
            for message in messages:
                error = message.error()
                if error is None:
                    yield message.key(), message.value()
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                else:
                    raise WrongAnswer(f"{topic}: {error}")
    finally:
        consumer.close()
