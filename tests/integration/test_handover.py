"""Weights change hands under load: two retrainings, a killed one, a roll-back, a damaged artifact."""

from pathlib import Path

import pytest

from stream.simulation import Simulation, SimulationConfig, simulate
from tests.support.deployment import Sent, event
from tests.support.handover_run import Plan, run, verify
from tests.support.kafka_broker import KafkaBroker

PLAN = Plan(backlog=4_000, events_per_s=60, retrainings=2)


@pytest.fixture(scope="module")
def visited() -> Simulation:
    """A small shop that is visited for longer than the test takes."""
    return simulate(SimulationConfig(events=40_000, users=600, items=400))


def test_no_list_is_missed_and_none_is_of_two_versions(
    kafka: KafkaBroker, visited: Simulation, tmp_path: Path
) -> None:
    """Each list is the one its version makes of everything before it; what is refused changes nothing."""
    rows = visited.events.sort("timestamp").select("user_id", "item_id", "timestamp").iter_rows()
    events = (Sent("", user.encode(), event(user, item, time_ms)) for user, item, time_ms in rows)
    outcome = run(kafka, tmp_path, events, PLAN, processing_guarantee="exactly_once")
    verify(outcome, PLAN)
