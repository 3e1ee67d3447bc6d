"""One worker under a steady load for SOAK_S seconds, its memory looked at every SOAK_EVERY_S.

Run it as ``python -m tests.stress.soak`` (``make soak``). Users come and go, new weights are announced
now and then. Samples go to SOAK_OUT as CSV, JSON and a plot. It fails when an event or a list is
missing, when the lag does not go back to 0, or when resident memory, less what the users that are held
account for, grew over the second half by more than SOAK_MB_PER_HOUR.
"""

import asyncio
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from models.fitting import Fitted
from stream.records import PIECE_BYTES
from stream.retraining import announce_fitted
from tests.bench.environment import environment
from tests.support.deployment import Deployment
from tests.support.kafka_broker import KafkaBroker, kafka_home, why_absent
from tests.support.limits import lag, lists_sent, outcomes, prepared
from tests.support.memory import resident_bytes
from tests.support.shop import small_model, small_shop
from tests.support.soak_chart import draw
from tests.support.soak_load import Load, Sender
from tests.support.trend import Sample, growth_per_hour, rates
from tests.support.worker_process import WorkerProcess, eventually

DURATION_S = float(os.environ.get("SOAK_S", "3600"))
EVERY_S = float(os.environ.get("SOAK_EVERY_S", "10"))
EVENTS_PER_S = float(os.environ.get("SOAK_EVENTS_PER_S", "150"))
USERS_PER_S = float(os.environ.get("SOAK_USERS_PER_S", "3"))
ACTIVE = int(os.environ.get("SOAK_ACTIVE", "1000"))
ANNOUNCE_EVERY_S = float(os.environ.get("SOAK_ANNOUNCE_EVERY_S", "120"))
MB_PER_HOUR = float(os.environ.get("SOAK_MB_PER_HOUR", "32"))
OUT = Path(os.environ.get("SOAK_OUT", "soak"))
MEGABYTE = 1_000_000

#: What a user takes beside the record: key, place in a dictionary at two thirds full, tuple of pieces.
USER_OVERHEAD_BYTES = 250
#: Header of each piece of a record.
PIECE_OVERHEAD_BYTES = sys.getsizeof(b"")


def sample(worker: WorkerProcess, sender: Sender, began_s: float) -> Sample:
    """Look at the worker now."""
    metrics = worker.metrics()
    return Sample(
        time.monotonic() - began_s,
        resident_bytes(worker.pid),
        int(metrics.total("freshet_state_users")),
        lag(worker),
        sender.sent,
        int(metrics.total("freshet_events_total")),
        lists_sent(worker),
        int(metrics.total("freshet_model_swaps_total", outcome="swapped")),
    )


def watch(
    deployment: Deployment, worker: WorkerProcess, sender: Sender, models: Sequence[Fitted]
) -> list[Sample]:
    """Take the samples, and announce the models in turns."""
    samples: list[Sample] = []
    began_s = time.monotonic()
    announced = 1
    while time.monotonic() - began_s < DURATION_S:
        if time.monotonic() - began_s >= announced * ANNOUNCE_EVERY_S:
            asyncio.run(announce_fitted(deployment.settings, models[announced % len(models)]))
            announced += 1
        samples.append(sample(worker, sender, began_s))
        print(samples[-1], flush=True)
        time.sleep(max(0.0, began_s + len(samples) * EVERY_S - time.monotonic()))
    return samples


def bytes_per_user(deployment: Deployment) -> float:
    """Return what a user's record takes in memory, in the mean of those that the changelog ends with."""
    sizes = [len(record) for record in deployment.records().values()]
    pieces = [-(-size // PIECE_BYTES) for size in sizes]
    return mean(sizes) + PIECE_OVERHEAD_BYTES * mean(pieces) + USER_OVERHEAD_BYTES


def figures(
    samples: Sequence[Sample], worker: WorkerProcess, sender: Sender, user_bytes: float
) -> dict[str, Any]:
    """Return what came of the run."""
    resident = [one.resident_bytes / MEGABYTE for one in samples]
    return {
        "duration_s": samples[-1].at_s,
        "events_sent": sender.sent,
        "events_by_outcome": outcomes(worker),
        "lists": lists_sent(worker),
        "users_erased": sender.erased,
        "users_held": samples[-1].state_users,
        "bytes_per_user": user_bytes,
        "weights_swapped": samples[-1].swaps,
        "events_per_s_median": sorted(rates(samples))[len(samples) // 2 - 1],
        "most_lag": max(one.lag for one in samples),
        "resident_mb_at_half": resident[len(resident) // 2],
        "resident_mb_at_end": resident[-1],
        "resident_mb_most": max(resident),
        "growth_mb_per_hour": growth_per_hour(samples, user_bytes) / MEGABYTE,
        "growth_limit_mb_per_hour": MB_PER_HOUR,
    }


def faults(found: dict[str, Any]) -> list[str]:
    """Return what is wrong with a run."""
    wrong = []
    if found["events_by_outcome"] != {"applied": found["events_sent"]}:
        wrong.append(f"of {found['events_sent']} events: {found['events_by_outcome']}")
    if found["lists"] != found["events_sent"]:
        wrong.append(f"{found['lists']} lists for {found['events_sent']} events")
    if found["growth_mb_per_hour"] > found["growth_limit_mb_per_hour"]:
        wrong.append(
            f"memory grows by {found['growth_mb_per_hour']:.1f} MB an hour beside its users; "
            f"the bound is {found['growth_limit_mb_per_hour']:g}"
        )
    return wrong


def write(samples: Sequence[Sample], found: dict[str, Any], user_bytes: float) -> None:
    """Leave samples, figures and plot in the folder of the run."""
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / "soak.csv").open("w", newline="") as file:
        csv.writer(file).writerows((Sample._fields, *samples))
    report = {"benchmark": "soak", **environment(), "results": found}
    (OUT / "soak.json").write_text(json.dumps(report, indent=2) + "\n")
    draw(OUT / "soak.svg", samples, user_bytes)


def soak(broker: KafkaBroker, folder: Path) -> list[str]:
    """Run it; returns what is wrong."""
    shop = small_shop()
    models = [small_model(shop, seed=seed) for seed in (1, 2)]
    with prepared(broker, folder, models[0]) as deployment:
        topics, partitions = deployment.topics, deployment.settings.partitions
        load = Load(EVENTS_PER_S, USERS_PER_S, ACTIVE, shop.items["item_id"].to_list(), partitions)
        worker = deployment.start().wait_ready()
        sender = Sender(load, broker.bootstrap, topics.events, topics.forget)
        sender.start()
        samples = watch(deployment, worker, sender, models)
        sender.end()
        deployment.wait_served(worker)
        eventually(lambda: lag(worker) == 0, "the lag gauge is back at 0")
        user_bytes = bytes_per_user(deployment)
        found = figures(samples, worker, sender, user_bytes)
    write(samples, found, user_bytes)
    print(json.dumps(found, indent=2))
    return faults(found)


def main() -> int:
    """Run the soak; 0 when nothing is wrong."""
    home, reason = kafka_home(), why_absent()
    if home is None or reason is not None:
        print(reason, file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="freshet-soak-") as folder,
        KafkaBroker(home, Path(folder) / "kafka") as broker,
    ):
        wrong = soak(broker, Path(folder) / "run")
    for one in wrong:
        print(f"soak: {one}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
