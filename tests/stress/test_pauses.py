"""Workers paused past the session timeout again and again, in both modes."""

import os
from pathlib import Path

import pytest

from stream.simulation import SimulationConfig, simulate
from tests.support.kafka_broker import KafkaBroker
from tests.support.pauses import check, run
from tests.support.shop import hasty_model

PAUSES = int(os.environ.get("STRESS_PAUSES", "50"))
SEED = int(os.environ.get("STRESS_SEED", "1"))
EVENTS_A_PAUSE = 1_200


@pytest.mark.stress
@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_paused_workers_leave_what_an_undisturbed_one_leaves(
    kafka: KafkaBroker, tmp_path: Path, guarantee: str
) -> None:
    """States and lists are those of a worker that was never paused, however often the others were."""
    print(f"STRESS_SEED={SEED} STRESS_PAUSES={PAUSES} {guarantee}", flush=True)
    shop = simulate(SimulationConfig(events=PAUSES * EVENTS_A_PAUSE, users=500, seed=SEED))
    fitted = hasty_model(shop)
    folders = [tmp_path / name for name in ("disturbed", "undisturbed")]
    for folder in folders:
        folder.mkdir()
    runs = run(
        kafka,
        shop,
        fitted,
        folders,
        guarantee=guarantee,
        pauses=PAUSES,
        paused_after=EVENTS_A_PAUSE // 6,
    )
    repeated = sum(len(made) - 1 for made in runs.disturbed.lists.values())
    ended = sum(one.status == 1 for one in runs.ended)
    print(
        f"{len(runs.ended)} pauses, {ended} of them ended the worker; {len(runs.disturbed.lists):,} lists, "
        f"{repeated:,} repeated; {len(runs.disturbed.records):,} records",
        flush=True,
    )
    check(runs)
    assert len(runs.ended) == PAUSES
