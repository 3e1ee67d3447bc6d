"""The follower of a compacted topic: what it holds open is closed, whenever it is stopped."""

import asyncio
import gc
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import TopicPartition

from stream import clients
from stream.follow import Follower
from stream.settings import Settings


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A broker that takes connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


async def _never(*_: object) -> None:
    raise AssertionError("nothing can be read or refused here")


def test_stopped_while_its_client_starts_it_leaves_none_open(
    silent: socket.socket, monkeypatch: pytest.MonkeyPatch
):
    """A worker may end at any moment; a client left open keeps its connection and says so at a later time."""

    async def found(_: Settings, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, 0)]

    monkeypatch.setattr(clients, "topic_partitions", found)
    settings = Settings.load(brokers=f"127.0.0.1:{silent.getsockname()[1]}")
    complaints: list[dict[str, Any]] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        follower = Follower(settings, "items", _never)
        follower.start(_never)
        await loop.sock_accept(silent)
        await follower.stop()
        gc.collect()

    asyncio.run(run())
    assert [one["message"] for one in complaints] == []
