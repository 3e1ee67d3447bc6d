"""Events of a file through two workers to lists, as a user runs it, read by Kafka's own consumer."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jsonschema_rs
import polars as pl
import pytest

from models.artifact import load
from models.fitting import Fitted, train_from_frame
from models.recommender import Recommender
from stream.datasets import read_events, read_items
from stream.messages import decode_list
from stream.retraining import announce_fitted
from stream.simulation import Simulation
from stream.weights import artifact_folder
from tests.support.deployment import Deployment
from tests.support.kafka_broker import ConsumedRecord, KafkaBroker
from tests.support.offline import last_lists, same_items
from tests.support.shop import SHORT, SMALL
from tests.support.worker_process import Metrics, eventually

TRAINED_AT_MS = 1_700_000_000_000
TIANCHI_EVENTS = 1_999
TAOBAO_EVENTS = 20_000
#: A week in six seconds.
GENERATED_SPEED = 100_000


@dataclass(frozen=True)
class Source:
    """A file to replay, with which options, and the events that are sent in order of event time."""

    file: Path
    options: tuple[str, ...]
    events: pl.DataFrame


@dataclass(frozen=True)
class Served:
    """What came of it: events sent, the workers' last metrics, the lists as Kafka's consumer read them."""

    deployment: Deployment
    sources: list[Source]
    sent: int
    metrics: list[Metrics]
    statuses: list[int]
    lists: list[ConsumedRecord]
    recommender: Recommender


def source(file: Path, *, limit: int | None = None, speed: float = 0) -> Source:
    """Read a file's earliest events, as `freshet replay` orders them."""
    events = pl.concat(read_events(file)).sort("timestamp", maintain_order=True)
    options = ("--speed", str(speed))
    if limit is not None:
        events, options = events.head(limit), (*options, "--events", str(limit))
    return Source(file, options, events)


def published(data: Path) -> list[Source]:
    """The Tianchi sample and the earliest events of the Taobao file."""
    return [
        source(data / "tianchi_mobile_2k" / "sample_user_behavior.csv"),
        source(data / "taobao_userbehavior_100k.csv.xz", limit=TAOBAO_EVENTS),
    ]


def generated(shop: Simulation, folder: Path) -> Source:
    """A file of generated events, which are later than all that was published."""
    words = {0: "click", 1: "favorite", 2: "cart", 3: "purchase"}
    rows = shop.events.with_columns(behavior=shop.events["behavior"].replace_strict(words))
    file = folder / "shop.csv"
    rows.write_csv(file)
    # At full speed a day would go by in a millisecond, and many events would come too late.
    return source(file, speed=GENERATED_SPEED)


def replayed(deployment: Deployment, one: Source) -> int:
    """Replay a file with the command; returns how many events it says it sent."""
    report = deployment.folder / "replay.json"
    done = deployment.command("replay", str(one.file), *one.options, "--report", str(report))
    assert done.returncode == 0, done.stderr
    events: int = json.loads(report.read_text())["events"]
    return events


