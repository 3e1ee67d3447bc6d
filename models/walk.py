"""Users led through an event log as serving leads them, many side by side.

Axes: B users, S state, E events. What is known of a user is what lies before the position the walk
was told to go to: nothing of the future reaches it.
"""

from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from models.events import EventLog
from models.memory import Memories
from models.ranking import UNKNOWN_ROW
from models.recommender import Recommender
from models.segment import SegmentRule, windows

Positions = NDArray[np.int64]
Flags = NDArray[np.bool_]
Users = NDArray[np.intp]


class Cuts(NamedTuple):
    """For each event (E,): where the segment begins that it ends, and whether it began that segment."""

    begins: Positions
    new: Flags

    @classmethod
    def of(cls, log: EventLog, rule: SegmentRule) -> Self:
        """Every user's events cut as serving cuts them."""
        begins = np.empty(len(log), np.int64)
        new = np.zeros(len(log), np.bool_)
        for start, end in pairwise(log.starts.tolist()):
            for position, window in enumerate(windows(log.time_ms[start:end].tolist(), rule), start):
                begins[position] = start + window.start
                new[position] = start + window.cut == position
        return cls(begins, new)


class Walk:
    """The hidden states (B, S) of users, their memories, and whether their segments hold anything known.

    Memories are kept where the recommender's scores need them, or when told to ``remember``.
    """

    def __init__(
        self, recommender: Recommender, log: EventLog, n_users: int, *, remember: bool = False
    ) -> None:
        """Begin with users who have done nothing."""
        self._recommender, self._log = recommender, log
        self._begins, self._new = Cuts.of(log, recommender.rule)
        self.states = recommender.initial(n_users)
        self.known = np.zeros(n_users, np.bool_)
        wanted = remember or recommender.blend is not None
        self.memories = Memories.empty(n_users) if wanted else None
        means_something = (log.item != UNKNOWN_ROW) | (log.category != UNKNOWN_ROW)
        self._known_before = np.concatenate(([0], np.cumsum(means_something)))  # (E + 1,)

    def start(self, first: Positions, end: Positions) -> None:
        """Bring every user who has done the events ``first[b] .. end[b] - 1`` to their end."""
        users = np.flatnonzero(end > first)
        last = end[users] - 1
        self._replay(users, last)
        if self.memories is not None:
            item = self._log.item
            self.memories.put(
                users,
                [item[begin : stop + 1].tolist() for begin, stop in zip(first[users], last, strict=True)],
                self._segments(last),
                self._log.category[last],
            )

    def advance(self, positions: Positions) -> None:
        """One step each for the first users, or the replay of the segment that the event began."""
        users = np.arange(len(positions))
        new = self._new[positions]
        if self.memories is not None:
            self.memories.take(users, self._log.item[positions], self._log.category[positions])
            self.memories.restart(users[new], self._segments(positions[new]))
        self._replay(users[new], positions[new])
        self._step(users[~new], positions[~new])

    def _step(self, users: Users, positions: Positions) -> None:
        """Take in events that go on with their segments."""
        if not len(users):
            return
        log = self._log
        # An event that began no segment has its predecessor in its own.
        gap_ms = log.time_ms[positions] - log.time_ms[positions - 1]
        self.states[users] = self._recommender.advance(
            self.states[users],
            log.item[positions],
            log.category[positions],
            log.behavior[positions],
            gap_ms,
            log.time_ms[positions],
        )
        self._note_known(users, positions)

    def _replay(self, users: Users, last: Positions) -> None:
        """Set the states to those of the segments that end with the events at ``last``."""
        log, begins = self._log, self._begins[last]
        parts = [slice(begin, end + 1) for begin, end in zip(begins.tolist(), last.tolist(), strict=True)]
        self.states[users] = self._recommender.replay(
            [(log.item[part], log.category[part], log.behavior[part], log.time_ms[part]) for part in parts]
        )
        self._note_known(users, last)

    def _segments(self, last: Positions) -> list[list[int]]:
        """The items of the segments that end with the events at ``last``."""
        begins = self._begins[last].tolist()
        return [
            self._log.item[begin : end + 1].tolist() for begin, end in zip(begins, last.tolist(), strict=True)
        ]

    def _note_known(self, users: Users, last: Positions) -> None:
        """Look whether the segments that end with ``last`` hold a known item or category."""
        self.known[users] = self._known_before[last + 1] > self._known_before[self._begins[last]]
