"""External ids and the rows that stand for them; the only place that converts.

Row 0 of the items and of the categories means unknown: an id never seen, or none at all.
Its external id is the empty text. Rows are never moved or reused, so a user's segment
outlives the weights it was made under.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

UNKNOWN_ROW = 0
UNKNOWN_ID = ""

Rows = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The catalogue: item and category ids by row, and each item's category.

    ``item_category`` holds (N,) category rows, 0 where an item has none.
    """

    item_ids: tuple[str, ...]
    category_ids: tuple[str, ...]
    item_category: Rows
    _item_rows: Mapping[str, int] = field(init=False, repr=False)
    _category_rows: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the ids; refuse a table whose rows would be ambiguous."""
        categories = np.ascontiguousarray(self.item_category, dtype=np.int32)
        if categories.shape != (len(self.item_ids),):
            raise ValueError(f"item_category has shape {categories.shape} for {len(self.item_ids)} items")
        if categories.size and not 0 <= categories.min() <= categories.max() < len(self.category_ids):
            raise ValueError("item_category names a row that is not among the categories")
        categories.flags.writeable = False
        object.__setattr__(self, "item_category", categories)
        object.__setattr__(self, "_item_rows", _index(self.item_ids, "item"))
        object.__setattr__(self, "_category_rows", _index(self.category_ids, "category"))

    @classmethod
    def empty(cls) -> Self:
        """The vocabulary that knows nothing but the unknown rows."""
        return cls((UNKNOWN_ID,), (UNKNOWN_ID,), np.zeros(1, np.int32))

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, items: pl.DataFrame | None = None) -> Self:
        """The vocabulary of these events and items; see ``extended``."""
        return cls.empty().extended(frame, items)

    def extended(self, frame: pl.DataFrame, items: pl.DataFrame | None = None) -> Self:
        """A vocabulary that also knows each item of the events, in order of appearance, then of ``items``.

        ``frame`` has columns item_id and category_id (null where an event names none), ``items``
        the same two. An item's category is the one ``items`` gives, else the last its events name.
        """
        named = [frame.select("item_id", "category_id")]
        if items is not None:
            named.append(items.select("item_id", "category_id"))
        told = (
            pl.concat([part.cast(pl.String) for part in named])
            .filter(pl.col("item_id").is_not_null() & (pl.col("item_id") != UNKNOWN_ID))
            .with_columns(pl.col("category_id").replace(UNKNOWN_ID, None))
            .group_by("item_id", maintain_order=True)
            .agg(pl.col("category_id").drop_nulls().last())
        )
        return self.grow(told["item_id"].to_list(), told["category_id"].to_list())

    @property
    def n_items(self) -> int:
        """How many item rows there are, the unknown row included."""
        return len(self.item_ids)

    @property
    def n_categories(self) -> int:
        """How many category rows there are, the unknown row included."""
        return len(self.category_ids)

    def item_row(self, item_id: str) -> int:
        """The row of ``item_id``, 0 when it is unknown."""
        return self._item_rows.get(item_id, UNKNOWN_ROW)

    def category_row(self, category_id: str | None) -> int:
        """The row of ``category_id``, 0 when it is unknown or there is none."""
        return UNKNOWN_ROW if category_id is None else self._category_rows.get(category_id, UNKNOWN_ROW)

    def item_rows(self, item_ids: Iterable[str]) -> Rows:
        """The rows of many items, in their order."""
        look_up = self._item_rows.get
        return np.fromiter((look_up(item_id, UNKNOWN_ROW) for item_id in item_ids), np.int32)

    def grow(self, item_ids: Sequence[str], category_ids: Sequence[str | None]) -> Self:
        """A vocabulary that also holds these items, each with its category; old rows stay.

        An item already here keeps its row and takes the category given, unless that is None.
        """
        items, item_rows = list(self.item_ids), dict(self._item_rows)
        categories, category_rows = list(self.category_ids), dict(self._category_rows)
        category_of = self.item_category.tolist()
        for item_id, category_id in zip(item_ids, category_ids, strict=True):
            category = UNKNOWN_ROW
            if category_id is not None:
                category = category_rows.setdefault(category_id, len(categories))
                if category == len(categories):
                    categories.append(category_id)
            row = item_rows.setdefault(item_id, len(items))
            if row == len(items):
                items.append(item_id)
                category_of.append(category)
            elif UNKNOWN_ROW not in {category, row}:
                category_of[row] = category
        return type(self)(tuple(items), tuple(categories), np.asarray(category_of, np.int32))


def _index(ids: Sequence[str], kind: str) -> dict[str, int]:
    """Row by id; row 0 must be the unknown one and no id may stand twice."""
    if not ids or ids[0] != UNKNOWN_ID:
        raise ValueError(f"row 0 of the {kind} ids must be the unknown one, {UNKNOWN_ID!r}")
    rows = {identifier: row for row, identifier in enumerate(ids)}
    if len(rows) != len(ids):
        raise ValueError(f"an {kind} id stands twice in the vocabulary")
    return rows
