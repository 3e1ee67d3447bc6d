"""Asking the workers to erase a user, waiting until they have, and the receipt of it.

A worker commits a request's offset once the tombstones of state and list are acknowledged by all copies.
So the group's offsets tell that it was carried out, and what the user's partition held is what came into
the changelog and the lists since.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CoordinatorNotAvailableError, NotCoordinatorError

from stream import clients
from stream.errors import FreshetError, NotAllowed
from stream.exclusion import Exclusions
from stream.model_files import model_files, reaching
from stream.settings import Settings
from stream.topics import topic_configs

LOOK_S: Final = 0.2
"""How often the group's offsets are looked at."""

Ends = dict[TopicPartition, int]


class Erased(NamedTuple):
    """A tombstone: what it erased, where it stands, and when it was written."""

    what: str
    topic: str
    partition: int
    offset: int
    erased_at_ms: int


class Kept(NamedTuple):
    """A topic that may still hold records of the user, and from when on none from before the request.

    ``until_ms`` is None where the time cannot be told; ``rule`` says what it depends on.
    """

    topic: str
    rule: str
    until_ms: int | None


@dataclass(frozen=True)
class Receipt:
    """What was asked and what came of it, times in milliseconds since the epoch.

    ``requests`` is where the request stands: topic, partition, offset. ``erased`` is empty where the
    workers held nothing of the user; ``unanswered`` are the partitions that no worker has looked through.
    ``exclusion_hash`` stands for the user where training leaves out the events up to the request.
    """

    user_id: str
    requested_at_ms: int
    requests: Sequence[tuple[str, int, int]]
    unanswered: Sequence[int] = ()
    erased: Sequence[Erased] = ()
    kept: Sequence[Kept] = ()
    exclusion_hash: str | None = None

    @property
    def erased_at_ms(self) -> int | None:
        """When the last of it was erased; None where nothing was held, or nobody has answered."""
        return max((one.erased_at_ms for one in self.erased), default=None)

    def as_report(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "user_id": self.user_id,
            "requested_at_ms": self.requested_at_ms,
            "erased_at_ms": self.erased_at_ms,
            "requests": [
                {"topic": topic, "partition": partition, "offset": offset}
                for topic, partition, offset in self.requests
            ],
            "unanswered_partitions": list(self.unanswered),
            "erased": [one._asdict() for one in self.erased],
            "kept": [one._asdict() for one in self.kept],
            "exclusion_hash": self.exclusion_hash,
        }


async def request_erasure(settings: Settings, user_id: str) -> Receipt:
    """Send the request and wait until Kafka has it.

    It goes to every partition: a user's state lies where the producer of the events put them,
    by a partitioner we cannot know, and a worker that does not know the user changes nothing.
    Raises ``TopicError`` where the topic does not exist, ``BrokerUnavailable`` where no broker
    answers.
    """
    partitions = await clients.topic_partitions(settings, settings.topics.forget)
    value = msgspec.json.encode({"user_id": user_id})
    async with clients.running(clients.producer(settings), settings) as client:
        sent = [
            await client.send(partition.topic, value, key=user_id.encode(), partition=partition.partition)
            for partition in partitions
        ]
        done = [await acknowledgement for acknowledgement in sent]
    return Receipt(
        user_id,
        max(one.timestamp for one in done),
        [(one.topic, one.partition, one.offset) for one in done],
        unanswered=[one.partition for one in done],
    )


async def erase(
    settings: Settings, user_id: str, *, wait_s: float, answered: Callable[[int], None]
) -> Receipt:
    """Send the request, and wait so long at most until the workers have carried it out.

    ``answered`` is called with the number of partitions that were looked through since the last call.
    """
    await clients.topic_partitions(settings, settings.topics.forget)
    tombstones = (settings.topics.changelog, settings.topics.recommendations)
    places = [one for topic in tombstones for one in await clients.topic_partitions(settings, topic)]
    async with clients.running(clients.consumer(settings), settings) as consumer:
        before = await consumer.end_offsets(places)
    asked = await request_erasure(settings, user_id)
    unanswered = await _unanswered(settings, asked, wait_s=wait_s, answered=answered)
    found = await _tombstones(settings, user_id, before)
    kept = await _kept(settings, asked.requested_at_ms)
    excluded = _excluded(settings, user_id, asked.requested_at_ms)
    return replace(asked, unanswered=unanswered, erased=found, kept=kept, exclusion_hash=excluded)


