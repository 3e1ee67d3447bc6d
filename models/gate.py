"""The gate: whether a challenger is better than the champion on events that neither has learnt from.

Both make a list before each held-back event, walked as serving walks them, and each event gives two
reciprocal ranks. Their differences are summed by user, and users are drawn with replacement: the
one-sided percentile bootstrap of a paired difference, with users as clusters (Efron and Tibshirani
1993, chapter 13; Field and Welsh 2007). A challenger passes where even the low end of the gain, at
the level of the test, is above the least that is asked for.

Axes: T targets, U users with one.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.cleaning import CleaningRule
from models.errors import TrainingError
from models.evaluation import next_event_lists
from models.fitting import clean_log
from models.gate_config import GateConfig
from models.intervals import resampled
from models.metrics import Ratio, catalogue_coverage, hits, mean_by_user, places, reciprocal_ranks
from models.recommender import Recommender
from models.recurrent import NetworkSystem
from models.splits import Split
from models.vocabulary import UNKNOWN_ROW, Vocabulary

Reason = Literal[
    "better", "not better", "too few users", "covers too little", "lists too much that is unseen", "too slow"
]


class Standing(NamedTuple):
    """What one of the two was worth on the held-back events.

    ``coverage`` is of the catalogue, ``unseen_share`` of the listed items those that nobody had before the
    held-back events, ``list_s`` the processor's seconds for a list, states advanced and all. NaN: not
    measured.
    """

    mrr: float
    hit_rate: float
    coverage: float
    unseen_share: float = math.nan
    list_s: float = math.nan


class Looked(NamedTuple):
    """Where each target stood in the list made before it (T,) (0: nowhere), and of `Standing` the rest."""

    places: NDArray[np.int64]
    coverage: float
    unseen_share: float
    list_s: float

    @property
    def standing(self) -> Standing:
        """What the lists were worth."""
        mrr, hit_rate = reciprocal_ranks(self.places).mean(), hits(self.places).mean()
        return Standing(float(mrr), float(hit_rate), *self[1:])


@dataclass(frozen=True)
class Verdict:
    """How the comparison ended, and the figures it rests on.

    ``gain`` is the challenger's MRR less the champion's and ``gain_low`` its low end at the level of
    the test, NaN where it was not measured.
    """

    reason: Reason
    champion: Standing
    challenger: Standing
    gain: float
    gain_low: float
    targets: int
    users: int

    @property
    def promoted(self) -> bool:
        """Whether the challenger takes the champion's place."""
        return self.reason == "better"

    @property
    def words(self) -> str:
        """The verdict in a line."""
        low = "" if math.isnan(self.gain_low) else f", at least {self.gain_low:+.4f}"
        return (
            f"{self.reason}: MRR {self.challenger.mrr:.4f} against {self.champion.mrr:.4f}{low}, "
            f"{self.targets:,} events of {self.users:,} users"
        )

    def as_report(self) -> dict[str, object]:
        """The figures by name, to any depth."""
        standings = {"champion": self.champion._asdict(), "challenger": self.challenger._asdict()}
        return asdict(self) | standings | {"promoted": self.promoted}

    @classmethod
    def from_report(cls, said: Mapping[str, Any]) -> Self:
        """The verdict that ``as_report`` told of, in a file where NaN is null."""
        standings = {
            role: Standing(**{name: math.nan if one is None else one for name, one in said[role].items()})
            for role in ("champion", "challenger")
        }
        low = math.nan if said["gain_low"] is None else said["gain_low"]
        known = {one.name: said[one.name] for one in fields(cls)}
        return cls(**known | standings | {"gain_low": low})


