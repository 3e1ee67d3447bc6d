"""Equations 1 and 2 and the window of equation 4, checked by hand and against a plain form."""

import heapq
import math
import tracemalloc
from itertools import product

import numpy as np
import pytest

from models.events import EventLog
from models.neighbours import ItemNeighbours, last_items
from models.similarity import USER_ITEMS

MINUTE_MS = 60_000
PAIR_BYTES = 8 + 4  # a similarity and a row


def _log(*events: tuple[int, int, int]) -> EventLog:
    """Events (user, item, minute)."""
    user, item, minute = np.array(events, np.int64).reshape(-1, 3).T
    nothing = np.zeros(len(user), np.int32)
    return EventLog.sorted(user, item.astype(np.int32), nothing, nothing.astype(np.int8), minute * MINUTE_MS)


def _dense(neighbours: ItemNeighbours) -> np.ndarray:
    dense = np.zeros((neighbours.n_items, neighbours.n_items), np.float32)
    for item in range(neighbours.n_items):
        entries = slice(neighbours.begins[item], neighbours.begins[item + 1])
        dense[item, neighbours.rows[entries]] = neighbours.weights[entries]
    return dense


def _plain(events: list[tuple[int, int, int]], n_items: int, window_minutes: float) -> np.ndarray:
    """Equation 1 as it is written: for each pair the users that had both (within the window)."""
    users = {user for user, _, _ in events}
    had = {user: {item for u, item, _ in events if u == user} for user in users}
    similarity = np.zeros((n_items, n_items))
    for i, j in product(range(1, n_items), repeat=2):
        shared = 0.0
        for user in users:
            times_i = [minute for u, item, minute in events if (u, item) == (user, i)]
            times_j = [minute for u, item, minute in events if (u, item) == (user, j)]
            if any(abs(a - b) <= window_minutes for a in times_i for b in times_j):
                shared += 1 / math.log(1 + len(had[user]))
        count_i = sum(i in items for items in had.values())
        count_j = sum(j in items for items in had.values())
        if shared:
            similarity[i, j] = shared / math.sqrt(count_i * count_j)
    return similarity


def _random_events(seed: int) -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(seed)
    return [tuple(event) for event in rng.integers((0, 1, 0), (6, 9, 30), (60, 3)).tolist()]


def test_equation_1_by_hand() -> None:
    """Users 1 {1, 2}, 2 {1, 2, 3} and 3 {3}: each shared user counts 1 / log(1 + |N(u)|)."""
    log = _log((1, 1, 0), (1, 2, 1), (1, 1, 2), (2, 1, 0), (2, 2, 0), (2, 3, 0), (3, 3, 0))
    w = _dense(ItemNeighbours.fit(log, n_items=4, k=10))
    assert w[1, 2] == w[2, 1] == pytest.approx((1 / math.log(1 + 2) + 1 / math.log(1 + 3)) / math.sqrt(2 * 2))
    assert w[1, 3] == w[3, 1] == pytest.approx((1 / math.log(1 + 3)) / math.sqrt(2 * 2))
    assert w[3, 3] == pytest.approx((1 / math.log(1 + 3) + 1 / math.log(1 + 1)) / math.sqrt(2 * 2))
    assert not w[0].any()


@pytest.mark.parametrize("seed", range(3))
def test_fast_form_equals_the_equation(seed: int) -> None:
    """The sparse product gives equation 1 for every pair."""
    events = _random_events(seed)
    w = _dense(ItemNeighbours.fit(_log(*events), n_items=9, k=9))
    np.testing.assert_allclose(w, _plain(events, 9, math.inf), rtol=1e-6)


@pytest.mark.parametrize(("seed", "minutes"), [(0, 0), (1, 3), (2, 7)])
def test_window_counts_only_pairs_within_m(seed: int, minutes: int) -> None:
    """Equation 4: a user counts for a pair once, if the two ever lay within m of each other, m included."""
    events = _random_events(seed)
    fitted = ItemNeighbours.fit(_log(*events), n_items=9, k=9, window_ms=minutes * MINUTE_MS)
    np.testing.assert_allclose(_dense(fitted), _plain(events, 9, minutes), rtol=1e-6)


