"""Several systems learnt from the same events and measured on the same next ones: `freshet evaluate`."""

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import polars as pl

from models.cleaning import CleaningRule
from models.evaluation import TIE_RULE, lists_at_cut, next_event_lists
from models.intervals import RESAMPLES, resampled
from models.learning import Learning, Made, Setting
from models.lineup import LINEUP, Entry
from models.popularity import fallback
from models.quality import ITEM, Scored, next_day_figures, scored
from models.ranking import Scores
from models.segment import SegmentRule
from models.splits import Candidates, Split, split_as_given, split_by_time, split_into_windows
from models.summary import Run
from models.systems import System
from models.training import Epoch, Part
from stream.peers.lineup import PEERS
from stream.tuned import read_settings


class Watch(Protocol):
    """What is told how far a part of the work is."""

    def advance(self, count: int = 1) -> None:
        """Count some more as done."""

    def note(self, text: str) -> None:
        """Show a few words beside it."""


Watcher = Callable[[str, int | None], AbstractContextManager[Watch]]


@dataclass(frozen=True)
class Cut:
    """How events are cut, and what may be listed; ``windows`` is None for a single cut in time.

    At most ``users`` users are foretold, drawn at random; all where it is None.
    """

    train_share: float = 0.8
    windows: int | None = None
    users: int | None = None
    known_items_only: bool = False
    cleaning: CleaningRule | None = None
    candidates: Candidates = field(default_factory=Candidates)


@dataclass(frozen=True)
class Plan:
    """How the systems are built, and what their lists are measured at.

    A system of which something is drawn is learnt once for each of ``seeds``. ``reference`` is the
    system that the others are compared with, None the best. ``neighbours``, ``window_ms``, ``epochs``
    and ``units`` are those of `Learning`; ``settings`` are each system's own.
    """

    systems: tuple[str, ...]
    cutoffs: tuple[int, ...]
    segment: SegmentRule
    seeds: tuple[int, ...] = (1,)
    resamples: int = RESAMPLES
    reference: str | None = None
    neighbours: int | None = None
    window_ms: int | None = None
    epochs: int | None = None
    units: int | None = None
    settings: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)

    def seeds_of(self, system: str) -> tuple[int | None, ...]:
        """The seeds that the system is learnt with; None alone where nothing of it is drawn."""
        return self.seeds if entry(system).drawn else (None,)


def entry(system: str) -> Entry:
    """How a system, ours or a peer, is learnt."""
    return LINEUP[system] if system in LINEUP else PEERS[system]


def tuned_settings(path: Path) -> dict[str, dict[str, Setting]]:
    """Read the settings that `freshet tune` wrote."""
    every = {**LINEUP, **PEERS}
    return read_settings(path, {name: one.space for name, one in every.items()})


def make_splits(frames: Sequence[pl.DataFrame], cut: Cut) -> list[Split]:
    """Cut one frame of events by time, once or into windows, or take two, training and test, as they are."""
    splits = _whole_splits(frames, cut)
    return splits if cut.users is None else [split.of_some_users(cut.users) for split in splits]


def _whole_splits(frames: Sequence[pl.DataFrame], cut: Cut) -> list[Split]:
    """The splits with all their users."""
    told: dict[str, Any] = {
        "known_items_only": cut.known_items_only,
        "cleaning": cut.cleaning,
        "candidates": cut.candidates,
    }
    if len(frames) == 2:
        return [split_as_given(frames[0], frames[1], **told)]
    if cut.windows is not None:
        return split_into_windows(frames[0], windows=cut.windows, **told)
    return [split_by_time(frames[0], train_share=cut.train_share, **told)]


def conditions(splits: Sequence[Split], plan: Plan, cut: Cut) -> Iterator[str]:
    """Say under what conditions the figures hold, a line each."""
    for split in splits:
        yield f"split: {split.words}"
        yield (
            f"events: {len(split.train):,} learnt from, {split.n_targets:,} foretold for "
            f"{len(split.begin):,} users or sessions, {_n_cold(split):,} of them of items never trained on; "
            f"{split.dropped:,} of unknown items dropped; {split.suspicious:,} suspicious users left out"
        )
        yield f"candidates: {cut.candidates.words} ({split.candidates:,}), all of them ranked"
    yield f"cut-offs: {', '.join(f'N = {cutoff}' for cutoff in plan.cutoffs)}; ties: {TIE_RULE}"
    yield f"seeds: {', '.join(map(str, plan.seeds))}; intervals: {plan.resamples:,} draws of users, 95 %"


class Task(NamedTuple):
    """What one run is of; ``seed`` is None where nothing of the system is drawn."""

    window: int  # 1 ..
    system: str
    seed: int | None


def tasks(splits: Sequence[Split], plan: Plan) -> list[Task]:
    """Every run that the plan asks for, in the order of the tables."""
    return [
        Task(window, system, seed)
        for window in range(1, len(splits) + 1)
        for system in plan.systems
        for seed in plan.seeds_of(system)
    ]


