"""The networks of consumption as a system."""

from dataclasses import dataclass
from typing import Final

from models.events import EventLog
from models.histories import NewestEvents, NewestFollower
from models.learning import Learning, Progress
from models.ranking import Scores
from models.space import Range, Space
from models.systems import Follower, Positions
from models.transitions import Transitions, TransitionsConfig

TRANSITIONS_SPACE: Final[Space] = {
    "steps": Range(1, 20),
    "leaders": Range(10, 1000, log=True),
    "decay": Range(0.1, 1.0),
    "item_share": Range(0.0, 1.0),
}


@dataclass(frozen=True, eq=False)
class TransitionsSystem:
    """What comes after a user's items, and after the users before; personal as soon as something does."""

    transitions: Transitions
    name: str = "transitions"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Begin with the newest events of each history."""
        return NewestFollower(NewestEvents.of(log, first, end, self.transitions.config.history), self._scores)

    def _scores(self, newest: NewestEvents, count: int) -> Scores:
        """The vote of both networks."""
        return self.transitions.scores(newest.items(count), newest.times_ms(count))


def fit_transitions(learning: Learning, _: Progress) -> TransitionsSystem:
    """Draw both networks."""
    config = learning.configured(TransitionsConfig())
    return TransitionsSystem(
        Transitions.fit(learning.train, n_items=learning.vocabulary.n_items, config=config)
    )
