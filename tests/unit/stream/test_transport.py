"""How fetches become batches, with the consumer's thread replaced by a stand-in."""

import asyncio
from types import SimpleNamespace

from faust.types import TP

from stream.merge import Merger
from stream.transport import BatchConsumer

PLACE = TP("events.click", 2)


class Rebalanced(BatchConsumer):
    """A consumer whose first fetch is at hand, and whose app's generation a test can end."""

    def __init__(self, fetched: dict[TP, list[SimpleNamespace]]) -> None:
        self.app = SimpleNamespace(consumer_generation_id=1, recovery=SimpleNamespace(active_tps=()))
        self._sources = (PLACE.topic,)
        self._source_of = {PLACE.topic: 0}
        self._mergers: dict[int, Merger] = {}
        self._in_place = True
        self._fetch = None
        self._read_to_end = set()
        self.batch_limit = 1
        self.fetches: asyncio.Queue[dict[TP, list[SimpleNamespace]]] = asyncio.Queue()
        self.fetches.put_nowait(fetched)
        self._turn = asyncio.Semaphore(1)
        self._app = SimpleNamespace(idle=None)
        self._thread = SimpleNamespace(read_to_end=lambda place: True)
        self.ends_at_fetch = False

    flow_active = True
    should_stop = False

    async def sleep(self, _: float) -> None:
        await asyncio.sleep(0)

    def _get_active_partitions(self) -> set[TP]:
        return {PLACE}

    async def _getmany(self, *_: object) -> dict[TP, list[SimpleNamespace]]:
        fetched = await self.fetches.get()
        if self.ends_at_fetch:
            self.app.consumer_generation_id = 2
        return fetched


def parsed(*offsets: int) -> list[SimpleNamespace]:
    """Records as the merger and Faust's message read them."""
    return [SimpleNamespace(offset=offset, timestamp=offset, timestamp_type=0) for offset in offsets]


async def taken(consumer: Rebalanced, *, ends_after: int | None = None) -> list[int]:
    """The offsets of the last records of the batches that one call hands on."""
    offsets = []
    async for _, message in consumer.getmany(1.0):
        offsets.append(message.offset)
        consumer.next_turn()
        if len(offsets) == ends_after:
            consumer.app.consumer_generation_id = 2
    return offsets


async def test_every_batch_of_an_assignment_in_force_is_handed_on():
    """Without a rebalance all that was fetched is taken."""
    assert await taken(Rebalanced({PLACE: parsed(4, 5, 6)})) == [4, 5, 6]


async def test_nothing_fetched_under_an_ended_assignment_is_handed_on():
    """A rebalance while the fetch waited: its records are read again after the seek."""
    consumer = Rebalanced({PLACE: parsed(4, 5, 6)})
    consumer.ends_at_fetch = True
    assert await taken(consumer) == []


async def test_no_batch_follows_the_end_of_an_assignment():
    """A rebalance between two batches of one fetch ends the fetch."""
    assert await taken(Rebalanced({PLACE: parsed(4, 5, 6)}), ends_after=1) == [4]


async def test_a_partition_is_not_fetched_while_much_of_it_waits():
    """Behind a slow delivery events wait in Kafka: no more than two batches and a fetch are held here."""
    consumer = Rebalanced({})
    merger = consumer._merger(PLACE.partition)
    asked: list[int] = []

    async def fetch(wanted: set[TP], _: float) -> dict[TP, list[SimpleNamespace]]:
        asked.append(merger.waiting(0))
        return {}

    consumer._getmany = fetch
    merger.add(0, parsed(1, 2, 3))
    taken = []
    async for _, message in consumer.getmany(1.0):
        taken.append(message.offset)
        await asyncio.wait([consumer._fetch.task])
        consumer.next_turn()
    assert taken == [1, 2, 3]
    assert asked
    assert max(asked) < 2


async def test_the_next_fetch_is_under_way_while_the_agent_works():
    """What has come by the time a batch is made is in it, without a wait for the broker."""
    consumer = Rebalanced({PLACE: parsed(4)})
    consumer.batch_limit = 10
    batches = consumer.getmany(1.0)
    await anext(batches)
    consumer._merger(PLACE.partition).add(0, parsed(5))
    consumer.fetches.put_nowait({PLACE: parsed(6)})
    await asyncio.wait([consumer._fetch.task])
    consumer.next_turn()
    _, message = await anext(batches)
    assert [record.offset for _, record in message.value.records] == [5, 6]


