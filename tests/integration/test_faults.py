"""The short form of the fault campaign: each kind of fault once, on three brokers, counted by the checker."""

import os
from pathlib import Path

from tests.support.faults_run import run
from tests.support.kafka_cluster import KafkaCluster

EVENTS = 20_000
FAULTS = 10
GUARANTEE = os.environ.get("STRESS_GUARANTEE", "at_least_once")


def test_nothing_is_lost_or_applied_twice(cluster: KafkaCluster, shared_data: Path, tmp_path: Path) -> None:
    """Kills, pauses, outages, a cut network and new weights leave what an undisturbed run leaves."""
    seed = int(os.environ.get("STRESS_SEED", "1"))
    print(f"seed {seed}")
    outcome = run(
        cluster, shared_data, tmp_path, events=EVENTS, faults=FAULTS, seed=seed, guarantee=GUARANTEE
    )
    print(f"{dict(outcome.faults)}\n{outcome.report}", *outcome.ended, sep="\n")
    assert outcome.faults.total() == FAULTS
    assert outcome.report.events_in > EVENTS
    assert outcome.report.lists_repeated == 0 or GUARANTEE == "at_least_once"
    assert outcome.report.faults == 0, str(outcome.report)
