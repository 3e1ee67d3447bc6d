"""Two workers over many events, one of them killed with -9 or ended again and again, by a seed."""

import asyncio
import os
import random
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from stream.retraining import announce_fitted
from stream.simulation import SimulationConfig, simulate
from tests.support.aftermath import check_last_lists, check_lists, check_records, outcome
from tests.support.deployment import Deployment, Sent, event
from tests.support.kafka_broker import KafkaBroker
from tests.support.shop import hasty_model
from tests.support.worker_process import WorkerProcess, eventually

EVENTS = 20_000
FAULTS = int(os.environ.get("STRESS_FAULTS", "10"))
SEED = int(os.environ.get("STRESS_SEED", "1"))
SPREAD_MS = 600_000


def _counted(deployment: Deployment, workers: Sequence[WorkerProcess], events: int) -> bool:
    """Whether the workers have counted so many events together, or have nothing left to do."""
    return sum(worker.events() for worker in workers) >= events or not deployment.backlog()


@pytest.mark.stress
def test_nothing_is_lost_or_applied_twice_however_often_a_worker_dies(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    """After every fault the group goes on; lists and records end as if nothing had happened."""
    drawn = random.Random(SEED)
    shop = simulate(SimulationConfig(events=EVENTS, users=500, seed=SEED))
    fitted = hasty_model(shop)
    began_ms = time.time_ns() // 1_000_000 - SPREAD_MS
    records = [
        (behavior, user.encode(), event(user, item, time_ms), began_ms + number * SPREAD_MS // EVENTS)
        for number, (user, item, behavior, time_ms) in enumerate(
            shop.events.select("user_id", "item_id", "behavior", "timestamp").iter_rows()
        )
    ]
    print(f"seed {SEED}, {FAULTS} faults")
    with (
        Deployment(kafka, tmp_path / "disturbed", batch_max_events=100) as disturbed,
        Deployment(kafka, tmp_path / "undisturbed") as undisturbed,
    ):
        for deployment in (disturbed, undisturbed):
            deployment.folder.mkdir()
            deployment.make_topics()
            asyncio.run(announce_fitted(deployment.settings, fitted))
            topics = deployment.topics.events
            deployment.send(
                Sent(topics[behavior], key, value, timestamp_ms=at_ms)
                for behavior, key, value, at_ms in records
            )
        calm = undisturbed.start().wait_ready()
        steady = disturbed.start().wait_ready()
        for _ in range(FAULTS):
            victim = disturbed.start().wait_ready()
            counted = steady.events() + victim.events() + drawn.randrange(50, 500)
            eventually(
                partial(_counted, disturbed, (steady, victim), counted), "the workers are in the middle"
            )
            if drawn.random() < 0.7:
                victim.kill()
            else:
                assert victim.terminate() == 0
        disturbed.wait_served(steady)
        undisturbed.wait_served(calm)
        ours, theirs = outcome(disturbed), outcome(undisturbed)
    check_lists(ours, theirs)
    check_last_lists(ours, theirs)
    check_records(ours, theirs)
