"""Session kNN: the sessions most like the one a user is in, and what else they held.

VMIS-kNN (Kersbergen, Sprangers, Schelter, "Serenade - Low-Latency Session-Based Recommendation in
e-Commerce at Scale", SIGMOD 2022), a faster VS-kNN (Ludewig, Jannach, "Evaluation of session-based
recommendation algorithms", 2018). With the session s asked about, its items at places p = 0, 1, ...
from the newest on:

    H = of each item of s the newest m sessions that held it
    r(s, n) = sum over the items that s and n share of decay^p     the k highest are kept: K
    score(j) = sum over n in K of reach^q r(s, n) log(|S| / |S_j|)     where n held j

with q the place in s of the newest item that n shares, S all sessions and S_j those that held j. A
session here is what the project cuts as a segment: users of most shops come back.

Departures: the paper takes m sessions over all of the items together, in one walk with an early stop;
here they are m of each item, which is one product of sparse matrices for many users. And the weight of
a place falls off geometrically, not along a line that ends after ten items. What a user had in an
earlier session speaks as well, as far as it is among the last items.

Axes: B users, R places, S sessions, N items.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.events import EventLog
from models.neighbours import keep_best
from models.ranking import UNKNOWN_ROW, Rows, Scores
from models.segment import SegmentRule
from models.sequences import Segments, cut
from models.similarity import Matrix
from models.user_neighbours import item_vectors

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SessionKnnConfig:
    """``item_sessions`` is m, ``nearest`` k; ``recent`` places of a session speak for it, with ``decay``.

    ``reach`` is the weight of a neighbour for each place between the newest item and the newest shared.

    Chosen on the newest tenth of the training sessions of rsc15_100k, R@20/MRR@20 .666/.353; with 100
    neighbours .662/.350 (reach .8), with a decay of .8 .669/.345, with both and a reach of .8 .659/.340.
    2,000 sessions of each item and as many neighbours change nothing (.667/.353).
    """

    item_sessions: int = 500
    nearest: int = 500
    recent: int = 10
    decay: float = 0.5
    reach: float = 0.5


@dataclass(frozen=True, eq=False)
class SessionNeighbours:
    """The sessions learnt from.

    ``held`` (S, N) is 1 where a session held an item, ``index`` (N, S) the same for the newest sessions of
    each item alone. ``rarity`` (N,) is the logarithm of |S| / |S_j|.
    """

    held: Matrix
    index: Matrix
    rarity: Vector

    @classmethod
    def fit(cls, log: EventLog, *, n_items: int, rule: SegmentRule, item_sessions: int) -> Self:
        """Cut the log into sessions and index them by their items; unknown items are no part of them."""
        segments = cut(log, rule)
        segments = segments[np.argsort(log.time_ms[segments.end - 1], kind="stable")]  # the newest last
        held = _held(log, segments, n_items)
        index: Matrix = held.T.tocsr()
        index.sort_indices()
        place = np.arange(index.nnz) - np.repeat(index.indptr[1:], np.diff(index.indptr))
        index.data[place < -item_sessions] = 0
        index.eliminate_zeros()
        having = np.asarray(held.sum(axis=0), np.float64)
        return cls(held, index, np.log(max(len(segments), 1) / np.maximum(having, 1)))

    def nearest(self, items: Rows, config: SessionKnnConfig) -> Matrix:
        """(B, S) how much each of the k most similar sessions counts: reach^q r(s, n).

        ``items`` (B, R) are rows of the items a user had, newest first, 0 where there are fewer.
        """
        items, n_items = items[:, : config.recent], self.held.shape[1]
        alike: Matrix = item_vectors(items, n_items, decay=config.decay) @ self.index
        # Powers of two of different places add up to a number whose exponent is that of the newest.
        shared: Matrix = item_vectors(items, n_items, decay=0.5) @ self.index
        alike.sort_indices()
        shared.sort_indices()
        newest = -np.floor(np.log2(shared.data))
        counts, sessions, kept = keep_best(alike, config.nearest)
        begins = np.concatenate(([0], np.cumsum(counts)))
        faded = sparse.csr_array((config.reach**newest, alike.indices, alike.indptr), shape=alike.shape)
        best: Matrix = sparse.csr_array((kept.astype(np.float64), sessions, begins), shape=alike.shape)
        counted: Matrix = best.multiply(faded).tocsr()
        return counted

    def votes(self, items: Rows, config: SessionKnnConfig) -> Matrix:
        """(B, N) the score of each item that one of the nearest sessions held."""
        votes: Matrix = self.nearest(items, config) @ self.held
        votes.data *= self.rarity[votes.indices]
        return votes

    def scores(self, items: Rows, config: SessionKnnConfig) -> Scores:
        """(B, N) the same, -inf where no session speaks for an item."""
        votes = self.votes(items, config)
        scores = np.full(votes.shape, -np.inf, np.float32)
        scores[np.repeat(np.arange(votes.shape[0]), np.diff(votes.indptr)), votes.indices] = votes.data
        return scores


def _held(log: EventLog, segments: Segments, n_items: int) -> Matrix:
    """(S, N) 1 where the session, all events of its segment, held the item."""
    lengths = segments.end - segments.start
    session = np.repeat(np.arange(len(segments)), lengths)
    place = np.arange(len(session)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    item = log.item[segments.start[session] + place]
    known = item != UNKNOWN_ROW
    shape = (len(segments), n_items)
    held: Matrix = sparse.csr_array((np.ones(int(known.sum())), (session[known], item[known])), shape=shape)
    held.data[:] = 1.0  # once, however often
    return held
