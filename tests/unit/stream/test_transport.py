"""What the transport does to aiokafka's fetches, with the client replaced by a stand-in."""

from types import SimpleNamespace

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.transport import BatchConsumerThread

PLACE = TP("events.click", 2)


class StandIn:
    """A consumer with an assignment that can be replaced, and a note of where it was sent."""

    def __init__(self) -> None:
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=object()))
        self.sought: list[tuple[TP, int]] = []

    def rebalance(self) -> None:
        """Replace the assignment."""
        self._subscription.subscription.assignment = object()

    def seek(self, place: TP, offset: int) -> None:
        """Note the new position."""
        self.sought.append((place, offset))


@pytest.fixture
def thread() -> BatchConsumerThread:
    """The consumer's thread, not started."""
    return object.__new__(BatchConsumerThread)


async def test_fetch_that_outlives_a_rebalance_is_put_back(thread, monkeypatch):
    """Records of another assignment than was asked under are read again, not lost."""
    consumer = StandIn()

    async def fetched(*_: object, **__: object) -> dict[TP, list[SimpleNamespace]]:
        consumer.rebalance()
        return {PLACE: [SimpleNamespace(offset=offset) for offset in (243, 244, 251)]}

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetched)
    assert await thread._fetch_records(consumer, {PLACE}, timeout=1.0) == {}
    assert consumer.sought == [(PLACE, 243)]


async def test_fetch_under_one_assignment_is_handed_on(thread, monkeypatch):
    """Without a rebalance in between nothing is read again."""
    consumer = StandIn()
    records = {PLACE: [SimpleNamespace(offset=7)]}

    async def fetched(*_: object, **__: object) -> dict[TP, list[SimpleNamespace]]:
        return records

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetched)
    assert await thread._fetch_records(consumer, {PLACE}, timeout=1.0) is records
    assert consumer.sought == []
