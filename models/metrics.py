"""How good lists are: one definition of each figure.

``L`` lists of ``n`` places, best first, -1 where a list has ended; one target for each list.
The place of a target is 1 for the first; 0 means that the list does not hold it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.ranking import UNKNOWN_ROW, Rows, times_before

Places = NDArray[np.int64]
Gains = NDArray[np.float64]


def places(lists: Rows, targets: NDArray[np.integer]) -> Places:
    """(L,) the place of each target in its list (L, n). A list names nothing twice."""
    same = lists == targets[:, None]
    found: Places = np.where(same.any(1), same.argmax(1) + 1, 0)
    return found


def hits(found: Places) -> Gains:
    """(L,) 1 for a target that its list holds; the mean is the paper's prediction accuracy, HR@n elsewhere.

    With one right answer to each list that is also its recall@n.
    """
    return (found > 0).astype(np.float64)


def reciprocal_ranks(found: Places) -> Gains:
    """(L,) 1 / place, 0 for a target that its list does not hold; the mean is MRR@n."""
    return np.where(found > 0, 1 / np.maximum(found, 1), 0.0)


def discounted_gains(found: Places) -> Gains:
    """(L,) 1 / log2(1 + place), 0 where the list does not hold it; the mean is NDCG@n (one right answer)."""
    return np.where(found > 0, 1 / np.log2(1 + np.maximum(found, 1)), 0.0)


class Ratio(NamedTuple):
    """A figure as two sums over users, so that it can be had again for any choice of users; (U,) each."""

    above: Gains
    below: Gains

    @property
    def value(self) -> float:
        """The sum above over the sum below; NaN where nothing was there to be measured."""
        below = float(self.below.sum())
        return float(self.above.sum()) / below if below else float("nan")


def mean_by_user(gains: Gains, user: NDArray[np.integer], n_users: int) -> Ratio:
    """The mean of what each target gained; ``user`` (L,) says whose target it was."""
    sides = (gains, np.ones_like(gains))
    return Ratio(*(np.bincount(user, side, minlength=n_users).astype(np.float64) for side in sides))


class Overlap(NamedTuple):
    """What the list R and the set T of what a user really did have in common; (U,) each."""

    shared: Gains  # |R and T|
    listed: Gains  # |R|
    wanted: Gains  # |T|

    @property
    def precision(self) -> Ratio:
        """Micro precision, the paper's accuracy."""
        return Ratio(self.shared, self.listed)

    @property
    def recall(self) -> Ratio:
        """Micro recall."""
        return Ratio(self.shared, self.wanted)


def overlap(lists: Rows, user: NDArray[np.integer], wanted: NDArray[np.integer]) -> Overlap:
    """Compare each user's list with the distinct things that user did.

    ``lists`` is (U, n); ``user`` (E,) and ``wanted`` (E,) say which user 0 .. U - 1 did what.
    """
    listed = lists > UNKNOWN_ROW
    base = 1 + max(int(wanted.max(initial=0)), int(lists.max(initial=0)))
    holders = np.nonzero(listed)[0]
    shown = np.unique(holders * base + lists[listed])
    done = np.unique(user.astype(np.int64) * base + wanted)
    parts = (shown[np.isin(shown, done)], shown, done)
    return Overlap(*(np.bincount(part // base, minlength=len(lists)).astype(np.float64) for part in parts))


def f1(precision: float, recall: float) -> float:
    """The harmonic mean of both; 0 where both are, NaN where one is."""
    return 2 * precision * recall / (precision + recall) if precision + recall else precision + recall


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
