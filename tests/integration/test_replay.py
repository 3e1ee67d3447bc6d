"""`freshet replay` as a user runs it, read back by clients that are not ours."""

import json
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Producer

from stream.cli.main import run
from stream.embedded import EmbeddedBroker
from stream.settings import Settings
from stream.simulation import SimulationConfig, simulate
from tests.support.kafka_broker import KafkaBroker

PARTITIONS = 8


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file of simulated events, in no order of time."""
    path = tmp_path / "shop.csv"
    events = simulate(SimulationConfig(events=3_000, users=300, items=400)).events
    words = {0: "click", 1: "favorite", 2: "cart", 3: "purchase"}
    rows = events.with_columns(behavior=events["behavior"].replace_strict(words))
    rows.sample(fraction=1, shuffle=True, seed=1).write_csv(path)
    return path


def topics(prefix: str) -> dict[str, int]:
    """The four event topics of the tests with their partition count."""
    return dict.fromkeys(Settings.load(topic_prefix=prefix).topics.events, PARTITIONS)


def test_replayed_file_as_kafkas_own_consumer_reads_it(kafka: KafkaBroker, data: Path, tmp_path: Path):
    """Every event of the file stands in its topic, keyed by its user, in event-time order."""
    kafka.create_topics(topics("replay."))
    report = tmp_path / "report.json"
    arguments = ["replay", str(data), "--brokers", kafka.bootstrap, "--topic-prefix", "replay."]
    assert run([*arguments, "--report", str(report)]) == 0
    got = Counter()
    for topic in topics("replay."):
        latest: dict[int, int] = {}
        for record in kafka.read(topic):
            value = json.loads(record.value)
            assert record.key.decode() == value["user_id"]
            assert value["timestamp"] >= latest.get(record.partition, 0)
            latest[record.partition] = value["timestamp"]
            behavior = topic.removeprefix("replay.events.")
            got[
                value["user_id"], value["item_id"], value["category_id"], behavior, str(value["timestamp"])
            ] += 1
    assert got == Counter(tuple(line.split(",")) for line in data.read_text().splitlines()[1:])
    assert json.loads(report.read_text())["events"] == 3_000


def test_another_client_chooses_the_same_partition(kafka: KafkaBroker, data: Path):
    """A librdkafka producer that hashes as the Java clients do sends each user where the replay does."""
    kafka.create_topics(topics("partition."))
    assert run(["replay", str(data), "--brokers", kafka.bootstrap, "--topic-prefix", "partition."]) == 0
    click, cart = "partition.events.click", "partition.events.cart"
    ours = {record.key: record.partition for record in kafka.read(click)}
    kafka.create_topics({"partition.theirs": PARTITIONS})
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})
    for key in ours:
        producer.produce("partition.theirs", b"", key=key)
    assert producer.flush(30) == 0
    assert {record.key: record.partition for record in kafka.read("partition.theirs")} == ours
    assert all(ours[record.key] == record.partition for record in kafka.read(cart))


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["none.csv"], 1, "freshet: none.csv: there is no such file\n"),
        (["{data}", "--columns", "user_id=who"], 1, "no column 'who' for user_id"),
        (["{data}", "--time-unit", "s"], 1, "give the time unit ms (--time-unit ms)"),
        (["{data}", "--speed", "inf"], 2, "--speed is inf"),
        (["{data}", "--speed", "-1"], 2, "'--speed'"),
        (["{data}", "--events", "0"], 2, "'--events'"),
        (["{data}"], 1, "missing topics: events.click"),
    ],
)
def test_wrong_use_is_one_line(embedded: EmbeddedBroker, data: Path, capsys, *, arguments, status, line):
    """A wrong file, option or broker ends with its status and one line on standard error."""
    given = [argument.format(data=data) for argument in arguments]
    assert run(["replay", *given, "--brokers", embedded.bootstrap]) == status
    shown = capsys.readouterr()
    assert line in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_command_sends_the_earliest_events(embedded: EmbeddedBroker, data: Path, tmp_path: Path):
    """`--events` and `--speed` shape what is sent, and the report has its figures."""
    embedded.create_topics(topics(""))
    report = tmp_path / "report.json"
    options = ["--events", "100", "--speed", "1000000", "--event-ids", "--report", str(report)]
    assert run(["replay", str(data), "--brokers", embedded.bootstrap, *options]) == 0
    figures = json.loads(report.read_text())
    assert figures["events"] == sum(figures["events_by_topic"].values()) == 100
    assert figures["speed"] == 1_000_000
    assert figures["duration_s"] >= (figures["last_event_ms"] - figures["first_event_ms"]) / 1e9
    assert figures["behind_s"] >= 0
