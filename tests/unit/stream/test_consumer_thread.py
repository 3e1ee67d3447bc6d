"""What the consumer's thread does to aiokafka's fetches; the client's connection is a stand-in."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.consumer.fetcher import FetchError, FetchResult, PartitionRecords
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.consumer_thread import BatchConsumerThread

PLACE = TP("events.click", 2)


class StandIn:
    """A consumer with an assignment that can be replaced, and a note of where it was sent."""

    def __init__(self) -> None:
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=object()))
        self._fetcher = SimpleNamespace(_records={})
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


def fetch(values: list[bytes]) -> FetchResult:
    """A fetch as aiokafka holds it until it is asked for: bytes from the broker, parsed one by one."""
    builder = DefaultRecordBatchBuilder(
        2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=10_000
    )
    for offset, value in enumerate(values):
        builder.append(offset, 1_700_000_000_000 + offset, b"u1", value, [("h", b"x")])
    records = PartitionRecords(
        PLACE, MemoryRecords(bytes(builder.build())), [], 0, None, None, check_crcs=True, isolation_level=0
    )
    state = SimpleNamespace(paused=False, position=0, consumed_to=lambda offset: None)
    assignment = SimpleNamespace(active=True, state_value=lambda place: state)
    return FetchResult(PLACE, assignment=assignment, partition_records=records, backoff=0)


async def test_records_come_as_the_client_parsed_them(thread, monkeypatch):
    """What the core reads of a record is there, whether it was fetched before the first look or after."""
    consumer = StandIn()
    consumer._fetcher._records[PLACE] = fetch([b"early"])

    async def fetched(*_: object, **__: object) -> dict[TP, list[object]]:
        held = consumer._fetcher._records
        first = held.pop(PLACE).getall()
        held[PLACE] = fetch([b"a", b"b"])
        return {PLACE: [*first, *held.pop(PLACE).getall()]}

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetched)
    (records,) = (await thread._fetch_records(consumer, {PLACE}, timeout=1.0)).values()
    assert [record.value for record in records] == [b"early", b"a", b"b"]
    assert [record.offset for record in records] == [0, 0, 1]
    assert [record.timestamp for record in records] == [1_700_000_000_000 + n for n in (0, 0, 1)]
    assert {(record.key, *record.headers) for record in records} == {(b"u1", ("h", b"x"))}
    assert not any(isinstance(record, ConsumerRecord) for record in records)


async def test_a_fetch_that_failed_is_kept_as_it_is(thread, monkeypatch):
    """The client raises its error when asked for the records."""
    consumer = StandIn()
    failed = FetchError(error=OffsetOutOfRangeError({PLACE: 5}), backoff=0)
    consumer._fetcher._records[PLACE] = failed

    async def fetched(*_: object, **__: object) -> dict[TP, list[object]]:
        consumer._fetcher._records[PLACE].check_raise()
        return {}

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetched)
    with pytest.raises(OffsetOutOfRangeError):
        await thread._fetch_records(consumer, {PLACE}, timeout=1.0)


async def test_consumer_that_stops_while_a_failed_fetch_waits_is_closed(thread, monkeypatch):
    """The client's own stop is cut short by the cancelled wait; what is left of it is done."""
    done: list[str] = []

    async def cut_short(_: BatchConsumerThread) -> None:
        waiting = asyncio.create_task(asyncio.Event().wait())
        waiting.cancel()
        await waiting

    async def stop() -> None:
        done.append("stopped")

    async def close() -> None:
        done.append("closed")

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_thread_stop", cut_short)
    thread._consumer = SimpleNamespace(stop=stop, _client=SimpleNamespace(close=close))
    await thread.on_thread_stop()
    assert done == ["stopped", "closed"]
