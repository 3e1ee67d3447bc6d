"""Item CF as a system: the paper's equations 1 and 2, asked for each user's last items."""

from dataclasses import dataclass
from typing import Final

from models.events import EventLog
from models.histories import NewestEvents, NewestFollower
from models.learning import Learning, Progress
from models.neighbours import DECAY, NEIGHBOURS, RECENT, ItemNeighbours
from models.ranking import Scores
from models.space import Range, Space
from models.systems import Follower, Positions


@dataclass(frozen=True, eq=False)
class ItemSystem:
    """Item CF from the last items of each user; personal as soon as one of them has neighbours."""

    neighbours: ItemNeighbours
    recent: int = RECENT
    decay: float = DECAY
    name: str = "item-cf"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Begin with the last items of each history."""
        return NewestFollower(NewestEvents.of(log, first, end, self.recent), self._scores)

    def _scores(self, newest: NewestEvents, count: int) -> Scores:
        """Equation 1, summed over the last items."""
        return self.neighbours.scores_of_recent(newest.items(count), decay=self.decay)


@dataclass(frozen=True)
class ItemCfConfig:
    """K of equation 2, m of equation 4 (None: no limit), and how the last items of a user are weighed."""

    neighbours: int = NEIGHBOURS
    window_ms: int | None = None
    recent: int = RECENT
    decay: float = DECAY


ITEM_CF_SPACE: Final[Space] = {
    "neighbours": Range(20, 1000, log=True),
    "recent": Range(1, 50, log=True),
    "decay": Range(0.1, 1.0),
}


WINDOWED_ITEM_CF_SPACE: Final[Space] = {**ITEM_CF_SPACE, "window_ms": Range(60_000, 86_400_000, log=True)}

# Chosen among 1, 3, 10, 30, 60 and 1,440 minutes on the newest tenth of the training events.
# R@20/MRR@20 without a window and with this one: Taobao .045/.012 and .118/.042, Online Retail
# .350/.083 and .359/.083, rsc15_100k .654/.353 and .662/.354.
WINDOW_MS = 3 * 60_000


def fit_item_cf(learning: Learning, _: Progress) -> ItemSystem:
    """Count the neighbours of every item."""
    return _fit(learning, ItemCfConfig(), "item-cf")


def fit_windowed_item_cf(learning: Learning, _: Progress) -> ItemSystem:
    """Count only the neighbours within the window of equation 4, three minutes to each side."""
    return _fit(learning, ItemCfConfig(window_ms=WINDOW_MS), "item-cf-windowed")


def _fit(learning: Learning, default: ItemCfConfig, name: str) -> ItemSystem:
    """Count the neighbours of every item."""
    config = learning.configured(default)
    neighbours = ItemNeighbours.fit(
        learning.train,
        n_items=learning.vocabulary.n_items,
        k=config.neighbours,
        window_ms=config.window_ms,
    )
    return ItemSystem(neighbours, config.recent, config.decay, name)
