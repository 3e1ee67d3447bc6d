"""The newest events of users, as followers keep them."""

import numpy as np

from models.events import EventLog
from models.histories import NewestEvents


def _newest(first: list[int], end: list[int], depth: int = 3) -> NewestEvents:
    """Two users of a log whose events 0 to 3 and 4 to 5 have the items 10 to 15, a second apart."""
    nothing = np.zeros(6, np.int32)
    log = EventLog(
        np.array([1, 1, 1, 1, 2, 2]),
        np.arange(10, 16, dtype=np.int32),
        nothing,
        nothing.astype(np.int8),
        np.arange(6) * 1000,
    )
    return NewestEvents.of(log, np.array(first), np.array(end), depth)


def test_newest_come_first() -> None:
    """Three of a history of four; of a shorter one what there is, 0 for the rest."""
    newest = _newest([0, 4], [4, 5])
    assert newest.items(2).tolist() == [[13, 12, 11], [14, 0, 0]]
    assert newest.times_ms(2).tolist() == [[3000, 2000, 1000], [4000, 0, 0]]


def test_nothing_of_another_user_is_kept() -> None:
    """A user without a history has none of the events that lie before in the log."""
    assert _newest([0, 4], [0, 4]).items(2).tolist() == [[0, 0, 0]] * 2


def test_event_is_put_in_front_for_the_first_users_alone() -> None:
    """The others stay where they are."""
    newest = _newest([0, 4], [3, 5])
    newest.advance(np.array([3]))
    assert newest.items(2).tolist() == [[13, 12, 11], [14, 0, 0]]
    assert newest.items(1).tolist() == [[13, 12, 11]]
