"""The checker of the fault campaign over workers on a real broker that lose, double or go stale."""

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from models.fitting import Fitted
from stream.retraining import announce_fitted
from stream.simulation import Simulation
from tests.support.checker import Report, check
from tests.support.deployment import Deployment, Sent, event, partition_of
from tests.support.faults_run import read_topics
from tests.support.kafka_broker import KafkaBroker

EVENTS = 2_000
SEEN = {
    "lose": ("lost", "lists_missing", "states_differing"),
    "double": ("applied_twice", "states_differing"),
    "stale": ("lost", "states_differing"),
    "none": (),
}
"""The counts of the checker that each fault moves."""


def _sent(deployment: Deployment, shop: Simulation) -> list[Sent]:
    """The shop's first events, each partition's records a millisecond apart."""
    rows = shop.events.head(EVENTS).select("user_id", "item_id", "behavior", "timestamp").rows()
    clock = Counter({number: time.time_ns() // 1_000_000 - 60_000 for number in range(4)})
    sent = []
    for user, item, behavior, time_ms in rows:
        key = user.encode()
        clock[partition_of(key)] += 1
        value, at_ms = event(user, item, time_ms), clock[partition_of(key)]
        sent.append(Sent(deployment.topics.events[behavior], key, value, timestamp_ms=at_ms))
    return sent


def _report(kafka: KafkaBroker, shop: Simulation, fitted: Fitted, folder: Path, fault: str) -> Report:
    """What the checker says of a worker with this fault; batches are so small that users come again."""
    with Deployment(kafka, folder, batch_max_events=100) as deployment:
        deployment.make_topics()
        asyncio.run(announce_fitted(deployment.settings, fitted))
        deployment.send(_sent(deployment, shop))
        command = (sys.executable, "-m", "tests.support.spoiled_worker", fault)
        worker = deployment.start(command=command).wait_ready()
        deployment.wait_served(worker)
        assert worker.terminate() == 0
        found = read_topics(deployment)
    now_ms = time.time_ns() // 1_000_000
    return check(found, [fitted.recommender], deployment.settings.rules, now_ms=now_ms)


@pytest.mark.parametrize("fault", SEEN)
def test_the_checker_catches_a_worker_with_a_fault(
    kafka: KafkaBroker, shop: Simulation, fitted: Fitted, tmp_path: Path, fault: str
) -> None:
    """The counts that name the fault move; nothing does where there is none."""
    report = _report(kafka, shop, fitted, tmp_path, fault)
    print(f"{fault}: {report}")
    assert report.events_in == EVENTS
    for name in SEEN[fault]:
        assert getattr(report, name) > 0, name
    assert bool(report.faults) == bool(SEEN[fault]), str(report)
