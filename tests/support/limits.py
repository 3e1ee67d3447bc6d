"""Loads at the edge of what a worker is made for; each function returns what came of one."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models.fitting import Fitted
from stream.retraining import announce_fitted
from stream.state import UserState, decode_state
from tests.support.checker import Report, check
from tests.support.deployment import Deployment
from tests.support.faults_run import read_topics
from tests.support.flood import CLICKS, NO_ROBOTS, Flood, now_ms
from tests.support.kafka_broker import KafkaBroker
from tests.support.memory import cpu_s, peak_resident_bytes, resident_bytes
from tests.support.proxied_broker import ProxiedBroker
from tests.support.worker_process import WorkerProcess, eventually

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
SERVED_LIMIT_S = 3_600.0
LOOK_S = 0.25
#: Offsets that a claim on a partition takes in the topic of the lists.
MARKERS = 2


class Served(NamedTuple):
    """What a worker made of a flood; ``ready_bytes`` is its memory before the first event."""

    outcomes: dict[str, int]
    lists: int
    lists_in_topic: int
    events_per_s: float
    #: By the worker's own processor time, which others on the machine take nothing of.
    events_per_cpu_s: float
    ready_bytes: int
    peak_bytes: int
    #: The user whose record is the longest.
    state: UserState
    record_bytes: int


def outcomes(worker: WorkerProcess) -> dict[str, int]:
    """Return how many events the worker counted of each outcome; those with none are left out."""
    counted: Counter[str] = Counter()
    for (name, labels), value in worker.metrics().items():
        if name == "freshet_events_total":
            counted[dict(labels)["outcome"]] += int(value)
    return dict(+counted)


def lag(worker: WorkerProcess) -> int:
    """Return the lag that the worker's gauge shows, over all topics."""
    return int(worker.metrics().total("freshet_consumer_lag"))


def lists_sent(worker: WorkerProcess) -> int:
    """Return how many lists the worker counted."""
    return int(worker.metrics().total("freshet_recommendations_total"))


def prepared(kafka: KafkaBroker, folder: Path, fitted: Fitted, **settings: Any) -> Deployment:
    """Return a deployment with its topics made and its weights announced."""
    folder.mkdir(parents=True, exist_ok=True)
    deployment = Deployment(kafka, folder, **settings).make_topics()
    asyncio.run(announce_fitted(deployment.settings, fitted))
    return deployment