def test_window_of_equation_4_by_hand() -> None:
    """With m of 5 minutes item 2, had at 10, is near what was had from 5 to 15: 2m, ends included."""
    log = _log((1, 1, 4), (1, 3, 5), (1, 2, 10), (1, 4, 15), (1, 5, 16), (2, 2, 0), (2, 1, 5))
    w = _dense(ItemNeighbours.fit(log, n_items=6, k=9, window_ms=5 * MINUTE_MS))
    first, second = 1 / math.log(1 + 5), 1 / math.log(1 + 2)  # users 1 and 2 have five items and two
    assert w[2].tolist() == pytest.approx(
        [
            0,
            second / math.sqrt(2 * 2),  # user 1 had item 1 too early; N(1) counts them all the same
            (first + second) / math.sqrt(2 * 2),
            first / math.sqrt(2 * 1),
            first / math.sqrt(2 * 1),
            0,
        ]
    )


def test_item_had_again_within_the_window_makes_a_pair() -> None:
    """Of an item had twice the nearer time decides, before and after alike."""
    log = _log((1, 1, 0), (1, 1, 20), (1, 2, 22), (1, 3, 40), (1, 2, 41), (1, 1, 60))
    w = _dense(ItemNeighbours.fit(log, n_items=4, k=9, window_ms=2 * MINUTE_MS))
    alike = 1 / math.log(1 + 3)
    assert w.tolist() == pytest.approx(
        np.array([[0, 0, 0, 0], [0, alike, alike, 0], [0, alike, alike, alike], [0, 0, alike, alike]])
    )


def test_only_the_newest_items_of_a_user_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a user with too many items the newest different ones count; another user's stay."""
    monkeypatch.setattr("models.similarity.USER_ITEMS", 2)
    events = [(1, 1, 0), (1, 2, 1), (1, 3, 2), (1, 2, 3), (2, 1, 0), (2, 4, 1)]
    kept = [(1, 2, 1), (1, 3, 2), (1, 2, 3), (2, 1, 0), (2, 4, 1)]
    fitted, expected = (ItemNeighbours.fit(_log(*one), n_items=5) for one in (events, kept))
    np.testing.assert_array_equal(_dense(fitted), _dense(expected))


@pytest.mark.parametrize("window_ms", [None, 3_600_000])
def test_user_of_100_000_events_is_fitted(window_ms: int | None) -> None:
    """What one user did can be paired, however much it is; without a bound it would be ten billion pairs."""
    items = np.arange(1, 100_001, dtype=np.int32)
    nothing = np.zeros(100_000, np.int32)
    log = EventLog(nothing.astype(np.int64), items, nothing, nothing.astype(np.int8), items * 1000)
    fitted = ItemNeighbours.fit(log, n_items=100_001, k=5, window_ms=window_ms)
    paired = np.flatnonzero(np.diff(fitted.begins))
    assert paired.tolist() == list(range(100_001 - USER_ITEMS, 100_001))
    assert np.diff(fitted.begins)[paired].tolist() == [5] * USER_ITEMS


def test_small_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums made a few items or users at a time are the sums of all."""
    log = _log(*_random_events(4))
    whole = [ItemNeighbours.fit(log, n_items=9, k=4, window_ms=window) for window in (None, 9 * MINUTE_MS)]
    monkeypatch.setattr("models.similarity._BLOCK_PAIRS", 20)
    monkeypatch.setattr("models.similarity._BLOCK_EVENTS", 12)
    monkeypatch.setattr("models.similarity._RANGE_EVENTS", 15)
    monkeypatch.setattr("models.neighbours._LONG_LINE", 6)
    monkeypatch.setattr("models.neighbours._LINES_AT_ONCE", 2)
    parts = [ItemNeighbours.fit(log, n_items=9, k=4, window_ms=window) for window in (None, 9 * MINUTE_MS)]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(_dense(one), _dense(other), rtol=1e-6)


def test_pairs_within_the_window_are_in_memory_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside them there is a part of them at a time: never both halves together, nor a second sum."""
    rng = np.random.default_rng(1)
    n_items, shape = 3_000, (12_000, 20)
    item = rng.integers(1, n_items, shape).astype(np.int32)
    user, minute = np.indices(shape).reshape(2, -1)
    nothing = np.zeros(user.shape, np.int32)
    log = EventLog.sorted(user, item.ravel(), nothing, nothing.astype(np.int8), minute * MINUTE_MS)
    for name, value in (("PAIRS", 1 << 17), ("EVENTS", 1 << 13)):
        monkeypatch.setattr(f"models.similarity._BLOCK_{name}", value)
    monkeypatch.setattr("models.similarity._RANGE_EVENTS", 1 << 14)
    tracemalloc.start()
    try:
        fitted = ItemNeighbours.fit(log, n_items=n_items, k=5, window_ms=60 * MINUTE_MS)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    different = len(np.unique(_pairs(item, n_items)))
    assert len(fitted.rows) == 5 * (n_items - 1)
    assert peak_bytes < 4 * PAIR_BYTES * different  # the log and one part take most of what is not the pairs


