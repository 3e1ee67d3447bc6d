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

_KINDS = 1 + len(Behavior)  # labels of a category: itself, and each operation in it


@dataclass(frozen=True)
class TemporalConfig:
    """``closeness_s``, ``fading_s`` and ``label_share``, its s, are those of the formula.

    Chosen on the newest tenth of the training events: on rsc15_100k a closeness of one minute and one
    hour gave .647/.324 and .621/.306 in R@20/MRR@20; on Taobao label shares of .1, .2 and .4 gave
    .088/.032, .086/.032 and .079/.032 at item level. Without the labels of unknown items a share of .2
    gave .094 there, but at category level .412 beside .508.

    Two events of a user count when they are at most ``steps`` apart; each item keeps ``neighbours``;
    a user is known by the ``history`` newest events.
    """

    closeness_s: float = 60.0
    fading_s: float = 60.0
    label_share: float = 0.1
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
    def fit(cls, log: EventLog, item_category: Rows, *, n_categories: int, config: TemporalConfig) -> Self:
        """Count; ``item_category`` (N,) names rows below ``n_categories``. Unknown items do not count."""
        known = log[log.item != UNKNOWN_ROW]
        return cls(
            _near(known, len(item_category), config),
            label_vectors(known, item_category, n_categories),
            config,
        )

    def scores(self, items: Rows, categories: Rows, times_ms: Times) -> Scores:
        """(B, N) the formula's scores; -inf where nothing speaks for an item.

        ``items``, ``categories`` and ``times_ms`` (B, R) are a user's newest events, newest first,
        item and category 0 for none. An item never learnt of has the label of its category alone.
        """
        share = self.config.label_share
        faded = 1 / (1 + (times_ms[:, :1] - times_ms) / (1000 * self.config.fading_s))  # (B, R)
        preferred = _weighted(items, faded, self.labels.shape[0])
        strangers = np.where(items == UNKNOWN_ROW, categories.astype(np.int64) * _KINDS, 0)
        liked = preferred @ self.labels + _weighted(strangers, faded, self.labels.shape[1])  # (B, L)
        total = sparse.csr_array((1 - share) * (preferred @ self.near) + share * (liked @ self._labelled))
        total.eliminate_zeros()
        scores = np.full(total.shape, -np.inf, np.float32)
        scores[np.repeat(np.arange(total.shape[0]), np.diff(total.indptr)), total.indices] = total.data
        return scores

    @cached_property
    def _labelled(self) -> Matrix:
        """(L, N) the items of each label."""
        turned: Matrix = self.labels.T.tocsr()
        return turned


def _weighted(columns: NDArray[np.integer], weights: NDArray[np.float64], width: int) -> Matrix:
    """(B, width) the sum of the weights (B, R) at each of the columns (B, R), column 0 left out."""
    lines, places = np.nonzero(columns)
    entries = (lines, columns[lines, places])
    return sparse.csr_array((weights[lines, places], entries), shape=(len(columns), width))


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


def label_vectors(log: EventLog, item_category: Rows, n_categories: int) -> Matrix:
    """(N, L) unit vectors by TF-IDF: a label for each category, and for each operation in it.

    An item has its category's label once, and that of an operation log(1 + n) times when n events did
    it. What many items have says little of each: a label counts log(N / n) when n of N items have it.
    Items without a category have no label; nor does a label tell anything that all items have.
    """
    n_items = len(item_category)
    category = item_category.astype(np.int64)
    labelled = np.flatnonzero(category != UNKNOWN_ROW)
    operated = log[category[log.item] != UNKNOWN_ROW]
    rows = np.concatenate((labelled, operated.item.astype(np.int64)))
    labels: NDArray[np.int64] = np.concatenate(
        (category[labelled] * _KINDS, category[operated.item] * _KINDS + 1 + operated.behavior)
    )
    n_labels = n_categories * _KINDS
    counts: Matrix = sparse.csr_array((np.ones(len(rows)), (rows, labels)), shape=(n_items, n_labels))
    is_operation = counts.indices % _KINDS != 0
    counts.data = np.where(is_operation, np.log1p(counts.data), 1.0)
    having = np.bincount(counts.indices, minlength=n_labels)
    counts.data *= np.log(max(n_items - 1, 1) / np.maximum(having, 1))[counts.indices]
    counts.eliminate_zeros()
    lengths = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1), np.float64))
    counts.data /= np.repeat(lengths, np.diff(counts.indptr))
    return counts
