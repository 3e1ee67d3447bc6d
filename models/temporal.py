"""Label features and temporal context: the comparator of Dou.

Dou Lingyuan, a collaborative filtering algorithm that integrates label features and temporal context,
as the paper's section 1 tells of it: labels say how items relate and are embedded into a method of
neighbours, which helps where events are few; and a preference fades with time. So here

    score(u, j) = sum over i of g(t - t_ui) ((1 - s) c_ij + s l_ij)          fading of what u had
    c_ij = sum over u of f(t_ui - t_uj) / sqrt(|N(i)| |N(j)|)                alike, the more so the closer
    l_ij = cosine of the label vectors of i and j
    f(d) = 1 / (1 + |d| / closeness), g(d) = 1 / (1 + d / fading)

with t the time of the user's newest event. Labels that shoppers write are not in our data; an item's
labels are its category, and which operations were done to it in that category (the paper's "operation
labels"), weighed by TF-IDF. Where items have no category nothing but time is left. Left out are
ratings, whose context it was, and the similarity of users by labels.

``N`` item rows, ``L`` labels, ``B`` users asked for, ``R`` events of each.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.behavior import Behavior
from models.events import EventLog
from models.neighbours import keep_best
from models.ranking import UNKNOWN_ROW, Rows, Scores
from models.similarity import Matrix, had_by

Times = NDArray[np.int64]


@dataclass(frozen=True)
class TemporalConfig:
    """``closeness_s``, ``fading_s`` and ``label_share``, its s, are those of the formula.

    Chosen on the newest tenth of the training events: on rsc15_100k a closeness of one minute and one
    hour gave .647/.324 and .621/.306 in R@20/MRR@20, on Taobao label shares of 0 and .3 gave .096/.032
    and .097/.034; the other settings moved less.

    Two events of a user count when they are at most ``steps`` apart; each item keeps ``neighbours``;
    a user is known by the ``history`` newest events.
    """

    closeness_s: float = 60.0
    fading_s: float = 60.0
    label_share: float = 0.2
    steps: int = 20
    neighbours: int = 200
    history: int = 30


@dataclass(frozen=True, eq=False)
class TemporalContext:
    """How alike items are in time, ``near`` (N, N), and the unit vectors of their ``labels`` (N, L)."""

    near: Matrix
    labels: Matrix
    config: TemporalConfig

    @classmethod
    def fit(cls, log: EventLog, item_category: Rows, *, config: TemporalConfig) -> Self:
        """Count; ``item_category`` is (N,). Unknown items count for nothing."""
        known = log[log.item != UNKNOWN_ROW]
        return cls(_near(known, len(item_category), config), label_vectors(known, item_category), config)

    def scores(self, items: Rows, times_ms: Times) -> Scores:
        """(B, N) the formula's scores; -inf where nothing speaks for an item.

        ``items`` and ``times_ms`` (B, R) are a user's newest events, newest first, item 0 for none.
        """
        share = self.config.label_share
        preferred = self._preferences(items, times_ms)
        total = sparse.csr_array(
            (1 - share) * (preferred @ self.near) + share * ((preferred @ self.labels) @ self._labelled)
        )
        total.eliminate_zeros()
        scores = np.full(total.shape, -np.inf, np.float32)
        scores[np.repeat(np.arange(total.shape[0]), np.diff(total.indptr)), total.indices] = total.data
        return scores

    def _preferences(self, items: Rows, times_ms: Times) -> Matrix:
        """(B, N) g of the time since each event, up to the newest."""
        lines, places = np.nonzero(items > UNKNOWN_ROW)
        passed_ms = times_ms[lines, 0] - times_ms[lines, places]
        faded = 1 / (1 + passed_ms / (1000 * self.config.fading_s))
        return sparse.csr_array(
            (faded, (lines, items[lines, places])), shape=(len(items), self.labels.shape[0])
        )

    @cached_property
    def _labelled(self) -> Matrix:
        """(L, N) the items of each label."""
        turned: Matrix = self.labels.T.tocsr()
        return turned


def _near(log: EventLog, n_items: int, config: TemporalConfig) -> Matrix:
    """(N, N) c of the formula, of each item the most alike ones."""
    total: Matrix = sparse.csr_array((n_items, n_items))
    for step in range(1, config.steps + 1):
        same = log.user[:-step] == log.user[step:]
        apart_ms = (log.time_ms[step:] - log.time_ms[:-step])[same]
        close = 1 / (1 + apart_ms / (1000 * config.closeness_s))
        pairs = (log.item[:-step][same], log.item[step:][same])
        total = total + sparse.csr_array((close, pairs), shape=total.shape)
    both: Matrix = sparse.csr_array(total + total.T)
    users = np.asarray(had_by(log, n_items).sum(axis=0), np.float64)
    scale = 1 / np.sqrt(np.maximum(users, 1))
    both.data *= np.repeat(scale, np.diff(both.indptr)) * scale[both.indices]
    counts, rows, weights = keep_best(both, config.neighbours)
    begins = np.concatenate(([0], np.cumsum(counts)))
    return sparse.csr_array((weights.astype(np.float64), rows, begins), shape=both.shape)


def label_vectors(log: EventLog, item_category: Rows) -> Matrix:
    """(N, L) unit vectors by TF-IDF: a label for each category, and for each operation in it.

    An item has its category's label once, and that of an operation log(1 + n) times when n events did
    it. What many items have says little of each: a label counts log(N / n) when n of N items have it.
    Items without a category have no label; nor does a label tell anything that all items have.
    """
    n_items = len(item_category)
    category = item_category.astype(np.int64)
    labelled = np.flatnonzero(category != UNKNOWN_ROW)
    kinds = 1 + len(Behavior)
    operated = log[category[log.item] != UNKNOWN_ROW]
    rows = np.concatenate((labelled, operated.item.astype(np.int64)))
    labels: NDArray[np.int64] = np.concatenate(
        (category[labelled] * kinds, category[operated.item] * kinds + 1 + operated.behavior)
    )
    n_labels = (int(category.max(initial=0)) + 1) * kinds
    counts: Matrix = sparse.csr_array((np.ones(len(rows)), (rows, labels)), shape=(n_items, n_labels))
    is_operation = counts.indices % kinds != 0
    counts.data = np.where(is_operation, np.log1p(counts.data), 1.0)
    having = np.bincount(counts.indices, minlength=n_labels)
    counts.data *= np.log(max(n_items - 1, 1) / np.maximum(having, 1))[counts.indices]
    counts.eliminate_zeros()
    lengths = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1), np.float64))
    counts.data /= np.repeat(lengths, np.diff(counts.indptr))
    return counts
