"""How alike items are: equation 1 of the paper, over all events or within the window of equation 4.

``N`` item rows, ``U`` users, ``P`` pairs of items that one user both had. ``N(u)`` is the set of a
user's distinct items and ``N(i)`` the set of an item's users.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.events import EventLog
from models.ranking import UNKNOWN_ROW

Matrix = sparse.csr_array[np.float64, tuple[int, int]]

USER_ITEMS = 2000  # different items of one user that are paired
WINDOW_EVENTS = 1000  # events of a user that the window reaches over, to each side

_BLOCK_PAIRS = 1 << 22  # pairs of items summed at a time
_BLOCK_EVENTS = 1 << 17  # events paired at a time
_RANGE_EVENTS = 1 << 19  # events of the items whose sums are added up together


def similarities(log: EventLog, n_items: int, *, window_ms: int | None = None) -> Iterator[Matrix]:
    """Equation 1: w_ij of all items, the lines (b, N) of one block of items after another.

    With log the natural logarithm. With ``window_ms`` (the m of equation 4) two items of a user are
    neighbours only when the user had them within m of each other, on either side, which is the 2m of
    the paper; N(u) and N(i) stay those of the whole log. Unknown items count for nothing.

    Of a user with more than ``USER_ITEMS`` different items only the newest so many count, and the
    window reaches over at most ``WINDOW_EVENTS`` events to each side: the pairs of a user grow with
    the square, and one whom nobody ever cleaned out must not stop everyone's lists.
    """
    known = _newest_items(log[log.item != UNKNOWN_ROW], USER_ITEMS)
    had = had_by(known, n_items)  # (U, N)
    user_weight = 1 / np.log(1 + had.sum(axis=1))  # (U,) 1 / log(1 + |N(u)|)
    scale = 1 / np.sqrt(np.maximum(had.sum(axis=0), 1))  # (N,) 1 / sqrt(|N(i)|)
    if window_ms is None:
        yield from _of_all(had, user_weight, scale)
    else:
        yield from _within(known, had, user_weight, scale, window_ms=window_ms)


def had_by(log: EventLog, n_items: int) -> Matrix:
    """(U, N) 1 where a user had an item at least once."""
    _, user = np.unique(log.user, return_inverse=True)
    had = distinct(user.astype(np.int64) * n_items + log.item)
    users, items = np.divmod(had, n_items)
    n_users = int(users[-1]) + 1 if len(users) else 0
    return sparse.csr_array((np.ones(len(had)), (users, items)), shape=(n_users, n_items))


def _newest_items(log: EventLog, most: int) -> EventLog:
    """The log without what is not among the newest ``most`` different items of its user."""
    keep = np.ones(len(log), np.bool_)
    starts = log.starts
    for user in np.flatnonzero(np.diff(starts) > most).tolist():
        events = slice(starts[user], starts[user + 1])
        newest_first = log.item[events][::-1]
        items, last = np.unique(newest_first, return_index=True)
        keep[events] = np.isin(log.item[events], items[np.argsort(last)[:most]])
    return log if keep.all() else log[keep]


def _of_all(had: Matrix, user_weight: NDArray[np.float64], scale: NDArray[np.float64]) -> Iterator[Matrix]:
    """Equation 1 for all pairs: the weights (b, N) of one block of items after another.

    In blocks because the weights of a whole catalogue can be far more than the K that are kept.
    """
    of_item: Matrix = had.T.tocsr()  # (N, U)
    pairs = np.cumsum(of_item @ had.sum(axis=1))  # (N,) up to and with each item
    of_item.data = user_weight[of_item.indices] * np.repeat(scale, np.diff(of_item.indptr))
    scaled: Matrix = had.copy()
    scaled.data = scale[had.indices]
    for first, last in blocks(pairs, _BLOCK_PAIRS):
        yield of_item[first:last] @ scaled


def blocks(ends: NDArray[np.number], most: int) -> Iterator[tuple[int, int]]:
    """The lines, first .. last - 1, of one block after another, each of at most so much or of one line.

    ``ends`` is how much there is up to and with each line.
    """
    first = 0
    while first < len(ends):
        done = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, done + most, side="right")), first + 1)
        yield first, last
        first = last


def _within(
    log: EventLog,
    had: Matrix,
    user_weight: NDArray[np.float64],
    scale: NDArray[np.float64],
    *,
    window_ms: int,
) -> Iterator[Matrix]:
    """Equation 1 over the users that had both items within ``window_ms`` of each other, block by block.

    The sums are kept for one half of the pairs, those with the lower row first, and in ranges of rows,
    so that what adds one block of users to them makes a copy of one range and never of all. A range's lines
    of the other half are columns of the ranges up to it.
    """
    n_items = had.shape[1]
    events = np.cumsum(np.bincount(log.item, minlength=n_items))  # (N,) up to and with each item
    ranges = list(blocks(events, _RANGE_EVENTS))
    sums: list[Matrix] = [sparse.csr_array((end - begin, n_items)) for begin, end in ranges]
    starts = log.starts
    first = 0
    while first < len(starts) - 1:
        last = max(int(np.searchsorted(starts, starts[first] + _BLOCK_EVENTS, side="right")) - 1, first + 1)
        part = log[int(starts[first]) : int(starts[last])]
        user = np.repeat(np.arange(last - first), np.diff(starts[first : last + 1]))
        by_user, lower, upper = _pairs_within(user, part, n_items, window_ms)
        weights = user_weight[first + by_user] * scale[lower] * scale[upper]
        found: Matrix = sparse.csr_array((weights, (lower, upper)), shape=(n_items, n_items))
        for place, (begin, end) in enumerate(ranges):
            sums[place] = sums[place] + found[begin:end]
        first = last
    columns = []
    while sums:
        columns.append(sums.pop(0).tocsc())
    # An item is always within the window of itself.
    itself = np.asarray(user_weight @ had) * scale**2
    for place, (begin, end) in enumerate(ranges):
        rows = np.arange(begin, end)
        own = sparse.csr_array((itself[begin:end], (rows - begin, rows)), shape=(len(rows), n_items))
        turned: Matrix = sparse.vstack([above[:, begin:end] for above in columns[: place + 1]]).T.tocsr()
        others = sparse.csr_array((turned.data, turned.indices, turned.indptr), shape=own.shape)
        yield columns[place].tocsr() + others + own


def _pairs_within(
    user: NDArray[np.intp], log: EventLog, n_items: int, window_ms: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """User, lower and upper item of each pair of items that a user had within the window; (P,) each.

    Once a user, however often the user had them; without the pairs of an item and itself.
    """
    item = log.item.astype(np.int64)
    again = _next_of_same(user, item)
    found, waiting = [np.zeros(0, np.int64)], 0
    left = np.arange(len(log))
    for step in range(1, WINDOW_EVENTS + 1):
        # Events are in order of time: a position too far from its successor is too far from all after
        # it. And once an item comes again, its later event is the nearer one to all that follows.
        left = left[left + step < again[left]]
        right = left + step
        left = left[log.time_ms[right] - log.time_ms[left] <= window_ms]
        if not len(left):
            break
        right = left + step
        lower, upper = np.minimum(item[left], item[right]), np.maximum(item[left], item[right])
        found.append((user[left] * n_items + lower) * n_items + upper)
        waiting += len(left)
        if waiting > _BLOCK_PAIRS:
            found, waiting = [distinct(np.concatenate(found))], 0
    pairs, upper = np.divmod(distinct(np.concatenate(found)), n_items)
    by_user, lower = np.divmod(pairs, n_items)
    return by_user, lower, upper


def _next_of_same(user: NDArray[np.intp], item: NDArray[np.int64]) -> NDArray[np.int64]:
    """(E,) the position of the same user's next event of the same item, else the end of the user's events."""
    again = np.searchsorted(user, user, side="right").astype(np.int64)
    order = np.lexsort((item, user))  # stable, so positions ascend
    same = (user[order[1:]] == user[order[:-1]]) & (item[order[1:]] == item[order[:-1]])
    again[order[:-1][same]] = order[1:][same]
    return again


def distinct(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """The different keys in ascending order; sorting whole integers is what numpy does fastest."""
    keys = np.sort(keys)
    first: NDArray[np.bool_] = np.diff(keys, prepend=-1) != 0
    return keys[first]
