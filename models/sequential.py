"""The networks of consumption as a system."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from models.events import EventLog
from models.histories import NewestEvents
from models.learning import Learning, Progress
from models.ranking import Scores
from models.space import Range, Space
from models.systems import Flags, Follower, Positions
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
        return _After(self, NewestEvents.of(log, first, end, self.transitions.config.history))


@dataclass(frozen=True, eq=False)
class _After:
    """The newest events of each user."""

    system: TransitionsSystem
    newest: NewestEvents

    def advance(self, positions: Positions) -> None:
        """Put each new event in front."""
        self.newest.advance(positions)

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """The vote of both networks."""
        scores = self.system.transitions.scores(self.newest.items(count), self.newest.times_ms(count))
        personal: Flags = np.any(scores > -np.inf, axis=1)
        return scores[personal], personal


def fit_transitions(learning: Learning, _: Progress) -> TransitionsSystem:
    """Draw both networks."""
    config = learning.configured(TransitionsConfig())
    return TransitionsSystem(
        Transitions.fit(learning.train, n_items=learning.vocabulary.n_items, config=config)
    )
