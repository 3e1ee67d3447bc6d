"""What can be compared: ways to make lists, each following many users through their events.

A system follows ``B`` users at once. All of them read one event log (E,), and what a system knows
of a user is what lies before the position it was told to go to: nothing of the future reaches it.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.events import EventLog
from models.neighbours import DECAY, RECENT, ItemNeighbours, last_items
from models.ranking import UNKNOWN_ROW, Rows, Scores
from models.recommender import Recommender
from models.segment import SegmentRule, windows

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


@dataclass(frozen=True, eq=False)
class ItemSystem:
    """Item CF from the last items of each user; personal as soon as one of them has neighbours."""

    neighbours: ItemNeighbours
    recent: int = RECENT
    decay: float = DECAY
    name: str = "item-cf"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Begin with the last items of each history."""
        bounds = zip(first.tolist(), end.tolist(), strict=True)
        items = last_items([log.item[start:stop] for start, stop in bounds], self.recent)
        return _LastItems(self, log, items)


@dataclass(eq=False)
class _LastItems:
    """The last items (B, R) of each user, newest first."""

    system: ItemSystem
    log: EventLog
    items: Rows

    def advance(self, positions: Positions) -> None:
        """Put each new item in front."""
        moved = self.items[: len(positions)]
        moved[:, 1:] = moved[:, :-1].copy()
        moved[:, 0] = self.log.item[positions]

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """Equation 1, summed over the last items."""
        scores = self.system.neighbours.scores_of_recent(self.items[:count], decay=self.system.decay)
        personal: Flags = np.any(scores > -np.inf, axis=1)
        return scores[personal], personal


@dataclass(frozen=True, eq=False)
class NetworkSystem:
    """A recurrent network as it is served: states advanced event by event, segments cut by the same rule."""

    recommender: Recommender
    name: str = "gru"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Replay the segment each user stands in."""
        begins, new = _segments(log, self.recommender.rule)
        follower = _States(self.recommender, log, begins, new, len(first))
        follower.start(first, end)
        return follower


class _States:
    """The hidden states (B, S), and whether the segment holds anything the network knows."""

    def __init__(
        self, recommender: Recommender, log: EventLog, begins: Positions, new: Flags, n_users: int
    ) -> None:
        self._recommender, self._log, self._begins, self._new = recommender, log, begins, new
        self._states = recommender.initial(n_users)
        self._known = np.zeros(n_users, np.bool_)
        means_something = (log.item != UNKNOWN_ROW) | (log.category != UNKNOWN_ROW)
        self._known_before = np.concatenate(([0], np.cumsum(means_something)))  # (E + 1,)

    def start(self, first: Positions, end: Positions) -> None:
        """Bring every user who has a history to its end."""
        users = np.flatnonzero(end > first)
        self._replay(users, end[users] - 1)

    def advance(self, positions: Positions) -> None:
        """One step each, or the replay of the segment that the event began."""
        users = np.arange(len(positions))
        new = self._new[positions]
        self._replay(users[new], positions[new])
        users, positions = users[~new], positions[~new]
        if not len(users):
            return
        log = self._log
        # An event that began no segment has its predecessor in its own.
        gap_ms = log.time_ms[positions] - log.time_ms[positions - 1]
        self._states[users] = self._recommender.advance(
            self._states[users],
            log.item[positions],
            log.category[positions],
            log.behavior[positions],
            gap_ms,
            log.time_ms[positions],
        )
        self._note_known(users, positions)

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """The network's scores, for those whose segment holds a known item or category."""
        personal = self._known[:count]
        return self._recommender.scores(self._states[:count][personal]), personal

    def _replay(self, users: NDArray[np.intp], last: Positions) -> None:
        """Set the states to those of the segments that end with the events at ``last``."""
        log, begins = self._log, self._begins[last]
        parts = [slice(begin, end + 1) for begin, end in zip(begins.tolist(), last.tolist(), strict=True)]
        self._states[users] = self._recommender.replay(
            [(log.item[part], log.category[part], log.behavior[part], log.time_ms[part]) for part in parts]
        )
        self._note_known(users, last)

    def _note_known(self, users: NDArray[np.intp], last: Positions) -> None:
        """Look whether the segments that end with ``last`` hold a known item or category."""
        self._known[users] = self._known_before[last + 1] > self._known_before[self._begins[last]]


def _segments(log: EventLog, rule: SegmentRule) -> tuple[Positions, Flags]:
    """For each event (E,): where the segment begins that it ends, and whether it began that segment."""
    begins = np.empty(len(log), np.int64)
    new = np.zeros(len(log), np.bool_)
    starts = log.starts.tolist()
    for start, end in pairwise(starts):
        for position, window in enumerate(windows(log.time_ms[start:end].tolist(), rule), start):
            begins[position] = start + window.start
            new[position] = start + window.cut == position
    return begins, new
