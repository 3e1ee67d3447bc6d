"""`freshet topics`: makes the topics, checks them, or moves everything to another partition count."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli import console
from stream.cli.options import Assignments, Brokers, Partitions, TopicPrefix, load_settings
from stream.errors import TopicError, UsageError

if TYPE_CHECKING:
    from stream.settings import Settings


def topics(
    *,
    check: Annotated[bool, typer.Option("--check", help="Make none; fail where one is missing.")] = False,
    repartition: Annotated[
        int | None,
        typer.Option(
            "--repartition",
            metavar="PARTITIONS",
            min=1,
            help="Move all there is to topics of so many partitions; needs --to-prefix and --to-group.",
        ),
    ] = None,
    to_prefix: Annotated[
        str | None, typer.Option("--to-prefix", help="The topic prefix to move to, such as v2.")
    ] = None,
    to_group: Annotated[
        str | None, typer.Option("--to-group", help="The consumer group of the workers there.")
    ] = None,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    partitions: Partitions = None,
    assignments: Assignments = None,
) -> None:
    """Make the topics that are missing, and check those that are there.

    Fails where the partition counts differ from FRESHET_PARTITIONS, or a topic is kept in
    another way than it must be.

    With --repartition, users' records, lists, items, weights and events go to new topics, behind
    stopped workers. Called again it moves the events that have come since.
    """
    from stream.topics import find_topics, make_topics

    settings = load_settings(assignments, brokers=brokers, topic_prefix=topic_prefix, partitions=partitions)
    if repartition is not None:
        if not to_prefix or not to_group:
            raise UsageError("--repartition needs --to-prefix and --to-group, both other than those in force")
        there = {"topic_prefix": to_prefix, "group_id": to_group, "partitions": repartition}
        _move(settings, load_settings(assignments, brokers=brokers, **there))
        return
    found = asyncio.run(find_topics(settings) if check else make_topics(settings))
    rows = [(state.name, state.partitions, state.cleanup, state.state) for state in found]
    console.table(("topic", "partitions", "cleanup", "state"), rows)
    missing = [state.name for state in found if state.state == "missing"]
    if missing:
        raise TopicError(f"missing topics: {', '.join(missing)}; make them with `freshet topics`")


def _move(source: "Settings", target: "Settings") -> None:
    """Move everything and say what that was."""
    from stream.repartition import repartition

    with console.progress("moving", unit="records") as moving:
        moved = asyncio.run(repartition(source, target, progress=moving.advance))
    for name, count in vars(moved).items():
        console.line(f"{name} moved: {count:,}")
    console.line(
        f"set FRESHET_TOPIC_PREFIX={target.topic_prefix} FRESHET_GROUP_ID={target.group_id} "
        f"FRESHET_PARTITIONS={target.partitions} for workers and jobs, and let producers write there"
    )
