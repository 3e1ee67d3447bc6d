"""User-based collaborative filtering: the paper's section 4, with its three similarities of users.

``N`` item rows, ``U`` users learnt from, ``B`` users asked for. A user is the vector over the items
whose numbers are 1 where the user had the item and 0 elsewhere: events are no ratings, and what a
user never touched is all there is to tell a dislike by. So means are taken over all items or all
users, not over what two users both rated, where each rating would be the same 1.
"""

from dataclasses import dataclass
from typing import Final, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.events import EventLog
from models.neighbours import keep_best
from models.ranking import UNKNOWN_ROW, Rows, Scores
from models.similarity import Matrix, had_by

Vector = NDArray[np.float64]
Lines = NDArray[np.integer]
SimilarityName = Literal["cosine", "pearson", "adjusted-cosine"]

SIMILARITIES: Final[tuple[SimilarityName, ...]] = get_args(SimilarityName)
NEAREST = 200
DECAY = 0.5
ITEM_USERS = 1000


@dataclass(frozen=True, eq=False)
class Profiles:
    """V users' vectors (V, N), row 0 of the items empty, and the sums (V,) that the similarities need."""

    vectors: Matrix
    squares: Vector  # the square of each vector's length
    sums: Vector
    with_mean: Vector  # the product with the items' means
    mean_square: float  # the product of the items' means with themselves

    @classmethod
    def of(cls, vectors: Matrix, item_mean: Vector) -> Self:
        """The profiles of these vectors; ``item_mean`` (N,) is each item's mean over those learnt from."""
        return cls(
            vectors,
            np.asarray(vectors.multiply(vectors).sum(axis=1), np.float64),
            np.asarray(vectors.sum(axis=1), np.float64),
            np.asarray(vectors @ item_mean, np.float64),
            float(item_mean @ item_mean),
        )


def similarity(
    name: SimilarityName, one: Profiles, other: Profiles, pairs: tuple[Lines, Lines], products: Vector
) -> Vector:
    """(P,) how alike the users of each pair are; ``products`` (P,) are those of their vectors.

    Each is the cosine of what is left of two vectors: of all of it ("cosine"), of what differs from
    the user's own mean ("pearson"), or from each item's mean ("adjusted-cosine"). It is worked out
    from sums, because a vector less its means is full of numbers. 0 where a vector has nothing left.
    """
    n_items = one.vectors.shape[1] - 1
    left, right = pairs
    if name == "pearson":
        products = products - one.sums[left] * other.sums[right] / n_items
        squares = [users.squares - users.sums**2 / n_items for users in (one, other)]
    elif name == "adjusted-cosine":
        products = products - one.with_mean[left] - other.with_mean[right] + one.mean_square
        squares = [users.squares - 2 * users.with_mean + users.mean_square for users in (one, other)]
    else:
        squares = [one.squares, other.squares]
    lengths = np.sqrt(np.maximum(squares[0][left] * squares[1][right], 0))
    return np.divide(products, lengths, out=np.zeros(len(products)), where=lengths > 0)


@dataclass(frozen=True, eq=False)
class UserNeighbours:
    """The users learnt from, found through an inverted index: item to the users who had it."""

    learnt: Profiles
    index: Matrix  # (N, U) 1 for the newest users of each item
    item_mean: Vector  # (N,)

    @classmethod
    def fit(cls, log: EventLog, *, n_items: int, item_users: int = ITEM_USERS) -> Self:
        """Index each item's users, of an item with more than ``item_users`` only the newest so many.

        That bound is for speed: an item that half the users had makes half of them candidates for
        everyone and tells little. It lets a popular item speak for the newest of its users only.
        """
        known = log[log.item != UNKNOWN_ROW]
        vectors = had_by(known, n_items)  # (U, N)
        ends = known.starts[1:] - 1
        oldest_first = np.argsort(known.time_ms[ends], kind="stable")
        index: Matrix = vectors[oldest_first].T.tocsr()  # (N, U), the newest user last
        index.sort_indices()
        place = np.arange(index.nnz) - np.repeat(index.indptr[1:], np.diff(index.indptr))
        index.data[place < -item_users] = 0
        index.eliminate_zeros()
        index.indices = oldest_first.astype(index.indices.dtype)[index.indices]
        item_mean = np.asarray(vectors.sum(axis=0), np.float64) / max(vectors.shape[0], 1)
        return cls(Profiles.of(vectors, item_mean), index, item_mean)

    def nearest(self, vectors: Matrix, *, similar: SimilarityName, k: int) -> Matrix:
        """(B, U) the similarities of each user to the k most similar ones, none of them below 0.

        Only users who share an item are looked at. A user who was learnt from is among the own
        neighbours, as an item is in item CF: shoppers come back to what they looked at.
        """
        shared: Matrix = vectors @ self.index  # (B, U)
        lines = np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
        asked = Profiles.of(vectors, self.item_mean)
        shared.data = similarity(similar, asked, self.learnt, (lines, shared.indices), shared.data)
        shared.data = np.maximum(shared.data, 0)
        shared.eliminate_zeros()
        counts, users, found = keep_best(shared, k)
        begins = np.concatenate(([0], np.cumsum(counts)))
        return sparse.csr_array((found.astype(np.float64), users, begins), shape=shared.shape)

    def scores(
        self, items: Rows, *, similar: SimilarityName = "cosine", k: int = NEAREST, decay: float = DECAY
    ) -> Scores:
        """(B, N) what the k nearest users had, each counting with its similarity; -inf where none had it.

        ``items`` (B, R) are rows of the items a user had, in any order, 0 for none. The prediction of
        the textbook, a mean plus the neighbours' deviations from theirs over the sum of similarities,
        puts one user's items into this same order.
        """
        vectors = item_vectors(items, self.learnt.vectors.shape[1], decay=decay)
        near: Matrix = self.nearest(vectors, similar=similar, k=k) @ self.learnt.vectors  # (B, N)
        scores = np.full(near.shape, -np.inf, np.float32)
        scores[np.repeat(np.arange(near.shape[0]), np.diff(near.indptr)), near.indices] = near.data
        return scores


def item_vectors(items: Rows, n_items: int, *, decay: float = 1.0) -> Matrix:
    """(B, N) the vectors of users by their items (B, R), newest first, the unknown row left out.

    An item counts 1 where it is the newest, and ``decay`` of that for each item after it.
    """
    lines, places = np.nonzero(items > UNKNOWN_ROW)
    keys, newest = np.unique(lines * np.int64(n_items) + items[lines, places], return_index=True)
    lines, rows = np.divmod(keys, n_items)
    weights = np.power(decay, places[newest].astype(np.float64))
    return sparse.csr_array((weights, (lines, rows)), shape=(len(items), n_items))
