"""Which changelog the users' table has, and how far it reaches, for a store that was filled from it.

A name is not enough: a topic that was deleted and made again begins anew under its name. Brokers
give each topic an id of its own, in version 12 of the metadata, which aiokafka 0.14.0 does not ask for.
"""

import asyncio
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NoError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from stream import clients
from stream.errors import BrokerUnavailable
from stream.settings import Settings

LOOK_LIMIT_S: Final = 60.0
RETRY_S: Final = 0.5


@dataclass(frozen=True)
class Extent:
    """One partition of the changelog: which it is, its first offset and the one after its last."""

    identity: str
    first: int
    end: int


async def extents(settings: Settings, numbers: Collection[int]) -> dict[int, Extent]:
    """Look at these partitions of the changelog as they are now.

    Tries again for ``LOOK_LIMIT_S`` while no broker answers. Raises ``BrokerUnavailable`` after that,
    ``NotAllowed`` for want of a right, and ``FreshetError`` for what else a broker refuses.
    """
    topic = settings.topics.changelog
    places = [TopicPartition(topic, number) for number in numbers]
    deadline_s = asyncio.get_running_loop().time() + LOOK_LIMIT_S
    while True:
        try:
            async with clients.running(clients.consumer(settings), settings) as client:
                identity = await _identity(client, topic)
                firsts = await client.beginning_offsets(places)
                ends = await client.end_offsets(places)
        except BrokerUnavailable:
            if asyncio.get_running_loop().time() > deadline_s:
                raise
            await asyncio.sleep(RETRY_S)
        else:
            return {place.partition: Extent(identity, firsts[place], ends[place]) for place in places}


async def _identity(client: AIOKafkaConsumer, topic: str) -> str:
    """Return cluster, name and id of a topic; brokers before Kafka 3.1 tell cluster and name only."""
    inner = client._client
    try:
        answer = await inner.send(inner.get_random_node(), _TopicIds(topic))
    except NotImplementedError:
        return f"{inner.cluster.cluster_id() or ''}/{topic}"
    ((code, _, topic_id, *_),) = answer.topics
    error = for_code(code)
    if error.retriable:
        raise BrokerUnavailable(f"the broker does not know topic {topic} yet: {error.__name__}")
    if error is not NoError:
        raise error(topic)
    return f"{answer.cluster_id}/{topic}/{topic_id}"


class _Uuid(AbstractType[uuid.UUID]):  # type: ignore[misc]  # aiokafka ships no types
    """A UUID in 16 bytes."""

    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: Any) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition_index", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replica_nodes", CompactArray(Int32)),
                        ("isr_nodes", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("topic_authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequest(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicIds(Request[_MetadataRequest]):  # type: ignore[misc]
    """Asks for one topic by its name, and makes none."""

    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_MetadataRequest]) -> _MetadataRequest:
        nobody = uuid.UUID(int=0)
        return request_struct_class([(nobody, self._topic, {})], False, False, {})
