"""Record batches reach the producer whole, in order, and again where the broker did not take them."""

import asyncio
import gc
import math
from typing import NamedTuple

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerFenced,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record import MemoryRecords

from stream import outbox
from stream.errors import PartitionLost
from stream.outbox import Outbox, Record, record

BATCH_BYTES = 400


class Taken(NamedTuple):
    """One batch as the broker was given it."""

    topic: str
    partition: int
    keys: list[bytes | None]
    records: list[object]


class Acknowledged(NamedTuple):
    """What the outbox reads of an acknowledgement: the offset of the batch's first record."""

    offset: int


class Producer:
    """A producer whose broker answers each batch in its turn with an error, or with an offset."""

    def __init__(self) -> None:
        self.answers: list[KafkaError | None] = []
        self.taken: list[Taken] = []
        self.end = 100
        self.held: asyncio.Event | None = None
        self.room: float = math.inf

    def create_batch(self) -> BatchBuilder:
        """Return the client's own builder."""
        return BatchBuilder(BATCH_BYTES, 0)

    async def send_batch(
        self, builder: BatchBuilder, topic: str, *, partition: int
    ) -> "asyncio.Task[Acknowledged]":
        """Answer, after ``held`` where there is one; after ``room`` batches no more are queued."""
        if not self.room:
            raise KafkaTimeoutError
        self.room -= 1
        builder.close()
        return asyncio.create_task(self._answer(bytes(builder._build()), topic, partition))

    async def _answer(self, data: bytes, topic: str, partition: int) -> Acknowledged:
        if self.held is not None:
            await self.held.wait()
        error = self.answers.pop(0) if self.answers else None
        if error is not None:
            raise error
        batch = MemoryRecords(data).next_batch()
        assert batch is not None
        records = list(batch)
        self.taken.append(Taken(topic, partition, [record.key for record in records], records))
        self.end += len(records)
        return Acknowledged(self.end - len(records))

    @property
    def keys(self) -> list[bytes | None]:
        """The keys of all records taken, in their order."""
        return [key for batch in self.taken for key in batch.keys]


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Producer:
    """A producer that takes everything; trying again takes no time."""
    monkeypatch.setattr(outbox, "RETRY_FIRST_S", 0.0)
    return Producer()


@pytest.fixture
def box(producer: Producer) -> Outbox:
    """An outbox over the producer."""
    return Outbox(lambda: producer)


def numbered(count: int, begin: int = 0) -> list[Record]:
    """Records of some 90 bytes, so that three fill a batch of 400 with its header of 61."""
    return [record(b"%d" % number, b"v" * 80) for number in range(begin, begin + count)]


async def test_nothing_to_send_is_not_sent(box: Outbox, producer: Producer) -> None:
    """-1 says that there is no last offset."""
    assert await box.send("t", 0, []) == -1
    assert producer.taken == []


async def test_records_go_out_whole_in_one_batch(box: Outbox, producer: Producer) -> None:
    """Key, value, headers and time as given; the answer is the last record's offset."""
    records = [
        record(b"k", b"v", [("error", b"not-json"), ("odd", b"")], timestamp_ms=1_700_000_000_123),
        record(b"gone", None),
        record(None, None, [("error", b"no-value")]),
    ]
    assert await box.send("t", 5, records) == 102
    (batch,) = producer.taken
    assert (batch.topic, batch.partition) == ("t", 5)
    first, second, third = batch.records
    assert (first.key, first.value, first.timestamp) == (b"k", b"v", 1_700_000_000_123)
    assert list(first.headers) == [("error", b"not-json"), ("odd", b"")]
    assert (second.key, second.value) == (b"gone", None)
    assert (third.key, third.value, list(third.headers)) == (None, None, [("error", b"no-value")])


async def test_pairs_go_out_with_one_time_and_no_headers(box: Outbox, producer: Producer) -> None:
    """As records would, in batches of the same size."""
    pairs = [(b"gone", None), *((b"%d" % number, b"v" * 80) for number in range(4))]
    assert await box.send_pairs("t", 5, pairs, 1_700_000_000_123) == 104
    assert [len(batch.keys) for batch in producer.taken] == [4, 1]
    sent = [record for batch in producer.taken for record in batch.records]
    assert [(one.key, one.value) for one in sent] == pairs
    assert {(one.timestamp, *one.headers) for one in sent} == {(1_700_000_000_123,)}


async def test_what_does_not_fit_goes_into_further_batches(box: Outbox, producer: Producer) -> None:
    """In order, none missing; the last offset is that of the last batch."""
    assert await box.send("t", 0, numbered(8)) == 107
    assert [len(batch.keys) for batch in producer.taken] == [3, 3, 2]
    assert producer.keys == [b"%d" % number for number in range(8)]


async def test_a_record_larger_than_a_batch_goes_alone(box: Outbox, producer: Producer) -> None:
    """The broker has the last word on sizes, not the batch limit."""
    await box.send("t", 0, [*numbered(1), record(b"large", b"x" * 1_000), *numbered(1, begin=1)])
    assert [batch.keys for batch in producer.taken] == [[b"0"], [b"large"], [b"1"]]


