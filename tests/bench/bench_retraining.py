"""What retraining is worth, and whether the gate can be trusted, on clicks of a news site.

python -m tests.bench.bench_retraining intervals FILE --columns ... [--share .05] [--report FILE]
python -m tests.bench.bench_retraining shuffled|warm FILE --columns ... [--trials 100] ...

*intervals*: the first day is trained on. From then on each hour's events are foretold (lists of 20,
the walk of the gate), by weights that are never made anew, or by a warm update every 24, 6 or 1
hours; "light" refreshes the counts every 5 minutes between hourly updates. All policies foretell the
same events and begin with the same weights; no event is learnt from before it was foretold.

*shuffled* and *warm*: trials of the gate. The champion knows the first day. Challengers are trained on
events whose items were shuffled, or are warm updates with the day after; they are judged by the 12
hours after that. Each trial has a seed of its own, for the challenger and for the users it is judged by.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.features import DAY_MS, HOUR_MS
from models.fitting import train_from_frame
from models.gate import HeldBack, judge
from models.gate_config import GateConfig
from models.metrics import reciprocal_ranks
from models.networks import NetworkConfig
from models.recommender import Recommender
from models.training import TrainingConfig
from models.warm import WarmConfig, light_refresh, warm_update
from stream.cli.options import parse_columns
from stream.datasets import load_events
from tests.bench.environment import environment

CUTOFF = 20
LIGHT_MS = 5 * 60_000
CHAMPION_HOURS, CHALLENGER_HOURS, HELD_BACK_HOURS = 24, 24, 12
TARGETS = 3000


def sampled(path: Path, columns: str | None, share: float) -> pl.DataFrame:
    """The events of a share of the users, by a hash of their ids, in order of time."""
    events = load_events(path, columns=parse_columns(columns), time_unit="ms").sort("timestamp")
    return events.filter(pl.col("user_id").hash(seed=1) % 10_000 < round(share * 10_000))


def before(events: pl.DataFrame, end_ms: int) -> pl.DataFrame:
    """What happened before a time."""
    return events.filter(pl.col("timestamp") < end_ms)


@dataclass
class Policy:
    """Weights that are made anew every ``hours`` (0: never), refreshed in between or not; and their worth."""

    name: str
    hours: int
    light: bool
    recommender: Recommender
    until_ms: int
    ranks: float = 0.0
    targets: int = 0
    updates: int = 0
    update_s: float = 0.0

    def begin(self, events: pl.DataFrame, hour: int, now_ms: int) -> None:
        """Make the weights anew where it is time."""
        if not self.hours or hour % self.hours or now_ms <= self.until_ms + 1:
            return
        began_s = time.process_time()
        past = before(events, now_ms)
        fitted = warm_update(self.recommender, past, until_ms=self.until_ms, trained_at_ms=now_ms)
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
                found, _ = held_back.places(self.recommender, CUTOFF)
                self.ranks += float(reciprocal_ranks(found).sum())
                self.targets += len(found)

    @property
    def figures(self) -> dict[str, Any]:
        """What it was worth and what it cost."""
        mean_s = self.update_s / self.updates if self.updates else None
        mrr = self.ranks / self.targets if self.targets else None
        return {"mrr": mrr, "targets": self.targets, "updates": self.updates, "mean_update_cpu_s": mean_s}


def intervals(events: pl.DataFrame, *, light: bool, days: int) -> dict[str, Any]:
    """Foretell every hour after the first day under each policy."""
    first_ms = int(events["timestamp"][0]) // HOUR_MS * HOUR_MS
    begin_ms = first_ms + DAY_MS
    end_ms = min(int(events["timestamp"][-1]), first_ms + days * DAY_MS)
    began_s = time.process_time()
    first = train_from_frame(before(events, begin_ms), trained_at_ms=begin_ms).recommender
    full_s = time.process_time() - began_s
    planned = [("none", 0, False), ("24 h", 24, False), ("6 h", 6, False), ("1 h", 1, False)]
    planned += [("1 h and light", 1, True)] if light else []
    policies = [Policy(*plan, first, begin_ms - 1) for plan in planned]
    for hour, now_ms in enumerate(range(begin_ms, end_ms, HOUR_MS)):
        for policy in policies:
            policy.begin(events, hour, now_ms)
            policy.foretell(events, now_ms)
        shown = ", ".join(f"{one.name} {one.ranks / max(1, one.targets):.4f}" for one in policies)
        print(f"hour {hour + 1}: {shown}", flush=True)
    found = {policy.name: policy.figures for policy in policies}
    return {"events": events.height, "first_training_cpu_s": full_s, "policies": found}


QUICK = TrainingConfig(epochs=3, refit=False)


def gate(events: pl.DataFrame, *, kind: str, trials: int) -> dict[str, Any]:
    """Let challengers of a kind come to the gate."""
    first_ms = int(events["timestamp"][0])
    cut_ms = first_ms + (CHAMPION_HOURS + CHALLENGER_HOURS) * HOUR_MS
    known_ms = first_ms + CHAMPION_HOURS * HOUR_MS
    network = NetworkConfig(units=32)
    champion = train_from_frame(before(events, known_ms), trained_at_ms=0, network=network, training=QUICK)
    past, seen = before(events, cut_ms), before(events, cut_ms + HELD_BACK_HOURS * HOUR_MS)
    old = light_refresh(champion.recommender, past, refreshed_at_ms=0)
    passed, gains = 0, []
    for seed in range(trials):
        new = _challenger(kind, champion.recommender, past, known_ms, seed)
        held_back = HeldBack.of(seen, new.vocabulary, cut_ms, targets=TARGETS, seed=seed)
        verdict = judge(old, new, held_back, GateConfig(seed=seed))
        passed += verdict.promoted
        gains.append(verdict.gain)
        print(f"trial {seed + 1}: passed {passed}, {verdict.words}", flush=True)
    return {
        "events": events.height,
        "kind": kind,
        "trials": trials,
        "passed": passed,
        "mean_gain": float(np.mean(gains)),
    }


def _challenger(
    kind: str, champion: Recommender, past: pl.DataFrame, known_ms: int, seed: int
) -> Recommender:
    """One trained on items that mean nothing, or one that goes on from the champion."""
    if kind == "warm":
        warm = WarmConfig(replace(WarmConfig().training, seed=seed))
        made = warm_update(champion, past, until_ms=known_ms - 1, trained_at_ms=seed, config=warm)
        return made.recommender
    training = replace(QUICK, seed=seed, epochs=1)
    shuffled = past.with_columns(pl.col("item_id").shuffle(seed=seed))
    # The rows of the items are those of the others, whose order does not come from the shuffled events.
    vocabulary = champion.vocabulary.extended(past)
    network = champion.network.config
    return train_from_frame(
        shuffled, trained_at_ms=seed, network=network, training=training, vocabulary=vocabulary
    ).recommender


def main() -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("intervals", "shuffled", "warm"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--columns")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    events = sampled(given.file, given.columns, given.share)
    if given.what == "intervals":
        figures = intervals(events, light=given.light, days=given.days)
    else:
        figures = gate(events, kind=given.what, trials=given.trials)
    text = json.dumps(figures | {"share": given.share, "environment": environment()}, indent=2)
    print(text)
    if given.report is not None:
        given.report.write_text(text + "\n")


if __name__ == "__main__":
    main()
