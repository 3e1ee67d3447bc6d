"""The topics: which there are, how each is kept, and whether those of a cluster will do.

A user's events, state and erasure meet by partition number, so the event topics, users.forget
and the changelog share one partition count; with another, records would be dropped in silence.
Lists go to the partition of their event, so theirs is the same.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code

from stream import clients
from stream.errors import TopicError
from stream.rights import refusal
from stream.settings import Settings

COMPACT: Final = "compact"
DELETE: Final = "delete"

APPEARANCE_LIMIT_S: Final = 15.0
APPEARANCE_LOOK_S: Final = 0.05


@dataclass(frozen=True)
class TopicSpec:
    """What a topic must be: ``partitions`` exactly, where ``copartitioned``; kept as ``cleanup`` says."""

    name: str
    partitions: int
    copartitioned: bool
    cleanup: str


@dataclass(frozen=True)
class TopicState:
    """What was found of a topic, or done about it: ``state`` is present, created or missing."""

    name: str
    partitions: int
    cleanup: str
    state: str


def topic_specs(settings: Settings) -> tuple[TopicSpec, ...]:
    """List every topic of the settings."""
    names, count = settings.topics, settings.partitions
    together = [TopicSpec(name, count, copartitioned=True, cleanup=DELETE) for name in names.events]
    return (
        *together,
        TopicSpec(names.forget, count, copartitioned=True, cleanup=DELETE),
        TopicSpec(names.changelog, count, copartitioned=True, cleanup=COMPACT),
        TopicSpec(names.recommendations, count, copartitioned=True, cleanup=COMPACT),
        TopicSpec(names.items, 1, copartitioned=False, cleanup=COMPACT),
        TopicSpec(names.models, 1, copartitioned=False, cleanup=COMPACT),
        TopicSpec(names.dead_letter, count, copartitioned=False, cleanup=DELETE),
    )


def check_partitions(specs: Sequence[TopicSpec], counts: Mapping[str, int]) -> None:
    """Raise ``TopicError`` where a topic that exists has a count under which users would be lost."""
    wrong = {
        spec.name: counts[spec.name]
        for spec in specs
        if spec.copartitioned and counts.get(spec.name, spec.partitions) != spec.partitions
    }
    if not wrong:
        return
    wanted = next(spec.partitions for spec in specs if spec.copartitioned)
    found = ", ".join(f"{name} has {count}" for name, count in wrong.items())
    together = {counts[spec.name] for spec in specs if spec.copartitioned and spec.name in counts}
    if len(together) == 1:
        remedy = f"set FRESHET_PARTITIONS={together.pop()}"
    else:
        remedy = "delete them and make them again (adding partitions would part users from their state)"
    raise TopicError(f"wrong partition counts, {wanted} are needed: {found}; {remedy}")


def check_cleanup(specs: Sequence[TopicSpec], cleanups: Mapping[str, str]) -> None:
    """Raise ``TopicError`` where a topic's cleanup.policy would lose what must stay.

    A topic that must be compacted and is not forgets users; one of events that is compacted
    keeps only each user's last event.
    """
    wrong = [
        f"{spec.name} has {cleanups[spec.name]} and needs {spec.cleanup}"
        for spec in specs
        if spec.name in cleanups and not _suits(spec.cleanup, cleanups[spec.name])
    ]
    if wrong:
        found = ", ".join(wrong)
        raise TopicError(f"wrong cleanup.policy: {found}; set it with kafka-configs --alter")


def check_present(specs: Sequence[TopicSpec], counts: Mapping[str, int]) -> None:
    """Raise ``TopicError`` where a topic does not exist."""
    missing = [spec.name for spec in specs if spec.name not in counts]
    if missing:
        raise TopicError(
            f"missing topics: {', '.join(missing)}; make them with `freshet topics`, "
            "or let this process see them (Describe)"
        )


async def find_topics(settings: Settings) -> list[TopicState]:
    """Say which of the topics exist, and how. Raises ``TopicError`` where one of them will not do."""
    specs = topic_specs(settings)
    async with clients.running(clients.admin(settings), settings) as client:
        return await _checked(client, specs)


async def make_topics(settings: Settings) -> list[TopicState]:
    """Make the topics that are missing, if those that exist will do. Raises ``TopicError``."""
    specs = topic_specs(settings)
    async with clients.running(clients.admin(settings), settings) as client:
        before = await _checked(client, specs)
        missing = {state.name for state in before if state.state == "missing"}
        wanted = [spec for spec in specs if spec.name in missing]
        if not wanted:
            return before
        await _create(client, wanted, replication_factor=settings.replication_factor)
        await _appearance(client, missing)
        # Checked again, because somebody else may have made one of them in the meantime.
        after = await _checked(client, specs)
    return [replace(state, state="created") if state.name in missing else state for state in after]


async def require_topics(settings: Settings) -> Mapping[str, int]:
    """Make sure that every topic exists with the right partition count; asks for metadata only.

    Returns the partition counts by topic. Raises ``TopicError``, or ``BrokerUnavailable`` where
    there is nobody to ask.
    """
    specs = topic_specs(settings)
    async with clients.running(clients.admin(settings), settings) as client:
        counts = await clients.partition_counts(client)
    check_present(specs, counts)
    check_partitions(specs, counts)
    return counts


async def _checked(client: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> list[TopicState]:
    """Look at the topics that exist and check them."""
    counts = await clients.partition_counts(client)
    check_partitions(specs, counts)
    present = [spec.name for spec in specs if spec.name in counts]
    cleanups = await topic_configs(client, present, "cleanup.policy")
    check_cleanup(specs, cleanups)
    return [
        TopicState(spec.name, counts[spec.name], cleanups[spec.name], "present")
        if spec.name in counts
        else TopicState(spec.name, spec.partitions, spec.cleanup, "missing")
        for spec in specs
    ]


async def topic_configs(client: AIOKafkaAdminClient, names: Sequence[str], entry: str) -> dict[str, str]:
    """Ask for one entry of topics' configuration. Raises ``NotAllowed``."""
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, {entry: ""}) for name in names]
    found: dict[str, str] = {}
    for response in await client.describe_configs(asked):
        for resource in response.to_object()["resources"]:
            _raise_refused(for_code(resource["error_code"]), resource["resource_name"], "DescribeConfigs")
            for one in resource["config_entries"]:
                found[resource["resource_name"]] = one["config_value"]
    return found


