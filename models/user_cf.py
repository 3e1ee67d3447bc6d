"""User CF as a system: the users most like the one who is followed, by what that one had so far."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from models.events import EventLog
from models.histories import NewestEvents, NewestFollower
from models.learning import Learning, Progress
from models.ranking import Scores
from models.space import Choice, Range, Space
from models.systems import Follower, Positions
from models.user_neighbours import DECAY, ITEM_USERS, NEAREST, SimilarityName, UserNeighbours


@dataclass(frozen=True)
class UserCfConfig:
    """How many nearest users predict, from how many newest events of the user, and a bound on candidates."""

    nearest: int = NEAREST
    history: int = 50
    decay: float = DECAY
    item_users: int = ITEM_USERS


USER_CF_SPACE: Final[Space] = {
    "nearest": Range(10, 1000, log=True),
    "history": Range(1, 200, log=True),
    "item_users": Choice((200, 1000, 5000)),
}


@dataclass(frozen=True, eq=False)
class UserSystem:
    """User CF; personal as soon as another user had one of the items."""

    neighbours: UserNeighbours
    similar: SimilarityName
    config: UserCfConfig

    @property
    def name(self) -> str:
        """Named for its similarity."""
        return f"user-cf-{self.similar}"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Begin with the last items of each history."""
        return NewestFollower(NewestEvents.of(log, first, end, self.config.history), self._scores)

    def _scores(self, newest: NewestEvents, count: int) -> Scores:
        """What the nearest users had."""
        config = self.config
        return self.neighbours.scores(
            newest.items(count), similar=self.similar, k=config.nearest, decay=config.decay
        )


def fit_user_cf(learning: Learning, _: Progress, *, similar: SimilarityName) -> UserSystem:
    """Index the users by their items."""
    config = learning.configured(UserCfConfig())
    neighbours = UserNeighbours.fit(
        learning.train, n_items=learning.vocabulary.n_items, item_users=config.item_users
    )
    return UserSystem(neighbours, similar, config)


fit_user_cf_cosine = partial(fit_user_cf, similar="cosine")
fit_user_cf_pearson = partial(fit_user_cf, similar="pearson")
fit_user_cf_adjusted = partial(fit_user_cf, similar="adjusted-cosine")
