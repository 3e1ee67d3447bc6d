"""Popularity within the category: what the shop has most asked for of the kinds a user looked at last.

The plainest system that can list an item it was never trained on, by its category, and so what hits
on new items are measured against. ``N`` item rows, ``C`` category rows, ``B`` users.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from models.events import EventLog
from models.histories import NewestEvents, NewestFollower
from models.learning import Learning, Progress
from models.ranking import UNKNOWN_ROW, Scores
from models.similarity import Matrix
from models.space import Range, Space
from models.systems import Follower, Positions


@dataclass(frozen=True)
class CategoryPopularityConfig:
    """How many of a user's last events count, and what each weighs of the one after it."""

    recent: int = 10
    decay: float = 0.5


CATEGORY_POPULARITY_SPACE: Final[Space] = {"recent": Range(1, 50, log=True), "decay": Range(0.1, 1.0)}


@dataclass(frozen=True, eq=False)
class CategoryPopularitySystem:
    """Each item's share (C, N) of its category's events; personal where a category is known."""

    share: Matrix
    config: CategoryPopularityConfig
    name: str = "category-popularity"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Begin with the newest events of each history."""
        return NewestFollower(NewestEvents.of(log, first, end, self.config.recent), self._scores)

    def _scores(self, newest: NewestEvents, count: int) -> Scores:
        """The weight of an item's category in the user's newest events, times the item's share of it."""
        category = newest.categories(count)  # (B, R)
        lines, places = np.nonzero((category != UNKNOWN_ROW) & (category < self.share.shape[0]))
        weight = sparse.csr_array(
            (self.config.decay ** places.astype(np.float64), (lines, category[lines, places])),
            shape=(count, self.share.shape[0]),
        )
        found: Matrix = weight @ self.share  # (B, N)
        scores = np.full(found.shape, -np.inf, np.float32)
        scores[np.repeat(np.arange(count), np.diff(found.indptr)), found.indices] = found.data
        return scores


def fit_category_popularity(learning: Learning, _: Progress) -> CategoryPopularitySystem:
    """Count the events of each item and category, half an event more for each item."""
    item_category = learning.vocabulary.item_category
    events = np.bincount(learning.train.item, minlength=len(item_category)) + 0.5
    of_category = np.bincount(item_category, events)
    known = np.flatnonzero(item_category != UNKNOWN_ROW)
    share = sparse.csr_array(
        (events[known] / of_category[item_category[known]], (item_category[known], known)),
        shape=(learning.vocabulary.n_categories, len(item_category)),
    )
    return CategoryPopularitySystem(share, learning.configured(CategoryPopularityConfig()))
