"""Next-event evaluation: walk the test events in order, look at the list made before each, then learn of it.

The walk is serving's: states advanced event by event, segments cut by the same rule, lists by the
same `top_n`. Many users are walked side by side, which changes no list. A user of whom a system
knows nothing gets the popular list; that list counts towards every figure but user coverage.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from models.metrics import (
    Overlap,
    catalogue_coverage,
    category_lists,
    hit_rate,
    mean_ndcg,
    mean_reciprocal_rank,
    overlap,
    places,
)
from models.ranking import NO_ROW, UNKNOWN_ROW, Rows, Scores, top_n
from models.splits import Split
from models.systems import System

ITEM = "item"
CATEGORY = "category"

TIE_RULE = "equal scores: the item that came first in the training events"

_SCORES_AT_ONCE = 1 << 25  # users side by side times candidates: 128 MiB of scores


@dataclass(frozen=True)
class Quality:
    """The figures of one system at one level and one cut-off; NaN where nothing was there to be measured.

    The first four are those of the paper's Table 1, as the project reads them: prediction accuracy
    is the hit rate of next events; accuracy and recall compare the list made before a user's first
    target with the distinct items of all the user's targets (micro averages); user coverage is the
    share of users whose list then was personal. ``mrr`` and ``ndcg`` are of next events, like
    prediction accuracy; catalogue coverage is the share of candidates listed at least once.
    """

    level: str
    cutoff: int
    prediction_accuracy: float
    accuracy: float
    recall: float
    user_coverage: float
    mrr: float
    ndcg: float
    catalogue_coverage: float

    def as_report(self) -> dict[str, str | int | float]:
        """The figures by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Lists:
    """The list made before each target, in the order of the split's users and their targets.

    ``rows`` is (T, n); ``personal`` (T,) says which were made for the user alone.
    """

    rows: Rows
    personal: NDArray[np.bool_]


Progress = Callable[[int], None]


def next_event_lists(
    system: System,
    split: Split,
    n: int,
    *,
    popularity: Scores,
    progress: Progress | None = None,
) -> Lists:
    """Make the list of ``n`` that stood before each target.

    ``popularity`` (N,) makes the list of users of whom the system knows nothing. ``progress`` is
    told of targets done.
    """
    lists = Lists(np.full((split.n_targets, n), NO_ROW, np.int32), np.zeros(split.n_targets, np.bool_))
    popular, _ = top_n(popularity[None, :], n)
    target = np.cumsum(split.end - split.begin) - (split.end - split.begin)  # (U,) where each user's lists go
    for users in _side_by_side(split):
        follower = system.follow(split.log, split.first[users], split.begin[users])
        lengths = split.end[users] - split.begin[users]  # descending
        for step in range(int(lengths[0])):
            walking = users[: np.searchsorted(-lengths, -step, side="left")]
            scores, personal = follower.scores(len(walking))
            into = target[walking] + step
            lists.rows[into] = popular
            lists.rows[into[personal]] = top_n(scores, n)[0]
            lists.personal[into] = personal
            follower.advance(split.begin[walking] + step)
            if progress is not None:
                progress(len(walking))
    return lists


def qualities(lists: Lists, split: Split, cutoffs: Sequence[int]) -> list[Quality]:
    """The figures at each cut-off, for items and, where items have categories, for categories."""
    where = _targets(split)
    user = np.repeat(np.arange(len(split.begin)), split.end - split.begin)
    first = np.flatnonzero(np.diff(user, prepend=-1))
    vocabulary = split.vocabulary
    found = []
    for cutoff in cutoffs:
        rows = lists.rows[:, :cutoff]
        common = overlap(rows[first], user, split.item[where])
        at_items = _next_event_figures(rows, split.item[where], split.candidates)
        found.append(_quality(ITEM, cutoff, common, at_items, lists.personal[first]))
        if vocabulary.item_category.any():
            seen = category_lists(rows, vocabulary.item_category)
            category = split.category[where]
            named = category > UNKNOWN_ROW
            common = overlap(seen[first], user[named], category[named])
            at_categories = _next_event_figures(seen, category, vocabulary.n_categories - 1)
            found.append(_quality(CATEGORY, cutoff, common, at_categories, lists.personal[first]))
    return found


def _next_event_figures(rows: Rows, wanted: Rows, candidates: int) -> tuple[float, float, float, float]:
    """Hit rate, MRR and NDCG of the next events, and catalogue coverage."""
    found = places(rows, wanted)
    return (
        hit_rate(found),
        mean_reciprocal_rank(found),
        mean_ndcg(found),
        catalogue_coverage(rows, candidates),
    )


def _quality(
    level: str,
    cutoff: int,
    common: Overlap,
    next_event: tuple[float, float, float, float],
    personal: NDArray[np.bool_],
) -> Quality:
    """Put the figures of one level together."""
    hits, mrr, ndcg, covered = next_event
    coverage = float(personal.mean()) if len(personal) else math.nan
    return Quality(level, cutoff, hits, common.precision, common.recall, coverage, mrr, ndcg, covered)


def _side_by_side(split: Split) -> Iterator[NDArray[np.intp]]:
    """The users in groups that are walked together, those with most targets first."""
    order = np.argsort(split.begin - split.end, kind="stable")
    size = max(1, _SCORES_AT_ONCE // (split.candidates + 1))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _targets(split: Split) -> NDArray[np.int64]:
    """(T,) the positions of the targets in the log, in the order of `Lists`."""
    lengths = split.end - split.begin
    shift: NDArray[np.int64] = split.begin - (np.cumsum(lengths) - lengths)
    return np.arange(split.n_targets) + np.repeat(shift, lengths)
