"""The replay: which record goes where, when, and what is said when Kafka takes no more."""

import asyncio
import time
from collections import defaultdict

import msgspec
import polars as pl
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from stream import delivery as delivery_module
from stream import replay as replay_module
from stream.clients import running
from stream.columns import EVENT_SCHEMA
from stream.delivery import MAX_BATCH_BYTES, Delivery, delivery_producer, event_partitions
from stream.embedded import EmbeddedBroker
from stream.errors import BrokerUnavailable, FreshetError, TopicError
from stream.ordering import in_time_order
from stream.replay import LONGEST_WAIT_S, Pace, replay
from stream.settings import Settings
from stream.simulation import SimulationConfig, simulate

TOPICS = Settings.load().topics.events
LIMIT_S = 30


def frame(*rows: tuple[str, str, str | None, int, int]) -> pl.DataFrame:
    """Events given as user, item, category, behaviour and time in milliseconds."""
    return pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row")


@pytest.fixture
def settings(embedded: EmbeddedBroker) -> Settings:
    """Settings of an embedded broker with the four event topics of 4 partitions."""
    embedded.create_topics(dict.fromkeys(TOPICS, 4))
    return Settings.load(brokers=embedded.bootstrap)


def event_time(record) -> int:
    """The event time in a record's value."""
    return msgspec.json.decode(record.value)["timestamp"]


async def sent(settings: Settings, frames: list[pl.DataFrame], **options) -> list:
    """Replay the frames and read back every record, in the order of the topics and partitions."""
    ids = options.pop("event_ids", None)
    async with running(delivery_producer(settings), settings) as producer:
        delivery = Delivery(producer, TOPICS, partitions=await event_partitions(settings), event_ids=ids)
        done = await replay(frames, delivery, pace=Pace(0), **options)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.brokers, auto_offset_reset="earliest", check_crcs=True
    )
    places = [TopicPartition(topic, number) for topic in TOPICS for number in range(4)]
    records = defaultdict(list)
    async with running(consumer, settings), asyncio.timeout(LIMIT_S):
        consumer.assign(places)
        while sum(map(len, records.values())) < done.events:
            for place, batch in (await consumer.getmany(timeout_ms=1_000)).items():
                records[place].extend(batch)
    return [record for place in places for record in records[place]]


async def test_record_of_each_behavior(settings):
    """Topic, key and value are those of the event; what is not known is left out or null."""
    events = frame(*((f"u{behavior}", "i", "c", behavior, 1_000 + behavior) for behavior in range(4)))
    records = await sent(settings, [events])
    assert [(record.topic, record.key) for record in records] == [
        (topic, b"u%d" % behavior) for behavior, topic in enumerate(TOPICS)
    ]
    for behavior, record in enumerate(records):
        known = {name: part for name, part in msgspec.json.decode(record.value).items() if part is not None}
        assert known == {
            "user_id": f"u{behavior}",
            "item_id": "i",
            "category_id": "c",
            "timestamp": 1_000 + behavior,
        }


async def test_record_is_stamped_when_it_is_sent(settings):
    """Old events are not older than the topic's retention: the record has the time of the replay."""
    before_ms = time.time_ns() // 1_000_000
    (record,) = await sent(settings, [frame(("u", "i", None, 0, 1_000))])
    assert before_ms <= record.timestamp <= time.time_ns() // 1_000_000
    assert event_time(record) == 1_000


async def test_partition_is_that_of_kafkas_clients(settings):
    """The key's murmur2 hash, as in Kafka's own test of it, gives one partition number in all topics."""
    hashes = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536}
    records = await sent(
        settings, [frame(*((user, "i", None, b, 1_000) for user in hashes for b in range(4)))]
    )
    assert len(records) == 4 * len(hashes)
    for record in records:
        assert record.partition == (hashes[record.key.decode()] & 0x7FFFFFFF) % 4


async def test_event_ids_tell_the_row_of_the_file(settings):
    """Ids count the file's rows, not the order of sending; an event's own id stays."""
    events = frame(("u", "late", None, 0, 2_000), ("u", "early", None, 0, 1_000)).with_columns(event_id=None)
    own = frame(("u", "own", None, 0, 3_000)).with_columns(event_id=pl.lit("e7"))
    records = await sent(settings, [events.cast({"event_id": pl.String}), own], event_ids="file")
    values = [msgspec.json.decode(record.value) for record in records]
    assert [(value["item_id"], value["event_id"]) for value in values] == [
        ("early", "file:2"),
        ("late", "file:1"),
        ("own", "e7"),
    ]


async def test_every_partition_is_in_event_time_order(settings, monkeypatch):
    """Many slices and full batches keep the order of each partition, and lose and repeat nothing."""
    monkeypatch.setattr(replay_module, "SLICE_EVENTS", 700)
    monkeypatch.setattr(delivery_module, "MAX_BATCH_BYTES", 3_000)
    events = simulate(SimulationConfig(events=10_000)).events
    records = await sent(settings, list(events.sample(fraction=1, shuffle=True, seed=1).iter_slices(3_000)))
    assert len(records) == events.height
    for place in {(record.topic, record.partition) for record in records}:
        times = [event_time(record) for record in records if (record.topic, record.partition) == place]
        assert times == sorted(times)
    keys = ["user_id", "item_id", "timestamp"]
    values = pl.DataFrame([msgspec.json.decode(record.value) for record in records]).select(keys)
    assert values.sort(keys).equals(events.select(keys).sort(keys))


