"""What an operator watches: lag, recording rules and the dashboard, over a real worker and Prometheus."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from models.fitting import Fitted
from stream import worker as worker_module
from stream.retraining import announce_fitted
from stream.simulation import Simulation
from stream.weights import announce
from stream.worker import Worker
from tests.support.deployment import Deployment, Sent, event
from tests.support.kafka_broker import KafkaBroker
from tests.support.prometheus import OPS, Prometheus, rules
from tests.support.worker_process import WorkerProcess, eventually

EVENTS = 600
AT_MS = 1_511_544_070_123
LIMIT_S = 60.0
LOOK_S = 0.1
DASHBOARD = json.loads((OPS / "grafana" / "dashboards" / "freshet.json").read_text())
QUERIES = [
    (panel["title"], target["expr"].replace("$job", "freshet"), target["legendFormat"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]


@pytest.fixture(scope="module")
def deployment(
    kafka: KafkaBroker, fitted: Fitted, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Topics and an announced model."""
    with Deployment(kafka, tmp_path_factory.mktemp("monitoring")) as made:
        made.make_topics()
        asyncio.run(announce_fitted(made.settings, fitted))
        yield made


@pytest.fixture(scope="module")
def worker(deployment: Deployment) -> WorkerProcess:
    """A running worker."""
    return deployment.start().wait_ready()


@pytest.fixture(scope="module")
def prometheus(
    deployment: Deployment, worker: WorkerProcess, shop: Simulation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that has seen the worker serve: some events before it looked, some after."""
    later = shop.events.tail(shop.events.height // 2)
    target = worker.url.removeprefix("http://")
    with Prometheus(tmp_path_factory.mktemp("prometheus"), target) as started:
        eventually(lambda: started.query('freshet_events_total{job="freshet"}'), "a first scrape")
        send(deployment, later.head(EVENTS))
        deployment.wait_served(worker)
        eventually(
            lambda: (
                started.query('sum(increase(freshet_events_total{outcome="applied"}[5m])) > 0')
                and started.query("freshet:hit_rate:ratio1h")
                and started.query("freshet:consumer_lag:sum")
            ),
            "scrapes and rules after the events",
        )
        yield started


def send(deployment: Deployment, events: pl.DataFrame) -> None:
    """Send a shop's events, each to the topic of its behaviour."""
    topics = deployment.topics.events
    deployment.send(
        Sent(
            topics[row["behavior"]],
            row["user_id"].encode(),
            event(row["user_id"], row["item_id"], row["timestamp"]),
        )
        for row in events.iter_rows(named=True)
    )


# The dashboard and the rules.


@pytest.mark.parametrize(("panel", "expr", "legend"), QUERIES, ids=[f"{one[0]}-{one[2]}" for one in QUERIES])
def test_every_query_of_the_dashboard_finds_what_it_names(
    prometheus: Prometheus, panel: str, expr: str, legend: str
):
    """No expression is empty over a worker that serves, and each label of its legend is there."""
    found = prometheus.query(expr)
    assert found, f"{panel}: {expr}"
    for label in re.findall(r"\{\{(\w+)\}\}", legend):
        assert all(label in series for series in found)


def test_labels_that_are_aggregated_by_exist(prometheus: Prometheus):
    """A misspelled label of a `by` clause would give one series where many are meant."""
    exposed = {label for series in prometheus.query('{__name__=~"freshet_.*"}') for label in series}
    exprs = [expr for _, expr, _ in QUERIES]
    exprs += [
        rule.expr
        for folder, kind in (("rules", "record"), ("alerts", "alert"))
        for rule in rules(folder, kind)
    ]
    clauses = re.findall(r"\b(?:by|on)\s*\(([a-z_, ]+)\)", " ".join(exprs))
    named = {label.strip() for clause in clauses for label in clause.split(",")}
    assert named
    assert named <= exposed


def test_every_rule_is_evaluated_and_recorded(prometheus: Prometheus):
    """Prometheus has no error to tell, and each recording rule has a series."""
    eventually(
        lambda: {rule["health"] for rule in prometheus.rules()} == {"ok"},
        "every rule is evaluated, without an error",
    )
    known = prometheus.rules()
    recorded = [rule["name"] for rule in known if rule["type"] == "recording"]
    assert sorted(recorded) == sorted(rule.name for rule in rules("rules", "record"))
    assert [name for name in recorded if not prometheus.query(name)] == []


def test_refused_weights_fire_their_alert_and_no_other(
    prometheus: Prometheus, deployment: Deployment, worker: WorkerProcess, fitted: Fitted
):
    """What the worker counts is what the alert goes by; a worker that serves fires nothing else."""
    assert prometheus.firing() == set()
    manifest = asyncio.run(announce_fitted(deployment.settings, fitted, announced=False))
    damaged = msgspec.structs.replace(manifest, version="damaged", sha256="0" * 64)
    asyncio.run(announce(deployment.settings, damaged))
    eventually(lambda: prometheus.firing() == {"FreshetSwapRefused"}, "the alert fires")
    assert worker.running


# The lag.


def shown_lag(worker: Worker) -> float:
    """Return the sum of the lag that a worker of this process shows."""
    return sum(
        sample.value
        for family in worker.registry.collect()
        if family.name == "freshet_consumer_lag"
        for sample in family.samples
    )


async def test_lag_is_true_while_the_worker_is_stalled(
    kafka: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Where no list can be sent nothing is committed: what waits is told as it grows, and until none does."""
    monkeypatch.setattr(worker_module, "LAG_INTERVAL_S", LOOK_S)
    monkeypatch.setattr(worker_module, "spare_collections", lambda: None)
    given = Deployment(kafka, tmp_path, lists="recent", data_dir=str(tmp_path / "worker"))
    await asyncio.to_thread(given.make_topics)
    stalled = Worker(given.settings)
    send, may_send = stalled.recommending.outbox.send, asyncio.Event()

    async def wait_and_send(*arguments: Any) -> int:
        await may_send.wait()
        return await send(*arguments)

    monkeypatch.setattr(stalled.recommending.outbox, "send", wait_and_send)
    running = asyncio.create_task(stalled.run())
    await asyncio.wait_for(stalled.ready.wait(), LIMIT_S)
    try:
        for count in (30, 60):
            events = [(f"user-{number}", "i1", AT_MS + count) for number in range(30)]
            await asyncio.to_thread(given.send_events, given.topics.click, *events)
            assert await asyncio.to_thread(given.backlog) == count
            await asyncio.to_thread(
                eventually, lambda count=count: shown_lag(stalled) == count, f"a lag of {count}"
            )
        may_send.set()
        await asyncio.to_thread(eventually, lambda: shown_lag(stalled) == 0, "no lag")
        assert await asyncio.to_thread(given.backlog) == 0
    finally:
        may_send.set()
        stalled.stop()
        await asyncio.wait_for(running, LIMIT_S)