def bundles(every: Iterable[Task]) -> list[list[Task]]:
    """The runs, those beside each other that share a training; otherwise in their order."""
    found: dict[Task, list[Task]] = {}
    for task in every:
        trained = entry(task.system).network or task.system
        found.setdefault(task._replace(system=trained), []).append(task)
    return list(found.values())


def in_order(runs: Iterable[Run], splits: Sequence[Split], plan: Plan) -> list[Run]:
    """The runs in the order of `tasks`, in whatever order they were made."""
    places = {task: place for place, task in enumerate(tasks(splits, plan))}
    return sorted(runs, key=lambda run: places[Task(run.window, run.system, run.seed)])


def compare(splits: Sequence[Split], plan: Plan, watch: Watcher) -> Iterator[Run]:
    """Learn each system in each window with each seed, let it make the lists, and measure them."""
    bench = Bench(splits, plan)
    for bundle in bundles(tasks(splits, plan)):
        for task in bundle:
            yield bench.run(task, watch)


class Latest:
    """Keeps what was made last for who asks for the same next, and counts the time that this saved."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._made: object = None
        self._took_s = self.saved_s = 0.0

    def __call__(self, key: Hashable, make: Callable[[], Made], /) -> Made:
        """What is kept where the key is equal, else what ``make`` makes."""
        if key == self._key:
            self.saved_s += self._took_s
            return cast("Made", self._made)
        begun_s = time.perf_counter()
        made = make()
        self._key, self._made, self._took_s = key, made, time.perf_counter() - begun_s
        return made


class Bench:
    """Makes the runs of a plan, one at a time and in any order; equal tasks give equal figures."""

    def __init__(self, splits: Sequence[Split], plan: Plan) -> None:
        self._splits, self._plan = splits, plan
        self._learnt_from: dict[int, Learning] = {}
        self._latest: dict[int, Latest] = {}

    def run(self, task: Task, watch: Watcher) -> Run:
        """Learn one system with one seed, and measure it; a training that was shared counts in full."""
        split, plan = self._splits[task.window - 1], self._plan
        learning = self._learning(task.window)
        seed = plan.seeds[0] if task.seed is None else task.seed
        learning = replace(learning, settings=plan.settings.get(task.system, {}), seed=seed)
        title = task.system if len(plan.seeds_of(task.system)) == 1 else f"{task.system}, seed {seed}"
        latest = self._latest[task.window]
        begun_s = time.perf_counter() + latest.saved_s
        system = _fit(task.system, title, learning, watch)
        fitted_s = time.perf_counter()
        fit_s = fitted_s + latest.saved_s - begun_s
        with watch(f"{title}: lists", split.n_targets) as shown:
            found = measured(
                system, split, plan.cutoffs, popularity=learning.popularity, progress=shown.advance
            )
        lists_s = time.perf_counter() - fitted_s
        ratios = {
            (one.quality.level, one.quality.cutoff, figure): ratio
            for one in found
            for figure, ratio in one.ratios.items()
        }
        estimates = resampled(ratios, resamples=plan.resamples)
        qualities = [one.quality for one in found]
        return Run(task.system, task.window, task.seed, qualities, estimates, fit_s, lists_s)

    def _learning(self, window: int) -> Learning:
        """What every system of a window learns from."""
        if window not in self._learnt_from:
            split, plan = self._splits[window - 1], self._plan
            self._latest[window] = Latest()
            self._learnt_from[window] = Learning(
                split.train,
                split.vocabulary,
                plan.segment,
                fallback(split.train, split.vocabulary.n_items),
                neighbours=plan.neighbours,
                window_ms=plan.window_ms,
                epochs=plan.epochs,
                units=plan.units,
                once=self._latest[window],
            )
        return self._learnt_from[window]


def measured(
    system: System,
    split: Split,
    cutoffs: Sequence[int],
    *,
    popularity: Scores,
    progress: Callable[[int], None] | None = None,
) -> list[Scored]:
    """Let a system make the lists, and measure them."""
    n = max(cutoffs)
    lists = next_event_lists(system, split, n, popularity=popularity, progress=progress)
    found = scored(lists, split, cutoffs)
    if not len(split.bought_next_day):
        return found
    users, at_cut = lists_at_cut(system, split, n, popularity=popularity)
    return [
        one.told_also(next_day_figures(users, at_cut, split, one.quality.cutoff))
        if one.quality.level == ITEM
        else one
        for one in found
    ]


def _fit(name: str, title: str, learning: Learning, watch: Watcher) -> System:
    """Learn one system, telling of its epochs."""
    with watch(f"{title}: learning", None) as shown:

        def progress(so_far: Part | Epoch) -> None:
            if isinstance(so_far, Part):
                shown.note(so_far.title)
                return
            shown.note(f"loss {so_far.loss:.3f}")
            shown.advance()

        return entry(name).learn(learning, progress)


def _n_cold(split: Split) -> int:
    """How many targets are of items never trained on."""
    return int(split.is_cold(split.item[split.targets]).sum())
