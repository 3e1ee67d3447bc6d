"""The item-item recommenders of `implicit` (github.com/benfred/implicit): cosine and BM25.

The library finds each item's neighbours. What it lists for a user is the sum of the neighbours of the
user's items, each as often as the user had it, which is its own `recommend`; here that sum is kept up
event by event. With ``recent`` above 0 only the last so many items speak for a user.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, ItemItemRecommender
from numpy.typing import NDArray
from scipy import sparse

from models.events import EventLog
from models.learning import Learning, Progress
from models.neighbours import last_items
from models.ranking import UNKNOWN_ROW, Rows, Scores
from models.systems import Flags, Follower, Positions


@dataclass(frozen=True)
class ImplicitConfig:
    """The library's own values, but for K, which it sets to 20; k1 and b are of BM25.

    ``recent`` is the number of a user's last items that count, 0 for all of them.
    """

    neighbours: int = 100
    recent: int = 0
    k1: float = 1.2
    b: float = 0.75


def fit_cosine(learning: Learning, _: Progress) -> "ImplicitSystem":
    """Fit cosine similarities."""
    config = learning.configured(ImplicitConfig())
    return _fit("implicit-cosine", CosineRecommender(K=config.neighbours, num_threads=1), learning, config)


def fit_bm25(learning: Learning, _: Progress) -> "ImplicitSystem":
    """Fit similarities of items weighed by BM25."""
    config = learning.configured(ImplicitConfig())
    model = BM25Recommender(K=config.neighbours, K1=config.k1, B=config.b, num_threads=1)
    return _fit("implicit-bm25", model, learning, config)


def _fit(
    name: str, model: ItemItemRecommender, learning: Learning, config: ImplicitConfig
) -> "ImplicitSystem":
    """Fit a model on how often each user had each item."""
    log = learning.train[learning.train.item != UNKNOWN_ROW]
    _, user = np.unique(log.user, return_inverse=True)
    shape = (int(user.max(initial=-1)) + 1, learning.vocabulary.n_items)
    counts = sparse.csr_matrix((np.ones(len(log)), (user, log.item)), shape=shape)  # duplicates are summed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of its own conversion of what it weighs
        model.fit(counts, show_progress=False)
    return ImplicitSystem(name, sparse.csr_array(model.similarity), config.recent)


@dataclass(frozen=True, eq=False)
class ImplicitSystem:
    """Sums of similarities (N, N) over a user's items; personal as soon as one of them has neighbours."""

    name: str
    similarity: "sparse.csr_array[np.float64, tuple[int, int]]"
    recent: int

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Begin with the sums over each history."""
        bounds = zip(first.tolist(), end.tolist(), strict=True)
        histories = [log.item[start:stop] for start, stop in bounds]
        if self.recent:
            return _Recent(self, log, last_items(histories, self.recent))
        return _Sums(self, log, histories)


class _Recent:
    """The last items (B, R) of each user, newest first."""

    def __init__(self, system: ImplicitSystem, log: EventLog, items: Rows) -> None:
        self._system, self._log, self._items = system, log, items

    def advance(self, positions: Positions) -> None:
        """Put each new item in front."""
        moved = self._items[: len(positions)]
        moved[:, 1:] = moved[:, :-1].copy()
        moved[:, 0] = self._log.item[positions]

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """Sum the neighbours of the last items."""
        items = self._items[:count]
        sums = np.zeros((count, self._system.similarity.shape[1]), np.float32)
        for place in range(items.shape[1]):
            _add(sums, self._system, items[:, place])
        return _told(sums)


class _Sums:
    """The sums (B, N) over all items of each user."""

    def __init__(self, system: ImplicitSystem, log: EventLog, histories: list[Rows]) -> None:
        self._system, self._log = system, log
        n_items = system.similarity.shape[0]
        begins = np.concatenate(([0], np.cumsum([len(history) for history in histories])))
        items = np.concatenate([*histories, np.zeros(0, np.int32)])
        had = sparse.csr_array(
            ((items != UNKNOWN_ROW).astype(np.float64), items, begins), shape=(len(histories), n_items)
        )
        self._sums: Scores = (had @ system.similarity).toarray().astype(np.float32)

    def advance(self, positions: Positions) -> None:
        """Add the neighbours of each new item."""
        _add(self._sums, self._system, self._log.item[positions])

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """The sums as they stand."""
        return _told(self._sums[:count])


def _add(sums: Scores, system: ImplicitSystem, items: NDArray[np.integer]) -> None:
    """Add to line b (of the first of them) the neighbours of item b; the unknown item has none."""
    known = np.flatnonzero(items != UNKNOWN_ROW)
    near = system.similarity[items[known]]
    lines = np.repeat(known, np.diff(near.indptr))
    sums[lines, near.indices] += near.data.astype(np.float32)


def _told(sums: Scores) -> tuple[Scores, Flags]:
    """Scores as systems give them: -inf where nothing speaks for an item."""
    personal: Flags = np.any(sums > 0, axis=1)
    return np.where(sums > 0, sums, np.float32(-np.inf))[personal], personal
