"""Approximate search in a large catalogue: the items whose vectors have the greatest products with a query.

An inverted file of product codes (Jégou, Douze and Schmid 2011), faiss's: the items lie in lists by the
nearest of some centres, each number of a vector as four bits, and a query looks into the lists whose
centres have the greatest products with it. What is found depends on the codes, so the caller scores it
anew.

Departures from faiss's own inverted file for inner products: centres are those of plain k-means, and an item
lies with the nearest one. Assigned by the product, as faiss would, a few centres with a great bias draw
most of the items, and of those near a query little is found.

Axes: B queries, N items, D numbers of a vector, K places.
"""

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.errors import IndexUnavailable
from models.ranking import UNKNOWN_ROW

# Of the lists, which are twice the root of the items, this share is looked into. It is a share and not a
# number so that recall is no lower in a catalogue of twice the size.
LISTS_PER_ROOT = 2
PROBED = 1 / 7
BITS = 4  # what the processor's byte shuffles look up, sixteen codes at a time

# Centres are learnt from so many vectors a list, and codes from so many in all.
LEARNT_PER_LIST = 64
LEARNT_CODES = 50_000
ROUNDS = 8
ADDED_AT_ONCE = 1 << 16

_PACKAGE = "faiss"


def require() -> None:
    """Raise IndexUnavailable where the package that searches is not installed."""
    if importlib.util.find_spec(_PACKAGE) is None:
        raise IndexUnavailable(
            "an index of the catalogue needs the package faiss-cpu; install freshet with its extra `large`"
        )


class ItemIndex:
    """An index of the items of a catalogue, the unknown one left out.

    It does not change, and threads may search it at once, each on one core.
    """

    def __init__(self, vectors: Tensor, *, probed: float = PROBED, seed: int = 1) -> None:
        """Index the rows of ``vectors`` (N, D); a search looks into the share ``probed`` of the lists.

        Takes one core. The vectors are not kept: an item takes a byte for every two numbers, and eight.
        Raises IndexUnavailable, and ValueError where there is no item or a number is none.
        """
        require()
        #: Rows from this one on came later and are not in the index.
        self.n_items = len(vectors)
        if self.n_items <= UNKNOWN_ROW + 1:
            raise ValueError("there is no item to index")
        if not vectors.sum(0).isfinite().all():
            raise ValueError("an item's vector or bias is not a number")
        # Not at the top: few need the package, and it takes a while to load.
        import faiss  # noqa: PLC0415

        self._faiss: Any = faiss
        faiss.omp_set_num_threads(1)
        table = vectors.numpy()
        size = table.shape[1]
        n_lists = max(1, round(LISTS_PER_ROOT * self.n_items**0.5))
        drawn = np.random.default_rng(seed).integers(
            UNKNOWN_ROW + 1, self.n_items, max(n_lists * LEARNT_PER_LIST, LEARNT_CODES)
        )
        centres = self._centres(table[drawn[: n_lists * LEARNT_PER_LIST]], n_lists, seed)
        #: By the product, as a search looks for lists. faiss holds it too, but does not own it.
        self._lists = faiss.IndexFlatIP(size)
        self._lists.add(centres)
        nearest = faiss.IndexFlatL2(size)
        nearest.add(centres)
        self._index = faiss.IndexIVFPQFastScan(nearest, size, n_lists, size, BITS, faiss.METRIC_INNER_PRODUCT)
        self._index.by_residual = False
        self._index.pq.train(table[drawn[:LEARNT_CODES]])
        self._index.is_trained = True
        for begin in range(UNKNOWN_ROW + 1, self.n_items, ADDED_AT_ONCE):
            self._index.add(table[begin : begin + ADDED_AT_ONCE])
        self._index.quantizer = self._lists
        self._index.nprobe = max(1, round(probed * n_lists))

    def _centres(self, vectors: NDArray[np.float32], n_lists: int, seed: int) -> NDArray[np.float32]:
        """(n_lists, D) the centres of the vectors."""
        means = self._faiss.Kmeans(
            vectors.shape[1],
            n_lists,
            niter=ROUNDS,
            seed=seed,
            min_points_per_centroid=1,
            max_points_per_centroid=LEARNT_PER_LIST,
        )
        means.train(vectors)
        centres: NDArray[np.float32] = means.centroids
        return centres

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """(B, k) the rows with the greatest products with ``queries`` (B, D), as far as they are found.

        In no order. NO_ROW where the lists that were looked into hold fewer.
        """
        self._faiss.omp_set_num_threads(1)  # holds for the thread that calls
        _, places = self._index.search(queries, k)
        found: NDArray[np.int64] = places
        found[found >= 0] += UNKNOWN_ROW + 1
        return found
