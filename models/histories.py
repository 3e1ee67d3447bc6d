"""The newest events of many users, as far as followers that need no more than those keep them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.events import EventLog
from models.ranking import UNKNOWN_ROW, Rows, Scores
from models.systems import Flags, Positions

NOWHERE = -1

Number = TypeVar("Number", bound=np.integer)


@dataclass(eq=False)
class NewestEvents:
    """The positions (B, R) in a log of each user's last R events, newest first, -1 where there are fewer."""

    log: EventLog
    positions: Positions

    @classmethod
    def of(cls, log: EventLog, first: Positions, end: Positions, depth: int) -> Self:
        """The last ``depth`` of the events ``first[b] .. end[b] - 1`` of each user."""
        positions = end[:, None] - 1 - np.arange(depth)
        return cls(log, np.where(positions >= first[:, None], positions, NOWHERE))

    def advance(self, positions: Positions) -> None:
        """Put one more event in front for each of the first ``len(positions)`` users."""
        moved = self.positions[: len(positions)]
        moved[:, 1:] = moved[:, :-1].copy()
        moved[:, 0] = positions

    def items(self, count: int) -> Rows:
        """(count, R) the items of the first users' events, 0 where there is no event."""
        return self._of(self.log.item, count, UNKNOWN_ROW)

    def categories(self, count: int) -> Rows:
        """(count, R) the categories of the first users' events, 0 where there is no event."""
        return self._of(self.log.category, count, UNKNOWN_ROW)

    def times_ms(self, count: int) -> Positions:
        """(count, R) the times of the first users' events, 0 where there is no event."""
        return self._of(self.log.time_ms, count, 0)

    def _of(self, column: NDArray[Number], count: int, missing: int) -> NDArray[Number]:
        """(count, R) what a column of the log holds of the first users' events."""
        positions = self.positions[:count]
        return np.where(positions == NOWHERE, column.dtype.type(missing), column[positions])


@dataclass(frozen=True, eq=False)
class NewestFollower:
    """Users of whom a system knows their newest events and no more.

    ``score`` gives the scores (b, N) of the first b of them, -inf where nothing speaks for an item; a
    list is personal as soon as something speaks for one.
    """

    newest: NewestEvents
    score: Callable[[NewestEvents, int], Scores]

    def advance(self, positions: Positions) -> None:
        """Put each new event in front."""
        self.newest.advance(positions)

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """The scores of those of whom anything is known."""
        scores = self.score(self.newest, count)
        personal: Flags = np.any(scores > -np.inf, axis=1)
        return scores[personal], personal
