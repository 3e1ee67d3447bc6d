"""Next-event evaluation: walk the test events in order, look at the list made before each, then learn of it.

The walk is serving's: states advanced event by event, segments cut by the same rule, lists by the
same `top_n`. Many users are walked side by side, which changes no list. A user of whom a system
knows nothing gets the popular list; that list counts towards every figure but user coverage.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.ranking import NO_ROW, Rows, Scores, top_n
from models.splits import Split
from models.systems import Follower, Positions, System, impersonal

TIE_RULE = "equal scores: the item that came first in the training events"

_SCORES_AT_ONCE = 1 << 25  # users side by side times candidates: 128 MiB of scores


Ranked = tuple[Rows, NDArray[np.bool_]]  # (B, n) each: the rows, and whether the next one has the same score


@dataclass(frozen=True, eq=False)
class Lists:
    """The list made before each target, in the order of the split's users and their targets.

    ``rows`` is (T, n); ``personal`` (T,) says which were made for the user alone. ``tied`` (T, n) says
    after which places the next item had the same score, so that a list cut there owes an item to the
    rule for ties.
    """

    rows: Rows
    personal: NDArray[np.bool_]
    tied: NDArray[np.bool_]

    @classmethod
    def empty(cls, count: int, n: int) -> Self:
        """So many lists without an item."""
        return cls(
            np.full((count, n), NO_ROW, np.int32), np.zeros(count, np.bool_), np.zeros((count, n), np.bool_)
        )

    def put(self, into: NDArray[np.intp] | Positions, follower: Follower, popular: Ranked) -> None:
        """Set the lists ``into`` (b,) to those of the follower's first b users."""
        n = self.rows.shape[1]
        scores, personal = follower.scores(len(into))
        self.rows[into], self.tied[into] = popular
        own = into[personal]
        self.rows[own], self.tied[own] = ranked(scores, n)
        self.personal[into] = personal


def ranked(scores: Scores, n: int) -> Ranked:
    """The lists of serving, and after which of their places a tie was cut."""
    rows, best = top_n(scores, n + 1)
    return rows[:, :n], (best[:, :-1] == best[:, 1:]) & (rows[:, 1:] != NO_ROW)


Progress = Callable[[int], None]


def next_event_lists(
    system: System,
    split: Split,
    n: int,
    *,
    popularity: Scores,
    progress: Progress | None = None,
) -> Lists:
    """Make the list of ``n`` that stood before each target.

    ``popularity`` (N,) makes the list of users of whom the system knows nothing. ``progress`` is
    told of targets done.
    """
    lists = Lists.empty(split.n_targets, n)
    popular = ranked(impersonal(system, popularity)[None, :], n)
    target = np.cumsum(split.end - split.begin) - (split.end - split.begin)  # (U,) where each user's lists go
    for users in _side_by_side(split):
        follower = system.follow(split.log, split.first[users], split.begin[users])
        lengths = split.end[users] - split.begin[users]  # descending
        for step in range(int(lengths[0])):
            walking = users[: np.searchsorted(-lengths, -step, side="left")]
            lists.put(target[walking] + step, follower, popular)
            follower.advance(split.begin[walking] + step)
            if progress is not None:
                progress(len(walking))
    return lists


def lists_at_cut(system: System, split: Split, n: int, *, popularity: Scores) -> tuple[Positions, Lists]:
    """The list of ``n`` that each user with a history stands before at the cut, and which users they are.

    The users (U,) are counted as in the split's log, those without a target included.
    """
    begin, cut = split.log.starts[:-1].astype(np.int64), split.at_cut
    users = np.flatnonzero(cut > begin)
    lists = Lists.empty(len(users), n)
    popular = ranked(impersonal(system, popularity)[None, :], n)
    size = _at_once(split)
    for start in range(0, len(users), size):
        part = users[start : start + size]
        follower = system.follow(split.log, begin[part], cut[part])
        lists.put(np.arange(start, start + len(part)), follower, popular)
    return users, lists


def _side_by_side(split: Split) -> Iterator[NDArray[np.intp]]:
    """The users in groups that are walked together, those with most targets first."""
    order = np.argsort(split.begin - split.end, kind="stable")
    size = _at_once(split)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _at_once(split: Split) -> int:
    """How many users are scored at a time."""
    return max(1, _SCORES_AT_ONCE // (split.candidates + 1))
