"""Who consumes after whom, and what is consumed after what: the comparator of Sun et al.

Sun Guangfu, Wu Le, Liu Qi, Zhu Chen, Chen Enhong, "Recommendations based on collaborative filtering
by exploiting sequential behaviors", Journal of Software 24(11), 2013; named in the paper's section 1.
They draw two networks from the order of consumption. In the one of items an arrow goes from an item
to what the same users had after it; in the one of users an arrow goes to a user from those who had
the same items before. What precedes an item or a user most often is its neighbour.

Here both networks vote: an item scores by what it usually follows, and by how many of the users
whom this one comes after had it. Left out is their probabilistic matrix factorisation, in which a
user's or an item's factors are drawn towards those of the neighbours: it foretells ratings, of which
there are none, and its factors of a user take a fit, where users here are met as they come.

``N`` item rows, ``U`` users learnt from, ``B`` users asked for, ``R`` events of each.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.events import EventLog
from models.neighbours import keep_best
from models.ranking import UNKNOWN_ROW, Rows, Scores
from models.similarity import Matrix, blocks, had_by

Times = NDArray[np.int64]

_BLOCK_PAIRS = 1 << 22  # events and what may follow them, counted at a time


@dataclass(frozen=True)
class TransitionsConfig:
    """How the networks are drawn, and how they vote.

    An item is followed by the ``steps`` events after it, each counting one over its distance;
    ``successors`` are kept. The ``leaders`` strongest of a user's predecessors vote, found through
    the newest ``item_users`` users of an item. ``history`` newest events speak for a user, each
    weighing ``decay`` of the one after it. ``item_share`` is the weight of the network of items, which
    was chosen on the newest tenth of three training sets: the network of users adds to it on clicks of
    one visit (rsc15_100k .643/.334 to .672/.347 in R@20/MRR@20) and takes from it on repeat purchases
    (Online Retail .367/.172 to .325/.095).
    """

    steps: int = 10
    successors: int = 200
    leaders: int = 200
    item_users: int = 1000
    history: int = 20
    decay: float = 0.5
    item_share: float = 0.8


@dataclass(frozen=True, eq=False)
class Transitions:
    """Both networks.

    ``follows`` (N, N) holds how often the column's item comes after the row's, of all that comes
    after it. ``had`` (U, N) is 1 where a user had an item, ``begun`` (N, U) when the user first had it.
    """

    follows: Matrix
    had: Matrix
    begun: Matrix
    config: TransitionsConfig

    @classmethod
    def fit(cls, log: EventLog, *, n_items: int, config: TransitionsConfig) -> Self:
        """Draw both networks; unknown items are no part of them."""
        known = log[log.item != UNKNOWN_ROW]
        return cls(
            successors(known, n_items, config.steps, config.successors),
            had_by(known, n_items),
            _begun(known, n_items, config.item_users),
            config,
        )

    def scores(self, items: Rows, times_ms: Times) -> Scores:
        """(B, N) the vote of both networks; -inf where neither knows anything.

        ``items`` and ``times_ms`` (B, R) are a user's newest events, newest first, item 0 for none.
        """
        share = self.config.item_share
        votes: Matrix = share * self._by_items(items) + (1 - share) * self._by_users(items, times_ms)
        votes = sparse.csr_array(votes)
        scores = np.full(votes.shape, -np.inf, np.float32)
        scores[np.repeat(np.arange(votes.shape[0]), np.diff(votes.indptr)), votes.indices] = votes.data
        return scores

    def leaders(self, items: Rows, times_ms: Times) -> Matrix:
        """(B, U) how much each user comes after those who were learnt from.

        That is the items those had before, by weight, over the root of both users' numbers of
        items. Of each user the strongest ``leaders`` only; an item counts at its newest event.
        """
        lines, rows, weights, times = self._newest_of_each(items, times_ms)
        line, user, before = _entries(self.begun, lines, rows, times)
        sizes = np.maximum(np.diff(self.had.indptr), 1)
        own = np.maximum(np.bincount(lines, minlength=len(items)), 1)
        weight = weights[before] / np.sqrt(sizes[user] * own[line])
        shape = (len(items), self.had.shape[0])
        counts, users, found = keep_best(
            sparse.csr_array((weight, (line, user)), shape=shape), self.config.leaders
        )
        begins = np.concatenate(([0], np.cumsum(counts)))
        return sparse.csr_array((found.astype(np.float64), users, begins), shape=shape)

    def _by_items(self, items: Rows) -> Matrix:
        """(B, N) what usually follows the newest items, the weights of the items summing to 1."""
        lines, places = np.nonzero(items > UNKNOWN_ROW)
        weights = self.config.decay ** places.astype(np.float64)
        total = np.bincount(lines, weights, minlength=len(items))
        shape = (len(items), self.follows.shape[0])
        newest = sparse.csr_array((weights / total[lines], (lines, items[lines, places])), shape=shape)
        voted: Matrix = newest @ self.follows
        return voted

    def _by_users(self, items: Rows, times_ms: Times) -> Matrix:
        """(B, N) the share of a user's predecessors, by their weight, that had each item."""
        leaders = self.leaders(items, times_ms)
        total = np.asarray(leaders.sum(axis=1), np.float64)
        leaders.data /= np.repeat(total, np.diff(leaders.indptr))
        voted: Matrix = leaders @ self.had
        return voted

    def _newest_of_each(
        self, items: Rows, times_ms: Times
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], Times]:
        """Line, item, weight and time of each item of a user's events (B, R), at its newest place."""
        lines, places = np.nonzero(items > UNKNOWN_ROW)
        n_items = np.int64(self.follows.shape[0])
        keys, newest = np.unique(lines * n_items + items[lines, places], return_index=True)
        weights = self.config.decay ** places[newest].astype(np.float64)
        lines, rows = np.divmod(keys, n_items)
        return lines, rows, weights, times_ms[lines, places[newest]]


