"""Lists of a large catalogue: some candidates for each user, scored exactly, and ranked by the one ranking.

Candidates are the best by network and prior that an index finds, the items of which the blend says
anything good, and the rows that came after the index was made, the best of them. What is approximate is
only which items are found: an item that is no candidate scores at most as high as the lowest that was found
(the *floor*), unless the index missed it. So a list whose last item reaches the floor stands; the others
are looked for again, deeper, and are left to the caller where that does not help: where most of what
was found may not be listed, or is what people have had enough of. This is the stopping rule of the threshold
algorithm (Fagin, Lotem and Naor 2001).

Axes: B users, N items, P pairs of a user and a candidate, C columns: a user's candidates side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.blend import Blend
from models.item_index import ItemIndex
from models.lead import Flags, Positions, Shelves, named, put_first
from models.memory import Memories
from models.ranking import NO_ROW, UNKNOWN_ROW, Rows, Scores, top_n

Keys = NDArray[np.int64]

# For a list of n items 4 n are looked for, then 16 n, then 64 n. What the index finds is the best by
# codes of four bits; looking for twice as many at first adds less than .005 to the recall of lists of 20.
DEPTHS = (4, 16, 64)

# A candidate costs as much as twenty items of a catalogue that is scored as a whole, since its vector is
# fetched from anywhere in memory; where more are asked for, all are scored.
WORTH = 20


class Sums(NamedTuple):
    """What a blend adds to scores: ``values`` (P,) of the pairs ``keys`` (P,), user * N + item, ascending."""

    keys: Keys
    values: Scores

    @classmethod
    def of(cls, blend: Blend | None, memories: Memories | None, n_items: int) -> Self:
        """Those of the users whose ``memories`` these are; none without a blend."""
        if blend is None or memories is None:
            return cls(np.empty(0, np.int64), np.empty(0, np.float32))
        parts = list(blend.said(memories))
        keys = np.concatenate([lines.astype(np.int64) * n_items + items for lines, items, _ in parts])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        begins = np.flatnonzero(np.diff(keys, prepend=-1))
        values = np.concatenate([values for _, _, values in parts])[order]
        return cls(keys[begins], np.add.reduceat(values, begins) if len(begins) else values)

    def at(self, keys: Keys) -> Scores:
        """(P,) the values of the pairs ``keys``, 0 of one of which nothing is said."""
        if not len(self.keys):
            return np.zeros(len(keys), np.float32)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.values[place], np.float32(0))


class Table(NamedTuple):
    """Candidates side by side, of each user in ascending order: rows and scores, (B, C).

    The first column is the unknown item's, as in the scores of a whole catalogue, and so are those after a
    user's last candidate.
    """

    rows: Rows
    scores: Scores

    @classmethod
    def of(cls, lines: Positions, items: NDArray[np.int64], scores: Scores, count: int) -> Self:
        """The table of P pairs, ascending by user and then by item."""
        lengths = np.bincount(lines, minlength=count)
        column = 1 + np.arange(len(lines)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        table = cls(
            np.full((count, 1 + lengths.max(initial=0)), UNKNOWN_ROW, np.int32),
            np.full((count, 1 + lengths.max(initial=0)), -np.inf, np.float32),
        )
        table.rows[lines, column], table.scores[lines, column] = items, scores
        return table


@dataclass(frozen=True, eq=False)
class Shortlist:
    """What finds and scores candidates: an index, the items' ``vectors`` (N, D), and what the blend needs."""

    index: ItemIndex
    vectors: Tensor
    blend: Blend | None
    shelves: Shelves
    item_category: Rows

    @torch.inference_mode()
    def fill(
        self,
        rows: Rows,
        best: Scores,
        queries: Tensor,
        memories: Memories | None,
        *,
        available: Flags | None,
        exclude: Sequence[NDArray[np.integer]] | None,
        max_per_category: int,
    ) -> Positions:
        """Put lists into ``rows`` and ``best`` (B, n) for the users of ``queries`` (B, D).

        The rest as for `ranking.top_n`. Gives the users whose lists do not stand: every item is to be scored.
        """
        n_items, n = len(self.item_category), rows.shape[1]
        waiting = np.arange(len(rows))
        listable = n_items if available is None else max(n, int(np.count_nonzero(available)))
        for depth in DEPTHS:
            k = depth * n * n_items // listable
            if not len(waiting) or k * WORTH >= n_items:
                break
            barred = None if exclude is None else [exclude[line] for line in waiting.tolist()]
            found = _Search(
                self, queries[torch.from_numpy(waiting)], None if memories is None else memories[waiting], k
            )
            listed, scores = found.lists(
                n, available=available, exclude=barred, max_per_category=max_per_category
            )
            rows[waiting], best[waiting] = listed, scores
            waiting = waiting[scores[:, -1] < found.floor]
        return waiting


