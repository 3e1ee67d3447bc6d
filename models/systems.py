"""What a system is, a way to make lists that follows many users through their events; and the plainest one.

A system follows ``B`` users at once. All of them read one event log (E,), and what a system knows
of a user is what lies before the position it was told to go to: nothing of the future reaches it.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.events import EventLog
from models.learning import Learning, Progress
from models.ranking import Scores

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
    """The same popular list for everyone, which makes it nobody's own."""

    n_items: int
    name: str = "popularity"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """There is nothing to know of a user."""
        return _NobodyKnown(self.n_items)


@dataclass(frozen=True)
class _NobodyKnown:
    """Users of whom nothing is known."""

    n_items: int

    def advance(self, positions: Positions) -> None:
        """An event changes nothing."""

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """No list is personal."""
        return np.zeros((0, self.n_items), np.float32), np.zeros(count, np.bool_)


def fit_popularity(learning: Learning, _: Progress) -> PopularitySystem:
    """Take the popular list, which is there already."""
    return PopularitySystem(learning.vocabulary.n_items)