async def _unanswered(
    settings: Settings, asked: Receipt, *, wait_s: float, answered: Callable[[int], None]
) -> list[int]:
    """Wait for the group to commit past the request; returns the partitions in which it has not."""
    waiting = {TopicPartition(topic, partition): offset for topic, partition, offset in asked.requests}
    deadline_s = time.monotonic() + wait_s
    async with clients.running(clients.admin(settings), settings) as admin:
        while waiting:
            committed = await _committed(admin, settings.group_id, list(waiting))
            done = [place for place, offset in waiting.items() if committed.get(place, 0) > offset]
            for place in done:
                del waiting[place]
            answered(len(done))
            if time.monotonic() > deadline_s:
                break
            await asyncio.sleep(LOOK_S if waiting else 0)
    return sorted(place.partition for place in waiting)


async def _committed(admin: AIOKafkaAdminClient, group_id: str, places: list[TopicPartition]) -> Ends:
    """Return how far the group is; nothing while it has no coordinator."""
    try:
        found = await admin.list_consumer_group_offsets(group_id, partitions=places)
    except (CoordinatorNotAvailableError, NotCoordinatorError):
        return {}
    return {place: one.offset for place, one in found.items()}


async def _tombstones(settings: Settings, user_id: str, before: Ends) -> list[Erased]:
    """Find what was erased of the user since the topics ended at ``before``."""
    key, state = user_id.encode(), settings.topics.changelog
    found = []
    async with clients.running(clients.consumer(settings), settings) as consumer:
        async for place, _, end in clients.ranges(consumer, list(before)):
            async for record in clients.read_range(consumer, place, before[place], end):
                if record.key == key and record.value is None:
                    what = "state" if place.topic == state else "list"
                    found.append(Erased(what, place.topic, place.partition, record.offset, record.timestamp))
    return found


async def _kept(settings: Settings, requested_at_ms: int) -> list[Kept]:
    """Say what the topics still hold, and until when; null times where the broker does not tell."""
    topics = settings.topics
    by_time = [*topics.events, topics.forget, topics.dead_letter]
    async with clients.running(clients.admin(settings), settings) as admin:
        try:
            retention = await topic_configs(admin, by_time, "retention.ms")
        except NotAllowed:
            retention = {}
    lasts = {topic: int(retention.get(topic, -1)) for topic in by_time}
    kept = [
        Kept(topic, "retention.ms", requested_at_ms + lasts_ms if lasts_ms >= 0 else None)
        for topic, lasts_ms in lasts.items()
    ]
    return kept + [Kept(topic, "compaction", None) for topic in (topics.changelog, topics.recommendations)]


def _excluded(settings: Settings, user_id: str, requested_at_ms: int) -> str | None:
    """Note the user for training, where the model store is at hand; training reads the request anyway."""
    folder = model_files(settings)
    with reaching(folder):
        if not folder.is_dir():
            return None
    exclusions = Exclusions(settings)
    exclusions.add({user_id: requested_at_ms})
    return exclusions.hash_of(user_id)


def require_answer(receipt: Receipt, *, wait_s: float) -> None:
    """Raise FreshetError where the workers have not looked through every partition."""
    if not receipt.unanswered:
        return
    topic = receipt.requests[0][0]
    numbers = ", ".join(map(str, receipt.unanswered))
    raise FreshetError(
        f"no worker has answered within {wait_s:g} s for partition {numbers} of {topic}; start one: "
        "the request stands there and is carried out when it is read"
    )