def _pairs(item: np.ndarray, n_items: int) -> np.ndarray:
    """A number for each pair of different items (users, events) that a user had, the lower item first."""
    left, right = np.triu_indices(item.shape[1], 1)
    lower = np.minimum(item[:, left], item[:, right]).astype(np.int64)
    upper = np.maximum(item[:, left], item[:, right])
    return (lower * n_items + upper)[lower != upper]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equation_2_keeps_what_a_heap_keeps(k: int) -> None:
    """The K most similar of each item; of equal ones the lower row."""
    log = _log(*_random_events(3))
    every = _dense(ItemNeighbours.fit(log, n_items=9, k=9))
    kept = _dense(ItemNeighbours.fit(log, n_items=9, k=k))
    for item in range(9):
        candidates = [row for row in range(9) if every[item, row] > 0]
        best = heapq.nsmallest(k, candidates, key=lambda row, item=item: (-every[item, row], row))
        assert np.flatnonzero(kept[item]).tolist() == sorted(best)
        np.testing.assert_array_equal(kept[item, best], every[item, best])


def test_equal_similarities_keep_the_lower_rows() -> None:
    """One user with six items makes them all alike: the first three are kept."""
    log = _log(*[(1, item, 0) for item in (6, 5, 4, 3, 2, 1)])
    fitted = ItemNeighbours.fit(log, n_items=7, k=3)
    assert fitted.rows.tolist() == [1, 2, 3] * 6
    assert fitted.begins.tolist() == [0, 0, 3, 6, 9, 12, 15, 18]


def test_unknown_items_count_for_nothing() -> None:
    """An event of an unknown item neither pairs nor makes its user's history longer."""
    known = _log((1, 1, 0), (1, 2, 1))
    with_unknown = _log((1, 1, 0), (1, 0, 0), (1, 2, 1))
    fitted = [_dense(ItemNeighbours.fit(log, n_items=3)) for log in (known, with_unknown)]
    np.testing.assert_array_equal(fitted[0], fitted[1])


def test_scores_decay_from_the_newest_item() -> None:
    """The score of an item is the sum of w over the last items, each weighing half of the one after it."""
    neighbours = ItemNeighbours.fit(_log(*_random_events(5)), n_items=9, k=9)
    w = _dense(neighbours)
    scores = neighbours.scores([np.array([4, 1, 2]), np.array([], np.int32)], recent=2, decay=0.5)
    expected = 1.0 * w[2] + 0.5 * w[1]
    np.testing.assert_allclose(scores[0], np.where(expected > 0, expected, -np.inf), rtol=1e-6)
    assert np.all(scores[1] == -np.inf)


def test_last_items_are_newest_first() -> None:
    """Histories longer and shorter than asked for."""
    assert last_items([np.array([1, 2, 3]), np.array([4])], 2).tolist() == [[3, 2], [4, 0]]


def test_no_events_fit_no_neighbours() -> None:
    """An empty log gives an item CF that scores nothing."""
    for window_ms in (None, 5):
        fitted = ItemNeighbours.fit(_log(), n_items=3, window_ms=window_ms)
        assert np.all(fitted.scores([np.array([1])]) == -np.inf)


@pytest.mark.parametrize(
    ("begins", "rows", "weights", "what"),
    [
        ([0, 0, 1], [1, 1], [0.5], "other lengths"),
        ([0, 0, 2], [1], [0.5], "point outside"),
        ([0, 0, 1], [2], [0.5], "an item that there is not"),
        ([0, 0, 1], [1], [-0.5], "below zero or no numbers"),
        ([0, 0, 1], [1], [math.nan], "below zero or no numbers"),
        ([0, 0, 1], [1], [math.inf], "below zero or no numbers"),
    ],
)
def test_a_table_that_cannot_be_one_is_refused(begins, rows, weights, what):
    """Before anybody multiplies by it."""
    with pytest.raises(ValueError, match=what):
        ItemNeighbours.checked(*(np.array(column) for column in (begins, rows, weights)))
