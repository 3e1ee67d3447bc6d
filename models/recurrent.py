"""RNN, LSTM and GRU as systems: walked as they are served, one step for each event."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.events import EventLog
from models.learning import Learning, Progress
from models.networks import CellName, NetworkConfig
from models.ranking import UNKNOWN_ROW, Scores
from models.recommender import Recommender
from models.segment import SegmentRule, windows
from models.space import Choice, Range, Space
from models.systems import Flags, Follower, Positions
from models.training import TrainingConfig, train


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


RECURRENT_SPACE: Final[Space] = {
    "units": Range(32, 256, log=True),
    "learning_rate": Range(0.001, 0.03, log=True),
    "batch_targets": Choice((128, 256, 512, 1024)),
    "loss": Choice(("full", "sampled", "bpr_max")),
    "negative_power": Range(0.0, 1.0),
}


def fit_rnn(learning: Learning, progress: Progress) -> NetworkSystem:
    """Train a plain recurrent network."""
    return _fit("rnn", learning, progress)


def fit_lstm(learning: Learning, progress: Progress) -> NetworkSystem:
    """Train an LSTM."""
    return _fit("lstm", learning, progress)


def fit_gru(learning: Learning, progress: Progress) -> NetworkSystem:
    """Train a GRU."""
    return _fit("gru", learning, progress)


def _fit(cell: CellName, learning: Learning, progress: Progress) -> NetworkSystem:
    """Train the network of one cell."""
    trained = train(
        learning.train,
        learning.vocabulary,
        rule=learning.rule,
        network=learning.configured(NetworkConfig(cell=cell)),
        training=learning.configured(TrainingConfig()),
        progress=progress,
    )
    recommender = Recommender(
        cell, trained.network, learning.vocabulary, learning.rule, learning.popularity, 0
    )
    return NetworkSystem(recommender, cell)
