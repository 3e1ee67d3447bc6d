"""Many users' events as columns of integers: what training and evaluation read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.behavior import Behavior
from models.vocabulary import UNKNOWN_ROW, Vocabulary

Codes = NDArray[np.int64]
Rows = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class EventLog:
    """Events sorted by user, then event time, behaviour and arrival; all columns have shape (E,).

    ``user`` holds codes that mean something only within the frame they came from. ``category`` is
    what the network is shown: the vocabulary's category of the item when it has one, else the
    event's own.
    """

    user: Codes
    item: Rows
    category: Rows
    behavior: NDArray[np.int8]
    time_ms: Codes

    def __post_init__(self) -> None:
        """Refuse columns of different lengths or out of order: everything downstream slices by user."""
        lengths = {
            len(column) for column in (self.user, self.item, self.category, self.behavior, self.time_ms)
        }
        if len(lengths) != 1:
            raise ValueError(f"the columns of an event log differ in length: {sorted(lengths)}")
        same_user = self.user[1:] == self.user[:-1]
        if np.any(self.user[1:] < self.user[:-1]) or np.any(np.diff(self.time_ms)[same_user] < 0):
            raise ValueError("an event log must be sorted by user and event time; use EventLog.sorted")

    @classmethod
    def sorted(
        cls, user: Codes, item: Rows, category: Rows, behavior: NDArray[np.int8], time_ms: Codes
    ) -> Self:
        """The log of columns given in order of arrival."""
        order = np.lexsort((behavior, time_ms, user))  # stable, so arrival decides what is left
        return cls(user[order], item[order], category[order], behavior[order], time_ms[order])

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, vocabulary: Vocabulary) -> Self:
        """The log of a frame with columns user_id, item_id, category_id, behavior and timestamp (ms).

        User codes count the users in order of appearance. Row order is the order of arrival.
        """
        users = frame["user_id"].cast(pl.String)
        item = _look_up(frame["item_id"], pl.Series(vocabulary.item_ids, dtype=pl.String))
        own = _look_up(frame["category_id"], pl.Series(vocabulary.category_ids, dtype=pl.String))
        known = vocabulary.item_category[item]
        return cls.sorted(
            _look_up(users, users.unique(maintain_order=True)).astype(np.int64),
            item,
            category=np.where(known != UNKNOWN_ROW, known, own).astype(np.int32, copy=False),
            behavior=frame["behavior"].cast(pl.Int8).to_numpy(),
            time_ms=frame["timestamp"].cast(pl.Int64).to_numpy(),
        )

    def __len__(self) -> int:
        """How many events there are."""
        return len(self.user)

    def __getitem__(self, chosen: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """The events chosen by a slice, a mask or ascending positions."""
        return type(self)(
            self.user[chosen],
            self.item[chosen],
            self.category[chosen],
            self.behavior[chosen],
            self.time_ms[chosen],
        )

    @property
    def starts(self) -> NDArray[np.intp]:
        """(U + 1,) where each user's events begin, and the end of the last."""
        if not len(self):
            return np.zeros(1, np.intp)
        changes = np.flatnonzero(self.user[1:] != self.user[:-1]) + 1
        return np.concatenate(([0], changes, [len(self)])).astype(np.intp)

    def by_user(self) -> Iterator[Self]:
        """Each user's events as a log of its own, without copying."""
        starts = self.starts
        for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            yield self[start:end]

    def gaps_ms(self) -> Codes:
        """(E,) time since the user's previous event, 0 for the first."""
        gaps = np.zeros(len(self), np.int64)
        gaps[1:] = np.diff(self.time_ms)
        gaps[self.starts[:-1]] = 0
        return gaps

    def of_behavior(self, behavior: Behavior) -> Self:
        """The events of one behaviour."""
        return self[self.behavior == behavior]


def _look_up(ids: pl.Series, known: pl.Series) -> Rows:
    """(E,) the position of each id among ``known``; 0, the unknown row, for any other and for null."""
    table = pl.DataFrame({"id": known, "row": np.arange(len(known), dtype=np.int32)})
    asked = pl.DataFrame({"id": ids.cast(pl.String)})
    rows = asked.join(table, on="id", how="left", maintain_order="left")["row"]
    return rows.fill_null(UNKNOWN_ROW).to_numpy()
