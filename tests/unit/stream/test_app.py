"""The app between two assignments: what is under way is delivered and committed, or said to be neither."""

from types import SimpleNamespace

import pytest

from stream.app import StreamApp
from stream.errors import BrokerUnavailable
from stream.settings import Settings


class Standing:
    """What ``finish`` uses of an app, in the middle of a batch."""

    def __init__(self, *, delivered: bool) -> None:
        self.settings = Settings.load(brokers="kafka-1:9092")
        self.batch_consumer = SimpleNamespace(stop_flow=lambda: None, commit_delivered=self._commit)
        self.crashes: list[BaseException] = []
        self.commits = 0
        self._delivered = delivered
        self._ending = False

    async def drain(self) -> bool:
        return self._delivered

    async def crash(self, reason: BaseException) -> None:
        self.crashes.append(reason)

    async def _commit(self) -> None:
        self.commits += 1


async def test_what_was_delivered_is_committed():
    """Nothing ends."""
    app = Standing(delivered=True)
    await StreamApp.finish(app)  # type: ignore[arg-type]
    assert (app.commits, app.crashes) == (1, [])


async def test_what_could_not_be_delivered_ends_the_worker_in_one_line_and_is_not_committed():
    """What it has in memory may be ahead of the changelog, so only a new process is safe."""
    app = Standing(delivered=False)
    await StreamApp.finish(app)  # type: ignore[arg-type]
    assert app.commits == 0
    (error,) = app.crashes
    assert isinstance(error, BrokerUnavailable)
    with pytest.raises(BrokerUnavailable, match="kafka-1:9092 did not take what was under way"):
        raise error
