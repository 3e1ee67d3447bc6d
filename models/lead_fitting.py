"""Whether lists have a lead: by what people did next while nothing of it had been seen.

Axes: N items, T targets, E examples (a target and an item that came into question for it).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.likelihood import begins_among, joined_begins
from models.metrics import category_lists, places, reciprocal_ranks
from models.ranking import NO_ROW, UNKNOWN_ROW, Rows

Flags = NDArray[np.bool_]
Positions = NDArray[np.intp]

_LISTED = 20  # places of the lists by which a lead is judged


class Sought(NamedTuple):
    """What came into question for T targets, and what came.

    ``items`` (E,) target after target, from ``begins`` (T,) on; ``target`` (T,) and ``category`` (T,) are
    of the event that came, ``last`` (T,) is the category of the one before.
    """

    items: NDArray[np.integer]
    begins: Positions
    target: NDArray[np.integer]
    category: NDArray[np.integer]
    last: NDArray[np.integer]

    @classmethod
    def joined(cls, parts: Sequence["Sought"]) -> "Sought":
        """All of them, one part after another."""
        items, begins, target, category, last = zip(*parts, strict=True)
        rest = (np.concatenate(column) for column in (target, category, last))
        return cls(np.concatenate(items), joined_begins(begins, list(map(len, items))), *rest)

    def among(self, chosen: Flags) -> "Sought":
        """Without the items that are not ``chosen`` (E,), and without targets of which none is left."""
        begins, some = begins_among(chosen, self.begins)
        return Sought(self.items[chosen], begins, self.target[some], self.category[some], self.last[some])


def pays(scores: NDArray[np.floating], sought: Sought, item_category: Rows) -> bool:
    """Whether lists with such a first place would have been better than lists by ``scores`` (E,) alone.

    Better is the product of the mean reciprocal rank of the next items and that of the next
    categories: what one of them loses the other must gain, each in proportion to what it was.
    """
    sizes = np.diff(sought.begins, append=len(sought.items))
    category = item_category[sought.items]
    near = (category == np.repeat(sought.last, sizes)) & (category != UNKNOWN_ROW)
    nearest = np.where(near, scores, -np.inf)
    best = np.repeat(np.maximum.reduceat(nearest, sought.begins), sizes)
    led = np.where(near & (nearest == best), np.inf, scores)
    return _merit(led, sought, sizes, item_category) > _merit(scores, sought, sizes, item_category)


def _merit(
    scores: NDArray[np.floating], sought: Sought, sizes: NDArray[np.intp], item_category: Rows
) -> float:
    """The product of both mean reciprocal ranks."""
    line = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((sought.items, -scores, line))
    place = np.arange(len(order)) - np.repeat(sought.begins, sizes)
    listed = place < _LISTED
    rows = np.full((len(sizes), _LISTED), NO_ROW, np.int32)
    rows[line[listed], place[listed]] = sought.items[order[listed]]
    of_items = reciprocal_ranks(places(rows, sought.target))
    of_categories = reciprocal_ranks(places(category_lists(rows, item_category), sought.category))
    return float(of_items.mean() * of_categories.mean())


class Leads(NamedTuple):
    """Whether a lead is worth it among items that somebody had, and where there are others as well."""

    known: bool
    grown: bool

    @classmethod
    def of(cls, scores: NDArray[np.float64], had: Flags, sought: Sought, item_category: Rows) -> "Leads":
        """Judge by ``scores`` (E,) of what came into question, of which somebody ``had`` (E,) a part."""
        known = sought.among(had)
        return cls(
            len(known.begins) > 0 and pays(scores[had], known, item_category),
            pays(scores, sought, item_category),
        )
