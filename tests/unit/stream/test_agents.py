"""The agent's shell, with the app replaced by a stand-in."""

from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from stream.agents import Recommending
from stream.errors import StoreError
from stream.rules import Rules
from stream.settings import Settings
from stream.telemetry import Telemetry
from tests.support.partitions import CLICK, Partition


class Unreadable:
    """Records that are there and cannot be read, after so many reads that went well."""

    def __init__(self, reads: int) -> None:
        self._reads = reads

    def prepare(self, keys: set[bytes]) -> None:
        """Say nothing yet."""

    def get(self, key: bytes) -> bytes | None:
        """Give a record that is none, or fail."""
        if self._reads:
            self._reads -= 1
            return b"no record"
        raise StoreError("the users are damaged")


@pytest.mark.parametrize("reads", [0, 1], ids=["in the batch", "one by one"])
def test_events_whose_user_cannot_be_read_are_no_dead_letters(reads: int, caplog) -> None:
    """They are not bad: the worker ends, and they are read again. Its one line says why."""
    settings = Settings.load()
    users = Unreadable(reads)
    records = SimpleNamespace(partition=lambda number: users)
    app = SimpleNamespace(settings=settings, sources=settings.topics.events, crash=None, records=records)
    agent = Recommending(app, rules=Rules(), telemetry=Telemetry(CollectorRegistry()))
    with pytest.raises(StoreError):
        agent._processed(3, [Partition().event("u", "a", behavior=CLICK)])
    assert [record.levelname for record in caplog.records] == ["ERROR"] * reads
