"""Session kNN as a system."""

from dataclasses import dataclass
from typing import Final

from models.events import EventLog
from models.histories import NewestEvents, NewestFollower
from models.learning import Learning, Progress
from models.ranking import Scores
from models.session_neighbours import SessionKnnConfig, SessionNeighbours
from models.space import Range, Space
from models.systems import Follower, Positions

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
        return NewestFollower(NewestEvents.of(log, first, end, self.config.recent), self._scores)

    def _scores(self, newest: NewestEvents, count: int) -> Scores:
        """The votes of the nearest sessions."""
        return self.neighbours.scores(newest.items(count), self.config)


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
