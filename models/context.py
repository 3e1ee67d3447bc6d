"""Label features and temporal context as a system."""

from dataclasses import dataclass
from typing import Final

from models.events import EventLog
from models.histories import NewestEvents, NewestFollower
from models.learning import Learning, Progress
from models.ranking import Scores
from models.space import Range, Space
from models.systems import Follower, Positions
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
        return NewestFollower(NewestEvents.of(log, first, end, self.context.config.history), self._scores)

    def _scores(self, newest: NewestEvents, count: int) -> Scores:
        """What is near to the user's events, each as far as it has not faded."""
        return self.context.scores(newest.items(count), newest.categories(count), newest.times_ms(count))


def fit_temporal(learning: Learning, _: Progress) -> TemporalSystem:
    """Count what is near to what."""
    config, vocabulary = learning.configured(TemporalConfig()), learning.vocabulary
    return TemporalSystem(
        TemporalContext.fit(
            learning.train, vocabulary.item_category, n_categories=vocabulary.n_categories, config=config
        )
    )
