"""From runs to what is told of a system: means over seeds and windows, and differences with intervals."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np

from models.intervals import Estimates, Interval, interval_of
from models.quality import Quality

Key = tuple[str, int, str]  # level, cut-off and figure

COMPARED: Final = ("prediction_accuracy", "mrr", "ndcg", "accuracy", "recall", "user_coverage")
"""The figures that are sums over users, for which there are intervals."""


@dataclass(frozen=True, eq=False)
class Run:
    """One system, learnt with one seed and measured in one window.

    ``seed`` is None where nothing of the system is drawn. ``estimates`` are its figures over draws of
    users, those of equal windows over equal draws.
    """

    system: str
    window: int  # 1 ..
    seed: int | None
    qualities: Sequence[Quality]
    estimates: Mapping[Key, Estimates]
    fit_s: float
    lists_s: float


class Mean(NamedTuple):
    """A figure's mean over windows and seeds, and what single seeds gave (a mean over the windows each)."""

    mean: float
    by_seed: Mapping[int | None, float]

    @property
    def deviation(self) -> float:
        """The standard deviation over the seeds; NaN of fewer than two."""
        values = list(self.by_seed.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


class Difference(NamedTuple):
    """How far a system's figure is above that of the system it is compared with (below: negative)."""

    system: str
    reference: str
    level: str
    cutoff: int
    figure: str
    difference: float
    interval: Interval


def levels(runs: Iterable[Run]) -> list[tuple[str, int]]:
    """Each level and cut-off that was measured, in order."""
    return list(dict.fromkeys((one.level, one.cutoff) for run in runs for one in run.qualities))


def systems(runs: Iterable[Run]) -> list[str]:
    """Each system that was measured, in order."""
    return list(dict.fromkeys(run.system for run in runs))


def mean_quality(runs: Iterable[Run], system: str, level: str, cutoff: int) -> Quality:
    """The mean of each figure over a system's runs; NaN where none has it."""
    found = [one for run in runs if run.system == system for one in run.qualities]
    alike = [one for one in found if (one.level, one.cutoff) == (level, cutoff)]
    names = [field.name for field in fields(Quality)][2:]
    return Quality(level, cutoff, **{name: _mean(getattr(one, name) for one in alike) for name in names})


def mean_of(runs: Iterable[Run], system: str, key: Key) -> Mean:
    """One figure of a system."""
    level, cutoff, figure = key
    by_seed: dict[int | None, list[float]] = {}
    for run in runs:
        for one in run.qualities:
            if run.system == system and (one.level, one.cutoff) == (level, cutoff):
                by_seed.setdefault(run.seed, []).append(getattr(one, figure))
    means = {seed: _mean(values) for seed, values in by_seed.items()}
    return Mean(_mean(means.values()), means)


def differences(
    runs: Sequence[Run], reference: str | None = None, cutoff: int | None = None
) -> Iterator[Difference]:
    """Each system beside the reference, or beside the best of the others in that figure where None.

    The interval is that of the difference of means over the runs, over the same draws of users. Of one
    ``cutoff`` alone where it is given.
    """
    for level, length in levels(runs):
        if cutoff in {None, length}:
            for figure in COMPARED:
                yield from _differences(runs, (level, length, figure), reference)


def _differences(runs: Sequence[Run], key: Key, reference: str | None) -> Iterator[Difference]:
    """The differences in one figure, of the systems that have it."""
    means = {name: mean_of(runs, name, key).mean for name in systems(runs)}
    known = [name for name, mean in means.items() if math.isfinite(mean)]
    estimates = {name: _estimate(runs, name, key) for name in known}
    for name in known:
        others = [other for other in known if other != name and reference in {None, other}]
        if others:
            beside = max(others, key=lambda other: means[other])
            interval = interval_of(estimates[name] - estimates[beside])
            yield Difference(name, beside, *key, means[name] - means[beside], interval)


def _estimate(runs: Iterable[Run], system: str, key: Key) -> Estimates:
    """The mean (R,) of a figure over a system's runs, draw by draw."""
    found = [run.estimates[key] for run in runs if run.system == system and key in run.estimates]
    mean: Estimates = np.mean(found, axis=0)
    return mean


def _mean(values: Iterable[float]) -> float:
    """The mean of those that are numbers; NaN of none."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
