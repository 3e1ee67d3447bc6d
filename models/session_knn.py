"""Session kNN as a system."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from models.events import EventLog
from models.histories import NewestEvents
from models.learning import Learning, Progress
from models.ranking import Scores
from models.session_neighbours import SessionKnnConfig, SessionNeighbours
from models.space import Range, Space
from models.systems import Flags, Follower, Positions

SESSION_KNN_SPACE: Final[Space] = {
    "item_sessions": Range(100, 5000, log=True),
    "nearest": Range(20, 2000, log=True),
    "recent": Range(1, 50, log=True),
    "decay": Range(0.1, 1.0),
    "reach": Range(0.1, 1.0),
}


@dataclass(frozen=True, eq=False)
class SessionKnnSystem:
    """What the sessions most like the user's held; personal as soon as one shares an item."""

    neighbours: SessionNeighbours
    config: SessionKnnConfig
    name: str = "session-knn"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Begin with the newest events of each history."""
        return _InSession(self, NewestEvents.of(log, first, end, self.config.recent))


@dataclass(frozen=True, eq=False)
class _InSession:
    """The newest events of each user."""

    system: SessionKnnSystem
    newest: NewestEvents

    def advance(self, positions: Positions) -> None:
        """Put each new event in front."""
        self.newest.advance(positions)

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """The votes of the nearest sessions."""
        scores = self.system.neighbours.scores(self.newest.items(count), self.system.config)
        personal: Flags = np.any(scores > -np.inf, axis=1)
        return scores[personal], personal


def fit_session_knn(learning: Learning, _: Progress) -> SessionKnnSystem:
    """Index the sessions by their items."""
    config = learning.configured(SessionKnnConfig())
    neighbours = SessionNeighbours.fit(
        learning.train,
        n_items=learning.vocabulary.n_items,
        rule=learning.rule,
        item_sessions=config.item_sessions,
    )
    return SessionKnnSystem(neighbours, config)