async def _create(
    client: AIOKafkaAdminClient, specs: Sequence[TopicSpec], *, replication_factor: int
) -> None:
    """Create topics; one that somebody else creates at the same time is left as it is."""
    wanted = [
        NewTopic(
            spec.name,
            num_partitions=spec.partitions,
            replication_factor=replication_factor,
            topic_configs={"cleanup.policy": spec.cleanup},
        )
        for spec in specs
    ]
    response = await client.create_topics(wanted)
    for name, code, *words in response.topic_errors:
        error = for_code(code)
        _raise_refused(error, name, "Create")
        if error not in (NoError, TopicAlreadyExistsError):
            reason = next((word for word in words if word), error.__name__)
            raise TopicError(f"cannot make topic {name}: {reason}")


def _raise_refused(error: type[KafkaError], topic: str, operation: str) -> None:
    """Raise ``NotAllowed`` where an answer about a topic says that a right is lacking."""
    refused = refusal(error(topic), operation)
    if refused is not None:
        raise refused


async def _appearance(client: AIOKafkaAdminClient, names: Collection[str]) -> None:
    """Wait until the brokers know topics that the controller has just made."""
    deadline_s = time.monotonic() + APPEARANCE_LIMIT_S
    while absent := sorted(set(names) - (await clients.partition_counts(client)).keys()):
        if time.monotonic() > deadline_s:
            raise TopicError(
                f"topics were made and do not appear: {', '.join(absent)}; look at the brokers' log"
            )
        await asyncio.sleep(APPEARANCE_LOOK_S)


def _suits(wanted: str, found: str) -> bool:
    """Compare cleanup policies; ``compact,delete`` drops old entries too, so it suits neither."""
    return {word.strip() for word in found.split(",")} == {wanted}
