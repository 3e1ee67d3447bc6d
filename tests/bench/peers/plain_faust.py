"""Plain Faust, as its guide shows it: an agent, a table, one awaited send an event."""

import sys
import tempfile

from tests.bench.answers import check_item_lists
from tests.bench.peer import Peer, python
from tests.bench.workload import LIST_ITEMS, PARTITIONS


def main(bootstrap: str, source: str, sink: str) -> None:
    """Work off ``source`` until killed."""
    import faust

    app = faust.App(
        f"{sink}-plain-faust",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="freshet-bench-"),
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=False,
        web_enabled=False,
    )
    events = app.topic(source, key_type=bytes, value_serializer="json")
    lists = app.topic(sink, key_type=bytes, value_serializer="json")
    recent = app.Table("recent", default=list, partitions=PARTITIONS)

    @app.agent(events)
    async def answer(stream) -> None:
        async for user, event in stream.items():
            items = [*recent[user.decode()], event["item_id"]][-LIST_ITEMS:]
            recent[user.decode()] = items
            await lists.send(key=user, value={"user_id": event["user_id"], "items": items})

    faust.Worker(app, loglevel="warn").execute_from_commandline()


PEER = Peer(
    name="plain Faust",
    note="agent, table, awaited send",
    events=20_000,
    command=lambda run: python("tests.bench.peers.plain_faust", run),
    check=check_item_lists,
)

if __name__ == "__main__":
    main(*sys.argv[1:])
