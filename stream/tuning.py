"""Searching a system's settings with Optuna, on the newest part of the training events alone: `freshet tune`.

What is tuned on is never what is measured on: the events that `freshet evaluate` foretells are not
looked at. The trials stand in a journal, so that a search goes on where it was stopped.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from models.errors import ModelsError
from models.learning import Learning, Setting
from models.popularity import fallback
from models.segment import SegmentRule
from models.space import Choice, Range, Space
from models.splits import Split
from stream.comparison import entry, measured
from stream.errors import FreshetError, UsageError
from stream.tuned import whole

Settings = Mapping[str, Setting]


@dataclass(frozen=True)
class Search:
    """What is searched: one system's settings for the highest ``figure`` at one level and cut-off.

    ``data`` says what it is searched on, in words that differ where that does.
    """

    system: str
    level: str
    cutoff: int
    figure: str
    trials: int
    seed: int
    segment: SegmentRule
    data: str

    @property
    def target(self) -> str:
        """The figure in words."""
        return f"{self.figure}@{self.cutoff}, {self.level} level"


class Trial(NamedTuple):
    """One trial: its number (0 is the defaults), settings, figure (NaN: it failed) and why it failed."""

    number: int
    settings: Settings
    value: float
    duration_s: float
    fault: str = ""


def search(split: Split, wanted: Search, journal: Path) -> Iterator[Trial]:
    """Measure the defaults, then trials until there are as many as wanted; those in the journal count.

    Gives what is measured now, each when it is done. Raises ``UsageError`` for a journal of another
    search, and for a system of which nothing can be tuned.
    """
    space = entry(wanted.system).space
    if not space:
        raise UsageError(f"nothing of {wanted.system} can be tuned")
    study = _study(journal, wanted)
    if "defaults" not in study.user_attrs:
        first = _measure(split, wanted, 0, {})
        if first.fault:
            raise FreshetError(f"{wanted.system} cannot be learnt from these events: {first.fault}")
        study.set_user_attr("defaults", first.value)
        yield first
    for number in range(len(_finished(study)) + 1, wanted.trials + 1):
        asked = study.ask(_distributions(space))
        done = _measure(split, wanted, number, asked.params)
        if done.fault:
            study.tell(asked, state=TrialState.FAIL)
        else:
            study.tell(asked, done.value)
        yield done


def best(journal: Path, wanted: Search) -> Trial:
    """The best of what the journal holds: a trial, or the defaults where none was better."""
    study = _study(journal, wanted)
    first = Trial(0, {}, study.user_attrs["defaults"], 0.0)
    trials = [
        Trial(place, trial.params, trial.value, 0.0)
        for place, trial in enumerate(_finished(study), 1)
        if trial.value is not None
    ]
    return max([first, *trials], key=lambda trial: trial.value)


def defaults(journal: Path, wanted: Search) -> float:
    """What the defaults reached."""
    return float(_study(journal, wanted).user_attrs["defaults"])


def _measure(split: Split, wanted: Search, number: int, settings: Settings) -> Trial:
    """Learn with the settings and measure; a system that these events cannot teach is a trial that failed."""
    begun_s = time.perf_counter()
    popular = fallback(split.train, split.vocabulary.n_items)
    learning = Learning(split.train, split.vocabulary, wanted.segment, popular, wanted.seed)
    try:
        system = entry(wanted.system).learn(replace(learning, settings=settings), lambda _: None)
        found = measured(system, split, [wanted.cutoff], popularity=popular)
    except (ModelsError, ValueError) as failure:  # a config refuses what does not go together
        fault = str(failure).splitlines()[0]
        return Trial(number, settings, math.nan, time.perf_counter() - begun_s, fault)
    values = [
        float(getattr(one.quality, wanted.figure)) for one in found if one.quality.level == wanted.level
    ]
    if not values or not math.isfinite(values[0]):
        raise UsageError(f"these events have no {wanted.target}")
    return Trial(number, settings, values[0], time.perf_counter() - begun_s)


def _study(journal: Path, wanted: Search) -> optuna.Study:
    """The study in the journal, made if there is none."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _check_journal(journal)
    try:
        storage = JournalStorage(JournalFileBackend(str(journal)))
        names = optuna.get_all_study_names(storage)
        sampler = optuna.samplers.TPESampler(seed=wanted.seed)
        study = optuna.create_study(
            storage=storage,
            study_name=f"{wanted.system}: {wanted.target}",
            direction="maximize",
            load_if_exists=True,
            sampler=sampler,
        )
    except (OSError, ValueError, KeyError, TypeError) as failure:
        reason = str(failure).splitlines()[0]
        raise UsageError(f"{journal} is no journal of trials ({reason}); name another") from None
    if study.study_name not in names:
        study.set_user_attr("data", wanted.data)
    said = study.user_attrs.get("data")
    if said != wanted.data:
        raise UsageError(f"{journal} holds trials on other events ({said}); name another journal")
    # A search that goes on must not draw what the first part of it drew.
    study.sampler = optuna.samplers.TPESampler(seed=wanted.seed + len(_finished(study)))
    return study


def _check_journal(journal: Path) -> None:
    """Refuse a file of something else before Optuna writes to it; an empty or absent one is a new journal."""
    try:
        with journal.open("rb") as stream:
            first = stream.readline()
    except FileNotFoundError:
        return
    except OSError as failure:
        raise UsageError(f"cannot read {journal}: {(failure.strerror or str(failure)).lower()}") from None
    if first and not first.startswith(b'{"op_code"'):
        raise UsageError(f"{journal} is no journal of trials; name another with --journal")


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that came to an end; one that was interrupted is made again."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space in Optuna's terms."""
    return {name: _distribution(bounds) for name, bounds in space.items()}


def _distribution(bounds: Range | Choice) -> BaseDistribution:
    """One setting's values in Optuna's terms."""
    if isinstance(bounds, Choice):
        return CategoricalDistribution(bounds.values)
    if whole(bounds):
        return IntDistribution(int(bounds.low), int(bounds.high), log=bounds.log)
    return FloatDistribution(bounds.low, bounds.high, log=bounds.log)


def found_entry(wanted: Search, found: Trial, defaults: float) -> dict[str, Any]:
    """What stands in the file of settings for the best trial, and how it was found."""
    return {
        "settings": dict(found.settings),
        "figure": wanted.target,
        "value": found.value,
        "value_of_defaults": defaults,
        "trial": found.number,
        "trials": wanted.trials,
        "seed": wanted.seed,
        "data": wanted.data,
    }
