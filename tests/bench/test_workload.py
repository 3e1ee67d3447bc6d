"""The reference workload's own answers: a benchmark that cannot say no measures nothing."""

from collections.abc import Callable, Iterator

import msgspec
import pytest
from confluent_kafka import Producer

from stream.embedded import EmbeddedBroker
from tests.bench.workload import LIST_ITEMS, PARTITIONS, Workload, WrongAnswer, read_all

Answer = Callable[[int, str, list[str]], Iterator[list[str]]]
WORKLOAD = Workload(events=400, users=10)


def items_of(value: bytes) -> list[str]:
    """Read a list of the test's own form."""
    return msgspec.json.decode(value, type=list[str])


def right(_number: int, _user: str, items: list[str]) -> Iterator[list[str]]:
    """Answer as the workload asks."""
    yield items[-LIST_ITEMS:]


def too_short(_number: int, _user: str, items: list[str]) -> Iterator[list[str]]:
    """Keep one item less than is asked for."""
    yield items[-LIST_ITEMS + 1 :]


def one_lost(number: int, _user: str, items: list[str]) -> Iterator[list[str]]:
    """Leave the last event without its list."""
    if number < WORKLOAD.events - 1:
        yield items[-LIST_ITEMS:]


def one_twice(number: int, _user: str, items: list[str]) -> Iterator[list[str]]:
    """Send the last event's list twice."""
    yield from [items[-LIST_ITEMS:]] * (2 if number == WORKLOAD.events - 1 else 1)


@pytest.fixture
def broker(embedded: EmbeddedBroker) -> EmbeddedBroker:
    """Give an embedded broker that holds the source events and an empty sink."""
    embedded.create_topics({"source": PARTITIONS, "sink": PARTITIONS})
    WORKLOAD.produce(embedded.bootstrap, "source")
    return embedded


def send(broker: EmbeddedBroker, answer: Answer) -> None:
    """Play a peer: read the source and send what ``answer`` makes of each user's items so far."""
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    seen: dict[str, list[str]] = {}
    for number, (user, value) in enumerate(WORKLOAD.records()):
        items = seen.setdefault(user, [])
        items.append(msgspec.json.decode(value)["item_id"])
        for due in answer(number, user, items):
            producer.produce("sink", key=user, value=msgspec.json.encode(due))
    assert producer.flush(30) == 0


def test_right_lists_pass(broker: EmbeddedBroker):
    """A peer that keeps each user's last 20 items is right, event for event."""
    send(broker, right)
    WORKLOAD.check_lists(broker.bootstrap, "sink", items_of)


@pytest.mark.parametrize("answer", [too_short, one_lost, one_twice])
def test_wrong_lists_are_noticed(broker: EmbeddedBroker, answer: Answer):
    """A list with an item too few, one list too few or one too many is an error."""
    send(broker, answer)
    with pytest.raises(WrongAnswer):
        WORKLOAD.check_lists(broker.bootstrap, "sink", items_of)


def test_echo_is_compared_value_for_value(broker: EmbeddedBroker):
    """The source topic is its own echo; one more event makes it wrong."""
    WORKLOAD.check_echo(broker.bootstrap, "source")
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce("source", key="u1", value=b"{}")
    producer.flush(30)
    with pytest.raises(WrongAnswer, match="1 events"):
        WORKLOAD.check_echo(broker.bootstrap, "source")


def test_events_have_the_size_that_is_promised(broker: EmbeddedBroker):
    """An event is about 120 bytes of JSON with the five fields of the workload."""
    values = [value for _, value in read_all(broker.bootstrap, "source")]
    fields = set(msgspec.json.decode(values[0]))
    assert fields == {"user_id", "item_id", "timestamp", "event_id", "category_id"}
    assert 100 <= sum(map(len, values)) / len(values) <= 130
