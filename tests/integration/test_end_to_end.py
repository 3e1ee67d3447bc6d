"""Events of a file through two workers to lists, as a user runs it, read by Kafka's own consumer."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
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
from tests.integration.conftest import SHORT, SMALL
from tests.support.deployment import Deployment
from tests.support.kafka_broker import ConsumedRecord, KafkaBroker
from tests.support.offline import last_lists, same_items
from tests.support.worker_process import Metrics, eventually

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
    """What came of it: events sent, the workers' last metrics, the lists as the console consumer read them."""

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


def generated(shop: Simulation, fitted: Fitted, folder: Path) -> tuple[list[Source], Fitted]:
    """A file of generated events and the model that all tests share."""
    words = {0: "click", 1: "favorite", 2: "cart", 3: "purchase"}
    rows = shop.events.with_columns(behavior=shop.events["behavior"].replace_strict(words))
    file = folder / "shop.csv"
    rows.write_csv(file)
    # At full speed a day would go by in a millisecond, finer than Kafka's record times: clicks would
    # come a day before the purchases between them, which then are too late for a segment of a day.
    return [source(file, speed=GENERATED_SPEED)], fitted


def published(data: Path) -> tuple[list[Source], Fitted]:
    """The Tianchi sample and the Taobao file, with a model of both that has not seen the later events."""
    tianchi = source(data / "tianchi_mobile_2k" / "sample_user_behavior.csv")
    taobao = source(data / "taobao_userbehavior_100k.csv.xz", limit=TAOBAO_EVENTS)
    seen = pl.concat([tianchi.events, taobao.events.head(TAOBAO_EVENTS // 2)])
    items = read_items(data / "tianchi_mobile_2k" / "sample_item_info.csv")
    model = train_from_frame(
        seen, trained_at_ms=1_700_000_000_000, items=items, network=SMALL, training=SHORT
    )
    return [tianchi, taobao], model


@pytest.fixture(scope="module", params=["generated", "published"])
def served(
    request: pytest.FixtureRequest, kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Topics, an announced model, two workers and a replay of every file, all events served."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "generated":
        shop, fitted = request.getfixturevalue("shop"), request.getfixturevalue("fitted")
        sources, model = generated(shop, fitted, folder)
    else:
        sources, model = published(request.getfixturevalue("shared_data"))
    with Deployment(kafka, folder) as deployment:
        deployment.make_topics()
        manifest = asyncio.run(announce_fitted(deployment.settings, model))
        workers = [worker.wait_ready() for worker in (deployment.start(), deployment.start())]
        sent = 0
        for one in sources:
            report = folder / "replay.json"
            done = deployment.command("replay", str(one.file), *one.options, "--report", str(report))
            assert done.returncode == 0, done.stderr
            sent += json.loads(report.read_text())["events"]
        eventually(
            lambda: sum(worker.events() for worker in workers) >= sent, "every event is counted", within_s=120
        )
        deployment.wait_served(*workers)
        metrics = [worker.metrics() for worker in workers]
        statuses = [worker.terminate() for worker in workers]
        lists = kafka.read(deployment.topics.recommendations)
        recommender = load(artifact_folder(deployment.settings, manifest.url))
        yield Served(deployment, sources, sent, metrics, statuses, lists, recommender)


def test_every_event_is_counted_once(served: Served):
    """The events of the files are as many as the outcomes that the two workers counted."""
    counted = [metrics.total("freshet_events_total") for metrics in served.metrics]
    assert sum(counted) == served.sent == sum(one.events.height for one in served.sources)
    assert all(counted), f"one worker did nothing: {counted}"
    assert sum(metrics.total("freshet_events_total", outcome="invalid") for metrics in served.metrics) == 0


def test_counters_agree_with_each_other(served: Served):
    """There is a list for each applied event, by the counters and by what Kafka's own consumer read."""

    def total(name: str, **labels: str) -> float:
        return sum(metrics.total(name, **labels) for metrics in served.metrics)

    applied = total("freshet_events_total", outcome="applied")
    assert applied == total("freshet_recommendations_total") == len(served.lists)
    assert applied == total("freshet_event_to_recommendation_seconds_count")
    assert total("freshet_state_users") == len({record.key for record in served.lists})
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
    last = {made.user_id: made for made in (decode_list(record.value) for record in served.lists)}
    events = pl.concat([one.events.select(served.sources[0].events.columns) for one in served.sources])
    expected = last_lists(
        events, served.recommender, served.deployment.settings, now_ms=time.time_ns() // 1_000_000
    )
    assert last.keys() == expected.keys()
    different = [user for user in expected if not same_items(last[user].items, expected[user].items)]
    assert different == []
    assert "personalized" in {made.kind for made in last.values()}
