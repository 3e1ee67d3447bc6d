"""A rolling restart of three workers under a steady load: what it costs the users who wait for a list."""

import asyncio
import os
import time
from pathlib import Path
from statistics import median

import pytest

from models.fitting import Fitted
from stream.messages import decode_list
from stream.retraining import announce_fitted
from stream.simulation import Simulation
from tests.support.deployment import Deployment
from tests.support.flood import NO_ROBOTS
from tests.support.kafka_broker import KafkaBroker
from tests.support.soak_load import Load, Sender
from tests.support.worker_process import WorkerProcess, eventually

EVENTS_PER_S = float(os.environ.get("STRESS_EVENTS_PER_S", "150"))
BETWEEN_S = float(os.environ.get("STRESS_BETWEEN_S", "15"))
NAMES = ("worker-0", "worker-1", "worker-2")
PARTITIONS = 6


def waits_s(deployment: Deployment) -> list[float]:
    """Return how long each event's list came after it, by the times of their records; none may be missing."""
    produced = {
        (record.topic, record.partition, record.offset): record.timestamp_ms
        for topic in deployment.topics.events
        for record in deployment.read(topic)
    }
    waits = {}
    for record in deployment.read(deployment.topics.recommendations):
        made = decode_list(record.value or b"")
        place = (made.event.topic, made.event.partition, made.event.offset)
        assert place not in waits, f"{place} has two lists"
        waits[place] = (record.timestamp_ms - produced[place]) / 1_000
    assert waits.keys() == produced.keys()
    return list(waits.values())


def shared_out(workers: list[WorkerProcess]) -> bool:
    """Whether each worker tells the lag of as many partitions."""
    return all(len(worker.partitions()) == PARTITIONS // len(workers) for worker in workers)


@pytest.mark.stress
def test_each_event_has_its_list_and_the_others_see_nothing(
    kafka: KafkaBroker, shop: Simulation, fitted: Fitted, tmp_path: Path
) -> None:
    """One worker after the other ends, starts again under its lasting name, and is ready before the next."""
    settings = {"partitions": PARTITIONS, "session_timeout_s": 60, **NO_ROBOTS}
    with Deployment(kafka, tmp_path, **settings) as deployment:
        deployment.make_topics()
        asyncio.run(announce_fitted(deployment.settings, fitted))
        workers = [deployment.start(group_instance_id=name).wait_ready() for name in NAMES]
        eventually(lambda: shared_out(workers), "the partitions are shared out")
        load = Load(EVENTS_PER_S, 0.0, 2_000, shop.items["item_id"].to_list(), PARTITIONS)
        sender = Sender(load, kafka.bootstrap, deployment.topics.events, deployment.topics.forget)
        sender.start()
        away_s = []
        for number, name in enumerate(NAMES):
            time.sleep(BETWEEN_S)  # the load goes on for a while between two
            others = [worker for worker in workers if worker is not workers[number]]
            before = [worker.rebalances() for worker in others]
            began_s = time.monotonic()
            assert workers[number].terminate() == 0
            workers[number] = deployment.start(group_instance_id=name).wait_ready()
            away_s.append(time.monotonic() - began_s)
            assert [worker.rebalances() for worker in others] == before
        time.sleep(BETWEEN_S)
        sender.end()
        deployment.wait_served(*workers)
        waits = sorted(waits_s(deployment))
        assert len(waits) == sender.sent
        print(
            f"{len(waits):,} events, a list for each; a list came {median(waits) * 1_000:.0f} ms after its "
            f"event (median), {waits[-1]:.1f} s at most; workers were away for "
            f"{', '.join(f'{one:.1f}' for one in away_s)} s",
            flush=True,
        )