async def test_an_absent_broker_is_tried_until_it_is_back(box: Outbox, producer: Producer) -> None:
    """Meanwhile the outbox says that the broker is not reachable."""
    producer.answers = [KafkaConnectionError(), KafkaConnectionError(), None]
    producer.held = asyncio.Event()
    sending = asyncio.create_task(box.send("t", 0, numbered(1)))
    seen = []
    producer.held.set()
    while not sending.done():
        seen.append(box.reachable)
        await asyncio.sleep(0)
    assert await sending == 100
    assert False in seen
    assert box.reachable
    assert producer.keys == [b"0"]


async def test_only_what_was_not_acknowledged_is_sent_again(box: Outbox, producer: Producer) -> None:
    """From the first failed batch on; a later one that was taken stands there twice, in order."""
    producer.answers = [None, KafkaConnectionError(), None]
    await box.send("t", 0, numbered(9))
    assert producer.keys == [b"%d" % number for number in [0, 1, 2, 6, 7, 8, *range(3, 9)]]


async def test_an_error_that_trying_again_cannot_help_is_raised(box: Outbox, producer: Producer) -> None:
    """A record that the broker will never take must not be tried for ever."""
    producer.answers = [MessageSizeTooLargeError()]
    with pytest.raises(MessageSizeTooLargeError):
        await box.send("t", 0, numbered(1))


async def test_every_failure_is_looked_at(
    box: Outbox, producer: Producer, caplog: pytest.LogCaptureFixture
) -> None:
    """Or asyncio would print a traceback for each batch but the first behind the one line that says why."""
    producer.answers = [ProducerFenced(), ProducerFenced(), ProducerFenced()]
    with pytest.raises(PartitionLost):
        await box.send("t", 3, numbered(9))
    gc.collect()
    assert producer.answers == []
    assert not caplog.records


async def test_a_batch_that_cannot_be_queued_leaves_none_on_its_way(producer: Producer) -> None:
    """What is sent next must not meet the rest of what failed."""
    producer.room = 1
    with pytest.raises(KafkaTimeoutError):
        await Outbox(lambda: producer, tries_again=False).send("t", 0, numbered(9))
    assert producer.keys == [b"0", b"1", b"2"]


async def test_a_partition_that_another_worker_has_claimed_is_lost(box: Outbox, producer: Producer) -> None:
    """The broker refuses the batch by its epoch; the error names the partition and is not tried again."""
    producer.answers = [ProducerFenced()]
    with pytest.raises(PartitionLost, match="partition 3"):
        await box.send("t", 3, numbered(1))
    assert producer.taken == []


async def test_in_a_transaction_nothing_is_tried_again(producer: Producer) -> None:
    """Both tries would be committed together, so that one of them would stand there twice."""
    producer.answers = [KafkaConnectionError()]
    with pytest.raises(KafkaConnectionError):
        await Outbox(lambda: producer, tries_again=False).send("t", 0, numbered(1))
    assert producer.taken == []


async def test_calls_for_one_partition_take_turns(box: Outbox, producer: Producer) -> None:
    """A batch that is sent again still comes before what was asked for later: a user's last list is last."""
    producer.answers = [KafkaConnectionError(), None, None]
    earlier = asyncio.create_task(box.send("t", 0, numbered(1)))
    later = asyncio.create_task(box.send("t", 0, numbered(1, begin=1)))
    assert [await earlier, await later] == [100, 101]
    assert producer.keys == [b"0", b"1"]


async def test_partitions_do_not_wait_for_one_another(box: Outbox, producer: Producer) -> None:
    """Both are under way at once, so that one acknowledgement's delay is not added to the next."""
    producer.held = asyncio.Event()
    sends = [asyncio.create_task(box.send("t", number, numbered(1))) for number in range(2)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1 + 2 + 2  # the test, the sends and their deliveries
    producer.held.set()
    await asyncio.gather(*sends)
    assert {batch.partition for batch in producer.taken} == {0, 1}


async def test_the_turn_passes_on_after_an_error(box: Outbox, producer: Producer) -> None:
    """The worker stops, and what is under way still ends."""
    producer.answers = [MessageSizeTooLargeError(), None]
    with pytest.raises(MessageSizeTooLargeError):
        await box.send("t", 0, numbered(1))
    assert await box.send("t", 0, numbered(1)) == 100


async def test_the_producer_is_asked_for_each_time(producer: Producer) -> None:
    """Faust may have made a new one in between."""
    replaced = Producer()
    producers = [producer, replaced]
    box = Outbox(lambda: producers[0])
    await box.send("t", 0, numbered(1))
    producers.pop(0)
    await box.send("t", 0, numbered(1, begin=1))
    assert (producer.keys, replaced.keys) == ([b"0"], [b"1"])
