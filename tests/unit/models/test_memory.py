"""A memory holds what a user had, newest first and once, however it came to be."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.memory import PLACES, Memories


def test_items_stand_at_the_place_of_their_last_time() -> None:
    """Newest first, none twice, nothing unknown; the segment's part is counted in items, not in events."""
    memories = Memories.of([[3, 1, 0, 2, 1], []], [[0, 2, 1], []], [4, 0])
    assert memories.rows[0, :5].tolist() == [1, 2, 3, 0, 0]
    assert memories.fresh.tolist() == [2, 0]
    assert not memories.rows[1].any()


def test_no_more_than_the_newest_are_kept() -> None:
    """The oldest of more than PLACES items are forgotten."""
    memories = Memories.of([list(range(1, PLACES + 4))], [[PLACES + 3]], [0])
    assert memories.rows[0, [0, -1]].tolist() == [PLACES + 3, 4]


@given(st.lists(st.lists(st.integers(0, 6), max_size=12), min_size=1, max_size=4), st.integers(0, 12))
def test_taking_one_by_one_is_making_at_once(histories: list[list[int]], begin: int) -> None:
    """Event by event, with a segment that begins at some place, leads where the whole history leads."""
    memories = Memories.empty(len(histories))
    for place in range(max(map(len, histories))):
        users = np.array([user for user, items in enumerate(histories) if len(items) > place])
        items = np.array([histories[user][place] for user in users])
        memories.take(users, items, items % 3)
        if place == begin:
            memories.restart(users, [[histories[user][place]] for user in users])
    segments = [items[begin:] if len(items) > begin else items for items in histories]
    whole = Memories.of(histories, segments, [items[-1] % 3 if items else 0 for items in histories])
    np.testing.assert_array_equal(memories.rows, whole.rows)
    np.testing.assert_array_equal(memories.fresh, whole.fresh)
    np.testing.assert_array_equal(memories.category, whole.category)


def test_a_full_memory_lets_the_oldest_go() -> None:
    """What comes in at the front pushes the last place out, unless it stood there already."""
    memories = Memories.of([list(range(1, PLACES + 1))] * 2, [[], []], [0, 0])
    memories.take(np.array([0, 1]), np.array([1000, 1]), [0, 0])
    assert memories.rows[0, [0, 1, -1]].tolist() == [1000, PLACES, 2]
    assert memories.rows[1, [0, 1, -1]].tolist() == [1, PLACES, 2]


def test_choosing_users_chooses_their_lines() -> None:
    """A part of the memories is those of the users chosen."""
    memories = Memories.of([[1], [2], [3]], [[1], [2], []], [5, 6, 7])
    chosen = memories[np.array([2, 0])]
    assert (chosen.rows[:, 0].tolist(), chosen.fresh.tolist(), len(chosen)) == ([3, 1], [0, 1], 2)
    assert chosen.category.tolist() == [7, 5]
