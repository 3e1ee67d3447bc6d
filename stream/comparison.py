"""Several systems learnt from the same events and measured on the same next ones: `freshet evaluate`."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import polars as pl

from models.cleaning import CleaningRule
from models.evaluation import TIE_RULE, Quality, next_event_lists, qualities
from models.learning import Learning
from models.lineup import LINEUP
from models.popularity import popularity
from models.segment import SegmentRule
from models.splits import Split, split_as_given, split_by_time
from models.systems import System
from models.training import Epoch

CANDIDATES: Final = "every item of the training events"


class Watch(Protocol):
    """What is told how far a part of the work is."""

    def advance(self, count: int = 1) -> None:
        """Count some more as done."""

    def note(self, text: str) -> None:
        """Show a few words beside it."""


Watcher = Callable[[str, int | None], AbstractContextManager[Watch]]


@dataclass(frozen=True)
class Plan:
    """How the systems are built, and what their lists are measured at.

    ``neighbours``, ``window_ms``, ``epochs`` and ``units`` are those of `Learning`.
    """

    systems: tuple[str, ...]
    cutoffs: tuple[int, ...]
    segment: SegmentRule
    seed: int = 1
    neighbours: int | None = None
    window_ms: int | None = None
    epochs: int | None = None
    units: int | None = None


class Measured(NamedTuple):
    """One system's figures, and how long it took to learn and to make its lists."""

    system: str
    qualities: list[Quality]
    fit_s: float
    lists_s: float


def make_split(
    frames: Sequence[pl.DataFrame], *, train_share: float, known_items_only: bool, cleaning: CleaningRule
) -> Split:
    """Cut one frame of events by time, or take two, training and test, as they are."""
    if len(frames) == 1:
        return split_by_time(
            frames[0], train_share=train_share, known_items_only=known_items_only, cleaning=cleaning
        )
    past, future = frames
    return split_as_given(past, future, known_items_only=known_items_only, cleaning=cleaning)


def conditions(split: Split, plan: Plan) -> Iterator[str]:
    """Say under what conditions the figures hold, a line each."""
    yield f"split: {split.words}"
    yield (
        f"events: {len(split.train):,} learnt from, {split.n_targets:,} foretold for {len(split.begin):,} "
        f"users or sessions; {split.dropped:,} of unknown items dropped; "
        f"{split.suspicious:,} suspicious users left out"
    )
    yield f"candidates: {CANDIDATES} ({split.candidates:,})"
    yield f"cut-off: {', '.join(f'N = {cutoff}' for cutoff in plan.cutoffs)}; ties: {TIE_RULE}"


def compare(split: Split, plan: Plan, watch: Watcher) -> Iterator[Measured]:
    """Build each system, let it make the lists, and measure them; one system after another."""
    begun_s = time.perf_counter()
    popular = popularity(split.train, split.vocabulary.n_items)
    popular_s = time.perf_counter() - begun_s
    learning = Learning(
        split.train,
        split.vocabulary,
        plan.segment,
        popular,
        plan.seed,
        plan.neighbours,
        plan.window_ms,
        plan.epochs,
        plan.units,
    )
    for name in plan.systems:
        begun_s = time.perf_counter()
        system = _fit(name, learning, watch)
        fitted_s = time.perf_counter()
        with watch(f"{name}: lists", split.n_targets) as shown:
            lists = next_event_lists(
                system, split, max(plan.cutoffs), popularity=popular, progress=shown.advance
            )
        lists_s = time.perf_counter() - fitted_s
        fit_s = popular_s if name == "popularity" else fitted_s - begun_s
        yield Measured(name, qualities(lists, split, plan.cutoffs), fit_s, lists_s)


def _fit(name: str, learning: Learning, watch: Watcher) -> System:
    """Learn one system, telling of its epochs."""
    with watch(f"{name}: learning", None) as shown:

        def progress(epoch: Epoch) -> None:
            shown.note(f"loss {epoch.loss:.3f}")
            shown.advance()

        return LINEUP[name].learn(learning, progress)


def report(files: Sequence[object], split: Split, plan: Plan, measured: Sequence[Measured]) -> dict[str, Any]:
    """Give the figures as ``--report`` writes them: the conditions, and what each system reached."""
    return {
        "files": [str(path) for path in files],
        "split": split.words,
        "candidate_set": CANDIDATES,
        "candidates": split.candidates,
        "tie_rule": TIE_RULE,
        "cutoffs": list(plan.cutoffs),
        "seed": plan.seed,
        "segment_span_ms": plan.segment.span_ms,
        "segment_max_events": plan.segment.max_events,
        "train_events": len(split.train),
        "predictions": split.n_targets,
        "users": len(split.begin),
        "dropped_events": split.dropped,
        "suspicious_users": split.suspicious,
        "systems": [
            {
                "system": one.system,
                "fit_s": one.fit_s,
                "lists_s": one.lists_s,
                "figures": [quality.as_report() for quality in one.qualities],
            }
            for one in measured
        ],
    }
