"""The dead letters: records that were refused, read back with the reason."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Self

from aiokafka.structs import ConsumerRecord

from stream import clients
from stream.messages import HEADER_ERROR, HEADER_MESSAGE, HEADER_OFFSET, HEADER_PARTITION, HEADER_TOPIC
from stream.settings import Settings

DIGITS: Final = len(str(2**63 - 1))
"""Of the largest offset that Kafka knows."""


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """One refused record: the word for why, where it stood, and how large it is.

    ``source_partition`` and ``source_offset`` are -1, and texts empty, where a header is absent
    because somebody else wrote the record.
    """

    error: str
    message: str
    source_topic: str
    source_partition: int
    source_offset: int
    size_bytes: int
    refused_at_ms: int

    @classmethod
    def of(cls, record: ConsumerRecord[bytes, bytes]) -> Self:
        """Read the headers of a record."""
        # A header's value can be null.
        headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
        return cls(
            error=headers.get(HEADER_ERROR, ""),
            message=headers.get(HEADER_MESSAGE, ""),
            source_topic=headers.get(HEADER_TOPIC, ""),
            source_partition=_number(headers.get(HEADER_PARTITION)),
            source_offset=_number(headers.get(HEADER_OFFSET)),
            size_bytes=len(record.key or b"") + len(record.value or b""),
            refused_at_ms=record.timestamp,
        )


async def read_dead_letters(settings: Settings) -> AsyncIterator[DeadLetter]:
    """Give every dead letter from the oldest that is kept to the newest now, partition by partition.

    Raises ``TopicError`` where the topic does not exist, ``BrokerUnavailable`` where no broker
    answers.
    """
    partitions = await clients.topic_partitions(settings, settings.topics.dead_letter)
    async with clients.running(clients.consumer(settings), settings) as client:
        async for partition, first, end in clients.ranges(client, partitions):
            async for record in clients.read_range(client, partition, first, end):
                yield DeadLetter.of(record)


def _number(text: str | None) -> int:
    """Read an offset or a partition; -1 for what is none, such as a number too long for Kafka."""
    return int(text) if text is not None and text.isdecimal() and len(text) <= DIGITS else -1
