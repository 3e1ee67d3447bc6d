"""What a worker refuses: in the dead letters as it came, with the reason, and nothing else suffers."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import pytest

from models.fitting import Fitted
from stream.messages import (
    ERROR_WORDS,
    HEADER_ERROR,
    HEADER_MESSAGE,
    HEADER_OFFSET,
    HEADER_PARTITION,
    HEADER_TOPIC,
    MAX_ID_LENGTH,
)
from stream.retraining import announce_fitted
from stream.simulation import Simulation
from stream.state import decode_state
from tests.support.deployment import PARTITIONS, Deployment, Sent, event, partition_of
from tests.support.kafka_broker import PROJECT, ConsumedRecord, KafkaBroker
from tests.support.worker_process import Metrics

PAGE = PROJECT / "docs" / "bad-input.md"
AT_MS = 1_511_544_070_123
HOUR_MS = 3_600_000
LONG = "x" * (MAX_ID_LENGTH + 1)
DAMAGED_USER = "user-with-a-damaged-record"
GOOD_USERS = 40
EVENTS_EACH = 3
KEYLESS_USERS = 12


class Bad(NamedTuple):
    """A record to be refused: what it is, the word for why, its topic's field of ``Topics``, its bytes."""

    what: str
    error: str
    topic: str
    key: bytes | None
    value: bytes | None


