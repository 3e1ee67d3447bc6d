"""What a system is, a way to make lists that follows many users through their events; and the plainest one.

A system follows ``B`` users at once. All of them read one event log (E,), and what a system knows
of a user is what lies before the position it was told to go to: nothing of the future reaches it.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from models.events import EventLog
from models.features import HOUR_MS
from models.learning import Learning, Progress
from models.popularity import fallback, popularity, recent_popularity
from models.ranking import Scores
from models.space import Range, Space

Positions = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Follower(Protocol):
    """What a system knows of B users; the first of them can be moved on without the others."""

    def advance(self, positions: Positions) -> None:
        """Take the event at ``positions[b]`` in for each of the first ``len(positions)`` users."""

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """Score the catalogue for the first ``count`` users.

        Gives (p, N) scores, a line for each user whose list is personal, and (count,) who they are.
        The others get the popular list.
        """


class System(Protocol):
    """A way to make lists."""

    @property
    def name(self) -> str:
        """What tables and reports call it."""

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Follow B users who have done the events ``first[b] .. end[b] - 1`` of the log; none if equal."""


@dataclass(frozen=True, eq=False)
class PopularitySystem:
    """One list for everyone, which makes it nobody's own.

    ``everyone`` (N,) scores that list; it stands where other systems have the popular list.
    """

    everyone: Scores
    name: str = "popularity"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """There is nothing to know of a user."""
        return _NobodyKnown(len(self.everyone))


@dataclass(frozen=True)
class _NobodyKnown:
    """Users of whom nothing is known."""

    n_items: int

    def advance(self, positions: Positions) -> None:
        """An event changes nothing."""

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """No list is personal."""
        return np.zeros((0, self.n_items), np.float32), np.zeros(count, np.bool_)


def impersonal(system: System, popularity: Scores) -> Scores:
    """(N,) what makes the list of a user of whom ``system`` knows nothing: ``popularity``, or its own."""
    return system.everyone if isinstance(system, PopularitySystem) else popularity


def fit_popularity(learning: Learning, _: Progress) -> PopularitySystem:
    """Count users."""
    return PopularitySystem(popularity(learning.train, learning.vocabulary.n_items))


@dataclass(frozen=True)
class RecentPopularityConfig:
    """``half_life_h`` is in hours; None: the one that foretells the newest tenth of the events best."""

    half_life_h: float | None = None


RECENT_POPULARITY_SPACE: Final[Space] = {"half_life_h": Range(1, 720, log=True)}


def fit_recent_popularity(learning: Learning, _: Progress) -> PopularitySystem:
    """Count users, the less the longer ago; up to the end of the training events, not following the test.

    No other system learns from one user's events what it shows another, so neither does this one.
    """
    config = learning.configured(RecentPopularityConfig())
    log, n_items = learning.train, learning.vocabulary.n_items
    if config.half_life_h is None:
        scores = fallback(log, n_items)
    else:
        scores = recent_popularity(log, n_items, half_life_ms=round(config.half_life_h * HOUR_MS))
    return PopularitySystem(scores, "recent-popularity")
