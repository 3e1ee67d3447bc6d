"""topics, recommend, forget and dead-letters against a real broker; others' clients are the witnesses."""

import json
import os
import time
import uuid

import pytest
from confluent_kafka import Producer

from stream import lookup
from stream.cli import main
from stream.errors import Rejected
from stream.messages import EventRef, ListItem, RecommendationList, dead_letter_headers, encode


@pytest.fixture
def prefix(kafka, monkeypatch):
    """A prefix and a group of the test's own, set in the environment with the broker's address."""
    for name in list(os.environ):
        if name.startswith("FRESHET_"):
            monkeypatch.delenv(name)
    own = f"t{uuid.uuid4().hex[:8]}."
    monkeypatch.setenv("FRESHET_BROKERS", kafka.bootstrap)
    monkeypatch.setenv("FRESHET_TOPIC_PREFIX", own)
    monkeypatch.setenv("FRESHET_GROUP_ID", own + "group")
    monkeypatch.setenv("FRESHET_PARTITIONS", "3")
    return own


@pytest.fixture
def topics(prefix, capsys):
    """The topics of the test, made by the command itself; the value is their prefix."""
    assert main.run(["topics"]) == 0
    capsys.readouterr()
    return prefix


def partitions_on(kafka) -> dict[str, int]:
    """Give the topics of the broker with their partition counts, as librdkafka sees them."""
    return {
        name: len(topic.partitions) for name, topic in kafka.admin().list_topics(timeout=20).topics.items()
    }


def create_visible(kafka, topic: str, partitions: int) -> None:
    """Create a topic and wait until the broker tells of it: the controller knows it a little earlier."""
    kafka.create_topics({topic: partitions})
    deadline_s = time.monotonic() + 20
    while topic not in partitions_on(kafka):
        assert time.monotonic() < deadline_s, f"{topic} did not appear"


