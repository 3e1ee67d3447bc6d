"""Sending refused records again, as they came, to where they were refused.

How far earlier calls got is kept as the committed offsets of a consumer group of its own, so that a
letter is sent again once, however often the command is called. Offsets are committed when all
copies of the records are acknowledged: after a crash in between, some are sent twice.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from stream import clients
from stream.dead_letters import DeadLetter
from stream.messages import HEADER_ERROR, HEADER_MESSAGE, HEADER_OFFSET, HEADER_PARTITION, HEADER_TOPIC
from stream.settings import Settings

_OURS = frozenset({HEADER_ERROR, HEADER_MESSAGE, HEADER_TOPIC, HEADER_PARTITION, HEADER_OFFSET})

AT_ONCE = 500


@dataclass
class Redriven:
    """What a call did, by the word each record was refused for."""

    sent: Counter[str] = field(default_factory=Counter)
    #: Passed over because another word was asked for.
    other: Counter[str] = field(default_factory=Counter)
    #: Passed over because the letter does not say where it was refused, or came without its bytes.
    lost: Counter[str] = field(default_factory=Counter)


def group_id(settings: Settings) -> str:
    """Name the consumer group that remembers how far letters have been sent again."""
    return f"{settings.group_id}-redrive"


async def redrive(settings: Settings, *, error: str | None = None, from_oldest: bool = False) -> Redriven:
    """Send the letters that came since the last call; with ``from_oldest`` all that are kept.

    With ``error`` only those refused for that word; the others are passed over, and only
    ``from_oldest`` comes back to them. Raises ``TopicError`` where the topic does not exist,
    ``BrokerUnavailable`` where no broker answers.
    """
    partitions = await clients.topic_partitions(settings, settings.topics.dead_letter)
    done = Redriven()
    async with (
        clients.running(clients.consumer(settings, group_id=group_id(settings)), settings) as reader,
        clients.running(clients.producer(settings), settings) as sender,
    ):
        async for partition, first, end in clients.ranges(reader, partitions):
            committed = None if from_oldest else await reader.committed(partition)
            pending: list[ConsumerRecord[bytes, bytes]] = []
            async for record in clients.read_range(reader, partition, max(first, committed or 0), end):
                pending.append(record)
                if len(pending) == AT_ONCE:
                    await _send(settings, sender, pending, error, done)
                    await reader.commit({partition: record.offset + 1})
                    pending = []
            await _send(settings, sender, pending, error, done)
            await reader.commit({partition: end})
    return done


async def _send(
    settings: Settings,
    sender: AIOKafkaProducer,
    records: Collection[ConsumerRecord[bytes, bytes]],
    error: str | None,
    done: Redriven,
) -> None:
    """Send what is to be sent of some letters, and return when all copies have it."""
    acknowledgements = []
    for record in records:
        letter = DeadLetter.of(record)
        if error is not None and letter.error != error:
            done.other[letter.error] += 1
        elif not _known(settings, letter) or (record.key is None and record.value is None):
            done.lost[letter.error] += 1
        else:
            headers = [(name, content) for name, content in record.headers if name not in _OURS]
            acknowledgements.append(
                await sender.send(
                    letter.source_topic,
                    record.value,
                    key=record.key,
                    partition=letter.source_partition,
                    headers=headers,
                )
            )
            done.sent[letter.error] += 1
    for acknowledgement in acknowledgements:
        await acknowledgement


def _known(settings: Settings, letter: DeadLetter) -> bool:
    """Whether a letter says where its record was refused, a topic and partition of ours."""
    sources = (*settings.topics.events, settings.topics.forget)
    return letter.source_topic in sources and 0 <= letter.source_partition < settings.partitions
