"""Memory that is kept for scores: nobody else's, and seen in no result."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from models.room import Room, Zeros
from tests.support.recommenders import small_recommender


def test_a_threads_room_is_kept_and_no_other_threads():
    """The same memory for what fits, more for what does not."""
    room = Room()
    first = room.of(3, 5)
    assert np.shares_memory(first, room.of(2, 4))
    assert room.of(3, 5).shape == (3, 5)
    assert not np.shares_memory(first, room.of(4, 5))
    with ThreadPoolExecutor(1) as pool:
        assert not np.shares_memory(room.of(1, 1), pool.submit(room.of, 1, 1).result())


def test_lists_are_the_same_whatever_was_ranked_before():
    """Neither the lists given before nor those that come after hold anything of the room's."""
    recommender = small_recommender()
    states = np.random.default_rng(1).normal(size=(6, recommender.state_size)).astype(np.float32)
    rows, scores = recommender.best(states, 4)
    before = rows.copy(), scores.copy()
    alone = [recommender.best(states[line : line + 1], 4) for line in range(len(states))]
    np.testing.assert_array_equal(rows, before[0])
    np.testing.assert_array_equal(scores, before[1])
    for line, (row, score) in enumerate(alone):
        np.testing.assert_array_equal(row[0], rows[line])
        np.testing.assert_allclose(score[0], scores[line], rtol=1e-5)


def test_zeros_are_kept_until_more_are_asked_for():
    """The same memory, which nothing clears."""
    zeros = Zeros()
    first = zeros.of(5)
    assert first.tolist() == [0] * 5
    assert np.shares_memory(first, zeros.of(3))
    assert zeros.of(9).tolist() == [0] * 9