def serve(
    kafka: KafkaBroker,
    folder: Path,
    fitted: Fitted,
    items: Sequence[str],
    *,
    events: int,
    users: int,
    lists: str = "model",
) -> Served:
    """Let one worker work off a flood of half a day that waits for it, with nobody taken for a robot.

    Both times count from the first events that are counted to the last; speeds are not a number where the
    worker was done by then.
    """
    with prepared(kafka, folder, fitted, lists=lists, **NO_ROBOTS) as deployment:
        flood = Flood(events, users, items, DAY_MS // 2, now_ms(), deployment.settings.partitions)
        deployment.send(flood.records(deployment.topics.events), within_s=SERVED_LIMIT_S)
        worker = deployment.start().wait_ready()
        ready_bytes = resident_bytes(worker.pid)
        counted = eventually(worker.events, "the first events are counted")
        began_s, began_cpu_s = time.monotonic(), cpu_s(worker.pid)
        while worker.events() < events:
            assert time.monotonic() < began_s + SERVED_LIMIT_S, f"{outcomes(worker)} of {events}"
            time.sleep(LOOK_S)
        took_s, took_cpu_s = time.monotonic() - began_s, cpu_s(worker.pid) - began_cpu_s
        deployment.wait_served(worker)
        longest = max(deployment.records().values(), key=len)
        markers = MARKERS * deployment.settings.partitions
        return Served(
            outcomes(worker),
            lists_sent(worker),
            deployment.end(deployment.topics.recommendations) - markers,
            (events - counted) / took_s if counted < events else math.nan,
            (events - counted) / took_cpu_s if took_cpu_s else math.nan,
            ready_bytes,
            peak_resident_bytes(worker.pid),
            decode_state(longest),
            len(longest),
        )


class Slowed(NamedTuple):
    """What a worker did behind a slow broker: how far it came meanwhile, and what came of it all."""

    sent: int
    counted_while_slow: int
    lag_while_slow: int
    ready_bytes: int
    most_bytes_while_slow: int
    peak_bytes: int
    outcomes: dict[str, int]
    lists: int
    lists_in_topic: int


def slow_broker(
    broker: ProxiedBroker,
    folder: Path,
    fitted: Fitted,
    items: Sequence[str],
    *,
    events: int,
    slow_s: float,
    bytes_per_s: float,
) -> Slowed:
    """Send a flood at full speed while the worker's way to the broker is slow; then mend it."""
    settings = {"brokers": broker.address, **NO_ROBOTS}
    with prepared(broker, folder, fitted, **settings) as deployment:
        partitions = deployment.settings.partitions
        flood = Flood(
            events, max(1, events // 100), items, DAY_MS // 2, now_ms(), partitions, behaviors=CLICKS
        )
        worker = deployment.start().wait_ready()
        ready_bytes = resident_bytes(worker.pid)
        broker.proxy.throttle(bytes_per_s)
        deployment.send(flood.records(deployment.topics.events), within_s=SERVED_LIMIT_S)
        until_s, most_bytes = time.monotonic() + slow_s, 0
        while time.monotonic() < until_s:
            most_bytes = max(most_bytes, resident_bytes(worker.pid))
            time.sleep(LOOK_S)
        counted, behind = worker.events(), deployment.backlog()
        broker.proxy.mend()
        deployment.wait_served(worker, within_s=SERVED_LIMIT_S)
        eventually(lambda: worker.get("/readyz").status == 200, "the worker is ready again")
        return Slowed(
            events,
            counted,
            behind,
            ready_bytes,
            most_bytes,
            peak_resident_bytes(worker.pid),
            outcomes(worker),
            lists_sent(worker),
            deployment.end(deployment.topics.recommendations) - MARKERS * partitions,
        )


class Burst(NamedTuple):
    """What a worker did with what had waited for it."""

    report: Report
    outcomes: dict[str, int]
    lag_at_first: int
    events_per_s: float
    ready_bytes: int
    peak_bytes: int


def burst(
    kafka: KafkaBroker, folder: Path, fitted: Fitted, items: Sequence[str], *, events: int, users: int
) -> Burst:
    """Stop a worker, let an hour's events come, start it again, and check every list and state.

    A hundredth of the events are of the hour before, which the worker has served when it stops.
    """
    with prepared(kafka, folder, fitted, **NO_ROBOTS) as deployment:
        stopped_ms = now_ms() - HOUR_MS
        partitions, topics = deployment.settings.partitions, deployment.topics
        before = Flood(events // 100, users, items, HOUR_MS, stopped_ms, partitions, seed=2)
        # There before the worker is: what comes to several topics at once has no order but its arrival.
        deployment.send(before.records(topics.events))
        first = deployment.start().wait_ready()
        deployment.wait_served(first)
        assert first.terminate() == 0
        waiting = Flood(events, users, items, HOUR_MS, now_ms(), partitions)
        deployment.send(waiting.records(topics.events), within_s=SERVED_LIMIT_S)
        second = deployment.start().wait_ready()
        ready_bytes, began_s = resident_bytes(second.pid), time.monotonic()
        lag_at_first = eventually(lambda: lag(second), "the gauge shows what waits")
        while second.events() < events:
            assert time.monotonic() < began_s + SERVED_LIMIT_S, f"{outcomes(second)} of {events}"
            time.sleep(LOOK_S)
        took_s = time.monotonic() - began_s
        deployment.wait_served(second)
        eventually(lambda: lag(second) == 0, "the lag gauge is back at 0")
        report = check(
            read_topics(deployment), [fitted.recommender], deployment.settings.rules, now_ms=now_ms()
        )
        return Burst(
            report,
            outcomes(second),
            lag_at_first,
            events / took_s,
            ready_bytes,
            peak_resident_bytes(second.pid),
        )