@dataclass(frozen=True, eq=False)
class HeldBack:
    """The events from ``cut_ms`` on, of users who had done something before each, and what led to them."""

    split: Split

    @classmethod
    def of(
        cls,
        frame: pl.DataFrame,
        vocabulary: Vocabulary,
        cut_ms: int,
        *,
        cleaning: CleaningRule | None = None,
        targets: int | None = None,
        seed: int = 1,
    ) -> Self:
        """Hold back what a frame has from ``cut_ms`` on; of users drawn with ``seed`` where they are many.

        A user's first event is no target: no list stood before it.
        """
        log, suspicious = clean_log(frame, vocabulary, cleaning)
        first, end = log.starts[:-1].astype(np.int64), log.starts[1:].astype(np.int64)
        before = np.concatenate(([0], np.cumsum(log.time_ms < cut_ms)))
        begin = np.maximum(first + before[end] - before[first], first + 1)
        chosen = np.flatnonzero(end > begin)
        if targets is not None:
            chosen = np.random.default_rng(seed).permutation(chosen)
            chosen = np.sort(chosen[: 1 + np.searchsorted(np.cumsum((end - begin)[chosen]), targets)])
        first, begin, end = first[chosen], begin[chosen], end[chosen]
        words = "the newest events, which nothing was learnt from"
        train = log[log.time_ms < cut_ms]
        return cls(
            Split(
                vocabulary,
                train,
                log,
                log.item,
                log.category,
                first,
                begin,
                end,
                words,
                suspicious,
                0,
                cut_ms,
            )
        )

    @property
    def user(self) -> NDArray[np.intp]:
        """(T,) which of the U users each target belongs to."""
        split = self.split
        return np.repeat(np.arange(len(split.begin)), split.end - split.begin)

    def places(self, recommender: Recommender, cutoff: int) -> Looked:
        """Make the list before each target, and look where the target stands in it."""
        began_s = time.process_time()
        lists = next_event_lists(
            NetworkSystem(recommender), self.split, cutoff, popularity=recommender.popularity
        )
        took_s = time.process_time() - began_s
        target = self.split.item[self.split.targets]
        listed = lists.rows[lists.rows > UNKNOWN_ROW]
        return Looked(
            places(lists.rows, np.where(target == UNKNOWN_ROW, -2, target)),
            catalogue_coverage(lists.rows, self.split.candidates),
            float(self.split.cold[listed].mean()) if len(listed) else math.nan,
            took_s / max(1, len(target)),
        )


def judge(champion: Recommender, challenger: Recommender, held_back: HeldBack, config: GateConfig) -> Verdict:
    """Compare two recommenders of the held-back events' vocabulary. Raises TrainingError without an event."""
    split = held_back.split
    if not split.n_targets:
        raise TrainingError("no user has done anything since that neither model has learnt from")
    old, new = (held_back.places(one, config.cutoff) for one in (champion, challenger))
    before, after = old.standing, new.standing
    gains = reciprocal_ranks(new.places) - (1 + config.least_gain) * reciprocal_ranks(old.places)
    n_users = len(split.begin)
    low = lowest_gain(mean_by_user(gains, held_back.user, n_users), config)
    return Verdict(
        _reason(before, after, low, n_users, config),
        before,
        after,
        gain=after.mrr - before.mrr,
        gain_low=low,
        targets=split.n_targets,
        users=n_users,
    )


def lowest_gain(gains: Ratio, config: GateConfig) -> float:
    """The low end of a mean gain, of sums over users: its quantile ``level`` over draws of users."""
    drawn = resampled({"gain": gains}, resamples=config.resamples, seed=config.seed)["gain"]
    return float(np.quantile(drawn, config.level)) if np.isfinite(drawn).all() else math.nan


def _reason(champion: Standing, challenger: Standing, low: float, n_users: int, config: GateConfig) -> Reason:
    """Why the challenger passes, or the first reason why it does not."""
    if n_users < config.least_users:
        return "too few users"
    if not low > 0:
        return "not better"
    if challenger.coverage < config.least_coverage * champion.coverage:
        return "covers too little"
    if challenger.unseen_share > max(config.most_unseen, champion.unseen_share):
        return "lists too much that is unseen"
    if challenger.list_s > config.most_time * champion.list_s:
        return "too slow"
    return "better"