async def test_limit_takes_the_earliest(settings):
    """A limit counts events of the time order, and progress tells each of them."""
    told: list[int] = []
    events = frame(*(("u", f"i{time}", None, 0, time) for time in (5_000, 1_000, 4_000, 2_000, 3_000)))
    records = await sent(settings, [events], limit=3, progress=told.append)
    assert [event_time(record) for record in records] == [1_000, 2_000, 3_000]
    assert sum(told) == 3


async def test_topics_with_different_partition_counts_are_refused(embedded):
    """A user would stand in different partitions of different topics."""
    embedded.create_topics({topic: 4 + (topic == TOPICS[-1]) for topic in TOPICS})
    with pytest.raises(TopicError, match=r"events\.click has 4, .*events\.purchase has 5"):
        await event_partitions(Settings.load(brokers=embedded.bootstrap))


async def test_missing_topic_is_refused(embedded):
    """A topic that is not there is named, and not made by asking for it."""
    embedded.create_topics(dict.fromkeys(TOPICS[1:], 4))
    with pytest.raises(TopicError, match=r"events\.click"):
        await event_partitions(Settings.load(brokers=embedded.bootstrap))


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


async def timed(
    times_ms: list[int], speed: float, *, work_s: float = 0.0
) -> tuple[list[tuple[float, int]], Pace]:
    """When each event is given (seconds from the start), where the user works ``work_s`` on each slice."""
    clock = Clock()
    pace = Pace(speed, clock_s=clock, sleep_s=clock.sleep)
    given = []
    for events in in_time_order([frame(*(("u", "i", None, 0, time_ms) for time_ms in times_ms))]):
        async for part in pace.slices(events):
            given += [(round(clock.now_s - 100.0, 6), time_ms) for time_ms in part["timestamp"]]
            clock.now_s += work_s
    return given, pace


async def test_pace_is_a_multiple_of_the_datas_own():
    """At speed 10 a minute of events takes six seconds, the first event none."""
    given, pace = await timed([0, 30_000, 60_000, 60_000], 10)
    assert given == [(0.0, 0), (3.0, 30_000), (6.0, 60_000), (6.0, 60_000)]
    assert pace.behind_s == 0.0


async def test_a_gap_of_months_takes_as_long_as_the_longest_wait():
    """A stray early event does not keep a replay waiting, and the pace goes on after it."""
    given, pace = await timed([0, 90 * 86_400_000, 90 * 86_400_000 + 5_000], 1)
    assert [seconds for seconds, _ in given] == [0.0, LONGEST_WAIT_S, LONGEST_WAIT_S + 5.0]
    assert pace.behind_s == 0.0


async def test_speed_zero_does_not_wait():
    """Without a pace everything is given at once."""
    given, _ = await timed([0, 30_000, 86_400_000], 0)
    assert [seconds for seconds, _ in given] == [0.0, 0.0, 0.0]


async def test_what_is_late_is_given_together():
    """When sending takes longer than the pace allows, all that is due goes at once, and the delay is told."""
    given, pace = await timed([0, 1_000, 2_000, 3_000, 4_000, 9_000], 1, work_s=3.5)
    assert given == [(0.0, 0), (3.5, 1_000), (3.5, 2_000), (3.5, 3_000), (7.0, 4_000), (10.5, 9_000)]
    assert pace.behind_s == pytest.approx(3.0)


class FailingProducer:
    """Takes some batches, then fails, either when asked or when it should acknowledge."""

    def __init__(self, good: int, fault: Exception, *, at_once: bool) -> None:
        self._left = good
        self._fault = fault
        self._at_once = at_once

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(MAX_BATCH_BYTES, compression_type=0)

    async def send_batch(self, batch, topic, *, partition):
        acknowledgement = asyncio.get_running_loop().create_future()
        self._left -= 1
        if self._left >= 0:
            acknowledgement.set_result(None)
        elif self._at_once:
            raise self._fault
        else:
            acknowledgement.set_exception(self._fault)
        return acknowledgement


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("fault", "error"), [(KafkaTimeoutError(), BrokerUnavailable), (MessageSizeTooLargeError(), FreshetError)]
)
async def test_failure_tells_how_many_events_are_safe(monkeypatch, fault, error, at_once):
    """What was acknowledged before a failure is counted, the slice that failed is not."""
    monkeypatch.setattr(replay_module, "SLICE_EVENTS", 2)
    delivery = Delivery(FailingProducer(2, fault, at_once=at_once), TOPICS, partitions=1)
    events = frame(*(("u", "i", None, 0, time) for time in range(10)))
    with pytest.raises(error, match=r"^after 4 acknowledged events") as caught:
        await replay([events], delivery, pace=Pace(0))
    assert caught.value.retriable == (error is BrokerUnavailable)
