"""Another partition count: everything a deployment holds, moved to topics that have it.

A user's partition is a hash of the key modulo the count, so with another count every user's events,
state and list belong elsewhere; partitions cannot be added to topics in use. What there is goes to
topics of another prefix and, since Faust names the changelog after it, to another group.

The workers of the old group are stopped first. Then, in this order: users' records (the old topics'
offsets in them taken out), lists, items and the announcement of the weights; the events and
erasures that the old group had done with, as the history that training reads; the new group's
offsets, which say that it has; and what the old group had not done yet. Called again, it moves what
has come to the old topics since, so producers may go over after the workers did.

How far each old partition was moved is kept as the committed offsets of a group of its own. They are
committed when all copies of the records are acknowledged: after a crash in between, up to
``AT_ONCE`` records of a partition are moved twice, which an event's ``event_id`` shows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from stream import clients
from stream.errors import TopicError
from stream.partitioner import PARTITIONERS, Choose, fitting, murmur2_hash
from stream.settings import Settings
from stream.state import NEVER, SOURCES, decode_state, encode_state
from stream.topics import make_topics, require_topics

AT_ONCE: Final = 2_000

IDLE: Final = ("Empty", "Dead")


@dataclass(frozen=True)
class Moved:
    """How many one call moved: records of users, lists, events, requests to erase."""

    records: int = 0
    lists: int = 0
    events: int = 0
    forgets: int = 0


def resettled(record: bytes) -> bytes:
    """Return a user's record for topics of which nothing was applied yet. Raises ``StateError``."""
    return encode_state(msgspec.structs.replace(decode_state(record), offsets=[NEVER] * SOURCES))


def group_id(target: Settings) -> str:
    """Name the consumer group that remembers how far each old partition was moved."""
    return f"{target.group_id}-moved"


async def repartition(
    source: Settings, target: Settings, *, progress: Callable[[int], None] | None = None
) -> Moved:
    """Move everything from the topics of ``source`` to those of ``target``, which are made if need be.

    ``progress`` is called with the number of records moved since the last call. Raises ``TopicError``
    where the two share a topic, workers of the old group still run, keys do not lie where a known
    partitioner puts them, or something else wrote to the new topics before the old ones were moved.
    """
    shared = {*source.topics} & {*target.topics}
    if shared:
        raise TopicError(
            f"{', '.join(sorted(shared))} would be moved to itself; choose another prefix and group"
        )
    await require_topics(source)
    await _require_idle(source)
    await make_topics(target)
    async with (
        clients.running(clients.consumer(source, group_id=group_id(target)), source) as reader,
        clients.running(clients.consumer(target, group_id=target.group_id), target) as owner,
        clients.running(clients.producer(target), target) as sender,
    ):
        return await _Moving(source, target, reader, owner, sender, progress or _unheard).run()


def _unheard(_: int) -> None:
    """Nobody asked."""


async def _require_idle(settings: Settings) -> None:
    """Raise ``TopicError`` while the group has members, which would go on changing what is moved."""
    async with clients.running(clients.admin(settings), settings) as client:
        (response,) = await client.describe_consumer_groups([settings.group_id])
    state = response.groups[0][2]
    if state not in IDLE:
        raise TopicError(f"the workers of group {settings.group_id} still run ({state}); stop them first")