def trained(sources: Sequence[Source], items: pl.DataFrame | None) -> Fitted:
    """A model of the first half of each file: the other half brings items it does not know."""
    seen = pl.concat([one.events.head(one.events.height // 2) for one in sources])
    return train_from_frame(seen, trained_at_ms=TRAINED_AT_MS, items=items, network=SMALL, training=SHORT)


@pytest.fixture(scope="module")
def data(request: pytest.FixtureRequest) -> Path | None:
    """The folder of published data; None where it is absent: then only generated events are served."""
    try:
        folder: Path = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        return None
    return folder


@pytest.fixture(scope="module")
def served(
    kafka: KafkaBroker, shop: Simulation, data: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Topics, an announced model, two workers and a replay of every file, all events served."""
    folder = tmp_path_factory.mktemp("end-to-end")
    # In order of event time: a user has one timeline, whichever file tells of it.
    sources = [*([] if data is None else published(data)), generated(shop, folder)]
    items = None if data is None else read_items(data / "tianchi_mobile_2k" / "sample_item_info.csv")
    model = trained(sources, items)
    with Deployment(kafka, folder) as deployment:
        deployment.make_topics()
        manifest = asyncio.run(announce_fitted(deployment.settings, model))
        # At full speed a file's hours lie in a millisecond, and a running worker would meet clicks
        # long before the purchases between them: too late for their segments. So the published files
        # are a backlog, and what comes while the workers run comes at a pace.
        backlog, live = sources[:-1], sources[-1]
        sent = sum(replayed(deployment, one) for one in backlog)
        workers = [deployment.start().wait_ready(), deployment.start().wait_ready()]
        sent += replayed(deployment, live)
        eventually(
            lambda: sum(worker.events() for worker in workers) >= sent, "every event is counted", within_s=120
        )
        deployment.wait_served(*workers)
        metrics = [worker.metrics() for worker in workers]
        statuses = [worker.terminate() for worker in workers]
        lists = kafka.read(deployment.topics.recommendations)
        recommender = load(artifact_folder(deployment.settings, manifest.url))
        yield Served(deployment, sources, sent, metrics, statuses, lists, recommender)


def total(served: Served, name: str, **labels: str) -> float:
    """Sum a counter over both workers."""
    return sum(metrics.total(name, **labels) for metrics in served.metrics)


def test_every_event_is_counted_once(served: Served):
    """The events of the files are as many as the outcomes that the two workers counted."""
    counted = [metrics.total("freshet_events_total") for metrics in served.metrics]
    assert sum(counted) == served.sent == sum(one.events.height for one in served.sources)
    assert all(counted), f"one worker did nothing: {counted}"
    assert total(served, "freshet_events_total", outcome="invalid") == 0


def test_published_files_were_served(shared_data: Path, served: Served):
    """Both published files were among those replayed, whole or to the length asked for."""
    replayed = {one.file.name: one.events.height for one in served.sources}
    assert replayed["sample_user_behavior.csv"] == TIANCHI_EVENTS
    assert replayed["taobao_userbehavior_100k.csv.xz"] == TAOBAO_EVENTS


def test_counters_agree_with_each_other(served: Served):
    """There is a list for each applied event, by the counters and by what Kafka's own consumer read."""
    applied = total(served, "freshet_events_total", outcome="applied")
    assert applied == total(served, "freshet_recommendations_total") == len(served.lists)
    assert applied == total(served, "freshet_event_to_recommendation_seconds_count")
    assert total(served, "freshet_state_users") == len({record.key for record in served.lists})
    assert served.statuses == [0, 0]


def test_every_list_is_as_the_schema_says(served: Served):
    """Each message that Kafka's own consumer read is valid by the shipped JSON Schema, and well ordered."""
    schema = json.loads(resources.files("stream").joinpath("schemas/recommendation-list.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    assert served.lists
    for record in served.lists:
        assert record.value is not None
        made = json.loads(record.value)
        validator.validate(made)
        assert record.key == made["user_id"].encode()
        assert record.partition == made["event"]["partition"]
        scores = [item["score"] for item in made["items"]]
        assert scores == sorted(scores, reverse=True)
        assert 0 < len(scores) <= served.deployment.settings.list_size
        assert len({item["item_id"] for item in made["items"]}) == len(scores)
        assert made["model_version"] == served.recommender.version


def test_no_event_gets_two_lists(served: Served):
    """Without a crash no identity occurs twice, though the second worker joined under way."""
    identities = Counter(
        (made.user_id, made.event.topic, made.event.partition, made.event.offset)
        for made in (decode_list(record.value) for record in served.lists)
    )
    assert [identity for identity, times in identities.items() if times > 1] == []


def test_last_lists_are_those_computed_from_the_file(served: Served):
    """What each user was left with equals the list made offline with the same artifact."""
    assert total(served, "freshet_events_total", outcome="late") == 0
    last = {made.user_id: made for made in (decode_list(record.value) for record in served.lists)}
    events = pl.concat([one.events.select(served.sources[0].events.columns) for one in served.sources])
    expected = last_lists(
        events, served.recommender, served.deployment.settings, now_ms=time.time_ns() // 1_000_000
    )
    assert last.keys() == expected.keys()
    different = {
        user: (last[user], expected[user])
        for user in expected
        if not same_items(last[user].items, expected[user].items)
    }
    assert different == {}
    assert "personalized" in {made.kind for made in last.values()}
