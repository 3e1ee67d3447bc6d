"""Label features and temporal context as a system."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from models.events import EventLog
from models.histories import NewestEvents
from models.learning import Learning, Progress
from models.ranking import Scores
from models.space import Range, Space
from models.systems import Flags, Follower, Positions
from models.temporal import TemporalConfig, TemporalContext

TEMPORAL_SPACE: Final[Space] = {
    "closeness_s": Range(10.0, 86_400.0, log=True),
    "fading_s": Range(10.0, 86_400.0, log=True),
    "label_share": Range(0.0, 1.0),
    "steps": Range(1, 50, log=True),
}


@dataclass(frozen=True, eq=False)
class TemporalSystem:
    """What is near to a user's items in time and by labels; personal as soon as something is."""

    context: TemporalContext
    name: str = "temporal"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Begin with the newest events of each history."""
        return _Faded(self, NewestEvents.of(log, first, end, self.context.config.history))


@dataclass(frozen=True, eq=False)
class _Faded:
    """The newest events of each user."""

    system: TemporalSystem
    newest: NewestEvents

    def advance(self, positions: Positions) -> None:
        """Put each new event in front."""
        self.newest.advance(positions)

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """What is near to the user's events, each as far as it has not faded."""
        newest = self.newest
        scores = self.system.context.scores(
            newest.items(count), newest.categories(count), newest.times_ms(count)
        )
        personal: Flags = np.any(scores > -np.inf, axis=1)
        return scores[personal], personal


def fit_temporal(learning: Learning, _: Progress) -> TemporalSystem:
    """Count what is near to what."""
    config, vocabulary = learning.configured(TemporalConfig()), learning.vocabulary
    return TemporalSystem(
        TemporalContext.fit(
            learning.train, vocabulary.item_category, n_categories=vocabulary.n_categories, config=config
        )
    )