def send(kafka, topic: str, records: list[tuple[bytes | None, bytes | None, list]]) -> None:
    """Send with librdkafka, whose default partitioner is another than Java's."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for key, value, headers in records:
        producer.produce(topic, value=value, key=key, headers=headers)
    assert producer.flush(20) == 0


def list_of(user_id: str, item_id: str) -> bytes:
    """Write a list of one item."""
    return encode(
        RecommendationList(
            user_id=user_id,
            items=[ListItem(item_id, 1.5)],
            kind="personalized",
            model_version="v1",
            event=EventRef("events.click", 0, 7, 1_511_544_070_123),
            generated_at=1_511_544_070_150,
        )
    )


def test_topics_are_made_as_they_must_be(kafka, prefix, capsys):
    """Every topic of the contract with its partitions; a second run finds them all."""
    assert main.run(["topics", "--check"]) == 1
    assert "missing topics" in capsys.readouterr().err
    assert not [name for name in partitions_on(kafka) if name.startswith(prefix)]
    assert main.run(["topics"]) == 0
    assert capsys.readouterr().out.count("\tcreated\n") == 10
    counts = {
        name.removeprefix(prefix): count
        for name, count in partitions_on(kafka).items()
        if name.startswith(prefix)
    }
    together = ("events.click", "events.favorite", "events.cart", "events.purchase", "users.forget")
    assert counts == dict.fromkeys((*together, "recommendations", "events.dead-letter"), 3) | {
        "items": 1,
        "models": 1,
        "group-users-changelog": 3,
    }
    assert main.run(["topics", "--check"]) == 0
    assert capsys.readouterr().out.count("\tpresent\n") == 10


def test_topics_with_wrong_counts_are_refused_and_none_is_made(kafka, prefix, capsys):
    """The topic and the counts are named; the cluster is left as it was."""
    create_visible(kafka, f"{prefix}events.cart", 5)
    assert main.run(["topics"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"freshet: wrong partition counts, 3 are needed: {prefix}events.cart has 5;")
    assert err.count("\n") == 1
    assert [name for name in partitions_on(kafka) if name.startswith(prefix)] == [f"{prefix}events.cart"]


def test_topics_kept_in_a_losing_way_are_refused(kafka, prefix, capsys):
    """A changelog that expires would forget users."""
    create_visible(kafka, f"{prefix}recommendations", 3)
    assert main.run(["topics", "--check"]) == 1
    assert f"{prefix}recommendations has delete and needs compact" in capsys.readouterr().err


def test_recommend_shows_the_newest_list_of_each_user(kafka, topics, capsys, monkeypatch):
    """Whatever partition the list lies in and however far back, the last one is shown."""
    monkeypatch.setattr(lookup, "FIRST_LOOK_RECORDS", 5)
    users = [f"user {number}" for number in range(30)]
    records = [(user.encode(), list_of(user, item), []) for item in ("old", "new") for user in users]
    send(
        kafka,
        f"{topics}recommendations",
        [*records, (b"gone", list_of("gone", "x"), []), (b"gone", None, [])],
    )
    for user in users[::6]:
        assert main.run(["recommend", user, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == json.loads(list_of(user, "new"))
    assert main.run(["recommend", users[1]]) == 0
    assert capsys.readouterr().out == "place\titem\tscore\n1\tnew\t1.5000\n"
    for nobody in ("stranger", "gone"):
        assert main.run(["recommend", nobody]) == 1
        assert f"there is no list for user '{nobody}'" in capsys.readouterr().err


def test_forget_reaches_the_partition_of_any_partitioner(kafka, topics, capsys):
    """Kafka's own consumer finds the user's id as the key in every partition."""
    assert main.run(["forget", "user é", "--wait", "0"]) == 0
    records = kafka.read(f"{topics}users.forget", count=3)
    assert sorted(record.partition for record in records) == [0, 1, 2]
    assert {record.key for record in records} == {"user é".encode()}
    assert {record.value for record in records} == {'{"user_id":"user é"}'.encode()}
    assert "user é" in capsys.readouterr().out


def test_dead_letters_are_sent_again_once(kafka, topics, capsys, tmp_path):
    """To the place they were refused at, as they came; a second call has nothing left to send."""

    def refused(word: str, topic: str) -> list[tuple[str, bytes]]:
        return dead_letter_headers(Rejected(word, "why"), topic=f"{topics}{topic}", partition=1, offset=5)

    letters = [
        (b"u1", b"{", [("trace", b"7"), *refused("not-json", "events.cart")]),
        (b"u2", b"late", refused("timestamp-in-future", "events.cart")),
        (None, None, refused("no-value", "events.cart")),
        (b"u3", b"of another", refused("not-json", "orders")),
    ]
    send(kafka, f"{topics}events.dead-letter", letters)
    call = ["dead-letters", "redrive", "--report", str(tmp_path / "report.json")]
    assert main.run(call) == 0
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report == {
        "redriven": 2,
        "redriven_by_error": {"not-json": 1, "timestamp-in-future": 1},
        "passed_over": 0,
        "lost": 2,
    }
    assert "sent again: 2 (1 not-json, 1 timestamp-in-future)" in capsys.readouterr().out
    records = kafka.read(f"{topics}events.cart")
    assert {(record.partition, record.key, record.value) for record in records} == {
        (1, b"u1", b"{"),
        (1, b"u2", b"late"),
    }
    assert {tuple(record.headers.items()) for record in records} == {(("trace", b"7"),), ()}
    assert main.run(["dead-letters", "redrive"]) == 0
    assert "sent again: 0" in capsys.readouterr().out
    assert main.run(["dead-letters", "redrive", "--from-oldest", "--error", "not-json"]) == 0
    said = capsys.readouterr().out
    assert "sent again: 1 (1 not-json)" in said
    assert "passed over, refused for something else: 2" in said
    assert len(kafka.read(f"{topics}events.cart")) == 3


def test_dead_letters_are_listed_with_their_reason(kafka, topics, capsys, tmp_path):
    """All from the beginning to the end of now, filtered if wanted, and as JSON."""
    letters = [
        (
            b"u1",
            b"{",
            dead_letter_headers(Rejected("not-json", "cut"), topic="events.click", partition=1, offset=5),
        ),
        (
            None,
            None,
            dead_letter_headers(Rejected("no-value", "none"), topic="events.cart", partition=0, offset=6),
        ),
        (b"u2", b"written by somebody else", []),
    ]
    send(kafka, f"{topics}events.dead-letter", letters)
    assert main.run(["dead-letters", "list", "--report", str(tmp_path / "report.json")]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "error\tmessage\tsource topic\tpartition\toffset\tbytes"
    assert sorted(lines) == [
        "\t\t\t-1\t-1\t26",
        "no-value\tnone\tevents.cart\t0\t6\t0",
        "not-json\tcut\tevents.click\t1\t5\t3",
    ]
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["dead_letters"] == 3
    assert report["dead_letters_by_error"] == {"not-json": 1, "no-value": 1, "": 1}
    assert {record["size_bytes"] for record in report["records"]} == {0, 3, 26}
    assert main.run(["dead-letters", "list", "--error", "no-value"]) == 0
    assert capsys.readouterr().out.count("\n") == 2


@pytest.mark.parametrize(
    ("arguments", "topic"),
    [
        (["recommend", "u1"], "recommendations"),
        (["forget", "u1"], "users.forget"),
        (["dead-letters", "list"], "events.dead-letter"),
    ],
    ids=str,
)
def test_absent_topic_is_one_line_and_none_is_made(kafka, prefix, arguments, topic, capsys):
    """A command that only asks does not make a topic by asking."""
    assert main.run(arguments) == 1
    assert f"topic {prefix}{topic} does not exist on" in capsys.readouterr().err
    assert not [name for name in partitions_on(kafka) if name.startswith(prefix)]


@pytest.mark.parametrize("protocol", ["SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_broker_that_speaks_another_protocol_is_told(prefix, protocol, capsys, monkeypatch):
    """A wrong security setting ends in one line that names the protocol, not in waiting."""
    monkeypatch.setenv("FRESHET_SECURITY_PROTOCOL", protocol)
    monkeypatch.setenv("FRESHET_SASL_USERNAME", "u")
    monkeypatch.setenv("FRESHET_SASL_PASSWORD", "p")
    assert main.run(["topics"]) == 1
    err = capsys.readouterr().err
    assert f"over {protocol}; start one, or set FRESHET_BROKERS" in err
    assert err.count("\n") == 1