async def test_what_is_fetched_and_not_taken_in_keeps_later_events_of_other_topics_waiting():
    """The client has gone on to a topic's end, and what it read there is still on its way here."""
    purchases = TP("events.purchase", PLACE.partition)
    consumer = Rebalanced({PLACE: parsed(1, 9), purchases: parsed(2)})
    consumer._sources = (PLACE.topic, purchases.topic)
    consumer._source_of = {topic: source for source, topic in enumerate(consumer._sources)}
    consumer._get_active_partitions = lambda: {PLACE, purchases}
    read_to_end = {PLACE}
    consumer._thread.read_to_end = read_to_end.__contains__
    went_on, arrives = asyncio.Event(), asyncio.Event()

    async def fetch(*_: object) -> dict[TP, list[SimpleNamespace]]:
        if consumer.fetches.qsize():
            return consumer.fetches.get_nowait()
        read_to_end.add(purchases)
        went_on.set()
        await arrives.wait()
        return {purchases: parsed(3)}

    consumer._getmany = fetch
    offsets = []
    async for _, message in consumer.getmany(1.0):
        offsets.append(message.offset)
        await went_on.wait()
        consumer.next_turn()
    assert offsets == [1, 2]
    arrives.set()
    assert await taken(consumer) == [3, 9]


async def test_a_fetch_outlives_who_waited_for_it():
    """Faust cancels its fetcher; what the broker gives then is taken by the next in the same generation."""
    consumer = Rebalanced({})
    assert await taken(consumer) == []
    waiting = asyncio.ensure_future(anext(consumer.getmany(1.0)))
    await asyncio.sleep(0)
    assert consumer._fetch is not None
    waiting.cancel()
    await asyncio.wait([waiting])
    consumer.fetches.put_nowait({PLACE: parsed(4)})
    assert await taken(consumer) == [4]


async def test_no_partition_waits_for_the_delivery_of_another():
    """A partition of which nothing waits does not hold up the one after it."""
    consumer, asked = Rebalanced({PLACE: parsed(4)}), []

    async def idle(number: int) -> None:
        asked.append(number)

    consumer._app.idle = idle
    assert await taken(consumer) == [4]
    assert asked == [PLACE.partition]


async def test_a_batch_is_made_when_the_one_before_it_has_been_taken():
    """What comes while the agent works goes into the next batch, which does not wait in a queue."""
    consumer = Rebalanced({PLACE: parsed(4)})
    consumer.batch_limit = 10
    batches = consumer.getmany(1.0)
    await anext(batches)
    consumer._merger(PLACE.partition).add(0, parsed(5))
    second = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    consumer._merger(PLACE.partition).add(0, parsed(6))
    consumer.next_turn()
    _, message = await second
    assert [record.offset for _, record in message.value.records] == [5, 6]


async def test_a_batch_waits_for_the_delivery_before_it_in_its_partition():
    """Under load batches grow with the time that a delivery takes."""
    consumer, delivered = Rebalanced({PLACE: parsed(4)}), asyncio.Event()

    async def idle(number: int) -> None:
        assert number == PLACE.partition
        await delivered.wait()

    consumer._app.idle = idle
    first = asyncio.ensure_future(anext(consumer.getmany(1.0)))
    await asyncio.wait([first], timeout=0.01)
    assert not first.done()
    delivered.set()
    _, message = await first
    assert message.offset == 4


class Committing(BatchConsumer):
    """A consumer whose commits end when a test says so."""

    def __init__(self) -> None:
        self.app = SimpleNamespace(client_only=False)
        self.loop = asyncio.get_running_loop()
        self._commit_fut = None
        self.ends = asyncio.Event()
        self.committed: list[int] = []
        self.delivered = 0

    async def force_commit(self, *_: object, **__: object) -> bool:
        self.committed.append(self.delivered)
        await self.ends.wait()
        return True


async def test_what_was_delivered_during_a_commit_is_committed_before_partitions_go():
    """A commit that is under way holds what was delivered before it began, and no more."""
    consumer = Committing()
    every_second = asyncio.create_task(consumer.commit())
    await asyncio.sleep(0)
    consumer.delivered = 7
    last = asyncio.create_task(consumer.commit_delivered())
    await asyncio.sleep(0)
    consumer.ends.set()
    await asyncio.gather(every_second, last)
    assert consumer.committed == [0, 7]
