"""Quix Streams: a stateful function over a data frame, RocksDB underneath, a changelog topic."""

import importlib.util
import sys
import tempfile
from typing import Any

from tests.bench.answers import check_item_lists
from tests.bench.peer import Peer, python
from tests.bench.workload import LIST_ITEMS


def answer(event: dict[str, Any], state: Any) -> dict[str, Any]:
    """Keep the user's last items and return the list."""
    items = [*state.get("items", []), event["item_id"]][-LIST_ITEMS:]
    state.set("items", items)
    return {"user_id": event["user_id"], "items": items}


def main(bootstrap: str, source: str, sink: str) -> None:
    """Work off ``source`` until killed."""
    from quixstreams import Application

    with tempfile.TemporaryDirectory() as folder:
        app = Application(
            broker_address=bootstrap,
            consumer_group=f"{sink}-quix",
            auto_offset_reset="earliest",
            state_dir=folder,
            loglevel="WARNING",
        )
        events = app.topic(source, key_deserializer="bytes", value_deserializer="json")
        lists = app.topic(sink, key_serializer="bytes", value_serializer="json")
        app.dataframe(events).apply(answer, stateful=True).to_topic(lists)
        app.run()


def why_absent() -> str | None:
    """Return the reason for which Quix Streams cannot run here, or None."""
    return None if importlib.util.find_spec("quixstreams") else "quixstreams is not installed"


PEER = Peer(
    name="Quix Streams",
    note="stateful apply, RocksDB",
    events=150_000,
    command=lambda run: python("tests.bench.peers.quix", run),
    check=check_item_lists,
    why_absent=why_absent,
)

if __name__ == "__main__":
    main(*sys.argv[1:])