def in_an_hour(user: str) -> bytes:
    """Return an event of the future."""
    return event(user, "i00001", time.time_ns() // 1_000_000 + HOUR_MS)


def without(field: str) -> bytes:
    """Return an event that lacks a field."""
    fields = {"user_id": "u", "item_id": "i", "timestamp": AT_MS}
    del fields[field]
    return msgspec.json.encode(fields)


BAD = (
    Bad("no value (null)", "no-value", "click", b"u", None),
    Bad("an empty value", "no-value", "cart", b"u", b""),
    Bad(
        "a text that is not UTF-8",
        "not-utf8",
        "click",
        b"u",
        b'{"user_id": "\xff", "item_id": "i", "timestamp": 1}',
    ),
    Bad("bytes that are no text, without a key", "not-utf8", "favorite", None, b"\xfe\xfd\xfc"),
    Bad("a line of CSV", "not-json", "click", b"u", b"user,item,1511544070"),
    Bad(
        "JSON that is cut off",
        "not-json",
        "purchase",
        b"u",
        b'{"user_id": "u", "item_id": "i", "timestamp": 1511544070123',
    ),
    Bad(
        "JSON nested 100,000 deep",
        "too-deep",
        "click",
        b"u",
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ),
    Bad(
        "half of a surrogate pair in a text",
        "not-json",
        "click",
        b"u",
        b'{"user_id": "\\ud800", "item_id": "i", "timestamp": 1}',
    ),
    Bad(
        "NaN as `timestamp`", "not-json", "click", b"u", b'{"user_id": "u", "item_id": "i", "timestamp": NaN}'
    ),
    Bad("an array instead of an object", "wrong-type", "click", b"u", b'["u", "i", 1511544070123]'),
    Bad(
        "a number as `user_id`",
        "wrong-type",
        "cart",
        b"u",
        b'{"user_id": 17, "item_id": "i", "timestamp": 1511544070123}',
    ),
    Bad(
        "a fraction as `timestamp`",
        "wrong-type",
        "cart",
        b"u",
        b'{"user_id": "u", "item_id": "i", "timestamp": 1.5}',
    ),
    Bad("no `user_id`", "missing-field", "click", b"u", without("user_id")),
    Bad("no `item_id`", "missing-field", "favorite", b"u", without("item_id")),
    Bad("no `timestamp`", "missing-field", "purchase", b"u", without("timestamp")),
    Bad("an empty `user_id`", "empty-field", "click", None, event("", "i", AT_MS)),
    Bad("an empty `item_id`", "empty-field", "click", b"u", event("u", "", AT_MS)),
    Bad("a `user_id` of 257 characters", "too-long", "click", LONG.encode(), event(LONG, "i", AT_MS)),
    Bad("an `item_id` of 257 characters", "too-long", "cart", b"u", event("u", LONG, AT_MS)),
    Bad(
        "a `timestamp` that is a word",
        "bad-timestamp",
        "click",
        b"u",
        b'{"user_id": "u", "item_id": "i", "timestamp": "yesterday"}',
    ),
    Bad(
        "a `timestamp` in text without Z or an offset",
        "bad-timestamp",
        "click",
        b"u",
        b'{"user_id": "u", "item_id": "i", "timestamp": "2017-11-24T17:21"}',
    ),
    Bad("a negative `timestamp`", "timestamp-out-of-range", "click", b"u", event("u", "i", -1)),
    Bad(
        "a `timestamp` after the year 9999",
        "timestamp-out-of-range",
        "purchase",
        b"u",
        event("u", "i", 10**18),
    ),
    Bad("a `timestamp` an hour ahead", "timestamp-in-future", "click", b"u", in_an_hour("u")),
    Bad("an erasure without a key", "missing-key", "forget", None, b"{}"),
    Bad("an erasure with an empty key", "missing-key", "forget", b"", b'{"user_id": "u"}'),
    Bad("a key that is not UTF-8", "key-not-utf8", "click", b"\xff\xfe", event("u", "i", AT_MS)),
    Bad("an erasure with a key that is not UTF-8", "key-not-utf8", "forget", b"\xff\xfe", None),
    Bad("an erasure of an id of 257 characters", "too-long", "forget", LONG.encode(), None),
    Bad("a key that names another user", "key-mismatch", "click", b"somebody-else", event("u", "i", AT_MS)),
    Bad(
        "an event of a user whose record in the changelog is damaged",
        "processing-failed",
        "click",
        DAMAGED_USER.encode(),
        event(DAMAGED_USER, "i00001", AT_MS),
    ),
)
"""Each kind of bad input: every error word that an event or an erasure can lead to."""

TOO_LARGE = Bad(
    "a value as large as the broker takes, bad otherwise", "not-json", "click", b"u", b"x" * 1_048_400
)
"""A record as large as the broker takes: with the reason beside it, it is larger than that."""

BAD_ITEMS = (
    Bad("an item that is not JSON", "not-json", "items", b"i00001", b"lamp"),
    Bad("an item under the key of another", "key-mismatch", "items", b"i00001", b'{"item_id": "i00002"}'),
)
"""What every worker reads is refused by every worker: counted, and no dead letter."""


class Served(NamedTuple):
    """What a worker made of the bad records and of the good ones among them."""

    deployment: Deployment
    letters: list[ConsumedRecord]
    metrics: Metrics
    running: bool
    status: int


def good_events(shop: Simulation) -> list[Sent]:
    """Give events of known items by users of ours, by user and time."""
    items = shop.items["item_id"].to_list()
    return [
        Sent("click", f"good-{user}".encode(), event(f"good-{user}", items[user + number], AT_MS + number))
        for number in range(EVENTS_EACH)
        for user in range(GOOD_USERS)
    ]


def keyless_events(shop: Simulation) -> list[Sent]:
    """Give events without a key, wherever a producer that knows none would put them."""
    items = shop.items["item_id"].to_list()
    return [
        Sent("click", None, event(f"keyless-{user}", items[user], AT_MS), partition=user % PARTITIONS)
        for user in range(KEYLESS_USERS)
    ]


def mixed(shop: Simulation) -> list[Sent]:
    """Put a bad record between each few good ones."""
    bad = [Sent(one.topic, one.key, one.value, headers=[("trace", b"t-1")]) for one in (TOO_LARGE, *BAD)]
    bad += [Sent(one.topic, one.key, one.value, partition=0) for one in BAD_ITEMS]
    good = good_events(shop) + keyless_events(shop)
    each = len(good) // len(bad) + 1
    mixture: list[Sent] = []
    for number, one in enumerate(bad):
        mixture += [*good[number * each : (number + 1) * each], one]
    return mixture


@pytest.fixture(scope="module")
def served(
    kafka: KafkaBroker, shop: Simulation, fitted: Fitted, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A worker that met every kind of bad input among good events."""
    with Deployment(kafka, tmp_path_factory.mktemp("bad-input")) as deployment:
        deployment.make_topics()
        asyncio.run(announce_fitted(deployment.settings, fitted))
        damaged = DAMAGED_USER.encode()
        deployment.send([Sent(deployment.topics.changelog, damaged, b"no record of ours")])
        deployment.send(sent._replace(topic=getattr(deployment.topics, sent.topic)) for sent in mixed(shop))
        worker = deployment.start().wait_ready()
        deployment.wait_served(worker)
        metrics, running, status = worker.metrics(), worker.running, worker.terminate()
        yield Served(deployment, kafka.read(deployment.topics.dead_letter), metrics, running, status)


def test_every_word_is_tried():
    """The table above has each word of the published list."""
    assert {one.error for one in BAD} == ERROR_WORDS.keys()


def test_the_page_on_bad_input_has_each_of_them():
    """Its table names what is sent here and the word that it leads to, in this order."""
    rows = re.findall(r"^\| (.+?) \| `([a-z0-9-]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert rows == [(one.what, one.error) for one in (*BAD, TOO_LARGE)]


def test_each_bad_record_is_a_dead_letter_as_it_came(served: Served):
    """Kafka's own consumer finds key and value of each, byte for byte, beside the right word."""
    came = Counter(
        (letter.headers[HEADER_ERROR].decode(), letter.key, letter.value) for letter in served.letters
    )
    assert came == Counter([(one.error, one.key, one.value) for one in BAD] + [(TOO_LARGE.error, None, None)])


def test_dead_letters_say_why_and_from_where(served: Served):
    """The five headers are there, the source is where the record stands, and its own headers are kept."""
    topics = served.deployment.topics
    sources = {topic: served.deployment.read(topic) for topic in (*topics.events, topics.forget)}
    places = {(one.topic, one.partition, one.offset): one for found in sources.values() for one in found}
    for letter in served.letters:
        headers = letter.headers
        assert headers[HEADER_MESSAGE].decode()
        source = places[
            headers[HEADER_TOPIC].decode(), int(headers[HEADER_PARTITION]), int(headers[HEADER_OFFSET])
        ]
        if source.value != TOO_LARGE.value:
            assert (source.key, source.value) == (letter.key, letter.value)
            assert headers["trace"] == b"t-1"


def test_record_too_large_for_a_dead_letter_is_named(served: Served):
    """Where the broker would not take a record with the reason beside it, reason and place are kept."""
    places = {one.value: one for one in served.deployment.read(served.deployment.topics.click)}
    source = places[TOO_LARGE.value]
    offset = str(source.offset).encode()
    (letter,) = [
        one
        for one in served.letters
        if one.key is None
        and one.headers[HEADER_OFFSET] == offset
        and one.headers[HEADER_PARTITION] == str(source.partition).encode()
    ]
    assert letter.value is None
    assert letter.headers[HEADER_ERROR] == b"not-json"
    assert letter.headers[HEADER_TOPIC] == source.topic.encode()


def test_no_bad_record_stops_the_worker(served: Served):
    """It still runs when all is served, and ends in good order."""
    assert served.running
    assert served.status == 0


def test_counters_know_each_refusal(served: Served):
    """Each word is counted as often as it was sent; refused events are invalid, the others are no events."""
    for word, count in Counter(one.error for one in (TOO_LARGE, *BAD, *BAD_ITEMS)).items():
        assert served.metrics.total("freshet_dead_letters_total", error=word) == count
    events = [one for one in (TOO_LARGE, *BAD) if one.topic != "forget"]
    assert served.metrics.total("freshet_events_total", outcome="invalid") == len(events)
    good = GOOD_USERS * EVENTS_EACH + KEYLESS_USERS
    assert served.metrics.total("freshet_events_total") == len(events) + good


def test_good_events_among_them_are_served(served: Served):
    """Each good event has its list, and their users' records hold all of them."""
    users = Counter(user for user, _ in served.deployment.lists())
    expected = {f"good-{user}": EVENTS_EACH for user in range(GOOD_USERS)}
    expected |= {f"keyless-{user}": 1 for user in range(KEYLESS_USERS)}
    assert users == expected
    records = served.deployment.records()
    assert all(len(decode_state(records[user.encode()]).items) == count for user, count in expected.items())
    applied = served.metrics.total("freshet_events_total", outcome="applied")
    assert applied == sum(expected.values())


def test_event_without_a_key_reaches_its_users_partition(served: Served):
    """Wherever it stood, its state and list lie where its user's other events are."""
    keyless = [f"keyless-{user}".encode() for user in range(KEYLESS_USERS)]
    astray = [key for number, key in enumerate(keyless) if partition_of(key) != number % PARTITIONS]
    assert astray, "every one happened to be sent to the right partition"
    for topic in (served.deployment.topics.changelog, served.deployment.topics.recommendations):
        places = {record.key: record.partition for record in served.deployment.read(topic)}
        assert all(places[key] == partition_of(key) for key in keyless)
