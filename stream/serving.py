"""The weights in force and what may be listed: what the pure core sees of the model."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.memory import Memories
from models.ranking import top_n
from models.recommender import Recommender
from stream.state import ITEM_KEY_BYTES, UserState, category_key, id_text, item_key

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


class History(NamedTuple):
    """What a user had, as rows, oldest first, the part of it that is the segment, and the newest category."""

    items: list[int]
    segment: list[int]
    category: int


class Serving:
    """A recommender with the availability of its items.

    ``withdrawn`` are the external ids of items that must not be listed. The object is replaced
    as a whole when weights are swapped; ``set_available`` changes it in place.
    """

    def __init__(self, recommender: Recommender, withdrawn: Iterable[str] = ()) -> None:
        """Prepare the look-ups a batch needs."""
        self.recommender = recommender
        self.version = recommender.version
        self.key = recommender.key
        self.state_bytes = recommender.state_size * 4
        vocabulary = recommender.vocabulary
        #: The ids as lists hold them, by row.
        self.id_texts = np.array([id_text(item_id) for item_id in vocabulary.item_ids], np.object_)
        self.item_row = vocabulary.item_row
        self._item_category = vocabulary.item_category
        self._category_rows = {
            category_key(category): row for row, category in enumerate(vocabulary.category_ids) if row
        }
        #: Which rows may be listed.
        self.available = np.ones(vocabulary.n_items, dtype=np.bool_)
        for item_id in withdrawn:
            self.set_available(item_id, available=False)

    def announced(self, category_of: Mapping[str, str], withdrawn: Iterable[str] = ()) -> "Serving":
        """Return what serves the items announced besides, by their categories; itself where none is new."""
        recommender = self.recommender.announced(category_of)
        return self if recommender is self.recommender else Serving(recommender, withdrawn)

    def set_available(self, item_id: str, *, available: bool) -> None:
        """Allow or forbid an item in lists; an item the weights do not know changes nothing."""
        row = self.item_row(item_id)
        if row:
            self.available[row] = available

    def category_row(self, item_row: int, key: int) -> int:
        """Return the input category of an event: the item's own where it is known, else the event's."""
        known = int(self._item_category[item_row]) if item_row else 0
        return known or self._category_rows.get(key, 0)

    @property
    def remembers(self) -> bool:
        """Whether scores need what users had beside their hidden states."""
        return self.recommender.blend is not None

    def history(self, state: UserState) -> History:
        """Return what the user had, as far as the weights know it."""
        rows, past = self._rows_of_keys, state.past
        keys = (past[at : at + ITEM_KEY_BYTES] for at in range(0, len(past), ITEM_KEY_BYTES))
        retained = [self.item_row(item_id) for item_id in state.items]
        category = self.category_row(retained[-1], state.category_keys()[-1]) if retained else 0
        return History([*(rows.get(key, 0) for key in keys), *retained], retained[state.start :], category)

    @cached_property
    def _rows_of_keys(self) -> dict[bytes, int]:
        """The rows by what stands for their items in users' records."""
        return {item_key(text): row for row, text in enumerate(self.id_texts.tolist()) if row}

    def rank(
        self,
        states: Floats,
        n: int,
        *,
        histories: Sequence[History] = (),
        exclude: list[Rows] | None,
        max_per_category: int,
    ) -> tuple[Rows, Floats]:
        """Return the best ``n`` rows for each of the hidden states (B, S), and their scores.

        ``histories`` are those of the same users, where the recommender ``remembers``.
        """
        memories = None
        if self.remembers:
            items, segments, category = zip(*histories, strict=True)
            memories = Memories.of(items, segments, category)
        return self.recommender.best(
            states,
            n,
            memories,
            available=self.available,
            exclude=exclude,
            max_per_category=max_per_category,
        )

    def popular(
        self, count: int, n: int, *, exclude: list[Rows] | None, max_per_category: int
    ) -> tuple[Rows, Floats]:
        """Return the most popular ``n`` rows, once for each of ``count`` users."""
        popularity = self.recommender.popularity
        return top_n(
            np.broadcast_to(popularity, (count, len(popularity))),
            n,
            available=self.available,
            exclude=exclude,
            categories=self._item_category,
            max_per_category=max_per_category,
        )
