"""How good lists are: one definition of each figure.

``L`` lists of ``n`` places, best first, -1 where a list has ended; one target for each list.
The place of a target is 1 for the first; 0 means that the list does not hold it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.ranking import UNKNOWN_ROW, Rows, times_before

Places = NDArray[np.int64]


def places(lists: Rows, targets: NDArray[np.integer]) -> Places:
    """(L,) the place of each target in its list (L, n). A list names nothing twice."""
    same = lists == targets[:, None]
    found: Places = np.where(same.any(1), same.argmax(1) + 1, 0)
    return found


def hit_rate(found: Places) -> float:
    """The share of targets that their list holds: the paper's prediction accuracy, recall@n elsewhere."""
    return _mean((found > 0).astype(np.float64))


def mean_reciprocal_rank(found: Places) -> float:
    """MRR@n: the mean of 1 / place, 0 for a target that its list does not hold."""
    return _mean(np.where(found > 0, 1 / np.maximum(found, 1), 0.0))


def mean_ndcg(found: Places) -> float:
    """NDCG@n with one right answer: the mean of 1 / log2(1 + place), 0 where the list does not hold it."""
    return _mean(np.where(found > 0, 1 / np.log2(1 + np.maximum(found, 1)), 0.0))


class Overlap(NamedTuple):
    """What lists R and the sets T of what users really did have in common, summed over users."""

    shared: int  # sum of |R and T|
    listed: int  # sum of |R|
    wanted: int  # sum of |T|

    @property
    def precision(self) -> float:
        """Micro precision, the paper's accuracy; NaN when nothing was listed."""
        return self.shared / self.listed if self.listed else float("nan")

    @property
    def recall(self) -> float:
        """Micro recall; NaN when nothing was wanted."""
        return self.shared / self.wanted if self.wanted else float("nan")


def overlap(lists: Rows, user: NDArray[np.integer], wanted: NDArray[np.integer]) -> Overlap:
    """Compare each user's list with the distinct things that user did.

    ``lists`` is (U, n); ``user`` (E,) and ``wanted`` (E,) say which user 0 .. U - 1 did what.
    """
    listed = lists > UNKNOWN_ROW
    base = 1 + max(int(wanted.max(initial=0)), int(lists.max(initial=0)))
    holders = np.nonzero(listed)[0]
    shown = np.unique(holders * base + lists[listed])
    done = np.unique(user.astype(np.int64) * base + wanted)
    return Overlap(int(np.isin(shown, done).sum()), len(shown), len(done))


def catalogue_coverage(lists: Rows, n_candidates: int) -> float:
    """The share of the candidates that stand in at least one list."""
    return len(np.unique(lists[lists > UNKNOWN_ROW])) / n_candidates if n_candidates else float("nan")


def category_lists(lists: Rows, item_category: Rows) -> Rows:
    """(L, n) the categories of each list's items, each once where it first comes up.

    Items without a category are passed over.
    """
    categories = np.where(lists > UNKNOWN_ROW, item_category[lists], UNKNOWN_ROW)
    new = (times_before(categories) == 0) & (categories > UNKNOWN_ROW)
    order = np.argsort(~new, axis=1, kind="stable")
    moved = np.take_along_axis(np.where(new, categories, -1), order, 1)
    return moved.astype(np.int32)


def _mean(values: NDArray[np.float64]) -> float:
    """The mean; NaN of nothing."""
    return float(values.mean()) if len(values) else float("nan")
