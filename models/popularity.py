"""How popular each item is: the fallback for a user without history, and the plainest comparator."""

import numpy as np
from numpy.typing import NDArray

from models.events import EventLog
from models.ranking import UNKNOWN_ROW, Rows, top_n


def popularity(log: EventLog, n_items: int) -> NDArray[np.float32]:
    """(N,) the score of each item row: its distinct users, plus a part below 1 that ranks items with as many.

    One insistent user does not make an item popular, so events only decide between items with as
    many users: the part below 1 grows with the item's events among those. Row 0 and an item
    without an event are -inf, which is never listed.
    """
    events = np.bincount(log.item, minlength=n_items)  # (N,)
    _, users = np.unique(log.user, return_inverse=True)
    pairs = np.unique(users.astype(np.int64) * n_items + log.item)
    reach = np.bincount(pairs % n_items, minlength=n_items)  # (N,)

    # The levels are counted per reach and not over all items: float32 keeps few digits behind a
    # great reach, but few items share a great one.
    levels, level = np.unique(np.stack((reach, events)), axis=1, return_inverse=True)  # by reach, then events
    first = np.searchsorted(levels[0], levels[0])
    size = np.searchsorted(levels[0], levels[0], side="right") - first
    part = (np.arange(len(first)) - first) / size
    scores = np.where(events > 0, reach + part[level.ravel()], -np.inf).astype(np.float32)
    scores[UNKNOWN_ROW] = -np.inf
    return scores


def popular_list(scores: NDArray[np.float32], n: int, *, available: NDArray[np.bool_] | None = None) -> Rows:
    """The rows of the n most popular items that may be listed, best first; fewer where there are fewer."""
    rows: Rows = top_n(scores[None, :], n, available=available)[0][0]
    return rows[: int(np.count_nonzero(rows > UNKNOWN_ROW))]