@dataclass
class _Moving:
    """One call: what it reads with, writes with, and where a key belongs."""

    source: Settings
    target: Settings
    #: Of the group that remembers what was moved.
    reader: AIOKafkaConsumer
    #: Of the group that is to go on with it.
    owner: AIOKafkaConsumer
    sender: AIOKafkaProducer
    progress: Callable[[int], None]
    choose: Choose = murmur2_hash

    async def run(self) -> Moved:
        old, new = self.source.topics, self.target.topics
        self.choose = await self._partitioner(old.changelog)
        if not await self._begun():
            await self._require_empty()
        records = await self._move(old.changelog, new.changelog, value=resettled)
        lists = await self._move(old.recommendations, new.recommendations)
        await self._move(old.items, new.items, partitions=1)
        await self._move(old.models, new.models, partitions=1)
        sources = list(zip((*old.events, old.forget), (*new.events, new.forget), strict=True))
        counts = dict.fromkeys(old, 0)
        if not await self._handed_over():
            done = await self._done([before for before, _ in sources])
            for before, after in sources:
                counts[before] += await self._move(before, after, ends=done)
            await self._hand_over()
        for before, after in sources:
            counts[before] += await self._move(before, after)
        events = sum(counts[name] for name in old.events)
        return Moved(records, lists, events, counts[old.forget])

    async def _partitioner(self, topic: str) -> Choose:
        """Return the first partitioner under which each key of a topic lies in its partition."""
        places = await clients.topic_partitions(self.source, topic)
        choices: Sequence[Choose] = list(PARTITIONERS.values())
        async for place, first, end in clients.ranges(self.reader, places):
            async for record in clients.read_range(self.reader, place, first, end):
                choices = fitting(choices, record.key or b"", place.partition, len(places))
        return choices[0]

    async def _begun(self) -> bool:
        """Whether an earlier call has moved anything."""
        partitions = await clients.topic_partitions(self.source, self.source.topics.changelog)
        return any([await self.reader.committed(one) is not None for one in partitions])

    async def _require_empty(self) -> None:
        """Raise ``TopicError`` where something else wrote to the new topics: what is newer cannot be told."""
        names = [name for name in self.target.topics if name != self.target.topics.dead_letter]
        partitions = [one for name in names for one in await clients.topic_partitions(self.target, name)]
        firsts = await self.owner.beginning_offsets(partitions)
        ends = await self.owner.end_offsets(partitions)
        full = sorted({one.topic for one in partitions if ends[one] > firsts[one]})
        if full:
            raise TopicError(
                f"{', '.join(full)} already have records; choose a prefix whose topics are new, and let "
                "producers and workers write there when the old ones are moved"
            )

    async def _done(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """Say up to where the old group has done each partition of its topics."""
        places = [one for topic in topics for one in await clients.topic_partitions(self.source, topic)]
        async with clients.running(
            clients.consumer(self.source, group_id=self.source.group_id), self.source
        ) as old:
            return {one: await old.committed(one) or 0 for one in places}

    async def _handed_over(self) -> bool:
        """Whether the new group knows what it need not do."""
        partitions = await clients.topic_partitions(self.target, self.target.topics.forget)
        return all([await self.owner.committed(one) is not None for one in partitions])

    async def _hand_over(self) -> None:
        """Let the new group begin behind what the old one had done; the topic asked for above comes last."""
        topics = self.target.topics
        for name in (*topics.events, topics.forget):
            partitions = await clients.topic_partitions(self.target, name)
            self.owner.assign(partitions)
            await self.owner.commit(await self.owner.end_offsets(partitions))

    async def _move(
        self,
        before: str,
        after: str,
        *,
        value: Callable[[bytes], bytes] = bytes,
        partitions: int | None = None,
        ends: Mapping[TopicPartition, int] | None = None,
    ) -> int:
        """Copy what was not moved of a topic, up to ``ends`` or all; returns how many records that were."""
        count, places = 0, await clients.topic_partitions(self.source, before)
        async for place, first, last in clients.ranges(self.reader, places):
            end = last if ends is None else min(last, ends[place])
            pending: list[ConsumerRecord[bytes, bytes]] = []
            start = max(first, await self.reader.committed(place) or 0)
            async for record in clients.read_range(self.reader, place, start, end):
                pending.append(record)
                if len(pending) == AT_ONCE:
                    count += await self._send(after, pending, value, partitions)
                    await self.reader.commit({place: record.offset + 1})
                    pending = []
            count += await self._send(after, pending, value, partitions)
            if end > start:
                await self.reader.commit({place: end})
        return count

    async def _send(
        self,
        topic: str,
        records: Sequence[ConsumerRecord[bytes, bytes]],
        value: Callable[[bytes], bytes],
        partitions: int | None,
    ) -> int:
        """Write records where their keys belong, as they came, and return when all copies have them."""
        count = partitions or self.target.partitions
        sent = [
            await self.sender.send(
                topic,
                None if record.value is None else value(record.value),
                key=record.key,
                # One without a key is sent on to its user's partition by whoever reads it.
                partition=(record.partition if record.key is None else self.choose(record.key)) % count,
                timestamp_ms=record.timestamp,
                headers=record.headers,
            )
            for record in records
        ]
        for acknowledgement in sent:
            await acknowledgement
        self.progress(len(records))
        return len(records)
