"""The first place of a list: the best item of the category that the user was last in.

What a user had before is likelier to come next than any other single item, so scores alone fill the
first places with such items, often of categories the user has left, while the next event mostly goes on
in the category of the newest one, as often as not with an item that nobody had yet. One place given to
that category tells where the user is, and costs the items below one place each. Whether that is worth
it, the events of a shop say: see `lead_fitting`. Slots for what a list as a whole is to hold stand in many
rankings; calibrated recommendations (Steck 2018) give all of the places to categories in such a way.

Axes: B users, N items, P pairs of a user and an item of the user's category.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.compiled import kernels
from models.ranking import NO_ROW, UNKNOWN_ROW, Rows, Scores, excluded, flags_of

Flags = NDArray[np.bool_]
Positions = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Shelves:
    """The items of each category: those of category c are ``items[begins[c]:begins[c + 1]]``, ascending."""

    items: NDArray[np.intp]
    begins: NDArray[np.intp]

    @classmethod
    def of(cls, item_category: Rows) -> Self:
        """Sort the items (N,) by category; those without one stand on no shelf."""
        items = np.argsort(item_category, kind="stable")
        sizes = np.bincount(item_category)
        sizes[UNKNOWN_ROW] = 0
        return cls(items[len(items) - sizes.sum() :], np.concatenate(([0], np.cumsum(sizes))))

    def best(
        self,
        scores: Scores,
        category: NDArray[np.integer],
        *,
        available: Flags | None = None,
        exclude: Sequence[NDArray[np.integer]] | None = None,
    ) -> Rows:
        """(B,) the item of each user's ``category`` (B,) with the best of the ``scores`` (B, N).

        The lowest row of equal ones. Those that `ranking.top_n` would not list with the same ``available``
        and ``exclude`` do not count; NO_ROW where none is left, or the category is not known.
        """
        rows = np.full(len(scores), NO_ROW, np.int32)
        if (loops := kernels()) is not None:
            loops.best_of_shelves(
                np.ascontiguousarray(scores, np.float32),
                self.items,
                self.begins,
                np.ascontiguousarray(category, np.int64),
                flags_of(available),
                *excluded(exclude, *scores.shape),
                rows,
            )
            return rows
        line, item = self.pairs(category)
        if not len(line):
            return rows
        value = scores[line, item]
        if available is not None:
            value[~available[item]] = -np.inf
        if exclude is not None:
            value[named(line, item, exclude, scores.shape[1])] = -np.inf
        begins = np.flatnonzero(np.diff(line, prepend=-1))
        best = np.maximum.reduceat(value, begins)
        found = np.flatnonzero(
            (value == np.repeat(best, np.diff(begins, append=len(line)))) & (value > -np.inf)
        )
        first = found[np.flatnonzero(np.diff(line[found], prepend=-1))]
        rows[line[first]] = item[first]
        return rows

    def pairs(self, category: NDArray[np.integer]) -> tuple[Positions, Positions]:
        """(P,) twice: users, ascending, each with the items of the user's ``category`` (B,), ascending."""
        known = np.where(category < len(self.begins) - 1, category, UNKNOWN_ROW)
        begin, sizes = self.begins[known], self.begins[known + 1] - self.begins[known]
        line = np.repeat(np.arange(len(category)), sizes)
        return line, self.items[np.arange(len(line)) + np.repeat(begin - np.cumsum(sizes) + sizes, sizes)]


def named(line: Positions, item: Positions, exclude: Sequence[NDArray[np.integer]], n_items: int) -> Flags:
    """(P,) whether ``exclude`` names the item for its line."""
    lines = np.repeat(np.arange(len(exclude)), [len(rows) for rows in exclude])
    if not len(lines):
        return np.zeros(len(line), np.bool_)
    return np.isin(line * n_items + item, lines * n_items + np.concatenate(exclude))


def put_first(scores: Scores, rows: Rows) -> None:
    """Lift the item ``rows[b]`` above all others of line b of ``scores`` (B, N), by no more than it takes.

    A line whose row is NO_ROW stays as it is.
    """
    lines = np.flatnonzero(rows != NO_ROW)
    if len(lines):
        scores[lines, rows[lines]] = np.nextafter(scores.max(1)[lines], np.float32(np.inf))
