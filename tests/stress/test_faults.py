"""The fault campaign on three brokers and three workers over real data, by a seed that repeats it."""

import os
from pathlib import Path

import pytest

from tests.support.faults_run import run
from tests.support.kafka_cluster import KafkaCluster

EVENTS = int(os.environ.get("STRESS_EVENTS", "1000000"))
FAULTS = int(os.environ.get("STRESS_FAULTS", "100"))
SEED = int(os.environ.get("STRESS_SEED", "1"))
GUARANTEE = os.environ.get("STRESS_GUARANTEE", "at_least_once")


@pytest.mark.stress
def test_nothing_is_lost_or_applied_twice(cluster: KafkaCluster, shared_data: Path, tmp_path: Path) -> None:
    """However many faults there are, the topics are those of a run without any."""
    print(f"STRESS_SEED={SEED} STRESS_EVENTS={EVENTS} STRESS_FAULTS={FAULTS} {GUARANTEE}", flush=True)
    outcome = run(
        cluster, shared_data, tmp_path, events=EVENTS, faults=FAULTS, seed=SEED, guarantee=GUARANTEE
    )
    print(f"{dict(outcome.faults)}\n{outcome.report}", *outcome.ended, sep="\n")
    assert outcome.report.lists_repeated == 0 or GUARANTEE == "at_least_once"
    assert outcome.report.faults == 0, str(outcome.report)
