"""Trials of the gate: challengers of a kind that is better, or worse than nothing, come to it."""

from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl

from models.features import DAY_MS, HOUR_MS
from models.fitting import train_from_frame
from models.gate import HeldBack, Verdict, judge
from models.gate_config import GateConfig
from models.recommender import Recommender
from models.succession import TooFewEvents, held_back_from_ms
from models.training import TrainingConfig
from models.warm import WarmConfig, light_refresh, warm_update
from tests.bench.clicks import before

CHALLENGER_MS = 6 * HOUR_MS
CHAMPIONS = 10
LEAST_PASSED = 0.9
QUICK = TrainingConfig(epochs=1, refit=False)


class Bout(NamedTuple):
    """A champion's part of the trials: what both sides know, and what they are judged by."""

    known_ms: int
    cut_ms: int
    end_ms: int
    seen: pl.DataFrame
    later: pl.DataFrame

    @classmethod
    def of(cls, events: pl.DataFrame, known_ms: int) -> Self:
        """One whose champion knows the day before ``known_ms``."""
        end_ms = known_ms + CHALLENGER_MS
        since = events.filter(pl.col("timestamp") >= known_ms - DAY_MS)
        seen = before(since, end_ms)
        cut_ms = held_back_from_ms(seen, known_ms - 1, GateConfig())
        return cls(known_ms, cut_ms, end_ms, seen, before(since, end_ms + HOUR_MS))

    def verdicts(self, old: Recommender, new: Recommender, seed: int) -> tuple[Verdict, Verdict]:
        """What the gate says, and what the hour after it says, which it cannot know."""
        config = GateConfig(seed=seed)
        held_back, after = (
            HeldBack.of(frame, new.vocabulary, cut_ms, targets=config.targets, seed=seed)
            for frame, cut_ms in ((self.seen, self.cut_ms), (self.later, self.end_ms))
        )
        return judge(old, new, held_back, config), judge(old, new, after, config)


def gate(events: pl.DataFrame, *, kind: str, trials: int) -> dict[str, Any]:
    """Let challengers of a kind come to the gate."""
    first_ms, last_ms = int(events["timestamp"][0]), int(events["timestamp"][-1])
    between_ms = (last_ms - first_ms - DAY_MS - CHALLENGER_MS - HOUR_MS) // (CHAMPIONS - 1)
    found: list[tuple[Verdict, Verdict]] = []
    for number in range(CHAMPIONS):
        try:
            bout = Bout.of(events, first_ms + DAY_MS + number * between_ms)
        except TooFewEvents as reason:  # the fifth day has hours without a click
            print(f"no trial of champion {number + 1}: {reason}", flush=True)
            continue
        champion = train_from_frame(before(bout.seen, bout.known_ms), trained_at_ms=0).recommender
        past = before(bout.seen, bout.cut_ms)
        old = light_refresh(champion, past, refreshed_at_ms=0)
        for seed in range(number, trials, CHAMPIONS):
            new = _challenger(kind, champion, past, bout.known_ms, seed)
            found.append(bout.verdicts(old, new, seed))
            gate_says, truth = found[-1]
            print(f"trial {len(found)}: {gate_says.words}; afterwards {truth.words}", flush=True)
    return {"events": events.height, "kind": kind, "trials": len(found), **_told(kind, found)}


def _told(kind: str, found: list[tuple[Verdict, Verdict]]) -> dict[str, Any]:
    """The counts of the trials, and what of them should not be."""
    better = [gate_says for gate_says, truth in found if truth.promoted]
    let_through = sum(one.promoted for one in better)
    passed = sum(gate_says.promoted for gate_says, _ in found)
    worse = sum(gate_says.promoted and truth.gain < 0 for gate_says, truth in found)
    failed = [] if found else ["there was no trial: too few events; give a larger share"]
    if kind == "shuffled" and passed:
        failed.append(f"{passed} challengers trained on shuffled items passed")
    if kind == "warm" and let_through < LEAST_PASSED * len(better):
        failed.append(f"{let_through} of {len(better)} better challengers passed")
    return {
        "passed": passed,
        "better": len(better),
        "better_passed": let_through,
        "worse_passed": worse,
        "mean_gain": float(np.mean([gate_says.gain for gate_says, _ in found])) if found else None,
        "failed": failed,
    }


def _challenger(
    kind: str, champion: Recommender, past: pl.DataFrame, known_ms: int, seed: int
) -> Recommender:
    """One trained on items that mean nothing, or one that goes on from the champion."""
    if kind == "warm":
        warm = WarmConfig(replace(WarmConfig().training, seed=seed))
        made = warm_update(champion, past, until_ms=known_ms - 1, trained_at_ms=seed, config=warm)
        return made.recommender
    shuffled = past.with_columns(pl.col("item_id").shuffle(seed=seed))
    # The rows of the items are those of the others, whose order does not come from the shuffled events.
    vocabulary = champion.vocabulary.extended(past)
    training = replace(QUICK, seed=seed)
    return train_from_frame(
        shuffled, trained_at_ms=seed, training=training, vocabulary=vocabulary
    ).recommender