class _Search:
    """One search of ``k`` candidates for each of B users."""

    def __init__(self, of: Shortlist, queries: Tensor, memories: Memories | None, k: int) -> None:
        self._of, self._queries, self._memories = of, queries, memories
        self._n_items = len(of.item_category)
        self._sums = Sums.of(of.blend, memories, self._n_items)
        found, late = of.index.search(queries.numpy(), k), self._late(k)
        good = self._sums.keys[self._sums.values > 0]
        self._keys = np.union1d(np.concatenate((self._keys_of(found), self._keys_of(late))), good)
        self._network = self._products(self._keys)
        #: (B,) what an item that is no candidate scores at most, and more than the end of a list too short.
        self.floor = self._lowest(found)
        if self._n_items - of.index.n_items > k:
            self.floor = np.maximum(self.floor, self._lowest(late))

    def lists(
        self,
        n: int,
        *,
        available: Flags | None,
        exclude: Sequence[NDArray[np.integer]] | None,
        max_per_category: int,
    ) -> tuple[Rows, Scores]:
        """(B, n) rows and scores of the best candidates."""
        table = self._table()
        barred = self._barred(table, available, exclude)
        if self._memories is not None and self._of.blend is not None and self._of.blend.leads:
            column, unsure = self._leading(table, barred, self._memories)
            if unsure.any():
                self._take_shelves(np.where(unsure, self._memories.category, UNKNOWN_ROW))
                table = self._table()
                barred = self._barred(table, available, exclude)
                column, _ = self._leading(table, barred, self._memories)
            put_first(table.scores, column)
        table.scores[barred] = -np.inf
        columns, best = top_n(
            table.scores,
            n,
            categories=self._of.item_category[table.rows] if max_per_category else None,
            max_per_category=max_per_category,
        )
        rows = np.take_along_axis(table.rows, np.maximum(columns, 0), 1)
        return np.where(columns == NO_ROW, NO_ROW, rows), best

    def _late(self, k: int) -> Rows:
        """(B, K) the best k of the rows that came after the index was made, all where they are fewer."""
        begin = self._of.index.n_items
        count = self._n_items - begin
        scores = torch.full((len(self._queries), count + 1), -torch.inf)
        torch.mm(self._queries, self._of.vectors[begin:].T, out=scores[:, 1:])
        columns, _ = top_n(scores.numpy(), min(k, count))
        return np.where(columns == NO_ROW, NO_ROW, columns + np.int32(begin - 1))

    def _keys_of(self, rows: NDArray[np.integer]) -> Keys:
        """The keys of the rows (B, K) that are any."""
        line, place = np.nonzero(rows != NO_ROW)
        return line * self._n_items + rows[line, place]

    def _products(self, keys: Keys) -> Scores:
        """(P,) what network and prior give the pairs ``keys``, which ascend."""
        ends = np.searchsorted(keys, self._n_items * (1 + np.arange(len(self._queries))))
        items, vectors = keys % self._n_items, self._of.vectors.numpy()
        products = np.empty(len(keys), np.float32)
        begin = 0
        for query, end in zip(self._queries.numpy(), ends.tolist(), strict=True):
            # A user at a time: the rows of all together would be written and read once more. And a row at a
            # time, not as a matrix: items that are alike then have scores that are equal to the last bit.
            np.vecdot(vectors[items[begin:end]], query, out=products[begin:end])
            begin = end
        return products

    def _lowest(self, found: NDArray[np.integer]) -> Scores:
        """(B,) the lowest product among the rows ``found`` (B, K)."""
        keys = self._keys_of(found)
        lowest = np.full(len(found), np.inf, np.float32)
        np.minimum.at(lowest, keys // self._n_items, self._network[np.searchsorted(self._keys, keys)])
        return lowest

    def _table(self) -> Table:
        """The candidates, with what the blend adds."""
        lines, items = np.divmod(self._keys, self._n_items)
        return Table.of(lines, items, self._network + self._sums.at(self._keys), len(self._queries))

    def _barred(
        self, table: Table, available: Flags | None, exclude: Sequence[NDArray[np.integer]] | None
    ) -> Flags:
        """(B, C) which candidates may not be listed."""
        barred: Flags = table.rows == UNKNOWN_ROW
        if available is not None:
            barred |= ~available[table.rows]
        if exclude is not None:
            line = np.repeat(np.arange(len(table.rows)), table.rows.shape[1])
            item = table.rows.ravel().astype(np.intp)
            barred |= named(line, item, exclude, self._n_items).reshape(barred.shape)
        return barred

    def _leading(self, table: Table, barred: Flags, memories: Memories) -> tuple[Rows, Flags]:
        """(B,) the column of the best item of each user's category, NO_ROW where none is a candidate.

        And where an item of the category that is no candidate might be better.
        """
        category = memories.category
        shelf = (self._of.item_category[table.rows] == category[:, None]) & (category != UNKNOWN_ROW)[:, None]
        scores = np.where(shelf & ~barred, table.scores, np.float32(-np.inf))
        column = scores.argmax(1)
        best = scores[np.arange(len(scores)), column]
        unsure = (category != UNKNOWN_ROW) & ~((best > -np.inf) & (best >= self.floor))
        return np.where(best > -np.inf, column, NO_ROW).astype(np.int32), unsure

    def _take_shelves(self, category: NDArray[np.integer]) -> None:
        """Make every item of each user's ``category`` (B,) a candidate."""
        line, item = self._of.shelves.pairs(category)
        keys = np.union1d(self._keys, line * self._n_items + item)
        if len(keys) > len(self._keys):
            self._keys, self._network = keys, self._products(keys)
