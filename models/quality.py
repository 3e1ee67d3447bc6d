"""What lists were worth: every figure of one system at one level and one cut-off.

The first four are those of the paper's Table 1, as the project reads them: prediction accuracy is the
hit rate of next events; accuracy and recall compare the list made before a user's first target with
the distinct items of all the user's targets (micro averages); user coverage is the share of users
whose list then was personal.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from models.evaluation import Lists
from models.metrics import (
    Overlap,
    Ratio,
    catalogue_coverage,
    category_lists,
    discounted_gains,
    f1,
    hits,
    mean_by_user,
    overlap,
    places,
    reciprocal_ranks,
)
from models.ranking import UNKNOWN_ROW, Rows
from models.splits import Split

ITEM: Final = "item"
CATEGORY: Final = "category"
COLD: Final = "cold item"
"""Next events alone whose item no training event names; measured where such items are candidates."""


@dataclass(frozen=True)
class Quality:
    """The figures; NaN where nothing was there to be measured, or where one means nothing at this level.

    ``mrr`` and ``ndcg`` are of next events, like prediction accuracy. ``catalogue_coverage`` is the share of
    candidates listed at least once, ``cold_share`` the share of listed items that no training event
    names, ``tied_cutoffs`` the number of lists whose last item had the score of the next one. The
    figures of the next day compare the lists at the cut of all users with a history with the pairs
    of user and item that were bought in the 24 hours after it, as the Tianchi competition did.
    """

    level: str
    cutoff: int
    prediction_accuracy: float = math.nan
    accuracy: float = math.nan
    recall: float = math.nan
    user_coverage: float = math.nan
    mrr: float = math.nan
    ndcg: float = math.nan
    catalogue_coverage: float = math.nan
    cold_share: float = math.nan
    tied_cutoffs: float = math.nan
    next_day_precision: float = math.nan
    next_day_recall: float = math.nan
    next_day_f1: float = math.nan

    def as_report(self) -> dict[str, str | int | float]:
        """The figures by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Scored:
    """A quality, and those of its figures that are sums over users, by their names."""

    quality: Quality
    ratios: Mapping[str, Ratio]

    def told_also(self, figures: Mapping[str, float]) -> Self:
        """The same with some more figures in its quality."""
        return replace(self, quality=replace(self.quality, **dict[str, Any](figures)))


def scored(lists: Lists, split: Split, cutoffs: Sequence[int]) -> list[Scored]:
    """The figures at each cut-off: for items, for those that are new, for categories if there are any."""
    return [one for cutoff in cutoffs for one in _scored(lists, split, cutoff)]


def qualities(lists: Lists, split: Split, cutoffs: Sequence[int]) -> list[Quality]:
    """The figures of `scored` alone."""
    return [one.quality for one in scored(lists, split, cutoffs)]


def next_day_figures(users: NDArray[np.int64], lists: Lists, split: Split, cutoff: int) -> dict[str, float]:
    """Precision, recall and F1 of the pairs (user, item) bought within a day after the cut.

    ``lists`` are those of ``users`` (U,), as `models.evaluation.lists_at_cut` gives them.
    """
    bought = split.bought_next_day
    buyer = np.repeat(np.arange(len(split.log.starts) - 1), np.diff(split.log.starts))[bought]
    rows = np.full((len(split.log.starts) - 1, cutoff), -1, np.int32)
    rows[users] = lists.rows[:, :cutoff]
    common = overlap(rows, buyer, split.item[bought])
    precision, recall = common.precision.value, common.recall.value
    return {
        "next_day_precision": precision,
        "next_day_recall": recall,
        "next_day_f1": f1(precision, recall),
    }


def _scored(lists: Lists, split: Split, cutoff: int) -> Iterator[Scored]:
    """The levels at one cut-off."""
    where = split.targets
    user = np.repeat(np.arange(len(split.begin)), split.end - split.begin)
    first = np.flatnonzero(np.diff(user, prepend=-1))
    personal = lists.personal[first].astype(np.float64)
    rows, item = lists.rows[:, :cutoff], split.item[where]

    common = overlap(rows[first], user, item)
    ratios = _next_events(rows, item, user, len(first)) | _at_the_cut(common, personal)
    yield _put_together(
        ITEM,
        cutoff,
        ratios,
        catalogue_coverage=catalogue_coverage(rows, split.candidates),
        cold_share=_share(split.cold[rows[rows > UNKNOWN_ROW]]),
        tied_cutoffs=float(lists.tied[:, cutoff - 1].sum()),
    )

    cold = split.is_cold(item)
    if cold.any() and split.cold[1:].any():  # else no list could hold one
        yield _put_together(COLD, cutoff, _next_events(rows[cold], item[cold], user[cold], len(first)))

    vocabulary = split.vocabulary
    if vocabulary.item_category.any():
        seen, category = category_lists(rows, vocabulary.item_category), split.category[where]
        named = category > UNKNOWN_ROW
        common = overlap(seen[first], user[named], category[named])
        ratios = _next_events(seen, category, user, len(first)) | _at_the_cut(common, personal)
        covered = catalogue_coverage(seen, vocabulary.n_categories - 1)
        yield _put_together(CATEGORY, cutoff, ratios, catalogue_coverage=covered)


def _next_events(rows: Rows, wanted: Rows, user: NDArray[np.integer], n_users: int) -> dict[str, Ratio]:
    """Hit rate, MRR and NDCG of the next events."""
    found = places(rows, wanted)
    gains = {
        "prediction_accuracy": hits(found),
        "mrr": reciprocal_ranks(found),
        "ndcg": discounted_gains(found),
    }
    return {name: mean_by_user(gained, user, n_users) for name, gained in gains.items()}


def _at_the_cut(common: Overlap, personal: NDArray[np.float64]) -> dict[str, Ratio]:
    """Accuracy, recall and user coverage of the lists before the first targets."""
    return {
        "accuracy": common.precision,
        "recall": common.recall,
        "user_coverage": Ratio(personal, np.ones_like(personal)),
    }


def _put_together(level: str, cutoff: int, ratios: Mapping[str, Ratio], **others: Any) -> Scored:
    """One level at one cut-off."""
    values = {name: ratio.value for name, ratio in ratios.items()}
    return Scored(Quality(level, cutoff, **values, **others), ratios)


def _share(which: NDArray[np.bool_]) -> float:
    """How many are; NaN of nothing."""
    return float(which.mean()) if len(which) else math.nan
