"""What retraining is worth, what it costs, and whether the gate can be trusted, on clicks of a news site.

python -m tests.bench.bench_retraining intervals FILE --columns ... [--share .05] [--report FILE]
python -m tests.bench.bench_retraining updates FILE --columns ... [--share .1] ...
python -m tests.bench.bench_retraining shuffled|warm FILE --columns ... [--trials 100] ...

*intervals*: the first day is trained on. From then on each hour's events are foretold (lists of 20,
the walk of the gate), by weights that are never made anew, or by a warm update every 24, 6 or 1
hours; "light" refreshes the counts every 5 minutes between hourly updates. All policies foretell the
same events and begin with the same weights; no event is learnt from before it was foretold. It fails where
they are not worth more in this order, or the last less than one and a half times the first.

*updates*: ten warm updates in a row, one an hour, each beside a full training on the same events, as
`freshet retrain` makes both; they foretell the hour after. It fails where an update takes more than a tenth
of the trainings' time, or reaches less than 99 % of their MRR, all hours together.

*shuffled* and *warm*: trials of the gate, with what `freshet retrain` does by itself: the newest events
are held back, and the champion's counts are refreshed with the others. Ten champions, at times spread
over the file, know the day before; their challengers come six hours later, and are trained on events
whose items were shuffled, or are warm updates. Each trial has a seed of its own, for the challenger and for
the users it is judged by. Which challengers are better is judged by the hour after the gate's events, for
which they would serve, by the same test. It fails where a shuffled one passes, or fewer than nine in ten of
the better warm ones.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from models.errors import TrainingError
from models.features import DAY_MS, HOUR_MS
from models.fitting import Fitted, train_from_frame
from models.gate import HeldBack
from models.metrics import reciprocal_ranks
from models.recommender import Recommender
from models.succession import SuccessionConfig, train_afresh
from models.warm import light_refresh, warm_update
from tests.bench.clicks import before, sampled
from tests.bench.environment import environment
from tests.bench.gate_trials import gate
from tests.bench.retraining_chart import draw

CUTOFF = 20
LIGHT_MS = 5 * 60_000


@dataclass
class Policy:
    """Weights that are made anew every ``hours`` (0: never), refreshed in between or not; and their worth."""

    name: str
    hours: int
    light: bool
    recommender: Recommender
    until_ms: int
    ranks: list[float] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    updates: int = 0
    update_s: float = 0.0

    def begin(self, events: pl.DataFrame, hour: int, now_ms: int) -> None:
        """Make the weights anew where it is time and there is something to learn."""
        self.ranks.append(0.0)
        self.targets.append(0)
        if not self.hours or hour % self.hours or now_ms <= self.until_ms + 1:
            return
        began_s = time.process_time()
        past = before(events, now_ms)
        try:
            fitted = warm_update(self.recommender, past, until_ms=self.until_ms, trained_at_ms=now_ms)
        except TrainingError:  # hours without a click
            return
        self.recommender, self.until_ms = fitted.recommender, now_ms - 1
        self.updates += 1
        self.update_s += time.process_time() - began_s

    def slots(self, now_ms: int) -> Iterator[tuple[int, int]]:
        """The times between which the weights stay as they are."""
        step_ms = LIGHT_MS if self.light else HOUR_MS
        for begin_ms in range(now_ms, now_ms + HOUR_MS, step_ms):
            yield begin_ms, begin_ms + step_ms

    def foretell(self, events: pl.DataFrame, now_ms: int) -> None:
        """Foretell the hour's events."""
        for begin_ms, end_ms in self.slots(now_ms):
            if self.light and begin_ms > now_ms:
                past = before(events, begin_ms)
                self.recommender = light_refresh(self.recommender, past, refreshed_at_ms=begin_ms)
            seen = before(events, end_ms)
            active = seen.filter(pl.col("timestamp") >= begin_ms)["user_id"].unique()
            walked = seen.filter(pl.col("user_id").is_in(active.implode()))
            if walked.is_empty():
                continue
            held_back = HeldBack.of(walked, self.recommender.vocabulary, begin_ms)
            if held_back.split.n_targets:
                found = held_back.places(self.recommender, CUTOFF).places
                self.ranks[-1] += float(reciprocal_ranks(found).sum())
                self.targets[-1] += len(found)

    @property
    def mrr(self) -> float:
        """What it was worth so far."""
        return sum(self.ranks) / max(1, sum(self.targets))

    @property
    def figures(self) -> dict[str, Any]:
        """What it was worth, in all and by the hour, and what it cost."""
        return {
            "mrr": self.mrr,
            "targets": sum(self.targets),
            "updates": self.updates,
            "mean_update_cpu_s": self.update_s / self.updates if self.updates else None,
            "targets_by_hour": self.targets,
            "reciprocal_ranks_by_hour": self.ranks,
        }


