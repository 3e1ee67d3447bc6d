"""Ten retrainings and hand-overs under a load of real clicks: what they cost those who wait for lists."""

import os
from itertools import islice
from pathlib import Path

import pytest

from tests.support.deployment import Sent, event
from tests.support.handover_run import Plan, run, verify
from tests.support.kafka_broker import KafkaBroker
from tests.support.mixed_events import globo

EVENTS = int(os.environ.get("STRESS_EVENTS", "90000"))
PLAN = Plan(backlog=20_000, events_per_s=float(os.environ.get("STRESS_EVENTS_PER_S", "150")), retrainings=10)
MOST_WAIT = 2.0


@pytest.mark.stress
def test_ten_retrainings_a_roll_back_a_damaged_artifact_and_a_killed_training(
    kafka: KafkaBroker, shared_data: Path, tmp_path: Path
) -> None:
    """Nobody waits twice as long as before for a list that comes while weights are handed over."""
    rows = globo(shared_data, EVENTS).select("user_id", "item_id", "timestamp").iter_rows()
    events = (Sent("", user.encode(), event(user, item, time_ms)) for user, item, time_ms in rows)
    outcome = run(kafka, tmp_path, islice(events, EVENTS), PLAN)
    swapping_ms, before_ms = outcome.p99_ms(swapping=True), outcome.p99_ms(swapping=False)
    print(
        f"{outcome.report}\nretrainings: {', '.join(outcome.outcomes)}\nlists by version: {outcome.served}\n"
        f"p99 {swapping_ms:.0f} ms while weights were swapped, {before_ms:.0f} ms before",
        flush=True,
    )
    verify(outcome, PLAN)
    assert swapping_ms <= MOST_WAIT * before_ms
