"""`freshet topics`: makes the topics, or checks them."""

import asyncio
from typing import Annotated

import typer

from stream.cli import console
from stream.cli.options import Assignments, Brokers, Partitions, TopicPrefix, load_settings
from stream.errors import TopicError


def topics(
    *,
    check: Annotated[bool, typer.Option("--check", help="Make none; fail where one is missing.")] = False,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    partitions: Partitions = None,
    assignments: Assignments = None,
) -> None:
    """Make the topics that are missing, and check those that are there.

    Fails where the partition counts differ from FRESHET_PARTITIONS, or a topic is kept in
    another way than it must be.
    """
    from stream.topics import find_topics, make_topics

    settings = load_settings(assignments, brokers=brokers, topic_prefix=topic_prefix, partitions=partitions)
    found = asyncio.run(find_topics(settings) if check else make_topics(settings))
    rows = [(state.name, state.partitions, state.cleanup, state.state) for state in found]
    console.table(("topic", "partitions", "cleanup", "state"), rows)
    missing = [state.name for state in found if state.state == "missing"]
    if missing:
        raise TopicError(f"missing topics: {', '.join(missing)}; make them with `freshet topics`")