def intervals(events: pl.DataFrame, *, light: bool, days: int) -> dict[str, Any]:
    """Foretell every hour after the first day under each policy."""
    first_ms = int(events["timestamp"][0]) // HOUR_MS * HOUR_MS
    begin_ms = first_ms + DAY_MS
    end_ms = min(int(events["timestamp"][-1]), first_ms + days * DAY_MS)
    began_s = time.process_time()
    first = train_from_frame(before(events, begin_ms), trained_at_ms=begin_ms).recommender
    full_s = time.process_time() - began_s
    planned = [("never", 0, False), ("24 h", 24, False), ("6 h", 6, False), ("1 h", 1, False)]
    planned += [("1 h and light", 1, True)] if light else []
    policies = [Policy(*plan, first, begin_ms - 1) for plan in planned]
    for hour, now_ms in enumerate(range(begin_ms, end_ms, HOUR_MS)):
        for policy in policies:
            policy.begin(events, hour, now_ms)
            policy.foretell(events, now_ms)
        shown = ", ".join(f"{one.name} {one.mrr:.4f}" for one in policies)
        print(f"hour {hour + 1}: {shown}", flush=True)
    found = {policy.name: policy.figures for policy in policies}
    worth = [policy.mrr for policy in policies]
    failed = [] if worth == sorted(worth) else ["to make weights more often is not worth more"]
    if worth[-1] < MOST_OFTEN_WORTH * worth[0]:
        failed.append(f"it is worth {worth[-1] / worth[0]:.2f} times as much")
    return {"events": events.height, "first_training_cpu_s": full_s, "policies": found, "failed": failed}


MOST_OFTEN_WORTH = 1.5  # of never

UPDATES = 10
UPDATES_FROM_HOURS = 80  # the fourth afternoon: the fifth has hours without a click
MOST_COST, LEAST_WORTH = 0.10, 0.99


def updates(events: pl.DataFrame) -> dict[str, Any]:
    """Warm updates in a row, each beside a full training on the same events."""
    begin_ms = int(events["timestamp"][0]) + UPDATES_FROM_HOURS * HOUR_MS
    recommender = train_from_frame(before(events, begin_ms), trained_at_ms=begin_ms).recommender
    rows: list[dict[str, Any]] = []
    for now_ms in range(begin_ms + HOUR_MS, begin_ms + (UPDATES + 1) * HOUR_MS, HOUR_MS):
        past, seen = before(events, now_ms), before(events, now_ms + HOUR_MS)
        warm, warm_s = timed(
            partial(warm_update, recommender, past, until_ms=now_ms - HOUR_MS - 1, trained_at_ms=now_ms)
        )
        full, full_s = timed(
            partial(train_afresh, recommender, past, trained_at_ms=now_ms, config=SuccessionConfig())
        )
        recommender = warm.recommender
        held_back = HeldBack.of(seen, recommender.vocabulary, now_ms)
        ranks = [reciprocal_ranks(held_back.places(one.recommender, CUTOFF).places) for one in (warm, full)]
        rows.append(
            {
                "events": past.height,
                "targets": len(ranks[0]),
                "warm_cpu_s": warm_s,
                "full_cpu_s": full_s,
                "warm_mrr": float(ranks[0].mean()),
                "full_mrr": float(ranks[1].mean()),
            }
        )
        print(f"update {len(rows)}: {rows[-1]}", flush=True)
    targets = np.array([row["targets"] for row in rows])
    warm_mrr, full_mrr = (
        float(np.average([row[name] for row in rows], weights=targets)) for name in ("warm_mrr", "full_mrr")
    )
    cost = sum(row["warm_cpu_s"] for row in rows) / sum(row["full_cpu_s"] for row in rows)
    found = {"cost": cost, "worth": warm_mrr / full_mrr, "warm_mrr": warm_mrr, "full_mrr": full_mrr}
    failed = [] if cost <= MOST_COST else [f"an update takes {cost:.3f} of a training's time"]
    failed += (
        [] if found["worth"] >= LEAST_WORTH else [f"an update is worth {found['worth']:.3f} of a training"]
    )
    return found | {"updates": rows, "failed": failed}


def timed(make: Callable[[], Fitted]) -> tuple[Fitted, float]:
    """What was made, and the processor's seconds for it."""
    began_s = time.process_time()
    made = make()
    return made, time.process_time() - began_s


def main() -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("intervals", "updates", "shuffled", "warm"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--columns")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--chart", type=Path, help="of intervals or updates, as SVG")
    given = parser.parse_args()
    torch.set_num_threads(1)
    events = sampled(given.file, given.columns, given.share)
    if given.what == "intervals":
        figures = intervals(events, light=given.light, days=given.days)
    elif given.what == "updates":
        figures = updates(events)
    else:
        figures = gate(events, kind=given.what, trials=given.trials)
    text = json.dumps(figures | {"share": given.share, "environment": environment()}, indent=2)
    print(text)
    if given.report is not None:
        given.report.write_text(text + "\n")
    if given.chart is not None:
        draw(given.chart, figures)
    if figures.get("failed"):
        sys.exit("; ".join(figures["failed"]))


if __name__ == "__main__":
    main()
