"""How popular each item is, ever or of late: the fallback for unknown users, and the plainest comparators."""

import numpy as np
from numpy.typing import NDArray

from models.events import EventLog
from models.features import HOUR_MS
from models.ranking import UNKNOWN_ROW, Rows, top_n

HALF_LIVES_MS = tuple(hours * HOUR_MS for hours in (1, 6, 24, 72, 168, 720))


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


def fallback(log: EventLog, n_items: int) -> NDArray[np.float32]:
    """(N,) what the list of a user is made of whom nothing is known: what is popular of late.

    How late is learnt from the log, see ``best_half_life_ms``. Row 0 and an item without an event are
    -inf, which is never listed.
    """
    return recent_popularity(log, n_items, half_life_ms=best_half_life_ms(log, n_items))


def recent_popularity(log: EventLog, n_items: int, *, half_life_ms: int) -> NDArray[np.float32]:
    """(N,) the score of each item row: its users, each counting half after every ``half_life_ms``.

    A user counts once, by the time since the user's last event of the item; time ends with the log's
    newest event. The score is the logarithm of the sum, to base 2, so that what is many half-lives
    old keeps its order. Row 0 and an item without an event are -inf, which is never listed.
    """
    return _recent(*_last_events(log), n_items, half_life_ms)


def _last_events(log: EventLog) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """The items and times of each user's last event of each item that is known."""
    known = log[log.item != UNKNOWN_ROW]
    order = np.lexsort((known.time_ms, known.item, known.user))
    user, item, time_ms = (column[order] for column in (known.user, known.item, known.time_ms))
    last = np.ones(len(order), np.bool_)
    last[:-1] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
    return item[last], time_ms[last]


def _recent(
    item: NDArray[np.integer], time_ms: NDArray[np.integer], n_items: int, half_life_ms: int
) -> NDArray[np.float32]:
    """(N,) the scores of events (item, time) that weigh half after every half-life."""
    scores = np.full(n_items, -np.inf, np.float32)
    if not len(item):
        return scores
    half_lives = (time_ms.max() - time_ms) / half_life_ms
    # Below 2^-1000 there would soon be no float64 left to add.
    weight = np.exp2(-np.minimum(half_lives, 1000))
    total = np.bincount(item, weights=weight, minlength=n_items)
    listed = total > 0
    scores[listed] = np.log2(total[listed])
    return scores


def best_half_life_ms(log: EventLog, n_items: int, *, n: int = 20) -> int:
    """The one of ``HALF_LIVES_MS`` that foretells the newest tenth of the events best from those before.

    Best by mean reciprocal rank in one list of ``n``; of equal ones the longest.
    """
    cut_ms = np.quantile(log.time_ms, 0.9) if len(log) else 0
    past, future = log[log.time_ms < cut_ms], log[log.time_ms >= cut_ms]
    item, time_ms = _last_events(past)

    def reciprocal_ranks(half_life_ms: int) -> float:
        rows = popular_list(_recent(item, time_ms, n_items, half_life_ms), n)
        worth = np.zeros(n_items)
        worth[rows] = 1 / np.arange(1, len(rows) + 1)
        return float(worth[future.item].sum())

    return max(reversed(HALF_LIVES_MS), key=reciprocal_ranks)
