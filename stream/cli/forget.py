"""`freshet forget USER`: erases a user."""

import asyncio
from typing import Annotated

import typer

from stream.cli import console
from stream.cli.options import Assignments, Brokers, TopicPrefix, load_settings
from stream.errors import UsageError


def forget(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    *,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    assignments: Assignments = None,
) -> None:
    """Erase a user: the workers drop the state and withdraw the list when they read the request."""
    from stream.erasure import request_erasure
    from stream.messages import MAX_ID_LENGTH

    if not 0 < len(user) <= MAX_ID_LENGTH:
        raise UsageError(f"USER has {len(user)} characters; an id has 1 to {MAX_ID_LENGTH}")
    settings = load_settings(assignments, brokers=brokers, topic_prefix=topic_prefix)
    asyncio.run(request_erasure(settings, user))
    console.line(f"asked the workers to erase user {user!r} (topic {settings.topics.forget})")
