"""A state is the same however it came about: step by step, as a sequence, or replayed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.networks import CellName, Inputs
from models.recommender import UserSequence
from tests.support.recommenders import small_recommender

CELLS: tuple[CellName, ...] = ("rnn", "lstm", "gru")
RECOMMENDERS = {cell: small_recommender(cell) for cell in CELLS}

EVENT = st.tuples(
    st.integers(0, 11),  # item row
    st.integers(0, 3),  # category row
    st.integers(0, 3),  # behaviour
    st.one_of(st.just(0), st.integers(0, 5_000), st.integers(0, 30 * 86_400_000)),  # gap
)
USERS = st.lists(st.lists(EVENT, min_size=1, max_size=20), min_size=1, max_size=6)


def sequence_of(events: list[tuple[int, int, int, int]], begin_ms: int) -> UserSequence:
    """The columns of one user's events; the gap of the first is not looked at."""
    item, category, behavior, gap_ms = np.array(events, np.int64).T
    gap_ms = gap_ms.copy()
    gap_ms[0] = 0
    return item, category, behavior, begin_ms + np.cumsum(gap_ms)


def step_by_step(cell: CellName, user: UserSequence) -> np.ndarray:
    """Advance one user event by event, alone."""
    recommender = RECOMMENDERS[cell]
    state = recommender.initial(1)
    item, category, behavior, time_ms = user
    for place in range(len(item)):
        gap_ms = time_ms[place] - time_ms[place - 1] if place else 0
        columns = (item[place], category[place], behavior[place], gap_ms, time_ms[place])
        state = recommender.advance(state, *(np.array([value]) for value in columns))
    return state[0]


@pytest.mark.parametrize("cell", CELLS)
@settings(deadline=None, max_examples=60)
@given(users=USERS, begin_ms=st.integers(0, 4_000_000_000_000))
def test_step_by_step_is_sequence_is_replay(
    cell: CellName, users: list[list[tuple[int, int, int, int]]], begin_ms: int
) -> None:
    """The three ways to a state agree to 1e-5, whoever else is in the batch."""
    recommender = RECOMMENDERS[cell]
    sequences = [sequence_of(events, begin_ms) for events in users]
    replayed = recommender.replay(sequences)
    for user, state in zip(sequences, replayed, strict=True):
        np.testing.assert_allclose(step_by_step(cell, user), state, atol=1e-5, rtol=0)
        item, category, behavior, time_ms = user
        columns = (item, category, behavior, np.diff(time_ms, prepend=time_ms[0]), time_ms)
        inputs = Inputs(*(torch.from_numpy(column)[None] for column in columns))
        states = recommender.network.sequence(inputs, torch.tensor([len(item)]))
        np.testing.assert_allclose(states[0, -1].numpy(), state, atol=1e-5, rtol=0)


@pytest.mark.parametrize("cell", CELLS)
@settings(deadline=None, max_examples=30)
@given(users=USERS, begin_ms=st.integers(0, 4_000_000_000_000))
def test_replaying_a_prefix_and_going_on_is_replaying_it_all(
    cell: CellName, users: list[list[tuple[int, int, int, int]]], begin_ms: int
) -> None:
    """A state rebuilt from the segment is one that further events can be applied to."""
    recommender = RECOMMENDERS[cell]
    sequences = [sequence_of(events, begin_ms) for events in users]
    prefixes = [tuple(column[:-1] for column in user) for user in sequences]
    last = [np.array([user[column][-1] for user in sequences]) for column in range(4)]
    gap_ms = np.array(
        [np.diff(user[3][-2:], prepend=user[3][-1])[-1] if len(user[3]) > 1 else 0 for user in sequences]
    )
    states = recommender.replay(prefixes)
    states = recommender.advance(states, last[0], last[1], last[2], gap_ms, last[3])
    np.testing.assert_allclose(states, recommender.replay(sequences), atol=1e-5, rtol=0)
