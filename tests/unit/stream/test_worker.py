"""A worker's beginning and end, before it has met a broker."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import ClientSession

from stream import worker as worker_module
from stream.errors import FreshetError
from stream.follow import Follower
from stream.settings import Settings
from stream.worker import Worker

LIMIT_S = 10.0


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker whose topics are right and whose broker went away since."""

    async def right(settings: Settings) -> dict[str, int]:
        """Find nothing wrong."""
        return {settings.topics.dead_letter: 1}

    monkeypatch.setattr(worker_module, "require_topics", right)
    monkeypatch.setattr(worker_module, "spare_collections", lambda: None)
    return Worker(Settings.load(brokers="localhost:1", http_port=0, data_dir=str(tmp_path)))


async def test_a_worker_that_waits_for_its_weights_can_be_stopped(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends it although the broker never answered."""
    waiting = asyncio.Event()

    async def follow(*_: object) -> None:
        waiting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Follower, "_follow", follow)
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(waiting.wait(), LIMIT_S)
    worker.stop()
    await asyncio.wait_for(running, LIMIT_S)


async def test_a_worker_that_waits_for_its_weights_is_healthy(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop ticks although nothing is served yet: no one ends the process for being slow to start."""
    monkeypatch.setattr(worker_module, "TICK_S", 0.01)
    monkeypatch.setattr(worker_module, "SILENT_LIMIT_S", 0.5)
    monkeypatch.setattr(Follower, "_follow", lambda *_: asyncio.Event().wait())
    running = asyncio.create_task(worker.run())
    loop = asyncio.get_running_loop()
    waited = asyncio.Event()
    loop.call_later(1.0, waited.set)
    await asyncio.wait_for(waited.wait(), LIMIT_S)
    async with ClientSession() as client, client.get(f"http://127.0.0.1:{worker.web.port}/healthz") as answer:
        assert answer.status == 200
    worker.stop()
    await asyncio.wait_for(running, LIMIT_S)


async def test_what_a_follower_cannot_take_ends_the_worker(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error reaches whoever runs the worker, at the beginning too."""

    async def follow(*_: object) -> None:
        raise RuntimeError("broken weights")

    monkeypatch.setattr(Follower, "_follow", follow)
    with pytest.raises(RuntimeError, match="broken weights"):
        await asyncio.wait_for(worker.run(), LIMIT_S)


async def test_a_worker_ends_although_a_part_of_its_app_does_not(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says why it ends, within its limit, and does not wait for ever."""
    monkeypatch.setattr(worker_module, "STOP_LIMIT_S", 0.05)
    monkeypatch.setattr(Follower, "_follow", lambda *_: asyncio.Event().wait())
    monkeypatch.setattr(worker.app, "maybe_start", worker.app.begun.wait)
    monkeypatch.setattr(worker.app, "stop", asyncio.Event().wait)
    running = asyncio.create_task(worker.run())
    worker.models.caught_up.set()
    worker.items.caught_up.set()
    worker.app.begun.set()
    await worker._fail(FreshetError("another worker has taken over"))
    with pytest.raises(FreshetError, match="taken over"):
        await asyncio.wait_for(running, LIMIT_S)
