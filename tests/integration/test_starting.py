"""A client whose start is cancelled, on a real broker: nothing of it stays open."""

import asyncio
import gc
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.metadata import MetadataRequest

from stream import clients
from stream.settings import Settings
from tests.support.kafka_broker import KafkaBroker


@pytest.mark.parametrize("make", [clients.consumer, clients.producer, clients.admin])
async def test_start_that_is_cancelled_leaves_no_connection_open(
    kafka: KafkaBroker, make: Any, monkeypatch: pytest.MonkeyPatch
):
    """While the first connection waits for an answer aiokafka itself would leave it open, and log that."""
    settings = Settings.load(brokers=kafka.bootstrap)
    asked = asyncio.Event()
    send = AIOKafkaConnection.send

    def seen(connection: AIOKafkaConnection, request: object, **options: Any) -> Any:
        if isinstance(request, MetadataRequest):
            asked.set()
        return send(connection, request, **options)

    async def started() -> None:
        async with clients.running(make(settings), settings):
            raise AssertionError("it was cancelled while it started")

    async def cancelled() -> None:
        starting = asyncio.create_task(started())
        await asked.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    monkeypatch.setattr(AIOKafkaConnection, "send", seen)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    await cancelled()
    await asyncio.sleep(0)  # the loop itself held the task until now
    gc.collect()
    assert [one["message"] for one in complaints] == []
