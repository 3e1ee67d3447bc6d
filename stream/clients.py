"""Kafka clients of the commands and helpers: the one place that makes and starts them.

A client is used as ``async with running(producer(settings), settings) as client``, which starts
and stops it and turns "the broker is not there" into one line that names the address.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    RequestTimedOutError,
)
from aiokafka.structs import ConsumerRecord

from stream.errors import BrokerUnavailable, FreshetError, TopicError
from stream.rights import refusal
from stream.settings import Settings

REQUEST_LIMIT_MS: Final = 15_000
"""How long a request may take, the first connection included: a command should not hang."""

FETCH_LIMIT_MS: Final = 1_000
"""How long one look at a partition waits for records."""

START_LEFT_S: Final = 1.0
"""How long a start that is cancelled may go on: a stop should not wait for a broker that is silent."""

_UNREACHABLE = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, RequestTimedOutError)

_OPERATIONS: Final[dict[type, str]] = {AIOKafkaConsumer: "Read", AIOKafkaProducer: "Write"}
"""What each client does to topics."""

Client = TypeVar("Client", AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient)


def consumer(settings: Settings, **options: Any) -> AIOKafkaConsumer:
    """Make a consumer that takes part in no group and commits nothing, unless the options say so."""
    defaults = {"enable_auto_commit": False, "isolation_level": settings.isolation_level}
    return AIOKafkaConsumer(**_common(settings), **{**defaults, **options})


def producer(settings: Settings, **options: Any) -> AIOKafkaProducer:
    """Make a producer whose sends are acknowledged by every copy and repeated without duplicates."""
    return AIOKafkaProducer(**_common(settings), **{"acks": "all", "enable_idempotence": True, **options})


def admin(settings: Settings) -> AIOKafkaAdminClient:
    """Make an admin client."""
    return AIOKafkaAdminClient(**_common(settings))


async def start(client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient) -> None:
    """Start a client, which must be stopped however this ends.

    Where this is cancelled the start goes on for up to ``START_LEFT_S``: aiokafka lets go of its first
    connection without closing it when it is cancelled while it waits for an answer there.
    """
    starting = asyncio.create_task(client.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        try:
            await asyncio.wait({starting}, timeout=START_LEFT_S)
        finally:
            starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        raise


@asynccontextmanager
async def running(client: Client, settings: Settings) -> AsyncIterator[Client]:
    """Start the client, give it, and stop it.

    Raises ``BrokerUnavailable`` when no broker answers, at the start or later, ``NotAllowed`` for want
    of a right, and ``FreshetError`` for what else the broker refuses.
    """
    try:
        await start(client)
        yield client
    except _UNREACHABLE as error:
        raise BrokerUnavailable(_unreachable(settings)) from error
    except KafkaError as error:
        refused = refusal(error, _OPERATIONS.get(type(client), "Describe"))
        if refused is not None:
            raise refused from error
        raise FreshetError(f"the broker at {settings.brokers} answered: {_words(error)}") from error
    finally:
        await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


async def partition_counts(client: AIOKafkaAdminClient) -> Mapping[str, int]:
    """Give the topics that exist with their partition counts; never makes one by asking."""
    return {topic["topic"]: len(topic["partitions"]) for topic in await client.describe_topics()}


async def topic_partitions(settings: Settings, topic: str) -> list[TopicPartition]:
    """Give the partitions of a topic that exists. Raises ``TopicError`` where it does not."""
    async with running(admin(settings), settings) as client:
        count = (await partition_counts(client)).get(topic, 0)
    if not count:
        raise TopicError(
            f"topic {topic} does not exist on {settings.brokers}, or may not be seen; "
            "make it with `freshet topics`"
        )
    return [TopicPartition(topic, number) for number in range(count)]


async def ranges(
    client: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> AsyncIterator[tuple[TopicPartition, int, int]]:
    """Give each partition in turn with its first offset and the one after its last, as they are now.

    The client is assigned all of them and fetches only the one that was given last, so that what is
    read stays in the order of its offsets.
    """
    client.assign(partitions)
    firsts = await client.beginning_offsets(partitions)
    ends = await client.end_offsets(partitions)
    for partition in partitions:
        client.pause(*partitions)
        client.resume(partition)
        yield partition, firsts[partition], ends[partition]


async def read_range(
    client: AIOKafkaConsumer, partition: TopicPartition, start: int, end: int
) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """Give the records of one assigned partition from offset ``start`` to before ``end``.

    Ends at ``end`` also where compaction or a transaction left no record just before it. The
    partition must have been given to ``client.assign``.
    """
    client.seek(partition, start)
    while await client.position(partition) < end:
        fetched = await client.getmany(partition, timeout_ms=FETCH_LIMIT_MS)
        for record in fetched.get(partition, ()):
            if record.offset < end:
                yield record


def _common(settings: Settings) -> dict[str, Any]:
    """Give the arguments that every client takes."""
    return {
        "bootstrap_servers": settings.brokers,
        "client_id": "freshet",
        "request_timeout_ms": REQUEST_LIMIT_MS,
        **settings.kafka_security(),
    }


def _unreachable(settings: Settings) -> str:
    """Say which broker does not answer, and what to do; or why there is nothing to log in with."""
    if settings.tokens is not None and settings.tokens.failure:
        return settings.tokens.failure
    secured = "" if settings.security_protocol == "PLAINTEXT" else f" over {settings.security_protocol}"
    login = ", the user and the password" if settings.security_protocol.startswith("SASL") else ""
    if settings.tokens is not None:
        # The client library does not tell a refused token from a connection that broke off.
        login = ", or look at the token, which the broker may have refused"
    return (
        f"no Kafka broker answers at {settings.brokers}{secured}; "
        f"start one, or set FRESHET_BROKERS (--brokers){login}"
    )


def _words(error: KafkaError) -> str:
    """Put an error of the client library in one line."""
    return " ".join(str(error).split())
