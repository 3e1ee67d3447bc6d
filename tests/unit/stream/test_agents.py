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
    """Records that are there and cannot be read: at once, or one by one."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once

    def prepare(self, keys: set[bytes]) -> None:
        """Fail at once or say nothing yet."""
        if self._at_once:
            self.get(b"")

    def get(self, key: bytes) -> bytes:
        """Fail."""
        raise StoreError("the users are damaged")


@pytest.mark.parametrize("at_once", [True, False])
def test_events_whose_user_cannot_be_read_are_no_dead_letters(at_once: bool) -> None:
    """They are not bad: the worker ends, and they are read again."""
    settings = Settings.load()
    records = SimpleNamespace(partition=lambda number: Unreadable(at_once=at_once))
    app = SimpleNamespace(settings=settings, sources=settings.topics.events, crash=None, records=records)
    agent = Recommending(app, rules=Rules(), telemetry=Telemetry(CollectorRegistry()))
    with pytest.raises(StoreError):
        agent._processed(3, [Partition().event("u", "a", behavior=CLICK)])
