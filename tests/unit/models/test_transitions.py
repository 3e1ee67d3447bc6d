"""The networks of consumption, counted by hand."""

import math

import numpy as np
import pytest

from models.events import EventLog
from models.transitions import Transitions, TransitionsConfig, successors


def _log(*events: tuple[int, int, int]) -> EventLog:
    """Events (user, item, time)."""
    user, item, time_ms = np.array(events, np.int64).reshape(-1, 3).T
    nothing = np.zeros(len(user), np.int32)
    return EventLog.sorted(user, item.astype(np.int32), nothing, nothing.astype(np.int8), time_ms)


def _fitted(*events: tuple[int, int, int], n_items: int = 6, **config: float) -> Transitions:
    return Transitions.fit(_log(*events), n_items=n_items, config=TransitionsConfig(**config))


def _scores(transitions: Transitions, *newest: tuple[int, int]) -> np.ndarray:
    """The scores of a user with these newest events (item, time), newest first."""
    items, times_ms = np.array(newest, np.int64).T
    return transitions.scores(items[None].astype(np.int32), times_ms[None])[0]


def test_network_of_items_by_hand() -> None:
    """Of what follows item 1 within two steps, each step counting one over its distance."""
    follows = _fitted(
        (1, 1, 0), (1, 2, 1), (1, 3, 2), (1, 4, 3), (2, 1, 0), (2, 3, 1), steps=2
    ).follows.toarray()
    total = (1 / 1 + 1 / 2) + 1 / 1  # item 2 then 3 for user 1, item 3 for user 2
    assert follows[1].tolist() == pytest.approx([0, 0, (1 / 1) / total, (1 / 2 + 1 / 1) / total, 0, 0])
    assert follows[3].tolist() == [0, 0, 0, 0, 1, 0]
    assert not follows[4].any()


def test_one_users_last_item_is_not_followed_by_the_next_users_first() -> None:
    """The arrows stay within a user."""
    assert not _fitted((1, 1, 0), (2, 2, 1)).follows.toarray().any()


def test_only_the_most_frequent_successors_are_kept() -> None:
    """With one kept, it is the one that came more often; its share stays that of all."""
    follows = _fitted((1, 1, 0), (1, 2, 1), (2, 1, 0), (2, 2, 1), (3, 1, 0), (3, 3, 1), steps=1, successors=1)
    assert follows.follows.toarray()[1].tolist() == pytest.approx([0, 0, 2 / 3, 0, 0, 0])


LEADERS = ((1, 1, 0), (1, 2, 5), (1, 3, 6), (2, 1, 50), (2, 4, 51), (3, 5, 0))


def test_rows_counted_a_few_at_a_time_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of rows that nothing follows, and of steps past the end of the log."""
    rng = np.random.default_rng(1)
    events = [tuple(event) for event in rng.integers((0, 1, 0), (6, 9, 30), (80, 3)).tolist()]
    whole = successors(_log(*events), 12, 5, 3)
    monkeypatch.setattr("models.transitions._BLOCK_PAIRS", 60)
    parts = successors(_log(*events), 12, 5, 3)
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert whole.nnz > 20


def test_network_of_users_by_hand() -> None:
    """Who had item 1 or 2 before: user 1 both, user 2 neither before time 50, user 3 never."""
    transitions = _fitted(*LEADERS, decay=0.5)
    early = transitions.leaders(np.array([[2, 1]], np.int32), np.array([[40, 30]])).toarray()[0]
    late = transitions.leaders(np.array([[2, 1]], np.int32), np.array([[90, 80]])).toarray()[0]
    to_first = (1 + 0.5) / math.sqrt(3 * 2)  # items 2 and 1, of three of theirs and two of one's own
    assert early.tolist() == pytest.approx([to_first, 0, 0])
    assert late.tolist() == pytest.approx([to_first, 0.5 / math.sqrt(2 * 2), 0])


def test_same_time_is_not_before() -> None:
    """A user who had the item at the very time is no predecessor."""
    transitions = _fitted(*LEADERS)
    assert not transitions.leaders(np.array([[1]], np.int32), np.array([[0]])).nnz
    assert transitions.leaders(np.array([[1]], np.int32), np.array([[1]])).nnz == 1


def test_vote_by_hand() -> None:
    """Half of what follows item 1, half of what those had who had it before."""
    transitions = _fitted(*LEADERS, steps=1, item_share=0.5)
    scores = _scores(transitions, (1, 90))
    one, two = 1 / math.sqrt(3 * 1), 1 / math.sqrt(2 * 1)
    first, second = one / (one + two), two / (one + two)
    by_items = [1 / 2, 1 / 2]  # items 2 and 4 followed once each
    assert scores[1:5] == pytest.approx(
        [
            0.5 * (first + second),
            0.5 * by_items[0] + 0.5 * first,
            0.5 * first,
            0.5 * by_items[1] + 0.5 * second,
        ]
    )
    assert scores[[0, 5]].tolist() == [-math.inf] * 2


def test_newest_items_weigh_most() -> None:
    """What follows the last item is ahead of what follows the one before it."""
    transitions = _fitted((1, 1, 0), (1, 3, 1), (2, 2, 0), (2, 4, 1), item_share=1.0, decay=0.5)
    scores = _scores(transitions, (2, 9), (1, 8), (0, 7))
    assert scores[[3, 4]] == pytest.approx([0.5 / (1 + 0.5), 1 / (1 + 0.5)])


def test_newest_users_of_an_item_are_looked_at() -> None:
    """With one user an item, it is the one who had it last."""
    transitions = _fitted(*LEADERS, item_users=1)
    leaders = transitions.leaders(np.array([[1]], np.int32), np.array([[90]])).toarray()[0]
    assert np.flatnonzero(leaders).tolist() == [1]


def test_no_events_draw_no_network() -> None:
    """An empty log scores nothing."""
    transitions = Transitions.fit(_log(), n_items=3, config=TransitionsConfig())
    assert np.all(_scores(transitions, (1, 0), (2, 0)) == -math.inf)