def successors(log: EventLog, n_items: int, steps: int, most: int) -> Matrix:
    """(N, N) the network of items: each row's most frequent successors, as shares of all of them.

    Counted for one block of rows after another, since all that ever followed is far more than is kept.
    """
    by_item = np.argsort(log.item, kind="stable")
    ends = np.cumsum(np.bincount(log.item, minlength=n_items))  # (N,) events up to and with each item
    kept = []
    for first, last in blocks(steps * ends, _BLOCK_PAIRS):
        begin = ends[first - 1] if first else 0
        following = _following(log, by_item[begin : ends[last - 1]], first, (last - first, n_items), steps)
        out = np.asarray(following.sum(axis=1), np.float64)
        following.data /= np.repeat(out, np.diff(following.indptr))
        kept.append(keep_best(following, most))
    counts, rows, shares = (np.concatenate(column) for column in zip(*kept, strict=True))
    begins = np.concatenate(([0], np.cumsum(counts)))
    return sparse.csr_array((shares.astype(np.float64), rows, begins), shape=(n_items, n_items))


def _following(
    log: EventLog, events: NDArray[np.intp], first: int, shape: tuple[int, int], steps: int
) -> Matrix:
    """(b, N) what follows the items from ``first`` on, whose events stand at ``events``, and how often."""
    total: Matrix = sparse.csr_array(shape)
    for step in range(1, steps + 1):
        before = events[events < len(log) - step]
        before = before[log.user[before] == log.user[before + step]]
        lines, items = log.item[before] - first, log.item[before + step]
        weights = np.full(len(before), 1 / step)
        total = total + sparse.csr_array((weights, (lines, items)), shape=shape)
    return total


def _begun(log: EventLog, n_items: int, item_users: int) -> Matrix:
    """(N, U) when each user first had each item, in milliseconds; of an item its newest users only."""
    _, user = np.unique(log.user, return_inverse=True)
    order = np.lexsort((log.time_ms, user, log.item))
    item, user, time_ms = log.item[order], user[order], log.time_ms[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (item[1:] != item[:-1]) | (user[1:] != user[:-1])
    item, user, time_ms = item[first], user[first], time_ms[first]
    order = np.lexsort((time_ms, item))
    item, user, time_ms = item[order], user[order], time_ms[order]
    ends = np.searchsorted(item, item, side="right")
    newest = ends - np.arange(len(item)) <= item_users
    shape = (n_items, int(user.max()) + 1 if len(user) else 0)
    return sparse.csr_array((time_ms[newest].astype(np.float64), (item[newest], user[newest])), shape=shape)


def _entries(
    begun: Matrix, lines: NDArray[np.int64], rows: NDArray[np.int64], times_ms: Times
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Line, user and place in ``rows`` of each user who had the item at that place before its time."""
    counts = np.diff(begun.indptr)[rows]
    which = np.repeat(np.arange(len(rows)), counts)
    entries = (
        np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + begun.indptr[rows][which]
    )
    before = begun.data[entries] < times_ms[which]
    which, entries = which[before], entries[before]
    return lines[which], begun.indices[entries].astype(np.int64), which
