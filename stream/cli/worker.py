"""`freshet worker`: a stream worker."""

import asyncio
import signal
from typing import TYPE_CHECKING

from stream.cli import console
from stream.cli.options import (
    Assignments,
    Brokers,
    GroupId,
    HttpPort,
    ModelName,
    ModelStore,
    TopicPrefix,
    load_settings,
)

if TYPE_CHECKING:
    from stream.settings import Settings


def worker(
    *,
    brokers: Brokers = None,
    group_id: GroupId = None,
    topic_prefix: TopicPrefix = None,
    model_store: ModelStore = None,
    model_name: ModelName = None,
    http_port: HttpPort = None,
    assignments: Assignments = None,
) -> None:
    """Turn events into lists until stopped (Ctrl-C or TERM).

    Start as many as you like, up to the partition count; they share the users out. What is under
    way when one is stopped is delivered and committed first.
    """
    settings = load_settings(
        assignments,
        brokers=brokers,
        group_id=group_id,
        topic_prefix=topic_prefix,
        model_store=model_store,
        model_name=model_name,
        http_port=http_port,
    )
    from stream.logs import configure

    configure(settings.log_level)
    asyncio.run(_serve(settings))


async def _serve(settings: "Settings") -> None:
    from stream.worker import Worker

    served = Worker(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, served.stop)
    running = asyncio.create_task(served.run())
    ready = asyncio.create_task(served.ready.wait())
    await asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        console.line(f"ready: {served.web.url}")
    ready.cancel()
    await running
